#include "common/dicom/scan.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"

enum {
	DEPTH_MAX = 256,
	UNDEFINED = -1,
	SWAP_BLOCK = 4096,
	INFLATE_BLOCK = 65536,
	TAG_ITEM_GROUP = 0xfffe
};
#define TAG_ITEM 0xfffee000u
#define TAG_ITEM_END 0xfffee00du
#define TAG_SEQUENCE_END 0xfffee0ddu

enum state {
	AT_TAG,	   /* 8 bytes of an element or item header wanted      */
	AT_LENGTH, /* 4 more: the length of a long explicit element    */
	AT_PEEK,   /* the first 8 bytes of a value that may hold items */
	AT_VALUE,
	DEAD /* a limit was hit */
};

enum kind { SEQUENCE, ITEM, FRAGMENTS };

struct frame_of { /* one open sequence, item or run of fragments */
	enum kind kind;
	bool undefined, implicit;
	uint64_t end; /* where it ends if its length is defined */
	struct scan_element el;
};

struct scan {
	struct scan_config c;
	enum state state;
	bool implicit, big, sure; /* sure: the encoding was checked against the first element */
	uint64_t pos, elements, left;
	unsigned char head[12];
	unsigned have, want;
	struct scan_element cur;
	unsigned unit; /* bytes to swap together in the value under way */
	unsigned char swap[8];
	unsigned swap_have;
	bool fragment; /* the value under way is a fragment */
	uint32_t last_top;
	uint32_t flags;
	unsigned depth;
	struct frame_of *open; /* c.max_depth of them */
	z_stream *z;
	unsigned char *inflated;
	bool z_done;
};

void
scan_config_default(struct scan_config *c)
{
	memset(c, 0, sizeof(*c));
	c->syntax = SCAN_EXPLICIT;
	c->max_depth = 128;
	c->max_elements = 4000000;
	c->max_inflated = (uint64_t)4 << 30;
}

static int
start_inflate(struct scan *s)
{
	s->z = calloc(1, sizeof(*s->z));
	s->inflated = malloc(INFLATE_BLOCK);
	if (!s->z || !s->inflated)
		return -1;
	if (inflateInit2(s->z, -MAX_WBITS) != Z_OK) { /* PS3.5 A.5: raw deflate, no zlib header */
		free(s->z);
		s->z = NULL;
		return -1;
	}
	return 0;
}

int
scan_new(struct scan **out, const struct scan_config *c, struct err *e)
{
	struct scan *s = calloc(1, sizeof(*s));

	if (s) {
		s->c = *c;
		if (s->c.max_depth > DEPTH_MAX)
			s->c.max_depth = DEPTH_MAX;
		s->open = calloc(s->c.max_depth + 1u, sizeof(*s->open));
	}
	if (!s || !s->open || (c->deflated && start_inflate(s))) {
		scan_free(s);
		return err_set(e, ERR_LOCAL, 0, "no memory for a scanner");
	}
	s->implicit = c->syntax == SCAN_IMPLICIT;
	s->big = c->syntax == SCAN_BIG_ENDIAN;
	s->want = 8;
	*out = s;
	return 0;
}

void
scan_free(struct scan *s)
{
	if (!s)
		return;
	if (s->z) {
		(void)inflateEnd(s->z);
		free(s->z);
	}
	free(s->inflated);
	free(s->open);
	free(s);
}

uint32_t
scan_flags(const struct scan *s)
{
	return s->flags;
}

uint64_t
scan_position(const struct scan *s)
{
	return s->pos;
}

enum scan_syntax
scan_found(const struct scan *s)
{
	if (s->big)
		return SCAN_BIG_ENDIAN;
	return s->implicit ? SCAN_IMPLICIT : SCAN_EXPLICIT;
}

static void
tell(struct scan *s, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	s->c.handler.mark(s->c.handler.arg, mark, offset, length);
}

static void
die(struct scan *s, uint32_t flag)
{
	s->flags |= flag;
	s->state = DEAD;
}

static void
next_tag(struct scan *s)
{
	s->state = AT_TAG;
	s->have = 0;
	s->want = 8;
}

/* --- what is open --- */

static struct frame_of *
top(struct scan *s)
{
	return s->depth ? &s->open[s->depth - 1] : NULL;
}

static bool
in_implicit(struct scan *s)
{
	return s->depth ? top(s)->implicit : s->implicit;
}

static void
close_top(struct scan *s)
{
	struct frame_of *f = top(s);

	s->depth--;
	switch (f->kind) {
	case SEQUENCE:
		tell(s, SCAN_SEQUENCE_END, s->pos, 0);
		break;
	case ITEM:
		tell(s, SCAN_ITEM_END, s->pos, 0);
		break;
	case FRAGMENTS:
		tell(s, SCAN_FRAGMENTS_END, s->pos, 0);
		break;
	}
}

