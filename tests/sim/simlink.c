/*
 * The way from an edge to central: late, lost, doubled, overtaken, dripping, half closed.
 *
 * What arrives and what the edge hears are two events: of a connection that breaks on the edge's
 * side it hears at once, and what it had sent may arrive long after.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/intake.h"
#include "common/base/err.h"
#include "common/http/server.h"
#include "proto/link.h"
#include "proto/orders.h"
#include "tests/lib/oldpeer.h"
#include "tests/sim/asks.h"
#include "tests/sim/removed.h"
#include "tests/sim/truth.h"
#include "tests/sim/watch.h"
#include "tests/sim/world.h"

enum { FORBIDDEN = 403, GIVE_UP_MS = 5000, REFUSED_MS = 20, LATE_MS = 30000, DRIP_MS = 20000 };

#define NEVER INT64_MAX

struct sent {
	struct sent *next;
	struct http_call call;
	struct http_done done;
	int64_t arrives, answered; /* world time; NEVER: it will not, or it has */
	unsigned times;		   /* it arrives */
	bool silent;		   /* the answer is lost */
	bool broken;		   /* the edge hears of it before it arrives */
	int64_t held_until;	   /* 0, or central has nothing to say yet   */
	uint64_t seen;		   /* then: its count of news                */
};

struct simlink {
	struct link l; /* first */
	struct sim_edge *e;
	struct sent *first;
	unsigned waiting;   /* calls that the edge has heard nothing of */
	uint64_t in_flight; /* bytes of these */
};

static int64_t
travel(struct sim_edge *e)
{
	return 1 + e->line.latency_ms / 2 +
	       (int64_t)world_below(e->w, (uint64_t)e->line.latency_ms + 1) +
	       (e->line.drip && !e->w->calm ? (int64_t)world_below(e->w, DRIP_MS) : 0);
}

static bool
happens(struct simlink *s, unsigned of_1000, enum seen what)
{
	struct world *w = s->e->w;

	if (w->calm || !of_1000 || !world_chance(w, of_1000))
		return false;
	w->seen[what]++;
	return true;
}

/* What the line does to this one. */
static void
plan(struct simlink *s, struct sent *m)
{
	struct sim_line *line = &s->e->line;
	struct world *w = s->e->w;
	int64_t way = m->done.ms + travel(s->e);

	m->arrives = w->now + way;
	m->times = happens(s, line->twice, SEEN_TWICE) ? 2 : 1;
	m->silent = line->cut_back || happens(s, line->loss, SEEN_LOST);
	if (happens(s, line->late, SEEN_OVERTAKEN))
		m->arrives += (int64_t)world_below(w, LATE_MS);
	if (line->cut || ramdisk_dead(s->e->disk) || happens(s, line->loss, SEEN_LOST))
		m->times = 0;
	w->seen[SEEN_DRIP] += line->drip && m->times && !w->calm;
	w->seen[SEEN_CUT_THERE] += line->cut;
	w->seen[SEEN_CUT_BACK] += line->cut_back;
	m->answered = m->arrives + (m->silent || !m->times ? GIVE_UP_MS : travel(s->e));
	if (m->times && happens(s, line->half, SEEN_HALF_CLOSED)) {
		m->broken = true;
		m->answered = w->now + 1 + (int64_t)world_below(w, (uint64_t)way);
		m->arrives += (int64_t)world_below(w, LATE_MS);
	}
	if (m->call.seconds && m->answered > w->now + (int64_t)m->call.seconds * SIM_SECOND) {
		m->silent = true;
		m->answered = w->now + (int64_t)m->call.seconds * SIM_SECOND;
		m->broken = m->arrives > m->answered;
	}
	if (!m->times)
		m->arrives = NEVER;
}

static int
submit(struct link *l, struct http_call *call, struct err *err)
{
	struct simlink *s = (struct simlink *)(void *)l;
	struct sent *m = calloc(1, sizeof(*m)), **at = &s->first;

	(void)err;
	if (!m)
		abort();
	m->call = *call;
	buf_init(&call->body);
	m->done.id = call->id;
	m->done.ms = 1 + (int64_t)m->call.body.len * 1000 / s->e->line.rate;
	m->done.sent = m->call.body.len;
	memcpy(m->done.asked, m->call.epoch, sizeof(m->done.asked));
	plan(s, m);
	while (*at)
		at = &(*at)->next;
	*at = m;
	s->waiting++;
	s->in_flight += m->call.body.len;
	watch_in_flight(s->e, s->waiting, s->in_flight);
	return 0;
}

static void
serve_once(struct simlink *s, struct sent *m)
{
	struct link_served to = {.node = &s->e->w->central, .site = s->e->name};
	struct http_done done;
	struct world *w = s->e->w;

	w->messages++;
	w->seen[SEEN_OLD_AND_NEW] += w->up && w->old != s->e->old;
	if (!w->up) {
		m->silent = true;
		if (m->answered != NEVER)
			m->answered = w->now + REFUSED_MS;
		return;
	}
	/* An end of the version before sends and understands no more than that had. */
	to.routes =
		w->old || s->e->old ? oldpeer_routes(&to.n_routes) : intake_routes(&to.n_routes);
	world_enter(w, &w->clock);
	if (asks_allowed(s->e))
		link_serve(&to, &m->call, &done);
	else
		done = (struct http_done){.id = m->call.id, .status = FORBIDDEN, .ms = 1};
	if (ramdisk_dead(w->disk))
		m->silent = true; /* it died before it answered */
	else if (strcmp(m->call.method, "PATCH") == 0 && done.status == 200)
		truth_receipt(s->e, &done.body);
	else
		removed_look_at(s->e, m->call.path, done.status);
	world_look_after_central(w);
	world_enter(w, &s->e->clock);
	buf_fini(&m->done.body);
	m->done.status = done.status;
	m->done.body = done.body;
	memcpy(m->done.epoch, done.epoch, sizeof(done.epoch));
}

