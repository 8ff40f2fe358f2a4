#include "common/dicom/canon.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/dicom/content.h"
#include "common/dicom/scan.h"

enum {
	PREAMBLE = 128,
	META_AT = 132,
	META_MAX = 131072,	 /* group 0002 of a file is looked for within this       */
	IDENTITY_WITHIN = 65536, /* data set bytes held back for the UIDs of group 0002  */
	HELD_MAX = 131072,	 /* of deflated ones: what inflates to less in so many   */
	SLICE = 16384,		 /* fed to the scanner at a time while bytes are held back */
	FRAGMENTS_DEFAULT = 65536
};

/* Fixed for ever: a part of the canonical form (R1). */
static const char implementation[] = "1.2.826.0.1.3680043.10.1571.1";

static const char implicit_le[] = "1.2.840.10008.1.2";
static const char explicit_le[] = "1.2.840.10008.1.2.1";
static const char explicit_be[] = "1.2.840.10008.1.2.2";
/* Deflated ones: PS3.5 A.5 and the two JPIP referenced deflate syntaxes. */
static const char *const deflated[] = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95",
				       "1.2.840.10008.1.2.4.205"};

struct canon {
	struct canon_config c;
	struct object_info info;
	struct sha256 *sha;
	struct scan *scan;
	struct content *content;
	struct buf meta; /* CANON_FILE: bytes until the data set starts  */
	struct buf held; /* data set bytes until group 0002 is decided   */
	bool started;	 /* the data set                                 */
	bool written;	 /* group 0002                                   */
	bool opaque;
	uint64_t header_size;
	char meta_instance[UID_SIZE]; /* what group 0002 of a file said */
};

static void
element(struct buf *b, unsigned elem, const char *vr, const void *value, size_t n, char pad)
{
	buf_put_u16(b, 2);
	buf_put_u16(b, elem);
	buf_put(b, vr, 2);
	if (vr[0] == 'O') {
		buf_put_u16(b, 0);
		buf_put_u32(b, (uint32_t)n);
	} else {
		buf_put_u16(b, (unsigned)(n + n % 2));
	}
	buf_put(b, value, n);
	if (n % 2)
		buf_put(b, &pad, 1);
}

void
canon_header(struct buf *out, const char *sop_class, const char *sop_instance, const char *syntax)
{
	static const unsigned char zero[PREAMBLE], version[2] = {0, 1};
	struct buf group = BUF_INIT;
	unsigned char length[4];

	element(&group, 0x01, "OB", version, sizeof(version), 0);
	element(&group, 0x02, "UI", sop_class, strlen(sop_class), 0);
	element(&group, 0x03, "UI", sop_instance, strlen(sop_instance), 0);
	element(&group, 0x10, "UI", syntax, strlen(syntax), 0);
	element(&group, 0x12, "UI", implementation, strlen(implementation), 0);
	buf_put(out, zero, PREAMBLE);
	buf_puts(out, "DICM");
	buf_set_u32(length, (uint32_t)group.len);
	element(out, 0x00, "UL", length, sizeof(length), 0);
	buf_put(out, group.data, group.len);
	if (buf_failed(&group))
		out->failed = true;
	buf_fini(&group);
}

