/*
 * conf.h - settings: tables of rows, INI files (inih), and what explains them.
 *
 * Every setting is a row: section, key, type, default, bounds, one sentence. A
 * section name that ends in " *" ("peer *") may stand in a file any number of
 * times, each with a name of its own. Lists are parted by commas or repeat
 * their key; an empty one is empty. Sizes take KiB, MiB, GiB, TiB; durations
 * ms, s, min, h, d.
 *
 * Whatever is wrong is an error that names file and line: unknown sections and
 * keys, values out of bounds, lines over 199 bytes, names over 48, a comment
 * behind a value (TRAPS 7: inih would cut them silently).
 * Threads: a loaded struct conf is read-only and shared.
 */
#ifndef SALAMANDER_COMMON_BASE_CONF_H
#define SALAMANDER_COMMON_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct conf; /* opaque */
struct err;

/* A duration that never ends, by a word of its row's choices. */
#define CONF_ENDLESS INT64_MAX

enum conf_type {
	CONF_STRING,
	CONF_LIST,   /* of max values at most; 0: any number    */
	CONF_TITLE,  /* a DICOM application entity title        */
	CONF_TITLES, /* a list of them                          */
	CONF_BOOL,   /* yes, no, on, off, true, false           */
	CONF_NUMBER,
	CONF_SIZE,     /* bytes                                   */
	CONF_DURATION, /* milliseconds                            */
	CONF_CHOICE    /* one of the words in `choices`, by space */
};

struct conf_row {
	const char *section; /* "site"; "peer *" for named ones           */
	const char *key;
	enum conf_type type;
	const char *initial; /* as in a file; NULL: required; "" : absent */
	int64_t min, max;    /* of numbers, sizes, durations; max: of lists */
	const char
		*choices; /* of a choice, or of each value of a list; of a duration: CONF_ENDLESS */
	const char *sentence;
};

/* rows: borrowed for the life of *out. */
int conf_load(struct conf **out, const char *path, const struct conf_row *rows, size_t n_rows,
	      struct err *e);
/* The same; check then says what the settings must be together; its words get the file's name. */
int conf_load_checked(struct conf **out, const char *path, const struct conf_row *rows,
		      size_t n_rows, int (*check)(const struct conf *c, struct err *e),
		      struct err *e);
void conf_free(struct conf *c); /* NULL is fine */
/* Appends rows of a module to all (CONF_ROWS_MAX of them), which holds *n so far; one too many
 * aborts. */
enum { CONF_ROWS_MAX = 128 };
void conf_add_rows(struct conf_row *all, size_t *n, const struct conf_row *rows, size_t more);

/* name: of a named section ("CT1" of [peer CT1]), else NULL. Defaults count; unknown rows abort. */
const char *conf_string(const struct conf *c, const char *section, const char *name,
			const char *key);
int64_t conf_number(const struct conf *c, const char *section, const char *name, const char *key);
bool conf_bool(const struct conf *c, const char *section, const char *name, const char *key);
/* The i-th value of a list, NULL behind the last. */
const char *conf_list(const struct conf *c, const char *section, const char *name, const char *key,
		      size_t i);
/* The i-th name of a named section ("peer *"), NULL behind the last. */
const char *conf_name(const struct conf *c, const char *section, size_t i);
/* true if the file has the section. */
bool conf_has(const struct conf *c, const char *section);

/* A commented sample file that names every setting. */
void conf_explain(FILE *to, const struct conf_row *rows, size_t n_rows);

#endif
