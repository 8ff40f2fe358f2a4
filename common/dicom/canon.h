/*
 * canon.h - any object in, its canonical form and all that one pass tells out (R1, R2).
 *
 * Canonical form 1: 128 zero bytes, "DICM", a fixed minimal group 0002, then the
 * data set bytes exactly as received. canon(canon(x)) = canon(x). The sink gets
 * its bytes in order, each once, starting when group 0002 can be written (at
 * most 64 KiB of data set are held back). Memory does not grow with the object.
 *
 * Bad data is never an error; it is flagged. Errors come from the sink or from
 * memory alone and end the pass.
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_DICOM_CANON_H
#define SALAMANDER_COMMON_DICOM_CANON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/uid.h"

struct canon; /* opaque */
struct err;

/* What is odd about an object (R32). Kept with it for ever: never renumber. */
enum object_flag {
	OBJECT_OPAQUE = 1,	    /* no data set could be delimited: kept whole as it came    */
	OBJECT_NO_IDENTITY = 2,	    /* no usable SOP Class or SOP Instance UID                  */
	OBJECT_LIMIT = 4,	    /* a limit of the scanner was hit: not looked at as a whole */
	OBJECT_NO_STUDY = 8,	    /* no usable Study Instance UID                             */
	OBJECT_NO_SERIES = 16,	    /* no usable Series Instance UID                            */
	OBJECT_META_DISAGREES = 32, /* group 0002 or the C-STORE command named another instance */
	OBJECT_TRUNCATED = 64,
	OBJECT_STRUCTURE = 128, /* items, delimiters, VRs or order are wrong                */
	OBJECT_SYNTAX = 256,	/* encoded otherwise than stated                            */
	OBJECT_TEXT = 512,	/* text that its character set does not allow               */
	OBJECT_UID = 1024,	/* a UID that PS3.5 section 9 does not allow                */
	OBJECT_GUESSED = 2048,	/* no transfer syntax was stated                            */
	OBJECT_DEFLATED = 4096, /* offsets in the canonical file mean nothing               */
	OBJECT_NOTE = 8192	/* a rejection note that does not count (R29)               */
};
/* R32: refused with Cxxx although the bytes are kept. */
enum { OBJECT_REFUSED = OBJECT_OPAQUE | OBJECT_NO_IDENTITY | OBJECT_LIMIT };
/* R32: what strict peers have refused; to be deflated is no fault. */
enum { OBJECT_ODD = OBJECT_DEFLATED - 1 };

/* Encapsulated bytes in the canonical file: one fragment, behind its 8 byte item header. */
struct fragment {
	uint64_t offset;
	uint32_t length;
	bool begins, ends; /* with the first and last marker of a JPEG or JPEG 2000 codestream */
};

/* A top level element, and what it holds in the sense of the digest "content". */
struct outline_item {
	uint32_t tag;
	unsigned char hash[XXH128_SIZE];
};

struct object_info {
	char sop_class[UID_SIZE], sop_instance[UID_SIZE]; /* "" = absent or unusable */
	char study[UID_SIZE], series[UID_SIZE], syntax[UID_SIZE];
	uint64_t size; /* of the canonical file */
	unsigned char digest[SHA256_SIZE], content[XXH128_SIZE], pixels[XXH128_SIZE];
	unsigned char attributes[XXH128_SIZE]; /* content without the pixel element */
	uint32_t flags;
	bool has_pixels, encapsulated;
	uint64_t header_length;		     /* canonical bytes before the pixel element, or all */
	uint64_t pixel_offset, pixel_length; /* of its value; length 0 where undefined */
	const struct fragment *fragments; /* the offset table is the first; at most max_fragments */
	size_t n_fragments;
	bool fragments_cut;		    /* there are more of them */
	const struct outline_item *outline; /* by tag; only if canon_config.outline */
	size_t n_outline;
	struct buf study_attrs, series_attrs, instance_attrs; /* attribute sets */
	struct buf side;				      /* side record (R1): see README */
};

enum canon_form {
	CANON_DATASET, /* from an association: the syntax was negotiated */
	CANON_FILE     /* Part 10, or a data set without meta information */
};

struct canon_config {
	enum canon_form form;
	const char *syntax;   /* CANON_DATASET only; borrowed for canon_new */
	size_t max_fragments; /* 0: 65,536 */
	bool outline;	      /* to compare objects: content and attributes mean nothing then */
	unsigned max_depth;   /* 0: 128, sequences 64 deep */
	int (*sink)(void *arg, const void *p, size_t n, struct err *e);
	void *sink_arg;
};

int canon_new(struct canon **out, const struct canon_config *c, struct err *e);
void canon_free(struct canon *c); /* NULL is fine */
int canon_feed(struct canon *c, const void *p, size_t n, struct err *e);
/* *out is borrowed until canon_free. */
int canon_end(struct canon *c, const struct object_info **out, struct err *e);

/* Side record (R1): repeated { kind u8, length u32, bytes }. On disk and wire: never renumber. */
enum canon_side {
	CANON_SIDE_PREAMBLE = 1,
	CANON_SIDE_META = 2,
	CANON_SIDE_AET = 3,
	CANON_SIDE_PEER = 4
};
void canon_side_put(struct buf *side, enum canon_side kind, const void *p, size_t n);

/* Data sets of this syntax are deflated as a whole. */
bool canon_deflated(const char *syntax);
/* Writes preamble and group 0002 of the canonical form. */
void canon_header(struct buf *out, const char *sop_class, const char *sop_instance,
		  const char *syntax);
/* One pass over bytes in memory; the canonical file is appended to out (NULL: dropped). */
int canon_bytes(struct canon **out, const struct canon_config *c, const void *p, size_t n,
		struct buf *bytes, const struct object_info **info, struct err *e);

#endif