/* Defined lengths that end here end what they opened. */
static void
close_ended(struct scan *s)
{
	while (s->depth && !top(s)->undefined && top(s)->end <= s->pos)
		close_top(s);
}

static void
open_frame(struct scan *s, enum kind kind, bool undefined, uint64_t length, bool implicit)
{
	struct frame_of *f;

	if (s->depth >= s->c.max_depth) {
		die(s, SCAN_DEPTH);
		return;
	}
	f = &s->open[s->depth++];
	f->kind = kind;
	f->undefined = undefined;
	f->end = s->pos + length;
	f->implicit = implicit;
	f->el = s->cur;
	tell(s,
	     kind == SEQUENCE ? SCAN_SEQUENCE
	     : kind == ITEM   ? SCAN_ITEM
			      : SCAN_FRAGMENTS,
	     s->pos, 0);
	next_tag(s);
	close_ended(s);
}

static unsigned
item_depth(const struct scan *s)
{
	unsigned i, n = 0;

	for (i = 0; i < s->depth; i++)
		n += s->open[i].kind == ITEM;
	return n;
}

/* --- headers --- */

/* What an UN holds is implicit little endian, even in a big endian data set. */
static bool
big_here(const struct scan *s)
{
	return s->big && !(s->depth && s->open[s->depth - 1].implicit);
}

static uint16_t
u16(const struct scan *s, const unsigned char *p)
{
	return big_here(s) ? (uint16_t)((unsigned)p[0] << 8 | p[1]) : buf_get_u16(p);
}

static uint32_t
u32(const struct scan *s, const unsigned char *p)
{
	return big_here(s) ? buf_get_be32(p) : buf_get_u32(p);
}

static bool
vr_is(const char vr[2], const char *list)
{
	for (; *list; list += 2)
		if (vr[0] == list[0] && vr[1] == list[1])
			return true;
	return false;
}

static bool
vr_known(const unsigned char *p)
{
	return vr_is((const char *)p,
		     "AEASATCSDADSDTFLFDISLOLTOBODOFOLOVOWPNSHSLSQSSSTSVTMUCUIULUNURUS"
		     "UTUV");
}

static bool
vr_letters(const unsigned char *p)
{
	return p[0] >= 'A' && p[0] <= 'Z' && p[1] >= 'A' && p[1] <= 'Z';
}

static unsigned
swap_unit(const char vr[2])
{
	if (vr_is(vr, "USSSOWAT"))
		return 2;
	if (vr_is(vr, "ULSLFLOFOL"))
		return 4;
	if (vr_is(vr, "FDODOVSVUV"))
		return 8;
	return 1;
}

/* The stated syntax is checked against the first element; the bytes win. */
static void
check_encoding(struct scan *s)
{
	const unsigned char *p = s->head;
	bool explicit_seen = vr_known(p + 4), was_implicit = s->implicit;

	s->sure = true;
	if (s->c.syntax == SCAN_GUESS)
		s->big = explicit_seen && p[0] == 0 && p[1] != 0;
	if (s->big && p[1] == 0 && p[0] != 0) /* little endian under a big endian name */
		s->big = false;
	s->implicit = !explicit_seen;
	if (s->implicit != was_implicit && s->c.syntax != SCAN_GUESS)
		s->flags |= SCAN_OTHER_SYNTAX;
}

static void
begin_value(struct scan *s)
{
	s->left = s->cur.length;
	s->unit = s->big && !s->fragment ? swap_unit(s->cur.vr) : 1;
	s->swap_have = 0;
	s->state = AT_VALUE;
}

static void
end_value(struct scan *s)
{
	if (s->swap_have) /* an odd tail cannot be swapped */
		s->c.handler.value(s->c.handler.arg, &s->cur, s->swap, s->swap_have);
	s->swap_have = 0;
	if (s->fragment)
		tell(s, SCAN_FRAGMENT_END, s->pos, 0);
	else
		s->c.handler.value_end(s->c.handler.arg, &s->cur);
	s->fragment = false;
	next_tag(s);
	close_ended(s);
}

static bool
is_pixels(const struct scan *s)
{
	return s->cur.tag == TAG_PIXEL_DATA && !vr_is(s->cur.vr, "SQ");
}

