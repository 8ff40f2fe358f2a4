/*
 * order_commands.h - what an operator wants of edges, by way of orders.
 *
 * Threads: as central_commands.
 */
#ifndef SALAMANDER_CENTRAL_ORDER_COMMANDS_H
#define SALAMANDER_CENTRAL_ORDER_COMMANDS_H

struct asked;

int order_commands_hold(struct asked *a);

#endif
