/* Identifiers as they are written: attribute sets in UTF-8 into data sets. */
#include <string.h>

#include "common/base/err.h"
#include "common/base/uid.h"
#include "common/dicom/charset.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "common/dimse/identifier.h"

enum { VALUE_SHORT_MAX = 65534 };

static const char implicit_le[] = "1.2.840.10008.1.2";

struct writing {
	bool implicit;
	struct charset *charset; /* NULL: UTF-8 */
	bool unfit;		 /* something cannot be said in it */
	const struct identifier_vr *more;
	unsigned n_more;
};

enum charset_text
identifier_text(const char *vr)
{
	return strcmp(vr, "PN") == 0 ? CHARSET_NAME
	       : strcmp(vr, "LT") == 0 || strcmp(vr, "ST") == 0 || strcmp(vr, "UT") == 0
		       ? CHARSET_TEXT
		       : CHARSET_VALUES;
}

/* All others have the long form, those to come as well (PS3.5 7.1.2). */
static bool
short_form(const char *vr)
{
	static const char shorts[] = "AEASATCSDADSDTFDFLISLOLTPNSHSLSSSTTMUIULUS";
	const char *s;

	for (s = shorts; *s; s += 2)
		if (memcmp(s, vr, 2) == 0)
			return true;
	return false;
}

static void
put_plain(struct buf *out, const struct writing *w, uint32_t tag, const char *vr, const char *value,
	  size_t n)
{
	bool is_long = !short_form(vr);
	char pad = strcmp(vr, "UI") == 0 || identifier_binary(vr) ? '\0' : ' ';

	if (n + n % 2 > VALUE_SHORT_MAX)
		n = VALUE_SHORT_MAX;
	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	if (!w->implicit) {
		buf_put(out, vr, 2);
		if (is_long)
			buf_put_u16(out, 0);
	}
	if (w->implicit || is_long)
		buf_put_u32(out, (uint32_t)(n + n % 2));
	else
		buf_put_u16(out, (unsigned)(n + n % 2));
	buf_put(out, value, n);
	if (n % 2)
		buf_put(out, &pad, 1);
}

static bool
ascii_value(const char *s, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if ((unsigned char)s[i] >= 0x80)
			return false;
	return true;
}