/* The header is whole: what follows it? */
static void
begin_element(struct scan *s)
{
	struct scan_element *el = &s->cur;
	bool un = vr_is(el->vr, "UN"), sq = vr_is(el->vr, "SQ"), none = el->vr[0] == '\0';

	el->undefined = el->length == (uint32_t)UNDEFINED;
	el->value = s->pos;
	el->depth = item_depth(s);
	if (el->depth == 0) {
		if (el->tag <= s->last_top && s->elements)
			s->flags |= SCAN_ORDER;
		s->last_top = el->tag;
	}
	if (++s->elements > s->c.max_elements) {
		die(s, SCAN_ELEMENTS);
		return;
	}
	s->c.handler.element(s->c.handler.arg, el);
	if (el->undefined && is_pixels(s)) {
		open_frame(s, FRAGMENTS, true, 0, false);
	} else if (el->undefined || sq) {
		/* UN of undefined length is implicit little endian inside (PS3.5 6.2.2 note 4) */
		open_frame(s, SEQUENCE, el->undefined, el->undefined ? 0 : el->length,
			   un || in_implicit(s));
	} else if ((un || none) && el->length >= 8 && !is_pixels(s)) {
		s->state = AT_PEEK;
		s->have = 0;
		s->want = 8;
	} else {
		begin_value(s);
		if (s->left == 0)
			end_value(s);
	}
}

/* Items and delimiters have no VR in any encoding. */
static void
item_header(struct scan *s)
{
	struct frame_of *f = top(s);
	uint32_t length = s->cur.length;
	bool undefined = length == (uint32_t)UNDEFINED;

	if (s->cur.tag == TAG_SEQUENCE_END || s->cur.tag == TAG_ITEM_END) {
		bool sequence = s->cur.tag == TAG_SEQUENCE_END;

		next_tag(s);
		if (!f || (f->kind == ITEM) == sequence)
			s->flags |= SCAN_STRUCTURE;
		if (f && sequence && f->kind == ITEM && s->depth >= 2)
			close_top(s);
		else if (f && !sequence && f->kind != ITEM)
			return;
		if (s->depth)
			close_top(s);
		close_ended(s);
	} else if (f && f->kind == FRAGMENTS && !undefined) {
		s->cur.length = length;
		s->fragment = true;
		tell(s, SCAN_FRAGMENT, s->pos, length);
		s->cur.value = s->pos;
		begin_value(s);
		if (s->left == 0)
			end_value(s);
	} else if (f && f->kind != FRAGMENTS && s->cur.tag == TAG_ITEM) {
		if (f->kind == ITEM) { /* its delimiter is missing */
			s->flags |= SCAN_STRUCTURE;
			close_top(s);
		}
		open_frame(s, ITEM, undefined, undefined ? 0 : length, in_implicit(s));
	} else {
		s->flags |=
			SCAN_STRUCTURE; /* an item that belongs nowhere: look at what it holds */
		next_tag(s);
	}
}

static void
tag_header(struct scan *s)
{
	const unsigned char *p = s->head;
	struct scan_element *el = &s->cur;

	if (!s->sure)
		check_encoding(s);
	el->offset = s->pos - 8;
	el->tag = (uint32_t)u16(s, p) << 16 | u16(s, p + 2);
	el->vr[0] = el->vr[1] = '\0';
	if (el->tag >> 16 == TAG_ITEM_GROUP) {
		el->length = u32(s, p + 4);
		item_header(s);
		return;
	}
	while (s->depth && top(s)->kind != ITEM) { /* an element where an item was due */
		s->flags |= SCAN_STRUCTURE;
		close_top(s);
	}
	if (in_implicit(s) || !vr_letters(p + 4)) {
		if (!in_implicit(s))
			s->flags |= SCAN_VR;
		el->length = u32(s, p + 4);
		begin_element(s);
		return;
	}
	el->vr[0] = (char)p[4];
	el->vr[1] = (char)p[5];
	if (!vr_known(p + 4))
		s->flags |= SCAN_VR;
	/* VRs to come have the long form (PS3.5 7.1.2) */
	if (vr_is(el->vr, "OBODOFOLOVOWSQSVUCUNURUTUV") || !vr_known(p + 4)) {
		s->state = AT_LENGTH;
		s->want = 12;
		return;
	}
	el->length = u16(s, p + 6);
	begin_element(s);
}

/* The first 8 bytes of a value of unknown VR: an item means that it is a sequence. */
static void
peeked(struct scan *s)
{
	bool un = vr_is(s->cur.vr, "UN");
	bool big = s->big && !un; /* UN holds implicit little endian */
	uint32_t tag, length;

	tag = big ? buf_get_be32(s->head)
		  : (uint32_t)buf_get_u16(s->head) << 16 | buf_get_u16(s->head + 2);
	length = big ? buf_get_be32(s->head + 4) : buf_get_u32(s->head + 4);
	if (tag == TAG_ITEM && (length == (uint32_t)UNDEFINED || length <= s->cur.length - 8)) {
		struct scan_element el = s->cur;

		s->pos -= 8; /* the item header lies inside the sequence */
		open_frame(s, SEQUENCE, false, el.length, true);
		s->pos += 8;
		if (s->state == DEAD)
			return;
		s->cur.offset = s->pos - 8;
		s->cur.tag = tag;
		s->cur.length = length;
		item_header(s);
		return;
	}
	begin_value(s);
	s->left -= 8;
	s->c.handler.value(s->c.handler.arg, &s->cur, s->head, 8);
	if (s->left == 0)
		end_value(s);
}

