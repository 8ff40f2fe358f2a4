/* The way from an edge to central: late, lost, doubled, out of order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/intake.h"
#include "common/base/err.h"
#include "common/http/server.h"
#include "proto/link.h"
#include "tests/sim/truth.h"
#include "tests/sim/world.h"

enum { GIVE_UP_MS = 5000, REFUSED_MS = 20 };

struct sent {
	struct sent *next;
	struct http_call call;
	struct http_done done;
	int64_t arrives, answered; /* world time */
	unsigned times;		   /* it arrives */
	bool served, silent;	   /* silent: the answer is lost */
};

struct simlink {
	struct link l; /* first */
	struct sim_edge *e;
	struct sent *first;
};

static int64_t
travel(struct sim_edge *e)
{
	return 1 + e->line.latency_ms / 2 +
	       (int64_t)world_below(e->w, (uint64_t)e->line.latency_ms + 1);
}

static int
submit(struct link *l, struct http_call *call, struct err *err)
{
	struct simlink *s = (struct simlink *)(void *)l;
	struct sim_line *line = &s->e->line;
	struct world *w = s->e->w;
	struct sent *m = calloc(1, sizeof(*m)), **at = &s->first;

	(void)err;
	if (!m)
		abort();
	m->call = *call;
	buf_init(&call->body);
	m->done.id = call->id;
	m->done.ms = 1 + (int64_t)m->call.body.len * 1000 / line->rate;
	m->done.sent = m->call.body.len;
	memcpy(m->done.asked, m->call.epoch, sizeof(m->done.asked));
	m->arrives = w->now + m->done.ms + travel(s->e);
	m->times = 1;
	if (!w->calm && world_chance(w, line->twice))
		m->times = 2;
	m->silent = line->cut_back || (!w->calm && world_chance(w, line->loss));
	if (line->cut || ramdisk_dead(s->e->disk) || (!w->calm && world_chance(w, line->loss)))
		m->times = 0;
	m->answered = m->arrives + (m->silent || !m->times ? GIVE_UP_MS : travel(s->e));
	while (*at)
		at = &(*at)->next;
	*at = m;
	return 0;
}

static void
serve_once(struct simlink *s, struct sent *m)
{
	struct link_served to = {.node = &s->e->w->central, .site = s->e->name};
	struct http_done done;
	struct world *w = s->e->w;

	w->messages++;
	if (!w->up) {
		m->silent = true;
		m->answered = w->now + REFUSED_MS;
		return;
	}
	to.routes = intake_routes(&to.n_routes);
	world_enter(w, &w->clock);
	link_serve(&to, &m->call, &done);
	if (ramdisk_dead(w->disk))
		m->silent = true; /* it died before it answered */
	else if (strcmp(m->call.method, "PATCH") == 0 && done.status == 200)
		truth_receipt(s->e, &done.body);
	world_look_after_central(w);
	world_enter(w, &s->e->clock);
	buf_fini(&m->done.body);
	m->done.status = done.status;
	m->done.body = done.body;
	memcpy(m->done.epoch, done.epoch, sizeof(done.epoch));
}

static void
serve(struct simlink *s, struct sent *m)
{
	unsigned i;

	m->served = true;
	if (s->e->line.cut) { /* on its way when the line was cut */
		m->times = 0;
		m->answered = s->e->w->now + GIVE_UP_MS;
	}
	for (i = 0; i < m->times; i++)
		serve_once(s, m);
	if (s->e->line.cut_back)
		m->silent = true;
	if (m->silent || !m->times) {
		m->done.status = 0;
		buf_fini(&m->done.body);
		(void)snprintf(m->done.what, sizeof(m->done.what), "nobody answers");
	}
}

static int64_t
due_of(const struct sent *m)
{
	return m->served ? m->answered : m->arrives;
}

/* The one whose turn is next. */
static struct sent **
next_of(struct simlink *s)
{
	struct sent **at, **best = NULL;

	for (at = &s->first; *at; at = &(*at)->next)
		if (!best || due_of(*at) < due_of(*best))
			best = at;
	return best;
}

static int
wait_for(struct link *l, int timeout_ms, struct http_done *out, bool *got, struct err *err)
{
	struct simlink *s = (struct simlink *)(void *)l;
	struct world *w = s->e->w;
	int64_t until = w->now + timeout_ms;
	struct sent **at, *m;

	(void)err;
	*got = false;
	while ((at = next_of(s)) && due_of(*at) <= until) {
		m = *at;
		if (due_of(m) > w->now)
			w->now = due_of(m);
		if (!m->served) {
			serve(s, m);
			continue;
		}
		*at = m->next;
		*out = m->done;
		if (m->call.give_back) {
			out->spent = m->call.body;
			buf_init(&m->call.body);
		}
		buf_fini(&m->call.body);
		free(m);
		*got = true;
		return 0;
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
	struct sent *m;

	while ((m = s->first)) {
		s->first = m->next;
		if (!m->served && !s->e->w->calm && world_chance(s->e->w, 500))
			serve(s, m);
		buf_fini(&m->call.body);
		buf_fini(&m->done.body);
		free(m);
	}
	free(s);
}

int64_t
simlink_due(const struct link *l)
{
	struct sent **at = next_of((struct simlink *)(void *)(uintptr_t)l);

	return at ? due_of(*at) : INT64_MAX;
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
