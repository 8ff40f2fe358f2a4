#include "common/dicom/note.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/canon.h"
#include "common/dicom/scan.h"

#define TAG_CODE 0x00080100u
#define TAG_SCHEME 0x00080102u
#define TAG_SERIES_SEQUENCE 0x00081115u
#define TAG_CLASS 0x00081150u
#define TAG_INSTANCE 0x00081155u
#define TAG_SOP_SEQUENCE 0x00081199u
#define TAG_STUDY 0x0020000du
#define TAG_TITLE 0x0040a043u
#define TAG_EVIDENCE 0x0040a375u

/* Evidence, series, instance: what matters lies no deeper. */
enum { LEVELS = 3, DEPTH = 32 };

struct note {
	struct scan *scan;
	uint32_t path[LEVELS], last;
	unsigned depth; /* sequences that are open */
	bool capture, bad, too_much, no_memory;
	char value[UID_SIZE];
	size_t n_value;
	char code[17], scheme[17];
	struct note_reference *all;
	size_t n, cap;
	char (*studies)[UID_SIZE];
	unsigned n_studies;
};

static const struct {
	const char *code, *word;
	const char *meaning;
} titles[NOTE_REASONS] = {
	[NOTE_QUALITY] = {"113001", "quality", "Rejected for Quality Reasons"},
	[NOTE_SAFETY] = {"113037", "safety", "Rejected for Patient Safety Reasons"},
	[NOTE_WORKLIST] = {"113038", "worklist", "Incorrect Modality Worklist Entry"},
	[NOTE_RETENTION] = {"113039", "retention", "Data Retention Policy Expired"},
};

enum note_reason
note_reason_of(const char *word)
{
	unsigned i;

	for (i = NOTE_QUALITY; i < NOTE_REASONS; i++)
		if (strcmp(titles[i].word, word) == 0)
			return (enum note_reason)i;
	return NOTE_NONE;
}

const char *
note_reason_word(enum note_reason reason)
{
	return reason > NOTE_NONE && reason < NOTE_REASONS ? titles[reason].word : "none";
}

const char *
note_reason_title(enum note_reason reason, const char **meaning)
{
	*meaning = titles[reason].meaning;
	return titles[reason].code;
}

/* --- reading --- */

static bool
in_reference(const struct note *n)
{
	return n->depth == LEVELS && n->path[0] == TAG_EVIDENCE &&
	       n->path[1] == TAG_SERIES_SEQUENCE && n->path[2] == TAG_SOP_SEQUENCE;
}

static bool
in_evidence(const struct note *n)
{
	return n->depth == 1 && n->path[0] == TAG_EVIDENCE;
}

static bool
in_title(const struct note *n)
{
	return n->depth == 1 && n->path[0] == TAG_TITLE;
}

static void
begin_study(struct note *n)
{
	if (n->n_studies == NOTE_STUDIES_MAX) {
		n->too_much = true;
		return;
	}
	n->studies[n->n_studies++][0] = '\0';
}

static void
begin_reference(struct note *n)
{
	struct note_reference *more;
	size_t cap = n->cap * 2 + 64;

	if (n->n == NOTE_MAX) {
		n->too_much = true;
		return;
	}
	if (n->n == n->cap) {
		more = realloc(n->all, cap * sizeof(*more));
		if (!more) {
			n->no_memory = true;
			return;
		}
		n->all = more;
		n->cap = cap;
	}
	memset(&n->all[n->n], 0, sizeof(*more));
	n->all[n->n].study = n->n_studies ? n->n_studies - 1 : 0;
	n->n++;
}

static void
on_element(void *arg, const struct scan_element *el)
{
	struct note *n = arg;
	uint32_t tag = el->tag;

	n->last = tag;
	n->n_value = 0;
	n->capture = !n->too_much && !n->no_memory &&
		     ((in_title(n) && (tag == TAG_CODE || tag == TAG_SCHEME)) ||
		      (in_evidence(n) && tag == TAG_STUDY) ||
		      (in_reference(n) && (tag == TAG_CLASS || tag == TAG_INSTANCE)));
}

static void
on_value(void *arg, const struct scan_element *el, const unsigned char *p, size_t size)
{
	struct note *n = arg;

	(void)el;
	if (!n->capture)
		return;
	if (size > sizeof(n->value) - n->n_value) {
		n->bad = true;
		size = sizeof(n->value) - n->n_value;
	}
	memcpy(n->value + n->n_value, p, size);
	n->n_value += size;
}

/* The first item's alone: a title has one. */
static void
take_code(struct note *n, char *to, size_t size)
{
	size_t len = uid_trim(n->value, n->n_value);

	if (to[0] || len == 0 || len >= size)
		return;
	memcpy(to, n->value, len);
	to[len] = '\0';
}

static void
take_uid(struct note *n, char to[UID_SIZE])
{
	size_t len = uid_trim(n->value, n->n_value);

	if (!uid_usable(n->value, len)) {
		n->bad = true;
		return;
	}
	memcpy(to, n->value, len);
	to[len] = '\0';
}

