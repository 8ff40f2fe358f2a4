#include "common/dicom/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/dicom/attrs.h"
#include "common/dicom/canon.h"
#include "common/dicom/charset.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "common/dicom/scan.h"

enum {
	RAW_VALUE_MAX = 4096,	 /* bytes of one value that are kept for the index */
	RAW_VALUES = 384,	 /* of attributes and of items together            */
	RAW_RESERVED = 128,	 /* of these: more than there are keys             */
	IDENTITY_WITHIN = 65536, /* R1 */
	OUTLINE_MAX = 65536
};

struct raw {
	uint32_t tag;		 /* ITEM: an item of the sequence before it begins */
	uint32_t offset, length; /* in raw_bytes                                   */
	bool nested;
};
#define ITEM 0xfffee000u
enum { EDGE = 4 }; /* an end marker, and what fills a fragment up */

struct content {
	struct object_info *info;
	struct xxh128 *content, *kept; /* kept: content without the pads seen last */
	struct xxh128 *pixels;
	struct raw raw[RAW_VALUES];
	unsigned n_raw;
	struct buf raw_bytes;
	uint32_t top_tag;    /* the top level element under way */
	unsigned item_depth; /* items that are open in it       */
	bool capture, is_pixels, first_fragment, pixel_fragments, ids_known;
	uint64_t length, kept_length; /* of the value under way */
	bool binary, nul_pads;	      /* it is no text; NULs lie behind kept_length */
	struct fragment *fragments;
	size_t n_fragments, max_fragments;
	unsigned char head[2], tail[EDGE]; /* of the fragment under way: its first and last bytes */
	bool wants_outline, item_open, item_pixels; /* of the outline */
	struct outline_item *outline;
	size_t n_outline;
};

static bool
top_pixels(const struct scan_element *el)
{
	return el->depth == 0 && (el->tag == TAG_FLOAT_DATA || el->tag == TAG_DOUBLE_DATA ||
				  el->tag == TAG_PIXEL_DATA);
}

static void
add_tag(struct content *c, uint32_t tag)
{
	unsigned char b[4];

	buf_set_u32(b, tag);
	xxh128_add(c->content, b, sizeof(b));
}

/* Not part of the content: how long a group is and what fills a file up. */
static bool
left_out(const struct scan_element *el)
{
	return (el->tag & 0xffff) == 0 || el->tag == 0xfffcfffcu;
}

static bool
nested_key(const struct content *c, const struct scan_element *el)
{
	if (el->depth != 1)
		return false;
	if (c->top_tag == TAG_OTHER_IDS)
		return el->tag == TAG_PATIENT_ID || el->tag == TAG_PATIENT_ISSUER;
	if (c->top_tag == TAG_ACCESSION_ISSUER)
		return el->tag == TAG_ENTITY_LOCAL || el->tag == TAG_ENTITY_UNIVERSAL;
	return key_item(c->top_tag, el->tag) != NULL;
}

static void
add_raw(struct content *c, uint32_t tag, bool nested)
{
	struct raw *r = &c->raw[c->n_raw++];

	r->tag = tag;
	r->offset = (uint32_t)c->raw_bytes.len;
	r->length = 0;
	r->nested = nested;
}

/* A sequence of many items leaves room for all attributes behind it. */
static bool
may_nest(const struct content *c)
{
	return c->n_raw < RAW_VALUES - RAW_RESERVED;
}

static void
begin_capture(struct content *c, const struct scan_element *el)
{
	bool top = el->depth == 0 && (el->tag == TAG_CHARSET || key_find(el->tag));

	c->capture = (top && c->n_raw < RAW_VALUES) || (nested_key(c, el) && may_nest(c));
	if (c->capture)
		add_raw(c, el->tag, el->depth > 0);
}

static void
begin_value(struct content *c)
{
	c->length = c->kept_length = 0;
	c->binary = c->nul_pads = false;
}

/* --- outline: the same bytes are hashed, for each top level element anew --- */

