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
	bool item;		/* what is captured is an attribute of a sequence's item */
	bool hex;		/* and is binary                                         */
	unsigned depth;		/* of the last element                                  */
	size_t value_at;	/* in bytes: where that attribute's value begins */
	size_t item_at, item_n; /* bytes and value before the attribute that is captured */
	bool unknown;		/* attributes in items that nobody keeps */
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
	{TAG_STUDY_INSTANCES, "IS"}, {TAG_SERIES_INSTANCES, "IS"},  {TAG_ALTERNATES, "SQ"},
	{TAG_REGIONS, "SQ"},
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

const char *
identifier_item_vr(const struct identifier_vr *more, unsigned n_more, uint32_t tag)
{
	const char *vr = identifier_vr(tag);
	const struct key_item *all;
	size_t i, n;

	if (strcmp(vr, "UN") != 0)
		return vr;
	all = key_items(&n);
	for (i = 0; i < n; i++)
		if (all[i].tag == tag)
			return all[i].vr;
	for (i = 0; i < n_more; i++)
		if (more[i].tag == tag)
			return more[i].vr;
	return "";
}

bool
identifier_looks_binary(const void *value, size_t n)
{
	const unsigned char *p = value;
	size_t i;

	while (n > 0 && p[n - 1] == '\0')
		n--;
	for (i = 0; i < n; i++)
		if (p[i] < ' ' && p[i] != '\033' && (p[i] < '\t' || p[i] > '\r'))
			return true;
	return false;
}

/* An explicit identifier says itself what an attribute is that no table knows; what holds items
 * is a sequence whatever it says. */
