/*
 * charset.h - text of data sets to UTF-8 and back (PS3.3 C.12.1.1.2, PS3.5 section 6).
 *
 * Every defined term: ISO_IR 6/100/101/109/110/126/127/138/144/148/166/203/13,
 * ISO_IR 192, GB18030, GBK, and code extensions (ISO 2022 IR ...) with their
 * escape sequences and the resets at delimiters; terms with other separators or
 * case too. Bytes above 0x7f for which nothing was declared or called are what they
 * most likely are: the multi-byte set among the terms, else UTF-8, else Latin-1.
 * What cannot be converted becomes U+FFFD; nothing is an error.
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_DICOM_CHARSET_H
#define SALAMANDER_COMMON_DICOM_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct err;
struct charset; /* opaque */

/* value: Specific Character Set (0008,0005) as in the data set; empty = default repertoire. */
int charset_new(struct charset **out, const char *value, size_t n, struct err *e);
void charset_free(struct charset *c); /* NULL is fine */

enum charset_text {
	CHARSET_TEXT,	/* LT, ST, UT: a backslash is a character    */
	CHARSET_VALUES, /* LO, SH, UC: a backslash parts values      */
	CHARSET_NAME	/* PN: ^ and = part components and groups too */
};

/* Appends s as UTF-8. true: all of it is what its character set allows. */
bool charset_to_utf8(struct charset *c, enum charset_text kind, const char *s, size_t n,
		     struct buf *out);
/* Appends UTF-8 in this character set, by its escape sequences if it has several. false: it
 * cannot say all of it; what was appended is of no use then. */
bool charset_from_utf8(struct charset *c, enum charset_text kind, const char *s, size_t n,
		       struct buf *out);

/* For documents: the defined terms of the i-th set that is known, alone and with code extensions;
 * "" where it has none. false: there are no more. */
enum { CHARSET_TERM_SIZE = 32 };
bool charset_known(size_t i, char alone[CHARSET_TERM_SIZE], char extended[CHARSET_TERM_SIZE]);

#endif
