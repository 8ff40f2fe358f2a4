#include "common/dimse/identifier.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/uid.h"
#include "common/dicom/charset.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "common/dicom/scan.h"

enum { VALUES_MAX = 256, LIST_MAX = 65535 };

static const char implicit_le[] = "1.2.840.10008.1.2";

struct value {
	uint32_t tag;
	size_t offset, n;
};

struct reading {
	struct value values[VALUES_MAX];
	unsigned n;
	struct identifier *id;
	struct buf bytes;
	bool capture;
	bool item;     /* what is captured is an attribute of a sequence's item */
	bool unknown;  /* attributes in items that nobody keeps */
	bool too_much; /* a value or a number of keys that we do not hold: refused, never cut */
};

struct extra {
	uint32_t tag;
	char vr[3];
};

/* What stands in identifiers and is no key of an object. */
static const struct extra extras[] = {
	{TAG_CHARSET, "CS"},	     {TAG_QUERY_LEVEL, "CS"},	    {TAG_RETRIEVE_AET, "AE"},
	{TAG_AVAILABILITY, "CS"},    {TAG_FAILED_UIDS, "UI"},	    {TAG_MODALITIES, "CS"},
	{TAG_CLASSES, "UI"},	     {TAG_AVAILABLE_SYNTAX, "UI"},  {TAG_PATIENT_STUDIES, "IS"},
	{TAG_PATIENT_SERIES, "IS"},  {TAG_PATIENT_INSTANCES, "IS"}, {TAG_STUDY_SERIES, "IS"},
	{TAG_STUDY_INSTANCES, "IS"}, {TAG_SERIES_INSTANCES, "IS"},
};

const char *
identifier_vr(uint32_t tag)
{
	const struct key *k = key_find(tag);
	size_t i;

	if (k)
		return k->vr;
	for (i = 0; i < sizeof(extras) / sizeof(extras[0]); i++)
		if (extras[i].tag == tag)
			return extras[i].vr;
	return "UN";
}

const char *
identifier_said(const struct identifier *id, uint32_t tag)
{
	static const char nothing[3] = ""; /* copied whole, as the others are */
	unsigned i;

	for (i = 0; i < id->n_said; i++)
		if (id->said[i].tag == tag)
			return id->said[i].vr;
	return nothing;
}

bool
identifier_binary(const char *vr)
{
	static const char all[] = "AT FD FL OB OD OF OL OV OW SL SS SV UL UN US UV";

	return strlen(vr) == 2 && strstr(all, vr) != NULL;
}

/* An explicit identifier says itself what an attribute is that no table knows. */
static void
note_vr(struct identifier *id, const struct scan_element *el)
{
	struct identifier_vr *to = &id->said[id->n_said];

	if (!el->vr[0] || id->n_said == IDENTIFIER_VRS_MAX ||
	    strcmp(identifier_vr(el->tag), "UN") != 0)
		return;
	to->tag = el->tag;
	memcpy(to->vr, el->vr, 2);
	to->vr[2] = '\0';
	id->n_said++;
}

/* (0010,1002) is a key as "id^^^issuer", as the index keeps it (R33). */
static bool
other_id(struct reading *r, const struct scan_element *el)
{
	struct value *v = r->n ? &r->values[r->n - 1] : NULL;

	if (!v || v->tag != TAG_OTHER_IDS || el->depth != 1 || el->length == 0)
		return false;
	if (el->tag != TAG_PATIENT_ISSUER)
		return el->tag == TAG_PATIENT_ID && v->n == 0;
	while (v->n > 0 && r->bytes.data[r->bytes.len - 1] == ' ') {
		v->n--;
		r->bytes.len--;
	}
	buf_puts(&r->bytes, "^^^");
	v->n += 3;
	return true;
}

/* (0008,0051) is a key as the entity ID of its item, local or universal (R33). */
static bool
issuer(const struct reading *r, const struct scan_element *el)
{
	const struct value *v = r->n ? &r->values[r->n - 1] : NULL;

	return v && v->tag == TAG_ACCESSION_ISSUER && v->n == 0 && el->depth == 1 &&
	       (el->tag == TAG_ENTITY_LOCAL || el->tag == TAG_ENTITY_UNIVERSAL);
}

static bool
has_items(uint32_t tag)
{
	const struct key *k = key_find(tag);

	return k && k->kind == KEY_ITEMS;
}

/* An attribute of a sequence's item is a key in the form of items.h. */
static bool
item_key(struct reading *r, const struct scan_element *el)
{
	struct value *v = r->n ? &r->values[r->n - 1] : NULL;
	size_t before = r->bytes.len;

	if (!v || el->depth != 1 || !has_items(v->tag))
		return false;
	if (!key_item(v->tag, el->tag))
		r->unknown = r->unknown || (el->tag & 0xffff) != 0;
	if (!key_item(v->tag, el->tag))
		return false;
	if (v->n == 0)
		items_begin(&r->bytes);
	items_put(&r->bytes, el->tag, "", 0);
	if (buf_failed(&r->bytes))
		return false;
	r->bytes.len--; /* its end comes behind the value */
	v->n += r->bytes.len - before;
	return true;
}

static void
on_element(void *arg, const struct scan_element *el)
{
	struct reading *r = arg;

	r->item = false;
	if (el->depth > 0) {
		r->item = item_key(r, el);
		r->capture = r->item || other_id(r, el) || issuer(r, el);
		return;
	}
	r->capture = (el->tag & 0xffff) != 0;
	if (r->capture && r->n == VALUES_MAX) {
		r->too_much = true;
		r->capture = false;
	}
	if (!r->capture)
		return;
	note_vr(r->id, el);
	r->values[r->n].tag = el->tag;
	r->values[r->n].offset = r->bytes.len;
	r->values[r->n].n = 0;
	r->n++;
}

