/*
 * pledge_steps.h - what becomes of a request to an archive, step by step and durable.
 *
 * Each step changes nothing of a request whose result came meanwhile: ERR_ABSENT. What goes wrong
 * on this node's side is logged here.
 * Threads: any.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGE_STEPS_H
#define SALAMANDER_COMMON_DIMSE_PLEDGE_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dimse/pledges.h"

struct audit;
struct store;

struct pledge_steps {
	struct store *store;
	struct audit *audit;
};

/* The images that wait for its word; *all is the caller's. */
int pledge_read_open(const struct pledge_steps *s, const struct pledge_row *row,
		     struct pledge **all, size_t *n);
/* What was sent of them, and what was not taken; all: that is all, and it can be asked for. */
int pledge_supplied(const struct pledge_steps *s, const struct pledge_row *row,
		    const struct pledge *of, size_t n, bool all);
/* Its N-ACTION goes out; a transaction that may have gone out already is not used again. */
int pledge_goes_out(const struct pledge_steps *s, struct pledge_row *row);
/* It was answered with success. */
int pledge_is_asked(const struct pledge_steps *s, const struct pledge_row *row);
/* Until then what the archive does not take now is tried again before it is asked for the rest. */
int64_t pledge_patient_until(const struct pledge_row *row);
/* It is tried again, by backing off. status: of its answer, 0: there was none. */
void pledge_put_off(const struct pledge_steps *s, const struct pledge_row *row, unsigned status,
		    const char *why);
/* All that waits for it stands so from now on: PLEDGE_REFUSED by status, or PLEDGE_RAN_OUT. */
void pledge_end(const struct pledge_steps *s, const struct pledge_row *row, enum pledge_state state,
		unsigned status);
void pledge_forget(const struct pledge_steps *s, const struct pledge_row *row);
bool pledge_is_settled(const struct pledge_steps *s, uint64_t number);

#endif
