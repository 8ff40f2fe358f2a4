#include "edge/reach.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/os/ctl.h"
#include "edge/edge.h"
#include "edge/replicate.h"
#include "proto/link.h"

enum {
	STEP_MS = 20,
	HELLO_MS = 30000,  /* central does not answer                              */
	PERSON_MS = 5000,  /* what a person must see to first may be over by now  */
	STALL_MS = 180000, /* it does, and yet nothing goes on: more than one call */
	SHOW_MS = 1000
};

struct reach {
	struct edge *e;
	struct replicate *own; /* without a server */
	struct ctl_reply *r;
	int64_t moved_ms, answered_ms, shown_ms;
	uint64_t moved; /* whatever grows while it goes on */
};

static int
begin(struct reach *w, struct edge *e, struct ctl_reply *r, struct err *err)
{
	int64_t now = clock_mono(e->clock);
	struct link *link;
	int rc = 0;

	*w = (struct reach){e, NULL, r, now, now, now, 0};
	if (!edge_has_central(e))
		return err_set(err, ERR_LOCAL, 0,
			       "not joined, and no [central] url that it may call");
	if (e->replicate)
		return 0;
	rc = e->make_link(&link, e, err);
	return rc ? rc : replicate_new(&w->own, e, link, err);
}

static void
step(struct reach *w)
{
	if (w->own)
		replicate_turn(w->own, STEP_MS);
	else
		clock_sleep(w->e->clock, STEP_MS);
}

static int
stopped(const struct reach *w, struct err *err)
{
	return atomic_load(&w->e->stopping) || ctl_stopping(w->r)
		       ? err_set(err, ERR_AGAIN, 0, "stopped before central was compared with")
		       : 0;
}

static int
silent(const struct contact *c, struct err *err)
{
	return err_set(err, ERR_AGAIN, 0, "central does not answer%s%s", c->why[0] ? ": " : "",
		       c->why);
}

static void
say_that_it_waits(struct reach *w, const struct contact *c, bool *said)
{
	char line[200];

	if (*said || (!c->why[0] && clock_mono(w->e->clock) - w->answered_ms < SHOW_MS))
		return;
	*said = true;
	(void)snprintf(line, sizeof(line), "central does not answer%s%s: tried for %d s\n",
		       c->why[0] ? ": " : "", c->why, HELLO_MS / 1000);
	(void)ctl_progress(w->r, line);
}

static int
until_it_answers(struct reach *w, struct err *err)
{
	struct contact c;
	bool said = false;
	int rc = 0;

	for (edge_contact(w->e, &c); !rc && !c.reachable; edge_contact(w->e, &c)) {
		if (clock_mono(w->e->clock) - w->answered_ms > HELLO_MS ||
		    atomic_load(&w->e->stopping) || ctl_stopping(w->r))
			rc = silent(&c, err);
		else
			step(w);
		say_that_it_waits(w, &c, &said);
	}
	return rc;
}

int
reach_central(struct edge *e, struct ctl_reply *r, struct err *err)
{
	struct reach w;
	int rc = begin(&w, e, r, err);

	if (!rc)
		rc = until_it_answers(&w, err);
	replicate_free(w.own);
	return rc;
}

/* --- the whole ledger --- */

/* Also how a command whose reader went away is noticed. */
static void
show(struct reach *w, const struct contact *c, int64_t now)
{
	char line[100];

	if (now - w->shown_ms < SHOW_MS)
		return;
	w->shown_ms = now;
	(void)snprintf(line, sizeof(line), "announced %llu, compared %llu entries",
		       (unsigned long long)c->announced, (unsigned long long)c->compared);
	(void)ctl_draw(w->r, line);
}

/* Neither waits for ever: it is begun again by hand, or by the timer. */
static int
goes_on(struct reach *w, const struct contact *c, struct err *err)
{
	int64_t now = clock_mono(w->e->clock);
	uint64_t moved = c->announced + c->compared;

	if (c->reachable)
		w->answered_ms = now;
	if (moved != w->moved)
		w->moved_ms = now;
	w->moved = moved;
	show(w, c, now);
	if (stopped(w, err))
		return ERR_AGAIN;
	if (now - w->answered_ms > PERSON_MS && c->turned_away)
		return err_set(err, ERR_CONFLICT, 0, "central: %s", c->why);
	if (now - w->answered_ms > HELLO_MS)
		return silent(c, err);
	if (now - w->moved_ms > STALL_MS)
		return err_set(err, ERR_AGAIN, 0,
			       "central answers, but does not say what it holds");
	return 0;
}

int
reach_compared(struct edge *e, struct ctl_reply *r, struct comparison *out, struct err *err)
{
	uint64_t number;
	struct contact c;
	struct reach w;
	int rc = begin(&w, e, r, err);

	if (rc)
		return rc;
	number = atomic_fetch_add(&e->compares, 1) + 1;
	replicate_hello(e->replicate ? e->replicate : w.own); /* to whom, and what it lost */
	for (edge_contact(e, &c); !rc && c.comparison.asked < number; edge_contact(e, &c)) {
		rc = goes_on(&w, &c, err);
		if (!rc)
			step(&w);
	}
	if (!rc)
		*out = c.comparison;
	if (!rc && w.own)
		rc = edge_keep_contact(e, err);
	replicate_free(w.own);
	return rc;
}