static void
on_end(void *arg, const struct scan_element *el)
{
	struct note *n = arg;

	if (!n->capture)
		return;
	n->capture = false;
	if (el->tag == TAG_CODE)
		take_code(n, n->code, sizeof(n->code));
	else if (el->tag == TAG_SCHEME)
		take_code(n, n->scheme, sizeof(n->scheme));
	else if (el->tag == TAG_STUDY && n->n_studies)
		take_uid(n, n->studies[n->n_studies - 1]);
	else if (el->tag == TAG_CLASS && n->n)
		take_uid(n, n->all[n->n - 1].sop_class);
	else if (el->tag == TAG_INSTANCE && n->n)
		take_uid(n, n->all[n->n - 1].sop_instance);
}

static void
on_mark(void *arg, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	struct note *n = arg;

	(void)offset;
	(void)length;
	n->capture = false;
	if (mark == SCAN_SEQUENCE) {
		if (n->depth < LEVELS)
			n->path[n->depth] = n->last;
		n->depth++;
	} else if (mark == SCAN_SEQUENCE_END && n->depth) {
		n->depth--;
	} else if (mark == SCAN_ITEM && in_evidence(n)) {
		begin_study(n);
	} else if (mark == SCAN_ITEM && in_reference(n)) {
		begin_reference(n);
	}
}

int
note_new(struct note **out, const char *syntax, struct err *e)
{
	struct note *n = calloc(1, sizeof(*n));
	struct scan_config c;
	int rc;

	if (n)
		n->studies = calloc(NOTE_STUDIES_MAX, UID_SIZE);
	if (!n || !n->studies) {
		note_free(n);
		return err_set(e, ERR_LOCAL, 0, "no memory for a note");
	}
	scan_config_default(&c);
	c.syntax = strcmp(syntax, "1.2.840.10008.1.2") == 0	? SCAN_IMPLICIT
		   : strcmp(syntax, "1.2.840.10008.1.2.2") == 0 ? SCAN_BIG_ENDIAN
								: SCAN_EXPLICIT;
	c.deflated = canon_deflated(syntax);
	c.max_depth = DEPTH;
	c.handler = (struct scan_handler){on_element, on_value, on_end, on_mark, n};
	rc = scan_new(&n->scan, &c, e);
	if (rc) {
		note_free(n);
		return rc;
	}
	*out = n;
	return 0;
}

void
note_free(struct note *n)
{
	if (!n)
		return;
	scan_free(n->scan);
	free(n->studies);
	free(n->all);
	free(n);
}

void
note_feed(struct note *n, const void *p, size_t size)
{
	scan_feed(n->scan, p, size);
}

static bool
is_whole(const struct note *n)
{
	size_t i;

	if (n->bad || n->too_much || n->no_memory || n->n == 0 ||
	    (scan_flags(n->scan) & (SCAN_LIMITS | SCAN_TRUNCATED)))
		return false;
	for (i = 0; i < n->n; i++)
		if (!n->all[i].sop_instance[0] || !n->studies[n->all[i].study][0])
			return false;
	return true;
}

enum note_reason
note_end(struct note *n, bool *unread)
{
	unsigned i;

	scan_end(n->scan);
	*unread = false;
	if (strcmp(n->scheme, "DCM") != 0)
		return NOTE_NONE;
	for (i = NOTE_QUALITY; i < NOTE_REASONS; i++)
		if (strcmp(n->code, titles[i].code) == 0)
			break;
	*unread = i < NOTE_REASONS && !is_whole(n);
	return i < NOTE_REASONS && !*unread ? (enum note_reason)i : NOTE_NONE;
}

const struct note_reference *
note_references(const struct note *n, size_t *count)
{
	*count = n->n;
	return n->all;
}

const char *
note_study(const struct note *n, unsigned i)
{
	return n->studies[i];
}

/* --- writing --- */

static void
put(struct buf *out, uint32_t tag, const char *vr, const char *s, size_t n)
{
	bool wide = strcmp(vr, "SQ") == 0;

	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	buf_put(out, vr, 2);
	if (wide) {
		buf_put_u16(out, 0);
		buf_put_u32(out, (uint32_t)n);
	} else {
		buf_put_u16(out, (unsigned)(n + n % 2));
	}
	buf_put(out, s, n);
	if (n % 2)
		buf_put_u8(out, strcmp(vr, "UI") == 0 ? '\0' : ' ');
}

static void
text(struct buf *out, uint32_t tag, const char *vr, const char *s)
{
	put(out, tag, vr, s, strlen(s));
}

/* One more item of a sequence's value. */
static void
item(struct buf *sequence, const struct buf *of)
{
	buf_put_u16(sequence, 0xfffe);
	buf_put_u16(sequence, 0xe000);
	buf_put_u32(sequence, (uint32_t)of->len);
	buf_put(sequence, of->data, of->len);
	sequence->failed = sequence->failed || buf_failed(of);
}

