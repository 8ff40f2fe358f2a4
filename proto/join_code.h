/*
 * join_code.h - the code that a person carries from central to a new site (R26).
 *
 * 16 secret bytes, which prove the edge to central, and the print of the CA's key,
 * which proves central to the edge: lower-case base32 without padding, in groups of 8
 * parted by '-'.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_PROTO_JOIN_CODE_H
#define SALAMANDER_PROTO_JOIN_CODE_H

#include <stdbool.h>

enum { JOIN_SECRET = 16, JOIN_PRINT = 32, JOIN_CODE_SIZE = 87 };

struct join_code {
	unsigned char secret[JOIN_SECRET];
	unsigned char print[JOIN_PRINT]; /* SHA-256 of the CA's SubjectPublicKeyInfo */
};

void join_code_write(const struct join_code *c, char out[JOIN_CODE_SIZE]);
/* Case, '-' and white space do not count. false: mistyped, or only a part of one. */
bool join_code_read(struct join_code *out, const char *text);

#endif
