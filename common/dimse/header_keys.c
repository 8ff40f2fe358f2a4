#include "common/dimse/header_keys.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/dicom/charset.h"
#include "common/dicom/keys.h"
#include "common/dicom/scan.h"
#include "common/dimse/send.h"
#include "common/store/match.h"
#include "common/store/store.h"

enum { CHARSET_BYTES = 256, GROUP_PIXELS = 0x7fe0, GROUP_LAST = 0xfffa };

/* What only a query has, or an archive says of its own media. */
static bool
is_no_attribute(uint32_t tag)
{
	static const uint32_t no[] = {0x00080053u, 0x00080063u, 0x00081190u,
				      0x00083001u, 0x00880130u, 0x00880140u};
	size_t i;

	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		if (no[i] == tag)
			return true;
	return false;
}

static const struct header_key above[] = {
	{0x00080081u, "ST", KEY_SERIES, "InstitutionAddress"},
	{0x00080092u, "ST", KEY_STUDY, "ReferringPhysicianAddress"},
	{0x00080094u, "SH", KEY_STUDY, "ReferringPhysicianTelephoneNumbers"},
	{0x0008009cu, "PN", KEY_STUDY, "ConsultingPhysicianName"},
	{0x00100022u, "CS", KEY_STUDY, "TypeOfPatientID"},
	{0x00101005u, "PN", KEY_STUDY, "PatientBirthName"},
	{0x00101040u, "LO", KEY_STUDY, "PatientAddress"},
	{0x00101060u, "PN", KEY_STUDY, "PatientMotherBirthName"},
	{0x00102000u, "LO", KEY_STUDY, "MedicalAlerts"},
	{0x00102110u, "LO", KEY_STUDY, "Allergies"},
	{0x00102154u, "SH", KEY_STUDY, "PatientTelephoneNumbers"},
	{0x001021a0u, "CS", KEY_STUDY, "SmokingStatus"},
	{0x001021c0u, "US", KEY_STUDY, "PregnancyStatus"},
	{0x001021d0u, "DA", KEY_STUDY, "LastMenstrualDate"},
	{0x00102203u, "CS", KEY_STUDY, "PatientSexNeutered"},
	{0x00181020u, "LO", KEY_SERIES, "SoftwareVersions"},
	{0x00181200u, "DA", KEY_SERIES, "DateOfLastCalibration"},
	{0x00181201u, "TM", KEY_SERIES, "TimeOfLastCalibration"},
	{0x00201040u, "LO", KEY_SERIES, "PositionReferenceIndicator"},
	{0x00321030u, "LO", KEY_STUDY, "ReasonForStudy"},
	{0x00321032u, "PN", KEY_STUDY, "RequestingPhysician"},
	{0x00321033u, "LO", KEY_STUDY, "RequestingService"},
	{0x00321060u, "LO", KEY_STUDY, "RequestedProcedureDescription"},
	{0x00324000u, "LT", KEY_STUDY, "StudyComments"},
	{0x00380010u, "LO", KEY_STUDY, "AdmissionID"},
	{0x00380060u, "LO", KEY_STUDY, "ServiceEpisodeID"},
	{0x00380300u, "LO", KEY_STUDY, "CurrentPatientLocation"},
	{0x00380500u, "LO", KEY_STUDY, "PatientState"},
	{0x00400241u, "AE", KEY_SERIES, "PerformedStationAETitle"},
	{0x00400242u, "SH", KEY_SERIES, "PerformedStationName"},
	{0x00400243u, "SH", KEY_SERIES, "PerformedLocation"},
	{0x00400250u, "DA", KEY_SERIES, "PerformedProcedureStepEndDate"},
	{0x00400251u, "TM", KEY_SERIES, "PerformedProcedureStepEndTime"},
	{0x00400280u, "ST", KEY_SERIES, "CommentsOnThePerformedProcedureStep"},
	{0x00401002u, "LO", KEY_STUDY, "ReasonForTheRequestedProcedure"},
	{0x00401400u, "LT", KEY_STUDY, "RequestedProcedureComments"},
};

const struct header_key *
header_keys_above(size_t *n)
{
	*n = sizeof(above) / sizeof(above[0]);
	return above;
}

