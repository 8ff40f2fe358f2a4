#include "proto/orders.h"

#include <string.h>

#include "proto/sync.pb-c.h"

const char *
orders_kind_name(int kind)
{
	switch ((Sync__OrderKind)kind) {
	case SYNC__ORDER_KIND__ORDER_HOLD:
		return "hold";
	case SYNC__ORDER_KIND__ORDER_RETRACT:
		return "retract";
	case SYNC__ORDER_KIND__ORDER_RESTORE:
		return "restore";
	case SYNC__ORDER_KIND__ORDER_REFILL:
		return "refill";
	case SYNC__ORDER_KIND__ORDER_VERIFY:
		return "verify";
	case SYNC__ORDER_KIND__ORDER_RESEND:
		return "resend";
	case SYNC__ORDER_KIND__ORDER_PREFETCH:
		return "prefetch";
	case SYNC__ORDER_KIND__ORDER_SETTINGS:
		return "set";
	case SYNC__ORDER_KIND__ORDER_REJECTED:
		return "rejected";
	case SYNC__ORDER_KIND__ORDER_SITE:
		return "site";
	case SYNC__ORDER_KIND__ORDER_NONE:
	case _SYNC__ORDER_KIND_IS_INT_SIZE:
		break;
	}
	return "of a later version";
}

bool
orders_seal_among(const void *list, size_t n, const void *seal)
{
	const unsigned char *p = list;
	size_t at;

	for (at = 0; at + ORDERS_SEAL <= n; at += ORDERS_SEAL)
		if (memcmp(p + at, seal, ORDERS_SEAL) == 0)
			return true;
	return false;
}