int
canon_new(struct canon **out, const struct canon_config *config, struct err *e)
{
	struct canon *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory for an object");
	c->c = *config;
	if (!c->c.max_fragments)
		c->c.max_fragments = FRAGMENTS_DEFAULT;
	rc = sha256_new(&c->sha, e);
	if (!rc)
		rc = content_new(&c->content, &c->info, c->c.max_fragments, e);
	if (!rc && config->outline)
		content_outline(c->content);
	if (!rc && config->form == CANON_DATASET) {
		size_t n = uid_trim(config->syntax, strlen(config->syntax));

		if (n > UID_KEEP)
			n = UID_KEEP;
		memcpy(c->info.syntax, config->syntax, n);
	}
	if (rc) {
		canon_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void
canon_free(struct canon *c)
{
	if (!c)
		return;
	sha256_free(c->sha);
	scan_free(c->scan);
	content_free(c->content);
	buf_fini(&c->meta);
	buf_fini(&c->held);
	buf_fini(&c->info.study_attrs);
	buf_fini(&c->info.series_attrs);
	buf_fini(&c->info.instance_attrs);
	buf_fini(&c->info.side);
	free(c);
}

static int
emit(struct canon *c, const void *p, size_t n, struct err *e)
{
	if (n == 0)
		return 0;
	sha256_add(c->sha, p, n);
	c->info.size += n;
	return c->c.sink ? c->c.sink(c->c.sink_arg, p, n, e) : 0;
}

bool
canon_deflated(const char *syntax)
{
	size_t i;

	for (i = 0; i < sizeof(deflated) / sizeof(deflated[0]); i++)
		if (strcmp(syntax, deflated[i]) == 0)
			return true;
	return false;
}

static int
start_dataset(struct canon *c, struct err *e)
{
	struct scan_config config;

	scan_config_default(&config);
	if (c->c.max_depth)
		config.max_depth = c->c.max_depth;
	if (!c->info.syntax[0])
		config.syntax = SCAN_GUESS;
	else if (strcmp(c->info.syntax, implicit_le) == 0)
		config.syntax = SCAN_IMPLICIT;
	else if (strcmp(c->info.syntax, explicit_be) == 0)
		config.syntax = SCAN_BIG_ENDIAN;
	config.deflated = canon_deflated(c->info.syntax);
	if (config.deflated)
		c->info.flags |= OBJECT_DEFLATED;
	content_handler(c->content, &config.handler);
	c->started = true;
	return scan_new(&c->scan, &config, e);
}

/* Group 0002 is decided: write it and what waited for it. */
static int
write_header(struct canon *c, struct err *e)
{
	struct buf header = BUF_INIT;
	int rc;

	if (!c->info.syntax[0]) {
		enum scan_syntax found = scan_found(c->scan);

		c->info.flags |= OBJECT_GUESSED;
		strcpy(c->info.syntax, found == SCAN_IMPLICIT	  ? implicit_le
				       : found == SCAN_BIG_ENDIAN ? explicit_be
								  : explicit_le);
	}
	content_ids_decided(c->content);
	canon_header(&header, c->info.sop_class, c->info.sop_instance, c->info.syntax);
	rc = buf_failed(&header) || buf_failed(&c->held)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for group 0002")
		     : emit(c, header.data, header.len, e);
	c->header_size = header.len;
	c->written = true;
	if (!rc)
		rc = emit(c, c->held.data, c->held.len, e);
	buf_fini(&header);
	buf_fini(&c->held);
	return rc;
}

static int
feed_dataset(struct canon *c, const unsigned char *p, size_t n, struct err *e)
{
	size_t most = (c->info.flags & OBJECT_DEFLATED) ? HELD_MAX : IDENTITY_WITHIN;
	int rc = 0;

	while (!rc && n > 0 && !c->written) {
		size_t part = most - c->held.len < SLICE ? most - c->held.len : SLICE;

		part = n < part ? n : part;
		buf_put(&c->held, p, part);
		scan_feed(c->scan, p, part);
		p += part;
		n -= part;
		/* By position, not by pieces: the same bytes decide the same however they came. */
		if (content_ids_known(c->content) || scan_position(c->scan) >= IDENTITY_WITHIN ||
		    (scan_flags(c->scan) & SCAN_LIMITS) || c->held.len >= most)
			rc = write_header(c, e);
	}
	if (!rc && n > 0) {
		rc = emit(c, p, n, e);
		scan_feed(c->scan, p, n);
	}
	return rc;
}

/* --- files --- */

void
canon_side_put(struct buf *side, enum canon_side kind, const void *p, size_t n)
{
	buf_put_u8(side, kind);
	buf_put_u32(side, (uint32_t)n);
	buf_put(side, p, n);
}

/* What one element of group 0002 says. */
static void
note_meta(struct canon *c, unsigned elem, const unsigned char *value, size_t length)
{
	char *to = elem == 0x0010 ? c->info.syntax : c->meta_instance;

	if ((elem != 0x0010 && elem != 0x0003) || length > UID_KEEP)
		return;
	length = uid_trim((const char *)value, length);
	if (!uid_usable((const char *)value, length)) /* it states nothing */
		length = 0;
	memcpy(to, value, length);
	to[length] = '\0';
}

/*
 * Is [0, end) what canon_header writes? Then the data set starts at end, even if
 * it begins with an element of group 0002, as one from an association may:
 * canon(canon(x)) = canon(x).
 */
static bool
own_header(const unsigned char *p, size_t end)
{
	static const unsigned elems[] = {0x01, 0x02, 0x03, 0x10, 0x12};
	char uids[5][UID_SIZE];
	size_t pos = META_AT + 12, i;
	struct buf want = BUF_INIT;
	bool own;

	for (i = 0; i < 5; i++) {
		size_t head = i ? 8 : 12, n;

		if (pos + head > end || buf_get_u16(p + pos) != 2 ||
		    buf_get_u16(p + pos + 2) != elems[i])
			return false;
		n = i ? buf_get_u16(p + pos + 6) : buf_get_u32(p + pos + 8);
		if (n > UID_KEEP || pos + head + n > end)
			return false;
		memcpy(uids[i], p + pos + head, n);
		uids[i][uid_trim(uids[i], n)] = '\0';
		pos += head + n;
	}
	canon_header(&want, uids[1], uids[2], uids[3]);
	own = !buf_failed(&want) && want.len == end && memcmp(want.data, p, end) == 0;
	buf_fini(&want);
	return own;
}

/*
 * Walks group 0002 from pos; returns where the data set starts, or 0 if more
 * bytes are needed to tell. What it says depends on the bytes alone, never on
 * the pieces they came in.
 */
static size_t
walk_meta(struct canon *c, size_t pos, bool last)
{
	const unsigned char *p = c->meta.data;
	size_t n = c->meta.len, stated = 0;

	for (;;) {
		size_t head = 8, length;
		/* R1: where (0002,0000) says, if an element of another group starts there. */
		bool usable =
			stated && pos <= stated && stated + 2 <= n && buf_get_u16(p + stated) != 2;

		if (stated && stated + 2 > n && !last)
			return 0;
		if (stated && pos == stated && (usable || own_header(p, stated)))
			return stated;
		if (n - pos < 12 && !last)
			return 0;
		if (n - pos < 8 || buf_get_u16(p + pos) != 2)
			return usable ? stated : pos;
		length = buf_get_u16(p + pos + 6);
		if (p[pos + 4] == 'O' || memcmp(p + pos + 4, "UN", 2) == 0 ||
		    memcmp(p + pos + 4, "UT", 2) == 0 || memcmp(p + pos + 4, "SQ", 2) == 0) {
			head = 12;
			length = n - pos >= 12 ? buf_get_u32(p + pos + 8) : 0;
		}
		if (pos + head + length > META_MAX)
			return usable ? stated : pos;
		if (pos + head + length > n)
			return last ? (usable ? stated : n) : 0;
		if (buf_get_u16(p + pos + 2) == 0 && length == 4 &&
		    buf_get_u32(p + pos + head) < META_MAX)
			stated = pos + head + 4 + buf_get_u32(p + pos + head);
		note_meta(c, buf_get_u16(p + pos + 2), p + pos + head, length);
		pos += head + length;
	}
}

/* Does what starts here look like an element of a data set? */
static bool
plausible(const unsigned char *p, size_t n)
{
	unsigned group;

	if (n < 8)
		return false;
	group = p[0] == 0 && p[1] != 0 ? p[1] : buf_get_u16(p); /* big endian or little */
	return group >= 0x0004 && group <= 0x0028;
}

static int
keep_opaque(struct canon *c, struct err *e)
{
	c->opaque = true;
	c->info.flags |= OBJECT_OPAQUE;
	return emit(c, c->meta.data, c->meta.len, e);
}

/* Finds the data set in what was collected; last: no more bytes will come. */
static int
start_file(struct canon *c, bool last, struct err *e)
{
	static const unsigned char zero[PREAMBLE];
	const unsigned char *p = c->meta.data;
	size_t n = c->meta.len, meta_at = 0, start = 0;
	int rc;

	if (n < META_AT + 12 && !last)
		return 0;
	if (n == 0)
		return keep_opaque(c, e);
	if (n >= META_AT && memcmp(p + PREAMBLE, "DICM", 4) == 0)
		meta_at = META_AT;
	else if (n >= 12 && memcmp(p, "DICM", 4) == 0)
		meta_at = 4;
	if (meta_at || (n >= 12 && buf_get_u16(p) == 2 && p[4] >= 'A' && p[4] <= 'Z')) {
		start = walk_meta(c, meta_at, last);
		if (!start && !last)
			return 0;
	}
	if (!c->info.syntax[0] && n - start < 8 && !last)
		return 0;
	if (!c->info.syntax[0] && !plausible(p + start, n - start))
		return keep_opaque(c, e);
	if (meta_at == META_AT && memcmp(p, zero, PREAMBLE) != 0)
		canon_side_put(&c->info.side, CANON_SIDE_PREAMBLE, p, PREAMBLE);
	if (start > meta_at)
		canon_side_put(&c->info.side, CANON_SIDE_META, p + meta_at, start - meta_at);
	rc = start_dataset(c, e);
	if (!rc)
		rc = feed_dataset(c, p + start, n - start, e);
	buf_fini(&c->meta);
	return rc;
}

static int
feed_file(struct canon *c, const unsigned char *p, size_t n, struct err *e)
{
	int rc = 0;

	while (!rc && n > 0 && !c->started && !c->opaque) {
		size_t part = n < SLICE ? n : SLICE;

		buf_put(&c->meta, p, part);
		if (buf_failed(&c->meta))
			return err_set(e, ERR_LOCAL, 0, "no memory for meta information");
		p += part;
		n -= part;
		rc = start_file(c, false, e);
	}
	if (rc || n == 0)
		return rc;
	return c->opaque ? emit(c, p, n, e) : feed_dataset(c, p, n, e);
}

int
canon_feed(struct canon *c, const void *p, size_t n, struct err *e)
{
	int rc = 0;

	if (n == 0)
		return 0;
	if (c->c.form == CANON_DATASET && !c->started)
		rc = start_dataset(c, e);
	if (rc)
		return rc;
	return c->started ? feed_dataset(c, p, n, e) : feed_file(c, p, n, e);
}

static void
note_flags(struct canon *c)
{
	uint32_t f = scan_flags(c->scan), *flags = &c->info.flags;

	if (f & SCAN_LIMITS)
		*flags |= OBJECT_LIMIT;
	if (f & SCAN_TRUNCATED)
		*flags |= OBJECT_TRUNCATED;
	if (f & (SCAN_STRUCTURE | SCAN_VR | SCAN_ORDER))
		*flags |= OBJECT_STRUCTURE;
	if (f & SCAN_OTHER_SYNTAX)
		*flags |= OBJECT_SYNTAX;
	if (!c->info.sop_class[0] || !c->info.sop_instance[0])
		*flags |= OBJECT_NO_IDENTITY;
	else if (!uid_valid(c->info.sop_class, strlen(c->info.sop_class)) ||
		 !uid_valid(c->info.sop_instance, strlen(c->info.sop_instance)))
		*flags |= OBJECT_UID;
	if (c->meta_instance[0] && strcmp(c->meta_instance, c->info.sop_instance) != 0)
		*flags |= OBJECT_META_DISAGREES;
}

/* Offsets were counted in the data set; in the canonical file the header lies before it. */
static void
shift_offsets(struct canon *c)
{
	struct object_info *info = &c->info;
	size_t i;

	if (!info->has_pixels || (info->flags & OBJECT_DEFLATED)) {
		info->header_length = info->size;
		info->pixel_offset = info->pixel_length = 0;
		info->n_fragments = 0;
		return;
	}
	info->header_length += c->header_size;
	info->pixel_offset += c->header_size;
	for (i = 0; i < info->n_fragments; i++)
		((struct fragment *)(uintptr_t)info->fragments)[i].offset += c->header_size;
}

int
canon_end(struct canon *c, const struct object_info **out, struct err *e)
{
	int rc = 0;

	if (c->c.form == CANON_FILE && !c->started && !c->opaque)
		rc = start_file(c, true, e);
	if (!rc && c->c.form == CANON_DATASET && !c->started)
		rc = start_dataset(c, e);
	if (!rc && !c->opaque) {
		scan_end(c->scan);
		if (!c->written)
			rc = write_header(c, e);
	}
	if (!rc)
		rc = content_end(c->content, e);
	if (rc)
		return rc;
	sha256_end(c->sha, c->info.digest);
	if (c->opaque) {
		c->info.flags |= OBJECT_NO_IDENTITY;
		c->info.header_length = c->info.size;
	} else {
		note_flags(c);
		shift_offsets(c);
	}
	/* What was not looked at as a whole is the same content only if it is the same bytes. */
	if (c->info.flags & (OBJECT_OPAQUE | OBJECT_LIMIT)) {
		memcpy(c->info.content, c->info.digest, sizeof(c->info.content));
		memcpy(c->info.pixels, c->info.digest + 16, sizeof(c->info.pixels));
		memcpy(c->info.attributes, c->info.digest + 16, sizeof(c->info.attributes));
	}
	*out = &c->info;
	return buf_failed(&c->info.side) ? err_set(e, ERR_LOCAL, 0, "no memory for a side record")
					 : 0;
}

static int
to_buf(void *arg, const void *p, size_t n, struct err *e)
{
	struct buf *b = arg;

	buf_put(b, p, n);
	return buf_failed(b) ? err_set(e, ERR_LOCAL, 0, "no memory for an object") : 0;
}

int
canon_bytes(struct canon **out, const struct canon_config *config, const void *p, size_t n,
	    struct buf *bytes, const struct object_info **info, struct err *e)
{
	struct canon_config own = *config;
	struct canon *c;
	int rc;

	own.sink = bytes ? to_buf : NULL;
	own.sink_arg = bytes;
	rc = canon_new(&c, &own, e);
	if (rc)
		return rc;
	rc = canon_feed(c, p, n, e);
	if (!rc)
		rc = canon_end(c, info, e);
	if (rc) {
		canon_free(c);
		return rc;
	}
	*out = c;
	return 0;
}
