#include "common/dimse/identifier.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/uid.h"
#include "common/dicom/charset.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "common/dicom/scan.h"

enum { VALUES_MAX = 256, LIST_MAX = 65535, VALUE_SHORT_MAX = 65534 };

static const char implicit_le[] = "1.2.840.10008.1.2";

struct value {
	uint32_t tag;
	size_t offset, n;
};

struct reading {
	struct value values[VALUES_MAX];
	unsigned n;
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
put_key(struct buf *set, struct charset *charset, uint32_t tag, const char *s, size_t n,
	struct err *e)
{
	struct buf text = BUF_INIT;
	const char *vr = identifier_vr(tag);
	enum charset_text kind = strcmp(vr, "PN") == 0	 ? CHARSET_NAME
				 : strcmp(vr, "LT") == 0 ? CHARSET_TEXT
							 : CHARSET_VALUES;
	const char *p;
	int rc = 0;

	if (strcmp(vr, "US") == 0)
		put_shorts(&text, s, n);
	else
		(void)charset_to_utf8(charset, kind, s, n, &text);
	p = (const char *)text.data;
	n = text.len;
	while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\0'))
		n--;
	while (n > 0 && *p == ' ') {
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
		rc = put_key(&out->keys, charset, r->values[i].tag,
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
	buf_init(&out->keys);
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

static void
put_element(struct buf *out, bool implicit, uint32_t tag, const char *vr, const char *value,
	    size_t n)
{
	bool empty = strcmp(vr, "UN") == 0 || strcmp(vr, "SQ") == 0;
	bool is_long = empty || strcmp(vr, "UT") == 0;
	char pad = strcmp(vr, "UI") == 0 ? '\0' : ' ';

	if (empty) /* answered empty: what it holds is not kept in its own form */
		n = 0;
	if (n + n % 2 > VALUE_SHORT_MAX)
		n = VALUE_SHORT_MAX;
	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	if (!implicit) {
		buf_put(out, vr, 2);
		if (is_long)
			buf_put_u16(out, 0);
	}
	if (implicit || is_long)
		buf_put_u32(out, (uint32_t)(n + n % 2));
	else
		buf_put_u16(out, (unsigned)(n + n % 2));
	buf_put(out, value, n);
	if (n % 2)
		buf_put(out, &pad, 1);
}

static void
put_item(struct buf *items, const struct buf *item)
{
	buf_put_u32(items, 0xe000fffe);
	buf_put_u32(items, (uint32_t)item->len);
	buf_put(items, item->data, item->len);
	items->failed = items->failed || buf_failed(item);
}

static void
put_sequence(struct buf *out, bool implicit, uint32_t tag, const struct buf *items)
{
	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	if (!implicit)
		buf_put(out, "SQ\0", 4);
	buf_put_u32(out, (uint32_t)items->len);
	buf_put(out, items->data, items->len);
	out->failed = out->failed || buf_failed(items);
}

/* (0010,1002): an item for each "id^^^issuer". */
static void
put_ids(struct buf *out, bool implicit, struct attr a)
{
	struct buf items = BUF_INIT;

	while (a.n > 0) {
		const char *bar = memchr(a.value, '\\', a.n);
		size_t n = bar ? (size_t)(bar - a.value) : a.n;
		const char *mark = memmem(a.value, n, "^^^", 3);
		size_t id = mark ? (size_t)(mark - a.value) : n;
		struct buf item = BUF_INIT;

		put_element(&item, implicit, TAG_PATIENT_ID, "LO", a.value, id);
		if (mark)
			put_element(&item, implicit, TAG_PATIENT_ISSUER, "LO", mark + 3,
				    n - id - 3);
		put_item(&items, &item);
		buf_fini(&item);
		a.value += bar ? n + 1 : n;
		a.n -= bar ? n + 1 : n;
	}
	put_sequence(out, implicit, TAG_OTHER_IDS, &items);
	buf_fini(&items);
}

/* (0008,0051): one item; what is a UID is the universal ID, the rest the local one. */
static void
put_issuer(struct buf *out, bool implicit, struct attr a)
{
	struct buf items = BUF_INIT, item = BUF_INIT;
	const char *bar = memchr(a.value, '\\', a.n);
	size_t n = bar ? (size_t)(bar - a.value) : a.n, used = 0;

	if (n > 0 && !uid_valid(a.value, n)) {
		put_element(&item, implicit, TAG_ENTITY_LOCAL, "UT", a.value, n);
		used = bar ? n + 1 : n;
	}
	a.value += used;
	a.n -= used;
	if (a.n > 0 && uid_valid(a.value, a.n)) {
		put_element(&item, implicit, TAG_ENTITY_UNIVERSAL, "UT", a.value, a.n);
		put_element(&item, implicit, TAG_ENTITY_TYPE, "CS", "ISO", 3);
	}
	if (item.len > 0)
		put_item(&items, &item);
	put_sequence(out, implicit, TAG_ACCESSION_ISSUER, &items);
	buf_fini(&item);
	buf_fini(&items);
}

static void
put_items(struct buf *out, bool implicit, struct attr a)
{
	struct buf items = BUF_INIT, item = BUF_INIT;
	struct attr one, of;
	size_t pos = 0, at;

	while (items_next(a, &pos, &one)) {
		buf_clear(&item);
		for (at = 0; items_attr(one, &at, &of);)
			if (key_item(a.tag, of.tag))
				put_element(&item, implicit, of.tag, key_item(a.tag, of.tag)->vr,
					    of.value, of.n);
		put_item(&items, &item);
	}
	put_sequence(out, implicit, a.tag, &items);
	buf_fini(&item);
	buf_fini(&items);
}

static void
put_us(struct buf *out, bool implicit, uint32_t tag, struct attr a)
{
	unsigned v = 0;
	size_t i;

	for (i = 0; i < a.n && a.value[i] >= '0' && a.value[i] <= '9'; i++)
		v = v * 10 + (unsigned)(a.value[i] - '0');
	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	if (!implicit)
		buf_puts(out, "US");
	if (implicit)
		buf_put_u32(out, a.n ? 2 : 0);
	else
		buf_put_u16(out, a.n ? 2 : 0);
	if (a.n)
		buf_put_u16(out, v);
}

static bool
ascii(struct attrs set)
{
	const unsigned char *p;
	struct attr a;
	size_t pos = 0, i;

	while (attrs_next(set, &pos, &a))
		for (p = (const unsigned char *)a.value, i = 0; i < a.n; i++)
			if (p[i] >= 0x80)
				return false;
	return true;
}

void
identifier_build(struct buf *out, const char *syntax, struct attrs set)
{
	bool implicit = strcmp(syntax, implicit_le) == 0, said = ascii(set);
	struct attr a;
	size_t pos = 0;

	while (attrs_next(set, &pos, &a)) {
		const char *vr = identifier_vr(a.tag);

		if (a.tag == TAG_CHARSET)
			continue;
		if (!said && a.tag > TAG_CHARSET) {
			put_element(out, implicit, TAG_CHARSET, "CS", "ISO_IR 192", 10);
			said = true;
		}
		if (strcmp(vr, "US") == 0)
			put_us(out, implicit, a.tag, a);
		else if (a.tag == TAG_OTHER_IDS)
			put_ids(out, implicit, a);
		else if (a.tag == TAG_ACCESSION_ISSUER)
			put_issuer(out, implicit, a);
		else if (has_items(a.tag))
			put_items(out, implicit, a);
		else
			put_element(out, implicit, a.tag, vr, a.value, a.n);
	}
}

void
identifier_build_list(struct buf *out, const char *syntax, uint32_t tag, const struct buf *uids)
{
	bool implicit = strcmp(syntax, implicit_le) == 0;
	size_t n = uids->len + uids->len % 2;

	if (n <= VALUE_SHORT_MAX) {
		put_element(out, implicit, tag, "UI", (const char *)uids->data, uids->len);
		return;
	}
	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	if (!implicit) {
		buf_puts(out, "UN");
		buf_put_u16(out, 0);
	}
	buf_put_u32(out, (uint32_t)n);
	buf_put(out, uids->data, uids->len);
	if (uids->len % 2)
		buf_put_u8(out, 0);
}