static const struct header_key *
find_above(uint32_t tag)
{
	size_t i;

	for (i = 0; i < sizeof(above) / sizeof(above[0]); i++)
		if (above[i].tag == tag)
			return &above[i];
	return NULL;
}

bool
header_keys_can(const struct identifier *id, enum query_level level, uint32_t tag)
{
	const struct header_key *k = find_above(tag);
	const char *vr = identifier_said(id, tag);
	unsigned group = tag >> 16;

	if (level != QUERY_IMAGE &&
	    !(k && (level == QUERY_SERIES || (level == QUERY_STUDY && k->level == KEY_STUDY))))
		return false;
	return strcmp(identifier_vr(tag), "UN") == 0 && strcmp(vr, "SQ") != 0 && group >= 8 &&
	       group % 2 == 0 && group != GROUP_PIXELS && group < GROUP_LAST &&
	       (tag & 0xffff) != 0 && !is_no_attribute(tag);
}

void
header_keys_init(struct header_keys *h, const struct identifier *id, enum query_level level)
{
	const struct header_key *k;
	struct attr a;
	size_t pos = 0;

	memset(h, 0, sizeof(*h));
	while (attrs_next(attrs_of(&id->keys), &pos, &a)) {
		if (!header_keys_can(id, level, a.tag))
			continue;
		if (h->n == HEADER_KEYS_MAX) {
			h->unknown = true;
			break;
		}
		h->keys[h->n].tag = a.tag;
		k = find_above(a.tag);
		memcpy(h->keys[h->n].vr, k ? k->vr : identifier_said(id, a.tag),
		       sizeof(h->keys[0].vr));
		h->n++;
	}
}

void
header_keys_fini(struct header_keys *h)
{
	buf_fini(&h->set);
}

/* --- one object --- */

struct header_value {
	size_t offset, n;
	bool found;
};

struct header_reading {
	struct header_keys *h;
	struct header_value values[HEADER_KEYS_MAX];
	struct buf bytes;
	char charset[CHARSET_BYTES];
	size_t charset_n;
	int capture; /* a key, CHARSET or NONE */
};

enum { NONE = -1, CHARSET = -2 };

static void
on_element(void *arg, const struct scan_element *el)
{
	struct header_reading *r = arg;
	unsigned i;

	r->capture = NONE;
	if (el->depth > 0)
		return;
	if (el->tag == TAG_CHARSET)
		r->capture = CHARSET;
	for (i = 0; i < r->h->n; i++)
		if (r->h->keys[i].tag == el->tag && !r->values[i].found) {
			r->capture = (int)i;
			r->values[i] = (struct header_value){r->bytes.len, 0, true};
			if (el->vr[0])
				memcpy(r->h->keys[i].vr, el->vr, 2);
		}
}

static void
on_value(void *arg, const struct scan_element *el, const unsigned char *p, size_t n)
{
	struct header_reading *r = arg;
	struct header_value *v;

	(void)el;
	if (r->capture == CHARSET) {
		n = n < CHARSET_BYTES - r->charset_n ? n : CHARSET_BYTES - r->charset_n;
		memcpy(r->charset + r->charset_n, p, n);
		r->charset_n += n;
	}
	if (r->capture < 0)
		return;
	v = &r->values[r->capture];
	if (v->n + n > HEADER_VALUE_MAX) { /* never cut: it is not told then */
		r->h->unknown = true;
		v->n = 0;
		r->capture = NONE;
		return;
	}
	buf_put(&r->bytes, p, n);
	v->n += n;
}

static void
on_end(void *arg, const struct scan_element *el)
{
	(void)el;
	((struct header_reading *)arg)->capture = NONE;
}

static void
on_mark(void *arg, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	struct header_reading *r = arg;

	(void)offset;
	(void)length;
	if (mark == SCAN_SEQUENCE && r->capture >= 0)
		r->h->unknown = true;
	r->capture = NONE;
}

/* Both encodings without VRs: text is what has no control characters. */
static bool
looks_binary(const unsigned char *p, size_t n)
{
	size_t i;

	while (n > 0 && p[n - 1] == '\0')
		n--;
	for (i = 0; i < n; i++)
		if (p[i] < ' ' && p[i] != '\033' && (p[i] < '\t' || p[i] > '\r'))
			return true;
	return false;
}

