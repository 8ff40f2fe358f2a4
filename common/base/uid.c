#include "common/base/uid.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"

size_t
uid_trim(const char *s, size_t n)
{
	while (n > 0 && (s[n - 1] == '\0' || s[n - 1] == ' '))
		n--;
	return n;
}

bool
uid_usable(const char *s, size_t n)
{
	size_t i;

	if (n == 0 || n > UID_KEEP)
		return false;
	for (i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~' || s[i] == '\\')
			return false;
	return true;
}

bool
uid_valid(const char *s, size_t n)
{
	size_t i, start = 0;

	if (n == 0 || n > UID_MAX)
		return false;
	for (i = 0; i <= n; i++) {
		if (i < n && s[i] >= '0' && s[i] <= '9')
			continue;
		if (i < n && s[i] != '.')
			return false;
		if (i == start || (s[start] == '0' && i - start > 1))
			return false;
		start = i + 1;
	}
	return true;
}

const char *
uid_shown(const char *s)
{
	return s[0] == '\0' || uid_valid(s, strlen(s)) ? s : "invalid";
}

void
uid_make(char out[UID_SIZE], const char *root, struct rng *r)
{
	const uint64_t some = UINT64_C(100000000000); /* UID_MAX characters at most */

	(void)snprintf(out, UID_SIZE, "%.31s.%llu.%llu", root, (unsigned long long)rng_u64(r),
		       (unsigned long long)rng_below(r, some));
}
