#include "common/store/name_filter.h"

#include <string.h>

#include "common/store/index.h"
#include "common/store/match.h"

enum {
	SURE = 40, /* a folded name as long as this may have been cut: it is not judged here */
	CARETS = 4 /* between five components: the index keeps none at the end               */
};

bool
name_filter_init(struct name_filter *f, const struct name_rules *rules, const char *key, size_t n)
{
	size_t i;

	memset(f, 0, sizeof(*f));
	f->rules = *rules;
	for (i = 0; i < n && strchr("*?^", key[i]); i++)
		;
	if (i == n || memchr(key, '=', n))
		return false;
	while (n > 0 && key[n - 1] == '^')
		n--;
	f->whole = rules->fuzzy || rules->umlauts || match_name_spaced(key, n);
	f->carets = memchr(key, '^', n) != NULL;
	if (f->whole)
		buf_put(&f->pattern, key, n);
	else
		index_fold(&f->pattern, key, n);
	return !buf_failed(&f->pattern);
}

void
name_filter_fini(struct name_filter *f)
{
	buf_fini(&f->pattern);
}

static bool
matches(const struct name_filter *f, const char *name, size_t n)
{
	return f->whole ? match_name(&f->rules, (const char *)f->pattern.data, f->pattern.len, name,
				     n)
			: match_wild(&f->pattern, name, n);
}

bool
name_filter_passes(const struct name_filter *f, const char *name, size_t n)
{
	char longer[SURE + CARETS];
	size_t i;

	if (!f->pattern.len || n >= SURE || matches(f, name, n))
		return true;
	if (!f->carets)
		return false;
	memcpy(longer, name, n);
	for (i = 0; i < CARETS; i++) {
		longer[n + i] = '^';
		if (matches(f, longer, n + i + 1))
			return true;
	}
	return false;
}
