#include "proto/settings.h"

#include <stdlib.h>
#include <string.h>

static const struct setting all[] = {
	{"keep_days", NULL, 0, 36500, "Own studies younger than this go last (R11)."},
	{"retract_days", NULL, 1, 36500, "For so long what was retracted is not evicted (R27)."},
	{"dark", "keep", 0, 0, "Nothing is freed while central is silent (R10)."},
};

enum { DIGITS = 10 };

const struct setting *
settings_all(size_t *n)
{
	*n = sizeof(all) / sizeof(all[0]);
	return all;
}

const struct setting *
settings_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].name, name) == 0)
			return &all[i];
	return NULL;
}

static bool
number(const struct setting *s, const char *value, int64_t *out)
{
	size_t n = strspn(value, "0123456789");

	if (!n || n > DIGITS || value[n])
		return false;
	*out = strtoll(value, NULL, 10);
	return *out >= s->min && *out <= s->max;
}

bool
settings_valid(const struct setting *s, const char *value)
{
	int64_t n;

	if (!value[0])
		return true;
	return s->choice ? strcmp(value, s->choice) == 0 : number(s, value, &n);
}

int64_t
settings_number(const struct setting *s, int64_t own, const char *value)
{
	int64_t n;

	return !s->choice && number(s, value, &n) && n > own ? n : own;
}
