#include "common/dimse/regions.h"

#include <string.h>

#include "common/base/err.h"
#include "common/dicom/charset.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "common/dicom/scan.h"
#include "common/dimse/header_scan.h"
#include "common/dimse/identifier.h"
#include "common/store/match.h"

#define TAG_ANATOMIC_REGION 0x00082218u
#define TAG_FRAME_ANATOMY 0x00209071u
#define TAG_SHARED_GROUPS 0x52009229u
#define TAG_FRAME_GROUPS 0x52009230u

enum { CHARSET_BYTES = 256, VALUE_MOST = 1024, PATH = 3 };

/* What is kept of an item; "" for what is not. */
static const char *
vr_of(const void *arg, uint32_t tag)
{
	static const struct identifier_vr code[] = {
		{0x00080100u, "SH"}, {0x00080102u, "SH"},   {0x00080103u, "SH"},
		{0x00080104u, "LO"}, {TAG_LONG_CODE, "UC"}, {TAG_URN_CODE, "UR"},
	};
	size_t i;

	(void)arg;
	for (i = 0; i < sizeof(code) / sizeof(code[0]); i++)
		if (code[i].tag == tag)
			return code[i].vr;
	return "";
}

static const struct match_vrs vrs = {vr_of, NULL};

void
regions_init(struct regions *r, const struct identifier *id, enum query_level level)
{
	struct attr key, item, of;
	size_t pos = 0, at = 0;

	memset(r, 0, sizeof(*r));
	r->asked = level == QUERY_STUDY && attrs_get(attrs_of(&id->keys), TAG_REGIONS, &key);
	if (!r->asked)
		return;
	if (items_next(key, &pos, &item)) {
		items_begin(&r->key);
		while (items_attr(item, &at, &of)) {
			if (vr_of(NULL, of.tag)[0])
				items_put(&r->key, of.tag, of.value, of.n);
			else
				r->beyond = true;
		}
	}
	r->universal = match_items_universal((const char *)r->key.data, r->key.len);
}

void
regions_fini(struct regions *r)
{
	buf_fini(&r->key);
	buf_fini(&r->items);
}

static bool
has_item(const struct buf *all, struct attr item)
{
	struct attr whole = {0, (const char *)all->data, all->len}, one;
	size_t pos = 0;

	while (items_next(whole, &pos, &one))
		if (one.n == item.n && memcmp(one.value, item.value, item.n) == 0)
			return true;
	return false;
}

/* Those of these items that are not there yet. */
static void
add_distinct(struct buf *all, const struct buf *items)
{
	struct attr whole = {0, (const char *)items->data, items->len}, item;
	size_t pos = 0;

	while (items_next(whole, &pos, &item))
		if (item.n > 0 && !has_item(all, item)) {
			items_begin(all);
			buf_put(all, item.value, item.n);
		}
	all->failed = all->failed || buf_failed(items);
}

/* --- one image --- */

struct reading {
	uint32_t path[PATH]; /* the sequences that are open, from the top */
	unsigned open;	     /* how many are                              */
	uint32_t last;	     /* the element just told of                  */
	uint32_t capture;    /* a charset, or an attribute of a code; 0: none */
	char charset[CHARSET_BYTES];
	size_t charset_n;
	struct buf value, item, items; /* text as it came */
	bool too_much;
};

/* An image's own, or its frames'. */
static bool
in_region(const struct reading *r)
{
	if (r->open == 1)
		return r->path[0] == TAG_ANATOMIC_REGION;
	return r->open == PATH &&
	       (r->path[0] == TAG_SHARED_GROUPS || r->path[0] == TAG_FRAME_GROUPS) &&
	       r->path[1] == TAG_FRAME_ANATOMY && r->path[2] == TAG_ANATOMIC_REGION;
}

static void
on_element(void *arg, const struct scan_element *el)
{
	struct reading *r = arg;

	r->last = el->tag;
	r->capture = 0;
	if ((el->depth == 0 && el->tag == TAG_CHARSET) ||
	    (in_region(r) && el->depth == r->open && vr_of(NULL, el->tag)[0]))
		r->capture = el->tag;
	buf_clear(&r->value);
}

static void
on_value(void *arg, const struct scan_element *el, const unsigned char *p, size_t n)
{
	struct reading *r = arg;

	(void)el;
	if (!r->capture)
		return;
	if (r->value.len + n > VALUE_MOST) {
		r->too_much = true;
		r->capture = 0;
		return;
	}
	buf_put(&r->value, p, n);
}

