/*
 * tests/vectors/canon.txt: the canonical form and its digests are what they were (R1, R2).
 *
 * A line is an object: name, form, syntax ("-": a file), input, then what comes of it: flags,
 * digest of the canonical file, content, pixels, attributes. Lines are added, never changed: other
 * bytes for the same input in a later release are a bug.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/digest.h"
#include "common/dicom/canon.h"

#define VECTORS "tests/vectors/canon.txt"

enum { LINE = 16384, WIDTH = 2 * SHA256_SIZE + 1 };

struct vector {
	char *name, *form, *syntax, *input, *results;
};

static bool
split(char *line, struct vector *v)
{
	char **fields[] = {&v->name, &v->form, &v->syntax, &v->input};
	size_t i;

	line[strcspn(line, "\n")] = '\0';
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		*fields[i] = line;
		line = strchr(line, ' ');
		if (!line)
			return false;
		*line++ = '\0';
	}
	v->results = line;
	return true;
}

static void
results_of(const struct vector *v, char *out, size_t size)
{
	static unsigned char input[LINE / 2];
	bool file = strcmp(v->form, "file") == 0;
	struct canon_config config = {.form = file ? CANON_FILE : CANON_DATASET,
				      .syntax = file ? NULL : v->syntax};
	const struct object_info *i;
	char digest[WIDTH], content[WIDTH], pixels[WIDTH], attributes[WIDTH];
	struct canon *c;
	size_t n = strlen(v->input) / 2;

	assert_true(hex_to(v->input, input, n));
	assert_int_equal(canon_bytes(&c, &config, input, n, NULL, &i, NULL), 0);
	hex_of(i->digest, sizeof(i->digest), digest);
	hex_of(i->content, sizeof(i->content), content);
	hex_of(i->pixels, sizeof(i->pixels), pixels);
	hex_of(i->attributes, sizeof(i->attributes), attributes);
	(void)snprintf(out, size, "%u %s %s %s %s", i->flags, digest, content, pixels, attributes);
	canon_free(c);
}

static void
canon__R1_R2_every_vector_comes_out_as_it_did(void **state)
{
	static char line[LINE];
	char got[512];
	struct vector v;
	FILE *f = fopen(VECTORS, "r");
	unsigned n = 0;

	(void)state;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#')
			continue;
		assert_true(split(line, &v));
		results_of(&v, got, sizeof(got));
		if (strcmp(got, v.results) != 0)
			fail_msg("%s: now %s", v.name, got);
		n++;
	}
	(void)fclose(f);
	assert_true(n >= 14);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canon__R1_R2_every_vector_comes_out_as_it_did),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
