/*
 * json.h - writes one JSON document into a buffer as it is told.
 *
 * Text is passed through as UTF-8; bytes that are not valid UTF-8 become
 * U+FFFD, so that whatever a modality sent the document stays readable.
 * Numbers are JSON numbers; a time is RFC 3339 UTC or null. Wrong nesting is
 * an impossible state and aborts. Memory failure is remembered by the buffer
 * (buf_failed). The caller may empty the buffer between calls and so stream
 * a document of any size. (Reading is jansson's.)
 * Threads: one owner.
 */
#ifndef SALAMANDER_COMMON_BASE_JSON_H
#define SALAMANDER_COMMON_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum { JSON_DEPTH = 32 };

struct json {
	struct buf *out; /* borrowed */
	unsigned depth;
	bool in_array[JSON_DEPTH]; /* per open level: array, else object   */
	bool any[JSON_DEPTH];	   /* per open level: a comma comes first  */
	bool done;		   /* the one top-level value is complete  */
};

void json_init(struct json *j, struct buf *out);

/* key: the member's name inside an object; NULL inside an array and at the top. */
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);
void json_string(struct json *j, const char *key, const char *s); /* NULL gives null */
void json_text(struct json *j, const char *key, const void *p, size_t n);
void json_u64(struct json *j, const char *key, uint64_t v);
void json_i64(struct json *j, const char *key, int64_t v);
/* decimals behind the point, 0 to 9; null for what JSON cannot say (NaN, infinity). */
void json_fixed(struct json *j, const char *key, double v, unsigned decimals);
void json_bool(struct json *j, const char *key, bool v);
void json_null(struct json *j, const char *key);
/* "2026-11-23T21:55:12Z", null for wall_ms <= 0 (never, unknown). */
void json_time(struct json *j, const char *key, int64_t wall_ms);
/* Lower-case hex of n bytes: ids and digests. */
void json_hex(struct json *j, const char *key, const void *p, size_t n);

/* true when the one top-level value has been closed. */
bool json_complete(const struct json *j);

#endif
