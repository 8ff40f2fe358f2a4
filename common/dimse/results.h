/*
 * results.h - the result of a request for storage commitment on its way to whoever asked.
 *
 * Threads: the association's.
 */
#ifndef SALAMANDER_COMMON_DIMSE_RESULTS_H
#define SALAMANDER_COMMON_DIMSE_RESULTS_H

#include <stdbool.h>

struct assoc;
struct assoc_target;
struct commitment_row;
struct err;
struct store;

/* An N-EVENT-REPORT with all instances of the request; its answer comes as a message. */
int results_send(struct store *s, struct assoc *a, unsigned char context, unsigned id,
		 const struct commitment_row *row, struct err *e);
/* The same on an association of its own; 0: it was answered with success. *answered: it was
 * answered. */
int results_deliver(struct store *s, const struct assoc_target *to,
		    const struct commitment_row *row, bool *answered, struct err *e);

#endif
