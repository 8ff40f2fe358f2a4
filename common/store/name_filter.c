#include "common/store/name_filter.h"

#include <string.h>

#include "common/store/index.h"
#include "common/store/match.h"

enum {
	SURE = 40, /* a folded name as long as this may have been cut: it is not judged here */
	CARETS = 4 /* between five components: the index keeps none at the end               */
};

bool
name_filter_init(struct name_filter *f, const char *key, size_t n)
{
	size_t i;

	memset(f, 0, sizeof(*f));
	for (i = 0; i < n && strchr("*?^", key[i]); i++)
		;
	if (i == n || memchr(key, '=', n))
		return false;
	while (n > 0 && key[n - 1] == '^')
		n--;
	index_fold(&f->pattern, key, n);
	f->carets = memchr(key, '^', n) != NULL;
	return !buf_failed(&f->pattern);
}

void
name_filter_fini(struct name_filter *f)
{
	buf_fini(&f->pattern);
}

bool
name_filter_passes(const struct name_filter *f, const char *name, size_t n)
{
	char longer[SURE + CARETS];
	size_t i;

	if (!f->pattern.len || n >= SURE || match_wild(&f->pattern, name, n))
		return true;
	if (!f->carets)
		return false;
	memcpy(longer, name, n);
	for (i = 0; i < CARETS; i++) {
		longer[n + i] = '^';
		if (match_wild(&f->pattern, longer, n + i + 1))
			return true;
	}
	return false;
}
