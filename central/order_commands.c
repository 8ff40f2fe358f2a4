#include "central/order_commands.h"

#include <string.h>

#include "central/central.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/os/command.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

/* R10: of a central that is being rebuilt, or whose copies are doubted. */
int
order_commands_hold(struct asked *a)
{
	Sync__Order m = SYNC__ORDER__INIT;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;

	m.kind = SYNC__ORDER_KIND__ORDER_HOLD;
	m.on = strcmp(a->words[1], "on") == 0;
	m.why = message_text("a person");
	if (!m.on && strcmp(a->words[1], "off") != 0) {
		command_complain(a, "hold on|off");
		return COMMAND_USAGE;
	}
	if (dispatch_give(a->node, &m, &e))
		return command_failed(a, &e);
	buf_printf(&out, "order %llu: %s\n", (unsigned long long)m.number,
		   m.on ? "no edge evicts anything, from when it hears this on"
			: "edges may evict again what central releases");
	return command_give(a, &out, COMMAND_OK);
}