static void
note_vr(struct identifier *id, uint32_t tag, const char vr[2])
{
	struct identifier_vr *to = NULL;
	unsigned i;

	for (i = 0; i < id->n_said && !to; i++)
		if (id->said[i].tag == tag)
			to = &id->said[i];
	if (!vr[0] || strcmp(identifier_vr(tag), "UN") != 0 ||
	    (!to && id->n_said == IDENTIFIER_VRS_MAX))
		return;
	if (!to)
		to = &id->said[id->n_said++];
	to->tag = tag;
	memcpy(to->vr, vr, 2);
	to->vr[2] = '\0';
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

/* Of these two, an attribute that is neither answered nor compared. */
static bool
in_vain(const struct reading *r, const struct scan_element *el)
{
	const struct value *v = r->n ? &r->values[r->n - 1] : NULL;

	if (!v || el->depth != 1 || (el->tag & 0xffff) == 0)
		return false;
	if (v->tag == TAG_OTHER_IDS)
		return el->tag != TAG_PATIENT_ID && el->tag != TAG_PATIENT_ISSUER;
	/* The item's type is answered. */
	return v->tag == TAG_ACCESSION_ISSUER &&
	       (el->length > 0 || (el->tag != TAG_ENTITY_LOCAL && el->tag != TAG_ENTITY_UNIVERSAL &&
				   el->tag != TAG_ENTITY_TYPE));
}

/* Which attributes of its items are kept: whatever an object may say. */
static bool
kept(uint32_t tag)
{
	return tag >> 16 >= 8 && !(tag >> 16 & 1) && (tag & 0xffff) != 0;
}

static bool
has_items(uint32_t tag)
{
	const struct key *k = key_find(tag);

	return k ? k->kind == KEY_ITEMS
		 : tag == TAG_REGIONS || strcmp(identifier_vr(tag), "UN") == 0;
}

/* An attribute of a sequence's item is a key in the form of items.h. */
static bool
item_key(struct reading *r, const struct scan_element *el)
{
	struct value *v = r->n ? &r->values[r->n - 1] : NULL;
	size_t before = r->bytes.len;

	if (!v || el->depth != 1 || !has_items(v->tag))
		return false;
	if (!kept(el->tag)) {
		r->unknown = r->unknown || (el->tag & 0xffff) != 0;
		return false;
	}
	if (key_find(v->tag) && !key_item(v->tag, el->tag))
		tags_add(&r->id->beyond, v->tag);
	note_vr(r->id, el->tag, el->vr);
	r->hex = identifier_binary(identifier_item_vr(r->id->said, r->id->n_said, el->tag));
	r->item_at = before;
	r->item_n = v->n;
	if (v->n == 0)
		items_begin(&r->bytes);
	items_put(&r->bytes, el->tag, "", 0);
	if (buf_failed(&r->bytes))
		return false;
	r->bytes.len--; /* its end comes behind the value */
	r->value_at = r->bytes.len;
	v->n += r->bytes.len - before;
	return true;
}

static void
on_element(void *arg, const struct scan_element *el)
{
	struct reading *r = arg;

	r->item = r->hex = false;
	r->depth = el->depth;
	if (el->depth > 0) {
		r->item = item_key(r, el);
		r->capture = r->item || other_id(r, el) || issuer(r, el);
		r->unknown = r->unknown || (!r->capture && in_vain(r, el));
		return;
	}
	r->capture = (el->tag & 0xffff) != 0;
	if (r->capture && r->n == VALUES_MAX) {
		r->too_much = true;
		r->capture = false;
	}
	if (!r->capture)
		return;
	note_vr(r->id, el->tag, el->vr);
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
	if (r->hex)
		items_hex(&r->bytes, p, n);
	else
		buf_put(&r->bytes, p, n);
	r->values[r->n - 1].n += r->hex ? 2 * n : n;
}

/* Of a VR that nobody says: numbers are kept as those are that say it. */
static void
end_unknown(struct reading *r)
{
	const unsigned char *from = r->bytes.data + r->value_at;
	size_t n = r->bytes.len - r->value_at;
	struct buf hex = BUF_INIT;

	if (!identifier_looks_binary(from, n))
		return;
	items_hex(&hex, from, n);
	r->bytes.len = r->value_at;
	buf_put(&r->bytes, hex.data, hex.len);
	r->values[r->n - 1].n += hex.len - n;
	r->bytes.failed = r->bytes.failed || buf_failed(&hex);
	buf_fini(&hex);
}

static void
end_item_key(struct reading *r, uint32_t tag)
{
	struct value *v = &r->values[r->n - 1];
	unsigned char last;

	if (!r->bytes.failed && !identifier_item_vr(r->id->said, r->id->n_said, tag)[0])
		end_unknown(r);
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

	if (r->item && r->capture)
		end_item_key(r, el->tag);
	r->item = r->capture = false;
}

static void
on_mark(void *arg, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	struct reading *r = arg;

	(void)offset;
	(void)length;
	if (mark == SCAN_SEQUENCE && r->item && r->capture) { /* in an item: not looked into */
		r->bytes.len = r->item_at;
		r->values[r->n - 1].n = r->item_n;
		r->unknown = true;
	} else if (mark == SCAN_SEQUENCE && r->depth == 0 && r->capture) {
		note_vr(r->id, r->values[r->n - 1].tag, "SQ");
	}
	r->item = r->capture = false;
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
identifier_indexed(const struct identifier *id, struct buf *out)
{
	struct attr key, item, of;
	struct buf left = BUF_INIT;
	size_t pos = 0, at, in;

	while (attrs_next(attrs_of(&id->keys), &pos, &key)) {
		bool beyond = tags_has(&id->beyond, key.tag);

		buf_clear(&left);
		for (at = 0; beyond && items_next(key, &at, &item);) {
			items_begin(&left);
			for (in = 0; items_attr(item, &in, &of);)
				if (key_item(key.tag, of.tag))
					items_put(&left, of.tag, of.value, of.n);
		}
		buf_put_u32(out, key.tag);
		buf_put_u16(out, (unsigned)(beyond ? left.len : key.n));
		buf_put(out, beyond ? (const char *)left.data : key.value,
			beyond ? left.len : key.n);
	}
	out->failed = out->failed || buf_failed(&left);
	buf_fini(&left);
}

void
identifier_fini(struct identifier *id)
{
	buf_fini(&id->keys);
}
