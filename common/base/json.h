/*
 * json.h - writes JSON into a buffer.
 *
 * Text is UTF-8; what is not becomes U+FFFD. Memory that runs out shows as
 * buf_failed. Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_BASE_JSON_H
#define SALAMANDER_COMMON_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/rng.h"

struct buf;

struct json {
	struct buf *out;
	bool more; /* a comma is due before what comes next */
};

void json_init(struct json *j, struct buf *out);
/* key NULL: an element of an array, or the document itself. kind: '{' or '['. */
void json_open(struct json *j, const char *key, char kind);
void json_close(struct json *j, char kind); /* '}' or ']' */
void json_text(struct json *j, const char *key, const char *s);
void json_text_n(struct json *j, const char *key, const char *s, size_t n);
void json_number(struct json *j, const char *key, int64_t v);
void json_count(struct json *j, const char *key, uint64_t v);
void json_decimal(struct json *j, const char *key, double v); /* one digit behind the point */
void json_bool(struct json *j, const char *key, bool v);
void json_null(struct json *j, const char *key);
/* 32 hex digits; all zero: null. */
void json_id(struct json *j, const char *key, const struct id128 *id);
/* RFC 3339, UTC; 0 or less: null. */
void json_time(struct json *j, const char *key, int64_t wall_ms);

#endif