static void
sequence(struct buf *out, uint32_t tag, struct buf *items)
{
	put(out, tag, "SQ", (const char *)items->data, items->len);
	out->failed = out->failed || buf_failed(items);
	buf_fini(items);
}

static void
sequence_of_one(struct buf *out, uint32_t tag, struct buf *only)
{
	struct buf items = BUF_INIT;

	item(&items, only);
	buf_fini(only);
	sequence(out, tag, &items);
}

/* Type 2: what the study does not tell is empty. */
static void
of_study(struct buf *out, const struct note_text *t, uint32_t tag, const char *vr)
{
	struct attr a = {tag, "", 0};

	(void)attrs_get(t->of_study, tag, &a);
	put(out, tag, vr, a.value, a.n);
}

static void
code_item(struct buf *out, const char *code, const char *meaning)
{
	text(out, TAG_CODE, "SH", code);
	text(out, TAG_SCHEME, "SH", "DCM");
	text(out, 0x00080104u, "LO", meaning);
}

static void
reference_item(struct buf *items, const struct note_reference *r)
{
	struct buf one = BUF_INIT;

	text(&one, TAG_CLASS, "UI", r->sop_class);
	text(&one, TAG_INSTANCE, "UI", r->sop_instance);
	item(items, &one);
	buf_fini(&one);
}

static void
evidence(struct buf *out, const struct note_text *t)
{
	struct buf series = BUF_INIT, study = BUF_INIT;
	size_t i = 0;

	while (i < t->n) {
		struct buf of = BUF_INIT, one = BUF_INIT;
		const char *uid = t->series_of[i];

		while (i < t->n && strcmp(t->series_of[i], uid) == 0)
			reference_item(&of, &t->all[i++]);
		sequence(&one, TAG_SOP_SEQUENCE, &of);
		text(&one, 0x0020000eu, "UI", uid);
		item(&series, &one);
		buf_fini(&one);
	}
	sequence(&study, TAG_SERIES_SEQUENCE, &series);
	text(&study, TAG_STUDY, "UI", t->study);
	sequence_of_one(out, TAG_EVIDENCE, &study);
}

static void
content(struct buf *out, const struct note_text *t)
{
	static const char waveforms[] = "1.2.840.10008.5.1.4.1.1.9.";
	struct buf items = BUF_INIT;
	size_t i;

	for (i = 0; i < t->n; i++) {
		const struct note_reference *r = &t->all[i];
		bool wave = strncmp(r->sop_class, waveforms, sizeof(waveforms) - 1) == 0;
		struct buf of = BUF_INIT, one = BUF_INIT;

		reference_item(&of, r);
		sequence(&one, TAG_SOP_SEQUENCE, &of);
		text(&one, 0x0040a010u, "CS", "CONTAINS");
		text(&one, 0x0040a040u, "CS", wave ? "WAVEFORM" : r->image ? "IMAGE" : "COMPOSITE");
		item(&items, &one);
		buf_fini(&one);
	}
	sequence(out, 0x0040a730u, &items);
}

static void
identify(struct buf *out, const struct note_text *t)
{
	struct buf empty = BUF_INIT;

	text(out, 0x00080005u, "CS", "ISO_IR 192");
	text(out, 0x00080016u, "UI", NOTE_CLASS);
	text(out, 0x00080018u, "UI", t->sop_instance);
	of_study(out, t, 0x00080020u, "DA");
	text(out, 0x00080023u, "DA", t->date);
	of_study(out, t, 0x00080030u, "TM");
	text(out, 0x00080033u, "TM", t->time);
	of_study(out, t, 0x00080050u, "SH");
	text(out, 0x00080060u, "CS", "KO");
	text(out, 0x00080070u, "LO", "Salamander");
	of_study(out, t, 0x00080090u, "PN");
	sequence(out, 0x00081111u, &empty);
	of_study(out, t, 0x00100010u, "PN");
	of_study(out, t, 0x00100020u, "LO");
	of_study(out, t, 0x00100021u, "LO");
	of_study(out, t, 0x00100030u, "DA");
	of_study(out, t, 0x00100040u, "CS");
	text(out, 0x0020000du, "UI", t->study);
	text(out, 0x0020000eu, "UI", t->series);
	of_study(out, t, 0x00200010u, "SH");
	text(out, 0x00200011u, "IS", "1");
	text(out, 0x00200013u, "IS", "1");
}

void
note_write(struct buf *out, const struct note_text *t)
{
	struct buf title = BUF_INIT, template = BUF_INIT;

	identify(out, t);
	text(out, 0x0040a040u, "CS", "CONTAINER");
	code_item(&title, titles[t->reason].code, titles[t->reason].meaning);
	sequence_of_one(out, TAG_TITLE, &title);
	text(out, 0x0040a050u, "CS", "SEPARATE");
	evidence(out, t);
	text(&template, 0x00080105u, "CS", "DCMR");
	text(&template, 0x0040db00u, "CS", "2010");
	sequence_of_one(out, 0x0040a504u, &template);
	content(out, t);
}
