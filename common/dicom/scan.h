/*
 * scan.h - a streaming reader of DICOM data sets (PS3.5 section 7 and annex A).
 *
 * Fed in pieces of any size, it tells a handler of each element, piece of value
 * and border, in order; where the pieces are cut changes nothing. Iterative,
 * limited in depth and number of elements, allocates only at the start, trusts
 * no length. Bad data is never an error: it is flagged, and scanning goes on
 * where that makes sense.
 *
 * Understands implicit and explicit little endian, explicit big endian, deflated,
 * encapsulated pixel data, undefined lengths, UN that holds sequences, and data
 * that is implicit where explicit was stated or the reverse.
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_DICOM_SCAN_H
#define SALAMANDER_COMMON_DICOM_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct scan; /* opaque */

enum scan_flag {
	SCAN_TRUNCATED = 1,    /* ended inside an element                          */
	SCAN_STRUCTURE = 2,    /* items or delimiters where none belong            */
	SCAN_VR = 4,	       /* a VR that is none                                */
	SCAN_OTHER_SYNTAX = 8, /* implicit where explicit was stated, or reverse   */
	SCAN_ORDER = 16,       /* tags do not ascend                               */
	SCAN_DEPTH = 32,       /* a limit was hit: nothing behind it was looked at */
	SCAN_ELEMENTS = 64,    /* the same                                         */
	SCAN_INFLATE = 128     /* deflated data cannot be inflated, or grow too far: the same */
};
enum { SCAN_LIMITS = SCAN_DEPTH | SCAN_ELEMENTS | SCAN_INFLATE };

enum scan_syntax {
	SCAN_IMPLICIT,
	SCAN_EXPLICIT,
	SCAN_BIG_ENDIAN,
	SCAN_GUESS /* no syntax was stated: by the first element */
};

struct scan_element {
	uint32_t tag;
	char vr[2];	 /* "\0\0" where the encoding has none           */
	bool undefined;	 /* length                                       */
	uint32_t length; /* as stated                                    */
	unsigned depth;	 /* 0: top level                                 */
	uint64_t offset; /* of the element, in (inflated) data set bytes */
	uint64_t value;	 /* of its value                                 */
};

enum scan_mark {
	SCAN_SEQUENCE, /* the element just told of holds items */
	SCAN_SEQUENCE_END,
	SCAN_ITEM,
	SCAN_ITEM_END,
	SCAN_FRAGMENTS, /* the element just told of is encapsulated pixel data */
	SCAN_FRAGMENT,	/* value pieces of a fragment (the first: the offset table) follow */
	SCAN_FRAGMENT_END,
	SCAN_FRAGMENTS_END
};

/* Values come in little endian, whatever the encoding was. */
struct scan_handler {
	void (*element)(void *arg, const struct scan_element *el);
	void (*value)(void *arg, const struct scan_element *el, const unsigned char *p, size_t n);
	void (*value_end)(void *arg, const struct scan_element *el);
	/* offset: of the fragment's bytes for SCAN_FRAGMENT, else of the mark */
	void (*mark)(void *arg, enum scan_mark mark, uint64_t offset, uint32_t length);
	void *arg;
};

struct scan_config {
	enum scan_syntax syntax;
	bool deflated;
	unsigned max_depth;    /* of sequences and items: 1 to 256; default 128 */
	uint64_t max_elements; /* default 4 million                 */
	uint64_t max_inflated; /* bytes; default 4 GiB              */
	struct scan_handler handler;
};

void scan_config_default(struct scan_config *c);
int scan_new(struct scan **out, const struct scan_config *c, struct err *e);
void scan_free(struct scan *s); /* NULL is fine */
void scan_feed(struct scan *s, const void *p, size_t n);
/* No more bytes: closes what is open. */
void scan_end(struct scan *s);
uint32_t scan_flags(const struct scan *s);
/* Data set bytes seen so far (inflated). */
uint64_t scan_position(const struct scan *s);
/* The encoding that was found: not the configured one under SCAN_OTHER_SYNTAX, SCAN_GUESS. */
enum scan_syntax scan_found(const struct scan *s);

#endif
