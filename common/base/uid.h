/*
 * uid.h - DICOM unique identifiers (PS3.5 section 9).
 *
 * Identity is never rewritten: what is invalid is kept as it came, less
 * trailing NULs and spaces (PS3.5 9.1, TRAPS 1 and 2), and flagged.
 */
#ifndef SALAMANDER_COMMON_BASE_UID_H
#define SALAMANDER_COMMON_BASE_UID_H

#include <stdbool.h>
#include <stddef.h>

struct rng;

/* Valid ones have at most UID_MAX characters; longer ones are kept up to UID_KEEP. */
enum { UID_MAX = 64, UID_KEEP = 128, UID_SIZE = UID_KEEP + 1 };

/* Length without trailing NULs and spaces. */
size_t uid_trim(const char *s, size_t n);
/* 1-64 characters, digits and single dots, no component with a leading zero. */
bool uid_valid(const char *s, size_t n);
/* Can be an identity: 1 to UID_KEEP printable ASCII characters, no space, no backslash. */
bool uid_usable(const char *s, size_t n);
/* For a log line: s if it is valid or empty, else "invalid": it may be a name (R35). */
const char *uid_shown(const char *s);
/* A new one below this root of ours, of 31 characters at most. */
void uid_make(char out[UID_SIZE], const char *root, struct rng *r);

#endif
