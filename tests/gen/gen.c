#include "tests/gen/gen.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/rng.h"
#include "common/dicom/canon.h"
#include "tests/gen/element.h"

#define ROOT "1.2.826.0.1.3680043.10.1571.9"
#define CT "1.2.840.10008.5.1.4.1.1.2"
#define EXPLICIT "1.2.840.10008.1.2.1"
#define JPEG_2000 "1.2.840.10008.1.2.4.90"

void
gen_init(struct gen *g)
{
	memset(g, 0, sizeof(*g));
	g->study = g->series = g->instance = 1;
	g->rows = g->columns = 512;
	g->frames = 1;
	g->seed = 1;
	g->name = "DOE^JANE";
	g->patient_id = "PID0001";
	g->accession = "ACC0001";
	g->date = "20260101";
	g->modality = "CT";
	g->description = "SYNTHETIC STUDY";
}

void
gen_uid(char out[65], unsigned study, unsigned series, unsigned instance)
{
	int n = snprintf(out, 65, ROOT ".%u", study);

	if (series)
		n += snprintf(out + n, 65 - (size_t)n, ".%u", series);
	if (instance)
		(void)snprintf(out + n, 65 - (size_t)n, ".%u", instance);
}

static void
number(struct buf *b, uint32_t tag, const char *vr, unsigned v)
{
	char s[16];

	if (strcmp(vr, "US") == 0) {
		element_head(b, tag, vr, 2);
		buf_put_u16(b, v);
		return;
	}
	(void)snprintf(s, sizeof(s), "%u", v);
	element_text(b, tag, vr, s);
}

/* Smooth with a little noise, as CT is: compresses about two to one. */
static void
pixels(struct buf *b, const struct gen *g)
{
	size_t n = (size_t)g->rows * g->columns * g->frames, i;
	uint64_t x = g->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	unsigned char *p;

	element_head(b, 0x7fe00010u, "OW", (uint32_t)(n * 2));
	p = buf_reserve(b, n * 2);
	if (!p)
		return;
	for (i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		buf_set_u16(p + 2 * i, (unsigned)(1000 + i % g->columns + (x & 31)) & 0xffff);
	}
	b->len += n * 2;
}

/* One fragment: what no compressor makes smaller. */
static void
codestream(struct buf *b, const struct gen *g)
{
	size_t n = ((size_t)g->rows * g->columns * g->frames + 7) / 8 * 8, i;
	uint64_t x = g->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	element_head(b, 0x7fe00010u, "OB", UINT32_MAX);
	element_head(b, 0xfffee000u, "", 0);
	element_head(b, 0xfffee000u, "", (uint32_t)n);
	for (i = 0; i < n; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		buf_put_u64(b, x * UINT64_C(0x2545f4914f6cdd1d));
	}
	element_head(b, 0xfffee0ddu, "", 0);
}

void
gen_dataset(struct buf *b, const struct gen *g)
{
	char uid[65];

	element_text(b, 0x00080005u, "CS", "ISO_IR 192");
	element_text(b, 0x00080016u, "UI", CT);
	gen_uid(uid, g->study, g->series, g->instance);
	element_text(b, 0x00080018u, "UI", uid);
	element_text(b, 0x00080020u, "DA", g->date);
	element_text(b, 0x00080030u, "TM", "101500");
	element_text(b, 0x00080050u, "SH", g->accession);
	element_text(b, 0x00080060u, "CS", g->modality);
	element_text(b, 0x00080090u, "PN", "REFERRER^R");
	if (g->description)
		element_text(b, 0x00081030u, "LO", g->description);
	if (g->series_description)
		element_text(b, 0x0008103eu, "LO", g->series_description);
	element_text(b, 0x00100010u, "PN", g->name);
	element_text(b, 0x00100020u, "LO", g->patient_id);
	element_text(b, 0x00100030u, "DA", "19700101");
	element_text(b, 0x00100040u, "CS", "O");
	gen_uid(uid, g->study, 0, 0);
	if (!g->without_study)
		element_text(b, 0x0020000du, "UI", uid);
	gen_uid(uid, g->study, g->series, 0);
	if (!g->without_series)
		element_text(b, 0x0020000eu, "UI", uid);
	number(b, 0x00200011u, "IS", g->series);
	number(b, 0x00200013u, "IS", g->instance);
	if (!g->rows)
		return;
	number(b, 0x00280002u, "US", 1);
	element_text(b, 0x00280004u, "CS", "MONOCHROME2");
	number(b, 0x00280008u, "IS", g->frames);
	number(b, 0x00280010u, "US", g->rows);
	number(b, 0x00280011u, "US", g->columns);
	number(b, 0x00280100u, "US", 16);
	number(b, 0x00280101u, "US", 16);
	number(b, 0x00280102u, "US", 15);
	number(b, 0x00280103u, "US", 0);
	if (g->compressed)
		codestream(b, g);
	else
		pixels(b, g);
}

void
gen_file(struct buf *out, const struct gen *g)
{
	char uid[65];

	gen_uid(uid, g->study, g->series, g->instance);
	canon_header(out, CT, uid, g->compressed ? JPEG_2000 : EXPLICIT);
	gen_dataset(out, g);
}
