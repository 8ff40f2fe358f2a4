#include "edge/refill_said.h"

#include <stdio.h>

#include "edge/refill.h"

static unsigned long long
ull(uint64_t n)
{
	return n;
}

/* R26 */
static const char *
left_out(const struct refill_result *r)
{
	return r->by_policy ? "; without what others delivered: central's `site policy`"
	       : r->doubted ? "; the rest comes by itself when central knows who was removed"
			    : "";
}

void
refill_said(char *out, size_t size, const struct refill_result *r)
{
	(void)snprintf(out, size,
		       "%llu images known, %llu were here, %llu came (%llu bytes), %llu are not "
		       "at central, %llu it could not give%s%s",
		       ull(r->known), ull(r->here), ull(r->came), ull(r->bytes), ull(r->absent),
		       ull(r->failed),
		       r->stopped ? "; stopped at 70 % of the quota or at --bytes" : "",
		       left_out(r));
}
