#include "proto/version.h"

struct protocol_range
protocol_own(void)
{
	struct protocol_range r = {PROTOCOL_OLDEST, PROTOCOL_VERSION};

	return r;
}

bool
protocol_speaks(const struct protocol_range *r, uint32_t version)
{
	return version >= r->oldest && version <= r->newest;
}

size_t
protocol_list(const struct protocol_range *r, uint32_t out[PROTOCOL_LIST])
{
	uint32_t v = r->newest;
	size_t n = 0;

	for (; n < PROTOCOL_LIST && v >= r->oldest && v >= PROTOCOL_FIRST; v--)
		out[n++] = v;
	return n;
}

uint32_t
protocol_settle(const struct protocol_range *r, const uint32_t *theirs, size_t n)
{
	uint32_t best = 0;
	size_t i;

	for (i = 0; i < n; i++)
		if (protocol_speaks(r, theirs[i]) && theirs[i] > best)
			best = theirs[i];
	return best;
}
