/*
 * steps.h - what the stories of many pair tests do: send, settle, look into the outbox, refill.
 *
 * Each step asserts that it worked. Threads: the test's own.
 */
#ifndef SALAMANDER_TESTS_LIB_STEPS_H
#define SALAMANDER_TESTS_LIB_STEPS_H

#include "edge/outbox.h"
#include "edge/refill.h"
#include "tests/lib/pair.h"

/* One of each test's own, by cmocka: pair_test(f, p), where p is a struct pair of the program. */
#define pair_test(f, p) cmocka_unit_test_prestate_setup_teardown(f, pair_setup, pair_teardown, &(p))
int pair_setup(void **state); /* with a quota of 64 MiB */
int pair_teardown(void **state);
/* Images first to first + n - 1 are acknowledged. */
void pair_send_some(struct pair *p, unsigned first, unsigned n);
/* A pair with a quota of 64 MiB; images 0 to n - 1 are sent and at central. */
void pair_begin(struct pair *p, unsigned n);
/* The study of an image, as its record at the edge says; out: UID_SIZE bytes. */
void pair_study(struct pair *p, unsigned number, char *out);
/* An image in a store of the two, as p->change makes it; oid 0: not there. */
struct version pair_version(struct pair *p, struct store *s, unsigned number);
/* At central: orders that are open somewhere. */
uint64_t pair_open_orders(struct pair *p);
/* R18, of all sites: as counted all along, and as counted now; none is owed or lost. */
void pair_expect_counts(struct pair *p, uint64_t held, uint64_t withdrawn);
struct outbox_counts pair_outbox(struct pair *p);
/* The command, at the edge as it is. */
struct refill_result pair_refill(struct pair *p, const struct refill_config *c);
/* The edge burns, and a new one is filled. */
struct refill_result pair_burn_and_refill(struct pair *p, bool group);

#endif