static void
put_value(struct header_reading *r, struct charset *charset, unsigned i)
{
	const struct identifier_vr *k = &r->h->keys[i];
	const char *p = r->bytes.data ? (const char *)r->bytes.data + r->values[i].offset : "";
	struct buf text = BUF_INIT;
	size_t n = r->values[i].n;

	if (identifier_binary(k->vr) || (!k->vr[0] && looks_binary((const unsigned char *)p, n))) {
		buf_put(&text, p, n);
	} else {
		(void)charset_to_utf8(charset, identifier_text(k->vr), p, n, &text);
		while (text.len > 0 &&
		       (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\0'))
			text.len--;
	}
	buf_put_u32(&r->h->set, k->tag);
	buf_put_u16(&r->h->set, (unsigned)text.len);
	buf_put(&r->h->set, text.data, text.len);
	r->h->set.failed = r->h->set.failed || buf_failed(&text);
	buf_fini(&text);
}

static int
collect(struct header_reading *r, struct err *e)
{
	struct charset *charset;
	unsigned i;
	int rc = charset_new(&charset, r->charset, r->charset_n, e);

	if (rc)
		return rc;
	for (i = 0; i < r->h->n; i++)
		if (r->values[i].found)
			put_value(r, charset, i);
	charset_free(charset);
	return buf_failed(&r->h->set) || buf_failed(&r->bytes)
		       ? err_set(e, ERR_LOCAL, 0, "no memory for an object's attributes")
		       : 0;
}

static int
scan_header(struct header_keys *h, const struct store_header *header, struct err *e)
{
	const char *syntax = header->version.syntax;
	size_t skip = (size_t)send_dataset_offset(header->bytes.data, header->bytes.len);
	struct header_reading *r = calloc(1, sizeof(*r));
	struct scan_config c;
	struct scan *s;
	int rc;

	if (!r)
		return err_set(e, ERR_LOCAL, 0, "no memory for an object's attributes");
	r->h = h;
	r->capture = NONE;
	scan_config_default(&c);
	c.syntax = strcmp(syntax, "1.2.840.10008.1.2") == 0	? SCAN_IMPLICIT
		   : strcmp(syntax, "1.2.840.10008.1.2.2") == 0 ? SCAN_BIG_ENDIAN
								: SCAN_EXPLICIT;
	c.deflated = strcmp(syntax, "1.2.840.10008.1.2.1.99") == 0;
	c.handler = (struct scan_handler){on_element, on_value, on_end, on_mark, r};
	rc = scan_new(&s, &c, e);
	if (!rc) {
		scan_feed(s, header->bytes.data + skip, header->bytes.len - skip);
		h->unknown = h->unknown || !skip || (scan_flags(s) & SCAN_LIMITS);
		scan_free(s);
		rc = collect(r, e);
	}
	buf_fini(&r->bytes);
	free(r);
	return rc;
}

int
header_keys_read(struct header_keys *h, struct store *s, uint64_t oid, struct err *e)
{
	struct store_header header;
	int rc;

	buf_clear(&h->set);
	h->unknown = false;
	if (store_header(&header, s, oid, NULL)) {
		h->unknown = true;
		return 0;
	}
	h->unknown = header.bytes.len == 0;
	rc = h->unknown ? 0 : scan_header(h, &header, e);
	store_header_fini(&header);
	return rc;
}

static bool
one_matches(const struct identifier_vr *k, const struct attr *key, struct attr value)
{
	if (identifier_binary(k->vr))
		return key->n == value.n && memcmp(key->value, value.value, key->n) == 0;
	return match_value(k->vr[0] ? k->vr : "LO", key->value, key->n, value);
}

bool
header_keys_match(const struct header_keys *h, const struct identifier *id)
{
	struct attr key, value;
	unsigned i;

	for (i = 0; i < h->n; i++) {
		if (!attrs_get(attrs_of(&id->keys), h->keys[i].tag, &key) ||
		    match_universal(key.value, key.n))
			continue;
		if (!attrs_get(attrs_of(&h->set), key.tag, &value)) {
			if (h->unknown)
				continue;
			return false;
		}
		if (!one_matches(&h->keys[i], &key, value))
			return false;
	}
	return true;
}