/* As the HTTP server holds a poll (proto/orders.h): it arrives again when there is news. */
static bool
hold(struct simlink *s, struct sent *m)
{
	struct world *w = s->e->w;

	if (m->silent || m->broken || !m->times || m->answered == NEVER || m->done.status != 204 ||
	    strncmp(m->call.path, ORDERS_PATH, strlen(ORDERS_PATH)) != 0)
		return false;
	if (!m->held_until)
		m->held_until = w->now + ORDERS_WAIT_MS;
	if (w->now >= m->held_until)
		return false;
	m->arrives = m->held_until;
	m->answered = m->held_until + travel(s->e);
	m->seen = atomic_load(&w->central.dispatch.news);
	return true;
}

static void
serve(struct simlink *s, struct sent *m)
{
	bool held = m->held_until != 0;
	unsigned i;

	m->arrives = NEVER;
	if (s->e->line.cut) { /* on its way when the line was cut */
		m->times = 0;
		if (m->answered != NEVER)
			m->answered = s->e->w->now + GIVE_UP_MS;
	}
	for (i = 0; i < m->times; i++)
		serve_once(s, m);
	if (hold(s, m))
		return;
	if (held && m->times && !m->silent)
		m->answered = s->e->w->now + travel(s->e);
	if (s->e->line.cut_back)
		m->silent = true;
}

static void
forget(struct simlink *s, struct sent **at)
{
	struct sent *m = *at;

	*at = m->next;
	buf_fini(&m->call.body);
	buf_fini(&m->done.body);
	free(m);
	(void)s;
}

/* The edge hears of it; what has not arrived yet may do so later. */
static void
tell(struct simlink *s, struct sent **at, struct http_done *out)
{
	struct sent *m = *at;

	if (m->broken || m->silent || !m->times) {
		m->done.status = 0;
		buf_fini(&m->done.body);
		(void)snprintf(m->done.what, sizeof(m->done.what), "nobody answers");
	}
	*out = m->done;
	buf_init(&m->done.body);
	m->answered = NEVER;
	s->waiting--;
	s->in_flight -= m->done.sent;
	if (m->call.give_back && m->arrives == NEVER) {
		out->spent = m->call.body;
		buf_init(&m->call.body);
	} else if (m->call.give_back) {
		buf_put(&out->spent, m->call.body.data, m->call.body.len);
	}
	if (m->arrives == NEVER)
		forget(s, at);
}

static int64_t
due_of(const struct simlink *s, const struct sent *m)
{
	struct world *w = s->e->w;

	if (m->held_until && m->arrives != NEVER && w->up &&
	    m->seen != atomic_load(&w->central.dispatch.news))
		return w->now;
	return m->arrives < m->answered ? m->arrives : m->answered;
}

/* The one whose turn is next. */
static struct sent **
next_of(struct simlink *s)
{
	struct sent **at, **best = NULL;

	for (at = &s->first; *at; at = &(*at)->next)
		if (!best || due_of(s, *at) < due_of(s, *best))
			best = at;
	return best;
}

static int
wait_for(struct link *l, int timeout_ms, struct http_done *out, bool *got, struct err *err)
{
	struct simlink *s = (struct simlink *)(void *)l;
	struct world *w = s->e->w;
	int64_t until = w->now + timeout_ms;
	struct sent **at;

	(void)err;
	*got = false;
	while ((at = next_of(s)) && due_of(s, *at) <= until) {
		if (due_of(s, *at) > w->now)
			w->now = due_of(s, *at);
		if ((*at)->answered <= (*at)->arrives) {
			tell(s, at, out);
			*got = true;
			return 0;
		}
		serve(s, *at);
		if ((*at)->answered == NEVER)
			forget(s, at);
	}
	if (w->now < until)
		w->now = until;
	return 0;
}

static void
wake(struct link *l)
{
	(void)l;
}

/* What was sent may still arrive. */
static void
close_it(struct link *l)
{
	struct simlink *s = (struct simlink *)(void *)l;

	while (s->first) {
		if (s->first->arrives != NEVER && !s->e->w->calm && world_chance(s->e->w, 500))
			serve(s, s->first);
		forget(s, &s->first);
	}
	free(s);
}

int64_t
simlink_due(const struct link *l)
{
	struct simlink *s = (struct simlink *)(void *)(uintptr_t)l;
	struct sent **at = next_of(s);

	return at ? due_of(s, *at) : INT64_MAX;
}

int
simlink_open(struct link **out, struct sim_edge *e, struct err *err)
{
	static const struct link_ops ops = {submit, wait_for, wake, close_it};
	struct simlink *s = calloc(1, sizeof(*s));

	(void)err;
	if (!s)
		abort();
	s->l.ops = &ops;
	s->e = e;
	*out = &s->l;
	return 0;
}