static void
on_value(void *arg, const struct scan_element *el, const unsigned char *p, size_t n)
{
	struct reading *r = arg;

	(void)el;
	if (!r->capture)
		return;
	if (r->values[r->n - 1].n + n > LIST_MAX) {
		r->too_much = true;
		return;
	}
	buf_put(&r->bytes, p, n);
	r->values[r->n - 1].n += n;
}

static void
end_item_key(struct reading *r)
{
	struct value *v = &r->values[r->n - 1];
	unsigned char last;

	while (r->bytes.len > 0 && !r->bytes.failed) {
		last = r->bytes.data[r->bytes.len - 1];
		if (last != ' ' && last != '\0')
			break;
		r->bytes.len--;
		v->n--;
	}
	buf_put_u8(&r->bytes, ITEMS_END);
	v->n++;
}

static void
on_end(void *arg, const struct scan_element *el)
{
	struct reading *r = arg;

	(void)el;
	if (r->item && r->capture)
		end_item_key(r);
	r->item = r->capture = false;
}

static void
on_mark(void *arg, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	(void)mark;
	(void)offset;
	(void)length;
	((struct reading *)arg)->capture = false;
}

/* US: decimal text, as the index keeps it. */
static void
put_shorts(struct buf *text, const char *s, size_t n)
{
	size_t i;

	for (i = 0; i + 2 <= n; i += 2)
		buf_printf(text, "%s%u", i ? "\\" : "", (unsigned)buf_get_u16(s + i));
}

/* A key without the pads around it; lists of UIDs can be longer than an index value. */
static int
put_key(struct identifier *id, struct charset *charset, uint32_t tag, const char *s, size_t n,
	struct err *e)
{
	struct buf text = BUF_INIT, *set = &id->keys;
	const char *vr = identifier_vr(tag);
	bool raw = identifier_binary(identifier_said(id, tag));
	const char *p;
	int rc = 0;

	if (strcmp(vr, "US") == 0)
		put_shorts(&text, s, n);
	else if (raw)
		buf_put(&text, s, n);
	else
		(void)charset_to_utf8(charset, identifier_text(vr), s, n, &text);
	p = (const char *)text.data;
	n = text.len;
	while (!raw && n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\0'))
		n--;
	while (!raw && n > 0 && *p == ' ') {
		p++;
		n--;
	}
	if (n > LIST_MAX) { /* it grew on its way to UTF-8 */
		rc = err_set(e, ERR_PEER, 0, "too long a value (%04X,%04X)", tag >> 16,
			     tag & 0xffff);
	} else {
		buf_put_u32(set, tag);
		buf_put_u16(set, (unsigned)n);
		buf_put(set, p, n);
	}
	buf_fini(&text);
	return rc;
}

static int
by_tag(const void *a, const void *b)
{
	const struct value *x = a, *y = b;

	if (x->tag != y->tag)
		return x->tag < y->tag ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int
collect(struct identifier *out, struct reading *r, struct err *e)
{
	struct charset *charset;
	const char *name = "";
	size_t n = 0;
	unsigned i;
	int rc;

	for (i = 0; i < r->n; i++)
		if (r->values[i].tag == TAG_CHARSET) {
			n = r->values[i].n;
			name = n ? (const char *)r->bytes.data + r->values[i].offset : "";
		}
	rc = charset_new(&charset, name, n, e);
	if (rc)
		return rc;
	/* Out of order, as some send them: none is lost; of two alike the first counts. */
	qsort(r->values, r->n, sizeof(r->values[0]), by_tag);
	for (i = 0; !rc && i < r->n; i++) {
		if (i && r->values[i].tag == r->values[i - 1].tag)
			continue;
		rc = put_key(out, charset, r->values[i].tag,
			     r->bytes.data ? (const char *)r->bytes.data + r->values[i].offset : "",
			     r->values[i].n, e);
	}
	charset_free(charset);
	if (!rc && buf_failed(&out->keys))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for an identifier");
	return rc;
}

int
identifier_parse(struct identifier *out, const char *syntax, const void *p, size_t n, struct err *e)
{
	struct scan_config c;
	struct reading r;
	struct scan *s;
	int rc;

	memset(&r, 0, sizeof(r));
	memset(out, 0, sizeof(*out));
	buf_init(&out->keys);
	r.id = out;
	scan_config_default(&c);
	c.syntax = strcmp(syntax, implicit_le) == 0 ? SCAN_IMPLICIT : SCAN_EXPLICIT;
	c.max_depth = 16;
	c.handler = (struct scan_handler){on_element, on_value, on_end, on_mark, &r};
	rc = scan_new(&s, &c, e);
	if (rc)
		return rc;
	scan_feed(s, p, n);
	scan_end(s);
	if (scan_flags(s) & (SCAN_LIMITS | SCAN_TRUNCATED))
		rc = err_set(e, ERR_PEER, 0, "an identifier that cannot be read");
	else if (r.too_much)
		rc = err_set(e, ERR_PEER, 0, "an identifier with too much in it");
	else
		rc = collect(out, &r, e);
	out->unknown_items = r.unknown;
	scan_free(s);
	buf_fini(&r.bytes);
	if (rc)
		identifier_fini(out);
	return rc;
}

void
identifier_fini(struct identifier *id)
{
	buf_fini(&id->keys);
}