/* --- bytes --- */

static void
swap_bytes(unsigned char *p, size_t n, unsigned unit)
{
	size_t i;
	unsigned j;

	for (i = 0; i + unit <= n; i += unit)
		for (j = 0; j < unit / 2; j++) {
			unsigned char c = p[i + j];

			p[i + j] = p[i + unit - 1 - j];
			p[i + unit - 1 - j] = c;
		}
}

static void
swapped_value(struct scan *s, const unsigned char *p, size_t n)
{
	unsigned char block[SWAP_BLOCK];

	while (n > 0) {
		size_t have = s->swap_have, room = sizeof(block) - have, take = n < room ? n : room;
		size_t whole;

		memcpy(block, s->swap, have);
		memcpy(block + have, p, take);
		have += take;
		whole = have - have % s->unit;
		s->swap_have = (unsigned)(have - whole);
		memcpy(s->swap, block + whole, s->swap_have);
		swap_bytes(block, whole, s->unit);
		if (whole)
			s->c.handler.value(s->c.handler.arg, &s->cur, block, whole);
		p += take;
		n -= take;
	}
}

static size_t
take_value(struct scan *s, const unsigned char *p, size_t n)
{
	size_t part = n < s->left ? n : (size_t)s->left;

	if (s->unit > 1)
		swapped_value(s, p, part);
	else
		s->c.handler.value(s->c.handler.arg, &s->cur, p, part);
	s->pos += part;
	s->left -= part;
	if (s->left == 0)
		end_value(s);
	return part;
}

static size_t
take_head(struct scan *s, const unsigned char *p, size_t n)
{
	size_t part = s->want - s->have;

	if (part > n)
		part = n;
	memcpy(s->head + s->have, p, part);
	s->have += (unsigned)part;
	s->pos += part;
	if (s->have < s->want)
		return part;
	if (s->state == AT_TAG) {
		tag_header(s);
	} else if (s->state == AT_LENGTH) {
		s->cur.length = u32(s, s->head + 8);
		begin_element(s);
	} else {
		peeked(s);
	}
	return part;
}

static void
plain(struct scan *s, const unsigned char *p, size_t n)
{
	while (n > 0 && s->state != DEAD) {
		size_t part = s->state == AT_VALUE ? take_value(s, p, n) : take_head(s, p, n);

		p += part;
		n -= part;
	}
	if (s->state == DEAD)
		s->pos += n;
}

static void
inflated(struct scan *s, const unsigned char *p, size_t n)
{
	s->z->next_in = (Bytef *)(uintptr_t)p;
	s->z->avail_in = (uInt)n;
	while (!s->z_done && s->state != DEAD) {
		int rc;

		s->z->next_out = s->inflated;
		s->z->avail_out = INFLATE_BLOCK;
		rc = inflate(s->z, Z_NO_FLUSH);
		plain(s, s->inflated, INFLATE_BLOCK - s->z->avail_out);
		if (rc == Z_STREAM_END)
			s->z_done = true; /* a pad byte may follow */
		else if (rc != Z_OK && rc != Z_BUF_ERROR)
			die(s, SCAN_INFLATE);
		else if (s->pos > s->c.max_inflated)
			die(s, SCAN_INFLATE);
		else if (s->z->avail_out > 0)
			break; /* wants more input */
	}
}

void
scan_feed(struct scan *s, const void *p, size_t n)
{
	const unsigned char *c = p;

	if (s->state == DEAD)
		return;
	if (!s->z) {
		plain(s, c, n);
		return;
	}
	while (n > 0) { /* avail_in is 32 bits wide */
		size_t part = n < INFLATE_BLOCK ? n : INFLATE_BLOCK;

		inflated(s, c, part);
		c += part;
		n -= part;
	}
}

void
scan_end(struct scan *s)
{
	if (s->state == DEAD)
		return;
	if (s->z && !s->z_done && s->z->total_in > 0)
		s->flags |= SCAN_TRUNCATED;
	if (s->state == AT_PEEK) {
		s->flags |= SCAN_TRUNCATED;
		begin_value(s);
		s->c.handler.value(s->c.handler.arg, &s->cur, s->head, s->have);
		end_value(s);
	} else if (s->state == AT_VALUE) {
		s->flags |= SCAN_TRUNCATED;
		end_value(s);
	} else if (s->have > 0) {
		s->flags |= SCAN_TRUNCATED;
	}
	if (s->depth)
		s->flags |= SCAN_TRUNCATED;
	while (s->depth)
		close_top(s);
	s->state = DEAD;
}