static void
end_item(struct content *c)
{
	if (!c->item_open)
		return;
	xxh128_end(c->item_pixels ? c->pixels : c->content, c->outline[c->n_outline - 1].hash);
	c->item_open = false;
}

static void
begin_item(struct content *c, const struct scan_element *el)
{
	struct outline_item *grown;

	end_item(c);
	if (left_out(el) || c->n_outline >= OUTLINE_MAX)
		return;
	if (c->n_outline % 256 == 0) {
		grown = realloc(c->outline, (c->n_outline + 256) * sizeof(*grown));
		if (!grown) {
			c->raw_bytes.failed = true;
			return;
		}
		c->outline = grown;
	}
	c->outline[c->n_outline++].tag = el->tag;
	c->item_pixels = top_pixels(el);
	c->item_open = true;
}

static int
by_tag(const void *a, const void *b)
{
	const struct outline_item *x = a, *y = b;

	return x->tag < y->tag ? -1 : x->tag > y->tag;
}

static void
end_outline(struct content *c)
{
	end_item(c);
	if (c->n_outline)
		qsort(c->outline, c->n_outline, sizeof(*c->outline), by_tag);
	c->info->outline = c->outline;
	c->info->n_outline = c->n_outline;
}

static void
on_element(void *arg, const struct scan_element *el)
{
	struct content *c = arg;

	if (el->depth == 0) {
		c->top_tag = el->tag;
		c->item_depth = 0;
		if (el->tag > TAG_SOP_INSTANCE)
			c->ids_known = true;
		if (c->wants_outline)
			begin_item(c, el);
	}
	c->is_pixels = top_pixels(el);
	if (c->is_pixels && !c->info->has_pixels) {
		c->info->has_pixels = true;
		c->info->header_length = el->offset; /* in the data set; canon.c adds the header */
		c->info->pixel_offset = el->value;
		c->info->pixel_length = el->undefined ? 0 : el->length;
	}
	begin_value(c);
	begin_capture(c, el);
	if (!left_out(el) && !c->is_pixels)
		add_tag(c, el->tag);
}

static size_t
without_pads(const unsigned char *p, size_t n)
{
	while (n > 0 && (p[n - 1] == 0 || p[n - 1] == ' '))
		n--;
	return n;
}

/* No control characters but those of PS3.5 6.1.3. */
static bool
is_text(const unsigned char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (p[i] < ' ' && !(p[i] && strchr("\t\n\f\r\033", p[i])))
			return false;
	return true;
}

/*
 * Without a VR only the bytes tell what a value is. What may be text counts without the
 * NULs and spaces at its end; anything else counts as it is: a number that becomes 32
 * (a space) has changed. kept is left as content was behind the last byte that is no pad.
 */
static void
add_value(struct content *c, const unsigned char *p, size_t n)
{
	size_t whole = c->binary ? n : without_pads(p, n);

	if (whole > 0) {
		xxh128_add(c->content, p, whole);
		c->binary = c->binary || c->nul_pads || !is_text(p, whole);
		c->kept_length = c->length + whole;
		c->nul_pads = false;
	}
	if (whole < n) {
		if (c->kept_length == c->length + whole) /* these are the first pads behind it */
			xxh128_copy(c->kept, c->content);
		c->nul_pads = c->nul_pads || memchr(p + whole, 0, n - whole);
		xxh128_add(c->content, p + whole, n - whole);
	}
	c->length += n;
}

static void
add_length(struct content *c, uint64_t length)
{
	unsigned char b[8];

	buf_set_u64(b, length);
	xxh128_add(c->content, b, sizeof(b));
}

/* An odd length is padded with one NUL wherever it is written again. */
static uint64_t
make_even(struct xxh128 *x, uint64_t length)
{
	if (length % 2)
		xxh128_add(x, "", 1);
	return length + length % 2;
}