static void
on_end(void *arg, const struct scan_element *el)
{
	struct reading *r = arg;

	(void)el;
	if (r->capture == TAG_CHARSET) {
		r->charset_n = r->value.len < CHARSET_BYTES ? r->value.len : CHARSET_BYTES;
		if (r->charset_n > 0)
			memcpy(r->charset, r->value.data, r->charset_n);
	} else if (r->capture) {
		items_raw(&r->item, r->capture, (const char *)r->value.data, r->value.len);
	}
	r->capture = 0;
}

static void
on_mark(void *arg, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	struct reading *r = arg;

	(void)offset;
	(void)length;
	if (mark == SCAN_SEQUENCE) {
		if (r->open < PATH)
			r->path[r->open] = r->last;
		r->open++;
	} else if (mark == SCAN_SEQUENCE_END && r->open > 0) {
		r->open--;
	} else if (mark == SCAN_ITEM && in_region(r)) {
		buf_clear(&r->item);
		items_begin(&r->item);
	} else if (mark == SCAN_ITEM_END && in_region(r)) {
		add_distinct(&r->items, &r->item);
		r->too_much = r->too_much || r->items.len > REGIONS_BYTES_MOST;
		if (r->too_much)
			buf_clear(&r->items);
	}
	r->capture = 0;
}

/* What the image says, in UTF-8. */
static int
put_items(struct buf *out, const struct reading *r, struct err *e)
{
	struct attr raw = {0, (const char *)r->items.data, r->items.len}, item, of;
	struct buf text = BUF_INIT;
	struct charset *charset;
	size_t pos = 0, at;
	int rc = charset_new(&charset, r->charset, r->charset_n, e);

	if (rc)
		return rc;
	while (items_next(raw, &pos, &item)) {
		items_begin(out);
		for (at = 0; items_attr(item, &at, &of);) {
			buf_clear(&text);
			(void)charset_to_utf8(charset, identifier_text(vr_of(NULL, of.tag)),
					      of.value, of.n, &text);
			while (text.len > 0 && text.data[text.len - 1] == ' ')
				text.len--;
			items_put(out, of.tag, (const char *)text.data, text.len);
		}
	}
	out->failed = out->failed || buf_failed(&text);
	buf_fini(&text);
	charset_free(charset);
	return 0;
}

static int
read_image(struct regions *r, struct store *s, uint64_t oid, struct err *e)
{
	struct reading one = {.last = 0};
	struct scan_handler handler = {on_element, on_value, on_end, on_mark, &one};
	struct buf items = BUF_INIT;
	bool whole;
	int rc = header_scan(&whole, s, oid, &handler, e);

	if (!rc && one.items.len > 0)
		rc = put_items(&items, &one, e);
	add_distinct(&r->items, &items);
	r->items.failed = r->items.failed || buf_failed(&one.value) || buf_failed(&one.item) ||
			  buf_failed(&one.items);
	r->known = whole && !one.too_much && r->items.len <= REGIONS_BYTES_MOST;
	buf_fini(&items);
	buf_fini(&one.value);
	buf_fini(&one.item);
	buf_fini(&one.items);
	return rc;
}

int
regions_of(struct regions *r, struct store *s, struct query *images, uint64_t count, struct err *e)
{
	struct query_match m;
	uint64_t n = 0;
	int rc = 0;

	buf_clear(&r->items);
	r->known = count > 0 && count <= REGIONS_IMAGES_MOST;
	while (!rc && r->known) {
		rc = query_next(images, &m, e);
		if (rc)
			break;
		rc = read_image(r, s, m.oid, e);
		r->images++;
		r->known = r->known && ++n <= REGIONS_IMAGES_MOST;
	}
	if (rc == ERR_ABSENT) {
		r->known = n >= count; /* none that nobody can look into */
		rc = 0;
	}
	if (!rc && buf_failed(&r->items))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for the regions of a study");
	return rc;
}

bool
regions_match(const struct regions *r)
{
	struct attr items = {TAG_REGIONS, (const char *)r->items.data, r->items.len};

	return !r->known || match_items_by(&vrs, (const char *)r->key.data, r->key.len, items);
}

void
regions_answer(const struct regions *r, struct buf *out)
{
	struct attr items = {TAG_REGIONS, (const char *)r->items.data, r->items.len};
	struct buf all = BUF_INIT;

	if (r->known)
		match_items_answer_by(&vrs, (const char *)r->key.data, r->key.len, items, &all);
	add_distinct(out, &all);
	buf_fini(&all);
}
