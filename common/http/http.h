/*
 * http.h - what server and client share: methods, headers of ours, error
 * codes as statuses, ranges.
 */
#ifndef SALAMANDER_COMMON_HTTP_HTTP_H
#define SALAMANDER_COMMON_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

/* Believed on plain loopback only; between machines the certificate names the site (R24). */
#define HTTP_HEADER_SITE "Salamander-Site"

const char *http_method_name(enum http_method m);
bool http_method_of(const char *name, enum http_method *out);

/* The one place where an error becomes an HTTP status. */
unsigned http_status_of(enum err_code code);
/* And back, for a status that is not 2xx: what the caller does next. */
enum err_code http_err_of(unsigned status);

enum http_range {
	HTTP_RANGE_NONE, /* no Range, or one that is ignored (several ranges, other units): 200 */
	HTTP_RANGE_PART, /* 206 with *first and *length                                          */
	HTTP_RANGE_BAD	 /* nothing of it exists: 416                                            */
};

/* value: of the Range header, NULL is fine; size: of the whole. Fills both in every case. */
enum http_range http_range_of(const char *value, uint64_t size, uint64_t *first, uint64_t *length);

#endif