static void
end_value(struct content *c)
{
	bool numbers = c->binary || (c->kept_length == 0 && c->nul_pads);

	if (numbers) {
		add_length(c, make_even(c->content, c->length));
		return;
	}
	if (c->kept_length < c->length)
		xxh128_copy(c->content, c->kept);
	add_length(c, c->kept_length);
}

/* --- fragments --- */

static void
note_bytes(struct content *c, const unsigned char *p, size_t n)
{
	size_t i, kept = n < EDGE ? EDGE - n : 0;

	for (i = 0; i < n && c->length + i < sizeof(c->head); i++)
		c->head[c->length + i] = p[i];
	memmove(c->tail, c->tail + EDGE - kept, kept);
	memcpy(c->tail + kept, p + n - (EDGE - kept), EDGE - kept);
}

/*
 * Without an offset table only the codestreams say where a frame begins (PS3.5 A.4): SOI or SOC,
 * and EOI or EOC, which are no part of the bits between. RLE has a fragment for each frame anyway.
 */
static void
note_marks(struct content *c)
{
	struct fragment *f = &c->fragments[c->n_fragments - 1];
	size_t end = EDGE;

	if (c->first_fragment || c->info->fragments_cut)
		return;
	while (end > 2 && c->tail[end - 1] == 0)
		end--;
	f->begins =
		c->length >= 2 && c->head[0] == 0xff && (c->head[1] == 0xd8 || c->head[1] == 0x4f);
	f->ends =
		c->length >= EDGE - end + 2 && c->tail[end - 2] == 0xff && c->tail[end - 1] == 0xd9;
}

static void
on_value(void *arg, const struct scan_element *el, const unsigned char *p, size_t n)
{
	struct content *c = arg;

	if (c->is_pixels) {
		if (c->pixel_fragments && c->first_fragment)
			return; /* the offset table is no image */
		if (c->pixel_fragments && n)
			note_bytes(c, p, n);
		xxh128_add(c->pixels, p, n);
		c->length += n;
		return;
	}
	if (c->capture) {
		struct raw *r = &c->raw[c->n_raw - 1];
		size_t part = RAW_VALUE_MAX - r->length;

		part = n < part ? n : part;
		buf_put(&c->raw_bytes, p, part);
		r->length += (uint32_t)part;
	}
	if (!left_out(el))
		add_value(c, p, n);
}

static void
copy_uid(char out[UID_SIZE], const unsigned char *p, size_t n)
{
	size_t len = uid_trim((const char *)p, n);

	out[0] = '\0';
	if (!uid_usable((const char *)p, len))
		return;
	memcpy(out, p, len);
	out[len] = '\0';
}

static void
note_identity(struct content *c, const struct scan_element *el)
{
	const struct raw *r = &c->raw[c->n_raw - 1];
	char *to = el->tag == TAG_SOP_CLASS	 ? c->info->sop_class
		   : el->tag == TAG_SOP_INSTANCE ? c->info->sop_instance
						 : NULL;

	/* R1: whole within the first 64 KiB, so that the digest can be streamed. */
	if (c->ids_known || el->value + el->length > IDENTITY_WITHIN || r->length != el->length)
		return;
	if (!to || to[0]) /* the first that is usable counts */
		return;
	copy_uid(to, c->raw_bytes.data + r->offset, r->length);
	c->ids_known = c->info->sop_class[0] && c->info->sop_instance[0];
}

static void
on_value_end(void *arg, const struct scan_element *el)
{
	struct content *c = arg;

	if (c->is_pixels) {
		(void)make_even(c->pixels, c->length);
		c->is_pixels = false;
		return;
	}
	if (c->capture && el->depth == 0 && el->length > 0)
		note_identity(c, el);
	c->capture = false;
	if (left_out(el))
		return;
	end_value(c);
}

