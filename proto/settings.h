/*
 * settings.h - settings of edges that central may set (ORDER_SETTINGS): which, and how far.
 *
 * Of central's word and the edge's own file the one that keeps more counts, so that no order
 * makes an edge keep less than whoever runs it wants (R27: a local floor).
 * Threads: plain data.
 */
#ifndef SALAMANDER_PROTO_SETTINGS_H
#define SALAMANDER_PROTO_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SETTING_NAME_MAX = 40, SETTING_VALUE_MAX = 200 };

struct setting {
	const char *name;
	const char
		*choice; /* NULL: a number, the larger counts; else the only word, which counts */
	int64_t min, max;
	const char *sentence;
};

/* All of them. */
const struct setting *settings_all(size_t *n);
const struct setting *settings_find(const char *name); /* NULL: no such */
/* May it be set to that? "" (as the edge's file says) always. */
bool settings_valid(const struct setting *s, const char *value);
/* What counts of a number: the edge's own, and central's value ("" or no number: none). */
int64_t settings_number(const struct setting *s, int64_t own, const char *value);

#endif
