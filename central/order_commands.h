/*
 * order_commands.h - what an operator wants of edges, by way of orders.
 *
 * Threads: as central_commands.
 */
#ifndef SALAMANDER_CENTRAL_ORDER_COMMANDS_H
#define SALAMANDER_CENTRAL_ORDER_COMMANDS_H

struct asked;

int order_commands_hold(struct asked *a);
/* site refill | verify | resend NAME, and their options; any other word of `site`: -1. */
int order_commands_site(struct asked *a);
int order_commands_prefetch(struct asked *a);
int order_commands_set(struct asked *a);

extern const char order_commands_set_usage[];

#endif