static void
note_fragment(struct content *c, uint64_t offset, uint32_t length)
{
	struct fragment *grown;

	if (c->n_fragments >= c->max_fragments || c->info->fragments_cut) {
		c->info->fragments_cut = true;
		return;
	}
	if (c->n_fragments % 64 == 0) {
		grown = realloc(c->fragments, (c->n_fragments + 64) * sizeof(*grown));
		if (!grown) { /* a shorter frame table, nothing worse */
			c->info->fragments_cut = true;
			return;
		}
		c->fragments = grown;
	}
	c->fragments[c->n_fragments++] = (struct fragment){.offset = offset, .length = length};
}

static void
on_fragment_mark(struct content *c, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	if (mark == SCAN_FRAGMENTS) {
		c->pixel_fragments = c->is_pixels;
		c->first_fragment = true;
		if (c->is_pixels)
			c->info->encapsulated = true;
	} else if (mark == SCAN_FRAGMENT) {
		if (c->pixel_fragments) {
			c->is_pixels = true;
			note_fragment(c, offset, length);
		}
		begin_value(c);
	} else if (mark == SCAN_FRAGMENT_END) {
		if (c->pixel_fragments) {
			note_marks(c);
			(void)make_even(c->pixels, c->length);
		} else { /* an icon */
			end_value(c);
		}
		c->first_fragment = false;
	} else if (c->pixel_fragments) {
		c->pixel_fragments = c->is_pixels = false;
	}
}

static bool
keeps_items(uint32_t tag)
{
	const struct key *k = key_find(tag);

	return k && (k->kind == KEY_IDS || k->kind == KEY_ITEMS);
}

static void
on_mark(void *arg, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	struct content *c = arg;

	switch (mark) {
	case SCAN_SEQUENCE:
		c->is_pixels = c->capture = false;
		break;
	case SCAN_ITEM:
		if (c->item_depth++ == 0 && keeps_items(c->top_tag) && may_nest(c))
			add_raw(c, ITEM, true);
		add_tag(c, ITEM);
		break;
	case SCAN_ITEM_END:
		c->item_depth -= c->item_depth > 0;
		add_tag(c, 0xfffee00du);
		break;
	case SCAN_SEQUENCE_END: /* as an element without a value: so an empty sequence is one */
		add_length(c, 0);
		break;
	case SCAN_FRAGMENTS:
	case SCAN_FRAGMENT:
	case SCAN_FRAGMENT_END:
	case SCAN_FRAGMENTS_END:
		on_fragment_mark(c, mark, offset, length);
		break;
	}
}