static void
put_element(struct buf *out, struct writing *w, uint32_t tag, const char *vr, const char *value,
	    size_t n)
{
	struct buf text = BUF_INIT;

	if (!w->charset || identifier_binary(vr) || ascii_value(value, n)) {
		put_plain(out, w, tag, vr, value, n);
		return;
	}
	if (!charset_from_utf8(w->charset, identifier_text(vr), value, n, &text))
		w->unfit = true;
	put_plain(out, w, tag, vr, (const char *)text.data, text.len);
	out->failed = out->failed || buf_failed(&text);
	buf_fini(&text);
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
put_sequence(struct buf *out, struct writing *w, uint32_t tag, const struct buf *items)
{
	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	if (!w->implicit)
		buf_put(out, "SQ\0", 4);
	buf_put_u32(out, (uint32_t)items->len);
	buf_put(out, items->data, items->len);
	out->failed = out->failed || buf_failed(items);
}

/* (0010,1002): an item for each "id^^^issuer". */
static void
put_ids(struct buf *out, struct writing *w, struct attr a)
{
	struct buf items = BUF_INIT;

	while (a.n > 0) {
		const char *bar = memchr(a.value, '\\', a.n);
		size_t n = bar ? (size_t)(bar - a.value) : a.n;
		const char *mark = memmem(a.value, n, "^^^", 3);
		size_t id = mark ? (size_t)(mark - a.value) : n;
		struct buf item = BUF_INIT;

		put_element(&item, w, TAG_PATIENT_ID, "LO", a.value, id);
		if (mark)
			put_element(&item, w, TAG_PATIENT_ISSUER, "LO", mark + 3, n - id - 3);
		put_item(&items, &item);
		buf_fini(&item);
		a.value += bar ? n + 1 : n;
		a.n -= bar ? n + 1 : n;
	}
	put_sequence(out, w, TAG_OTHER_IDS, &items);
	buf_fini(&items);
}

/* (0008,0051): one item; what is a UID is the universal ID, the rest the local one. */
static void
put_issuer(struct buf *out, struct writing *w, struct attr a)
{
	struct buf items = BUF_INIT, item = BUF_INIT;
	const char *bar = memchr(a.value, '\\', a.n);
	size_t n = bar ? (size_t)(bar - a.value) : a.n, used = 0;

	if (n > 0 && !uid_valid(a.value, n)) {
		put_element(&item, w, TAG_ENTITY_LOCAL, "UT", a.value, n);
		used = bar ? n + 1 : n;
	}
	a.value += used;
	a.n -= used;
	if (a.n > 0 && uid_valid(a.value, a.n)) {
		put_element(&item, w, TAG_ENTITY_UNIVERSAL, "UT", a.value, a.n);
		put_element(&item, w, TAG_ENTITY_TYPE, "CS", "ISO", 3);
	}
	if (item.len > 0)
		put_item(&items, &item);
	put_sequence(out, w, TAG_ACCESSION_ISSUER, &items);
	buf_fini(&item);
	buf_fini(&items);
}

/* What is binary stands there in hexadecimal. */
static void
put_of_item(struct buf *item, struct writing *w, struct attr of)
{
	const char *vr = identifier_item_vr(w->more, w->n_more, of.tag);
	struct buf bytes = BUF_INIT;

	if (strcmp(vr, "SQ") == 0) /* none is kept: the text is not its items */
		return;
	if (identifier_binary(vr)) {
		items_bytes(&bytes, of.value, of.n);
		put_plain(item, w, of.tag, vr, (const char *)bytes.data, bytes.len);
		item->failed = item->failed || buf_failed(&bytes);
		buf_fini(&bytes);
	} else {
		put_element(item, w, of.tag, vr[0] ? vr : "UN", of.value, of.n);
	}
}

static void
put_items(struct buf *out, struct writing *w, struct attr a)
{
	struct buf items = BUF_INIT, item = BUF_INIT;
	struct attr one, of;
	size_t pos = 0, at;

	while (items_next(a, &pos, &one)) {
		buf_clear(&item);
		for (at = 0; items_attr(one, &at, &of);)
			put_of_item(&item, w, of);
		put_item(&items, &item);
	}
	put_sequence(out, w, a.tag, &items);
	buf_fini(&item);
	buf_fini(&items);
}

static void
put_us(struct buf *out, struct writing *w, uint32_t tag, struct attr a)
{
	unsigned v = 0;
	size_t i;

	for (i = 0; i < a.n && a.value[i] >= '0' && a.value[i] <= '9'; i++)
		v = v * 10 + (unsigned)(a.value[i] - '0');
	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	if (!w->implicit)
		buf_puts(out, "US");
	if (w->implicit)
		buf_put_u32(out, a.n ? 2 : 0);
	else
		buf_put_u16(out, a.n ? 2 : 0);
	if (a.n)
		buf_put_u16(out, v);
}

static bool
ascii(struct attrs set)
{
	struct attr a;
	size_t pos = 0;

	while (attrs_next(set, &pos, &a))
		if (!ascii_value(a.value, a.n))
			return false;
	return true;
}

/* What is in no table and of which nobody says more has no value here either. */
static const char *
vr_of(const struct writing *w, struct attr *a)
{
	const char *vr = identifier_vr(a->tag);
	unsigned i;

	if (strcmp(vr, "UN") != 0)
		return vr;
	for (i = 0; i < w->n_more; i++)
		if (w->more[i].tag == a->tag && (w->more[i].vr[0] || w->implicit))
			return w->more[i].vr[0] ? w->more[i].vr : "UN";
	a->n = 0;
	return vr;
}

static void
write_all(struct buf *out, struct writing *w, struct attrs set, const char *term, size_t term_n)
{
	bool said = ascii(set);
	struct attr a;
	size_t pos = 0;

	while (attrs_next(set, &pos, &a)) {
		const struct key *k = key_find(a.tag);
		const char *vr;

		if (a.tag == TAG_CHARSET)
			continue;
		if (!said && a.tag > TAG_CHARSET) {
			put_plain(out, w, TAG_CHARSET, "CS", term, term_n);
			said = true;
		}
		if (k && k->kind == KEY_SHORT)
			put_us(out, w, a.tag, a);
		else if (a.tag == TAG_OTHER_IDS)
			put_ids(out, w, a);
		else if (a.tag == TAG_ACCESSION_ISSUER)
			put_issuer(out, w, a);
		else {
			vr = vr_of(w, &a);
			if (strcmp(vr, "SQ") == 0)
				put_items(out, w, a);
			else
				put_element(out, w, a.tag, vr, a.value, a.n);
		}
	}
}

void
identifier_build(struct buf *out, const char *syntax, struct attrs set)
{
	struct writing w = {strcmp(syntax, implicit_le) == 0, NULL, false, NULL, 0};

	write_all(out, &w, set, "ISO_IR 192", 10);
}

void
identifier_build_in(struct buf *out, const char *syntax, struct attrs set, struct attr charset,
		    const struct identifier_vr *more, unsigned n_more)
{
	struct writing w = {strcmp(syntax, implicit_le) == 0, NULL, false, more, n_more};
	size_t before = out->len;

	w.unfit = charset.n == 0 || charset_new(&w.charset, charset.value, charset.n, NULL);
	if (!w.unfit)
		write_all(out, &w, set, charset.value, charset.n);
	charset_free(w.charset);
	if (!w.unfit)
		return;
	out->len = before;
	w = (struct writing){w.implicit, NULL, false, more, n_more};
	write_all(out, &w, set, "ISO_IR 192", 10);
}

void
identifier_build_list(struct buf *out, const char *syntax, uint32_t tag, const struct buf *uids)
{
	struct writing w = {strcmp(syntax, implicit_le) == 0, NULL, false, NULL, 0};
	size_t n = uids->len + uids->len % 2;

	if (n <= VALUE_SHORT_MAX) {
		put_plain(out, &w, tag, "UI", (const char *)uids->data, uids->len);
		return;
	}
	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	if (!w.implicit) {
		buf_puts(out, "UN");
		buf_put_u16(out, 0);
	}
	buf_put_u32(out, (uint32_t)n);
	buf_put(out, uids->data, uids->len);
	if (uids->len % 2)
		buf_put_u8(out, 0);
}