int
content_new(struct content **out, struct object_info *info, size_t max_fragments, struct err *e)
{
	struct content *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory to scan an object");
	c->info = info;
	c->max_fragments = max_fragments;
	rc = xxh128_new(&c->content, e);
	if (!rc)
		rc = xxh128_new(&c->kept, e);
	if (!rc)
		rc = xxh128_new(&c->pixels, e);
	if (rc) {
		content_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void
content_free(struct content *c)
{
	if (!c)
		return;
	xxh128_free(c->content);
	xxh128_free(c->kept);
	xxh128_free(c->pixels);
	buf_fini(&c->raw_bytes);
	free(c->fragments);
	free(c->outline);
	free(c);
}

void
content_outline(struct content *c)
{
	c->wants_outline = true;
}

void
content_handler(struct content *c, struct scan_handler *h)
{
	h->element = on_element;
	h->value = on_value;
	h->value_end = on_value_end;
	h->mark = on_mark;
	h->arg = c;
}

bool
content_ids_known(const struct content *c)
{
	return c->ids_known;
}

void
content_ids_decided(struct content *c)
{
	c->ids_known = true;
}

/* --- attribute sets --- */

struct text {
	struct content *c;
	struct charset *charset;
	struct buf value;
};

static const unsigned char *
raw_value(const struct content *c, const struct raw *r)
{
	static const unsigned char none[1];

	return c->raw_bytes.data ? c->raw_bytes.data + r->offset : none;
}

/*
 * Values without the pads around each (PS3.5 6.2: leading and trailing spaces mean nothing),
 * and without what some senders leave behind a NUL.
 */
static void
put_trimmed(struct buf *out, const char *s, size_t n, bool values)
{
	while (n > 0) {
		const char *bar = values ? memchr(s, '\\', n) : NULL;
		size_t part = bar ? (size_t)(bar - s) : n, len = strnlen(s, part), skip = 0;

		while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\0'))
			len--;
		while (values && skip < len && s[skip] == ' ')
			skip++;
		buf_put(out, s + skip, len - skip);
		if (bar)
			buf_put(out, "\\", 1);
		part += bar ? 1 : 0;
		s += part;
		n -= part;
	}
}

static void
put_short(struct buf *out, const unsigned char *p, size_t n)
{
	size_t i;

	for (i = 0; i + 2 <= n; i += 2)
		buf_printf(out, "%s%u", i ? "\\" : "", (unsigned)buf_get_u16(p + i));
}

static void
put_text(struct text *t, const struct key *key, const unsigned char *p, size_t n)
{
	struct buf utf8 = BUF_INIT;
	enum charset_text kind = key->kind == KEY_NAME	 ? CHARSET_NAME
				 : key->kind == KEY_LONG ? CHARSET_TEXT
							 : CHARSET_VALUES;

	if (!charset_to_utf8(t->charset, kind, (const char *)p, n, &utf8))
		t->c->info->flags |= OBJECT_TEXT;
	put_trimmed(&t->value, (const char *)utf8.data, utf8.len, key->kind != KEY_LONG);
	buf_fini(&utf8);
}

/* (0010,1002) as id^^^issuer, (0008,0051) as the entity ID, one value an item: from i on. */
static void
put_nested(struct text *t, unsigned i)
{
	static const struct key text_key = {0, "LO", KEY_PATIENT, KEY_TEXT, ""};
	bool any = false, open = false; /* open: the item has an ID, and no issuer yet */

	for (; i < t->c->n_raw && t->c->raw[i].nested; i++) {
		const struct raw *r = &t->c->raw[i];

		if (r->tag == ITEM)
			open = false;
		if (r->length == 0 || (r->tag == TAG_PATIENT_ISSUER && !open))
			continue;
		if (r->tag == TAG_PATIENT_ISSUER)
			buf_puts(&t->value, "^^^");
		else if (any)
			buf_puts(&t->value, "\\");
		put_text(t, &text_key, raw_value(t->c, r), r->length);
		open = r->tag == TAG_PATIENT_ID;
		any = true;
	}
}

/* What key_item names of each item (items.h): raw values from i on. */
static void
put_items(struct text *t, const struct key *key, unsigned i)
{
	struct buf items = BUF_INIT;
	size_t whole = 0;

	for (; i < t->c->n_raw && t->c->raw[i].nested; i++) {
		const struct raw *r = &t->c->raw[i];
		const struct key_item *k = key_item(key->tag, r->tag);
		struct key text_key = {r->tag, "LO", key->level, KEY_TEXT, ""};

		if (r->tag == ITEM) {
			if (items.len <= ATTRS_VALUE_MAX)
				whole = items.len;
			items_begin(&items);
		}
		if (!k || r->length == 0 || items.len == 0)
			continue;
		buf_clear(&t->value);
		if (strcmp(k->vr, "UI") == 0)
			buf_put(&t->value, raw_value(t->c, r),
				uid_trim((const char *)raw_value(t->c, r), r->length));
		else
			put_text(t, &text_key, raw_value(t->c, r), r->length);
		items_put(&items, r->tag, (const char *)t->value.data, t->value.len);
	}
	if (items.len <= ATTRS_VALUE_MAX)
		whole = items.len;
	buf_clear(&t->value);
	buf_put(&t->value, items.data, whole);
	t->value.failed = t->value.failed || buf_failed(&items);
	buf_fini(&items);
}

static struct buf *
set_for(struct object_info *info, enum key_level level)
{
	switch (level) {
	case KEY_PATIENT:
	case KEY_STUDY:
		return &info->study_attrs;
	case KEY_SERIES:
		return &info->series_attrs;
	case KEY_INSTANCE:
		break;
	}
	return &info->instance_attrs;
}

/* The first top level occurrence; sequences leave an entry of length 0 before their items'. */
static bool
raw_find(const struct content *c, uint32_t tag, unsigned *out)
{
	unsigned i;

	for (i = 0; i < c->n_raw; i++)
		if (c->raw[i].tag == tag && !c->raw[i].nested) {
			*out = i;
			return true;
		}
	return false;
}

static void
put_attribute(struct text *t, const struct key *key)
{
	struct content *c = t->c;
	const struct raw *r;
	unsigned i;

	if (!raw_find(c, key->tag, &i))
		return;
	r = &c->raw[i];
	buf_clear(&t->value);
	switch (key->kind) {
	case KEY_UID:
		buf_put(&t->value, raw_value(c, r),
			uid_trim((const char *)raw_value(c, r), r->length));
		break;
	case KEY_SHORT:
		put_short(&t->value, raw_value(c, r), r->length);
		break;
	case KEY_IDS:
	case KEY_ISSUER:
		put_nested(t, i + 1);
		break;
	case KEY_ITEMS:
		put_items(t, key, i + 1);
		break;
	case KEY_PLAIN:
	case KEY_DATE:
	case KEY_TIME:
	case KEY_TEXT:
	case KEY_LONG:
	case KEY_NAME:
		put_text(t, key, raw_value(c, r), r->length);
		break;
	}
	attrs_put(set_for(c->info, key->level), key->tag, (const char *)t->value.data,
		  t->value.len);
}

static void
note_uid(struct content *c, uint32_t tag, char out[UID_SIZE], uint32_t missing)
{
	unsigned i;

	out[0] = '\0';
	if (raw_find(c, tag, &i) && c->raw[i].length < RAW_VALUE_MAX)
		copy_uid(out, raw_value(c, &c->raw[i]), c->raw[i].length);
	if (!out[0])
		c->info->flags |= missing;
	else if (!uid_valid(out, strlen(out)))
		c->info->flags |= OBJECT_UID;
}

static void
end_digests(struct content *c)
{
	struct object_info *info = c->info;

	xxh128_end(c->content, info->attributes);
	xxh128_end(c->pixels, info->pixels);
	xxh128_add(c->content, info->attributes, sizeof(info->attributes));
	if (info->has_pixels)
		xxh128_add(c->content, info->pixels, sizeof(info->pixels));
	if (info->encapsulated)
		xxh128_add(c->content, info->syntax, strlen(info->syntax));
	xxh128_end(c->content, info->content);
}

int
content_end(struct content *c, struct err *e)
{
	struct text t = {c, NULL, BUF_INIT};
	const struct key *keys;
	size_t n, i;
	unsigned at;
	int rc;

	end_outline(c);
	end_digests(c);
	c->info->fragments = c->fragments;
	c->info->n_fragments = c->n_fragments;
	if (raw_find(c, TAG_CHARSET, &at))
		rc = charset_new(&t.charset, (const char *)raw_value(c, &c->raw[at]),
				 c->raw[at].length, e);
	else
		rc = charset_new(&t.charset, "", 0, e);
	if (rc)
		return rc;
	note_uid(c, TAG_STUDY_UID, c->info->study, OBJECT_NO_STUDY);
	note_uid(c, TAG_SERIES_UID, c->info->series, OBJECT_NO_SERIES);
	keys = key_all(&n);
	for (i = 0; i < n; i++)
		put_attribute(&t, &keys[i]);
	charset_free(t.charset);
	rc = buf_failed(&c->raw_bytes) || buf_failed(&t.value) ||
			     buf_failed(&c->info->study_attrs) ||
			     buf_failed(&c->info->series_attrs) ||
			     buf_failed(&c->info->instance_attrs)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for an object's attributes")
		     : 0;
	buf_fini(&t.value);
	return rc;
}
