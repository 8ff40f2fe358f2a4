#include "edge/keep.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/store.h"
#include "edge/damage.h"
#include "edge/edge.h"
#include "edge/evict.h"
#include "edge/outbox.h"
#include "edge/wanted.h"
#include "edge/replicate.h"

enum {
	ASK_PERCENT = 80,
	FREE_PERCENT = 90,
	DOWN_PERCENT = 86,
	DARK_PERCENT = 97,
	TURN_SECONDS = 1,
	STUDIES = 32,
	HOURS = 24,
	HOUR_MS = 3600000,
	REST_MS = 15000, /* after a round that freed nothing */
	REST_WANTED_MS = 1000,
	HOURS_EVERY_MS = 60000,
	DAMAGE_EVERY_MS = 3600000
};

#define DAY_MS INT64_C(86400000)

struct keep {
	struct edge *e;
	struct evict *evict; /* guarded by work_mu */
	pthread_mutex_t work_mu;
	pthread_t thread;
	bool threaded;
	pthread_mutex_t mu;
	pthread_cond_t wake, freed;
	/* guarded by mu */
	bool stopping, can_release, young;
	unsigned waiting;
	uint64_t need;	       /* the most that one of these waits for    */
	int64_t in_vain_ms;    /* when a round freed nothing; 0: it did */
	uint64_t not_released; /* studies, of the last look */
	const char *why_not;
	/* keep's thread only */
	int64_t hours_at_ms, damage_at_ms;
	enum keep_level level; /* as logged last */
	/* bytes taken in, by hour of monotonic time */
	_Atomic uint64_t hour[HOURS];
	_Atomic int64_t hour_number[HOURS];
	int64_t started_ms;
	struct keep_day before;	 /* of the lives before; set once  */
	struct keep_day written; /* keep's thread only             */
};

bool
keep_in_the_dark(struct edge *e)
{
	struct contact c;

	edge_contact(e, &c);
	return !c.ever || c.two_centrals || clock_mono(e->clock) - c.mono_ms > KEEP_DARK_MS;
}

static bool
two_centrals(struct edge *e)
{
	struct contact c;

	edge_contact(e, &c);
	return c.two_centrals;
}

static bool
on_hold(struct edge *e)
{
	struct store_tx *tx;
	uint64_t hold = 1;

	if (store_begin_read(&tx, e->store, NULL))
		return true;
	if (sync_number(tx, "hold", &hold, NULL))
		hold = 1;
	store_end_read(tx);
	return hold != 0;
}

/* Not the node's clock: how long a thread waits is no part of the state. */
static int64_t
real_ms(void)
{
	return clock_mono(clock_real());
}

/* What is taken of the limit when all that was dropped is gone; what was let in counts. */
static uint64_t
taken(const struct store_space *s)
{
	return (s->used > s->dropping ? s->used - s->dropping : 0) + s->admitted;
}

static unsigned
percent_used(struct edge *e)
{
	struct store_space s;

	store_space(e->store, &s);
	/* R12: on a disk that is smaller than the quota, the disk is what is full. */
	return s.limit ? (unsigned)(taken(&s) * 100 / s.limit) : 0;
}

/* --- one round --- */

struct round {
	struct keep *k;
	unsigned down_to; /* per cent; 0: all that may go */
	uint64_t need;	  /* bytes that wait to come in   */
	bool dark;
	uint64_t n, bytes;
	bool young;
};

static int64_t
keep_ms(const struct edge *e)
{
	return wanted_number(e, "keep_days") * DAY_MS;
}

static bool
enough(const struct round *r)
{
	struct store_space s;

	store_space(r->k->e->store, &s);
	if (!r->down_to || !s.limit)
		return false;
	/* R10: in the dark only what is above the line goes, whoever waits. */
	return (taken(&s) + (r->dark ? 0 : r->need)) * 100 / s.limit <= r->down_to;
}

/* Studies in the order of R11, each whole, until enough is free. */
static int
free_studies(struct round *r, struct err *err)
{
	struct store_candidate list[STUDIES], after;
	struct edge *e = r->k->e;
	bool first = true;
	size_t n, i;
	int rc;

	do {
		rc = store_candidates(e->store, keep_ms(e), first ? NULL : &after, list, STUDIES,
				      &n, err);
		for (i = 0; !rc && i < n; i++) {
			uint64_t freed = 0, bytes = 0;

			after = list[i];
			first = false;
			/* Things change while a round runs for minutes. */
			if (enough(r) || on_hold(e) || keep_in_the_dark(e) != r->dark ||
			    atomic_load(&e->stopping))
				return 0;
			rc = evict_study(r->k->evict, list[i].study, r->dark, &freed, &bytes, err);
			r->n += freed;
			r->bytes += bytes;
			r->young = r->young || (freed && list[i].class == STORE_YOUNG);
		}
	} while (!rc && n == STUDIES);
	return rc;
}

static int
run_round(struct keep *k, unsigned down_to, uint64_t need, bool dark, struct round *out,
	  struct err *err)
{
	struct round r = {.k = k, .down_to = down_to, .need = need, .dark = dark};
	const char *why;
	uint64_t refused;
	int rc;

	(void)pthread_mutex_lock(&k->work_mu);
	evict_count(k->evict);
	rc = free_studies(&r, err);
	refused = evict_not_released(k->evict, &why);
	(void)pthread_mutex_unlock(&k->work_mu);
	(void)pthread_mutex_lock(&k->mu);
	k->not_released = refused;
	k->why_not = why;
	if (r.n) /* by hand nothing had to go */
		k->young = r.young && down_to;
	(void)pthread_cond_broadcast(&k->freed);
	(void)pthread_mutex_unlock(&k->mu);
	if (r.n) {
		log_line(LOG_INFO, dark ? "evicted.dark" : "evicted",
			 "instances=%llu bytes=%llu young=%d", (unsigned long long)r.n,
			 (unsigned long long)r.bytes, (int)r.young);
		replicate_wake(k->e->replicate);
	}
	*out = r;
	return rc;
}

/* What is on its way to central can be released soon. */
static bool
soon(struct edge *e)
{
	struct outbox_counts owed;
	struct contact contact;
	struct store_tx *tx;
	int rc;

	edge_contact(e, &contact);
	if (!contact.reachable || store_begin_read(&tx, e->store, NULL))
		return false;
	rc = outbox_counts(tx, &owed, NULL);
	store_end_read(tx);
	return !rc && owed.owed > owed.parked;
}

uint64_t
keep_not_released(struct keep *k, const char **why)
{
	uint64_t n;

	(void)pthread_mutex_lock(&k->mu);
	n = k->not_released;
	*why = n ? k->why_not : "";
	(void)pthread_mutex_unlock(&k->mu);
	return n;
}

/* What a full cache may do now. */
static void
turn(struct keep *k, bool wanted, uint64_t need)
{
	struct err err = ERR_INIT;
	struct round r = {.n = 0};
	struct store_space space;
	bool dark = keep_in_the_dark(k->e), hold = on_hold(k->e), may, waits, tried = false;
	unsigned used = percent_used(k->e);
	const char *why = "";
	uint64_t refused = 0;

	may = !hold && !two_centrals(k->e) && /* R22: then nothing at all */
	      (!dark || ((used >= DARK_PERCENT || wanted) && !wanted_dark_keep(k->e)));
	if (may && (used >= FREE_PERCENT || wanted)) {
		tried = true;
		if (run_round(k, dark ? DARK_PERCENT - 1 : DOWN_PERCENT, need, dark, &r, &err))
			log_err(LOG_WARN, "evict", &err);
	} else if (may && used >= ASK_PERCENT && !dark) {
		/* Ahead of need: what central would release is asked now (R9). */
		(void)pthread_mutex_lock(&k->work_mu);
		evict_count(k->evict);
		evict_ask_ahead(k->evict, keep_ms(k->e), &err);
		refused = evict_not_released(k->evict, &why);
		(void)pthread_mutex_unlock(&k->work_mu);
	}
	store_space(k->e->store, &space);
	waits = soon(k->e);
	(void)pthread_mutex_lock(&k->mu);
	if (!tried) { /* in a round: it has said so */
		k->not_released = refused;
		k->why_not = why;
	}
	k->can_release = may && (!tried || r.n > 0 || space.dropping > 0 || waits);
	k->in_vain_ms = tried && !r.n ? real_ms() : 0;
	(void)pthread_cond_broadcast(&k->freed);
	(void)pthread_mutex_unlock(&k->mu);
}

/* A round that freed nothing has asked central for everything: not again at once. With mu. */
static bool
rests(const struct keep *k, bool wanted)
{
	return k->in_vain_ms && real_ms() - k->in_vain_ms < (wanted ? REST_WANTED_MS : REST_MS);
}

/* --- take-in that waits --- */

bool
keep_wait(struct keep *k, uint64_t bytes, int64_t *since_ms)
{
	struct timespec t;
	int64_t now = clock_mono(k->e->clock);
	bool room = store_admit(k->e->store, bytes, NULL) == 0;

	if (!*since_ms)
		*since_ms = now;
	if (now >= *since_ms + KEEP_WAIT_MS) /* others took the room each time */
		return false;
	(void)pthread_mutex_lock(&k->mu);
	k->waiting++;
	k->need = bytes > k->need ? bytes : k->need;
	if (!rests(k, true))
		k->can_release = true; /* until a round has said otherwise */
	(void)pthread_cond_signal(&k->wake);
	if (!k->threaded && !room) { /* nobody else makes it */
		(void)pthread_mutex_unlock(&k->mu);
		keep_turn(k);
		room = store_admit(k->e->store, bytes, NULL) == 0;
		(void)pthread_mutex_lock(&k->mu);
	}
	while (k->threaded && !room && !k->stopping && k->can_release &&
	       now < *since_ms + KEEP_WAIT_MS) {
		clock_deadline(&t, 50);
		(void)pthread_cond_timedwait(&k->freed, &k->mu, &t);
		room = store_admit(k->e->store, bytes, NULL) == 0;
		now = clock_mono(k->e->clock);
	}
	k->waiting--;
	if (!k->waiting)
		k->need = 0;
	(void)pthread_mutex_unlock(&k->mu);
	return room;
}

bool
keep_can_release(struct keep *k)
{
	bool can;

	(void)pthread_mutex_lock(&k->mu);
	can = k->can_release;
	(void)pthread_cond_signal(&k->wake);
	(void)pthread_mutex_unlock(&k->mu);
	return can;
}

/* --- by hand --- */

int
keep_evict(struct keep *k, const char *study, uint64_t *n, uint64_t *bytes, struct err *err)
{
	bool dark = keep_in_the_dark(k->e);
	struct contact contact;
	struct round r;
	int rc;

	*n = *bytes = 0;
	edge_contact(k->e, &contact);
	if (contact.two_centrals)
		return err_set(err, ERR_AGAIN, 0, "two centrals answer in turn: nothing is freed");
	if (!dark && !contact.reachable)
		return err_set(err, ERR_AGAIN, 0, "central does not answer: nothing is released");
	if (on_hold(k->e))
		return err_set(err, ERR_AGAIN, 0, "eviction is on hold; `hold off` ends it");
	if (dark && (percent_used(k->e) < DARK_PERCENT || wanted_dark_keep(k->e)))
		return err_set(err, ERR_AGAIN, 0,
			       "central has not answered for 15 minutes, or not since the start: "
			       "nothing is freed (R10)");
	if (!study) {
		rc = run_round(k, dark ? DARK_PERCENT - 1 : 0, 0, dark, &r, err);
		*n = r.n;
		*bytes = r.bytes;
		return rc;
	}
	(void)pthread_mutex_lock(&k->work_mu);
	rc = dark && percent_used(k->e) < DARK_PERCENT
		     ? err_set(err, ERR_AGAIN, 0, "below 97 %% nothing is freed in the dark (R10)")
		     : evict_study(k->evict, study, dark, n, bytes, err);
	(void)pthread_mutex_unlock(&k->work_mu);
	if (*n)
		replicate_wake(k->e->replicate);
	return rc;
}

/* --- the rate --- */

void
keep_taken(struct keep *k, uint64_t bytes)
{
	int64_t hour = clock_mono(k->e->clock) / HOUR_MS;
	unsigned i = (unsigned)(hour % HOURS);

	if (atomic_exchange(&k->hour_number[i], hour) != hour)
		atomic_store(&k->hour[i], 0);
	atomic_fetch_add(&k->hour[i], bytes);
}

enum keep_level
keep_level(const struct keep_status *s)
{
	return !s->rate_known || s->hours_left >= KEEP_WARNING_HOURS ? KEEP_ROOMY
	       : s->hours_left >= KEEP_ALARM_HOURS		     ? KEEP_WARNING
								     : KEEP_ALARM;
}

/* What is not owed could be released, if central answers. */
uint64_t
keep_evictable(struct edge *e, const struct store_counts *here, const struct outbox_counts *owed)
{
	return keep_in_the_dark(e) || on_hold(e) || here->bytes < owed->owed_bytes
		       ? 0
		       : here->bytes - owed->owed_bytes;
}

void
keep_status(struct keep *k, uint64_t evictable, struct keep_status *out)
{
	int64_t now = clock_mono(k->e->clock), hour = now / HOUR_MS;
	double bytes = 0, hours = (double)(now - k->started_ms) / HOUR_MS;
	struct store_space s;
	double free_bytes;
	unsigned i;

	for (i = 0; i < HOURS; i++)
		if (hour - atomic_load(&k->hour_number[i]) < HOURS)
			bytes += (double)atomic_load(&k->hour[i]);
	hours = hours > HOURS ? HOURS : hours;
	/* What is missing to a day was like the time before the restart. */
	if (k->before.hours > 0) {
		double of = HOURS - hours < k->before.hours ? HOURS - hours : k->before.hours;

		bytes += k->before.bytes * of / k->before.hours;
		hours += of;
	}
	out->taken = (struct keep_day){bytes, hours};
	out->rate = bytes / (hours < 1 ? 1 : hours);
	store_space(k->e->store, &s);
	free_bytes = s.limit > s.used && !s.shut ? (double)(s.limit - s.used) : 0;
	evictable = s.shut ? 0 : evictable;
	out->rate_known = out->rate > 0;
	out->hours_left = out->rate_known ? (free_bytes + (double)evictable) / out->rate : 0;
	out->hours_left_dark = out->rate_known ? free_bytes / out->rate : 0;
	out->hold = on_hold(k->e);
	out->dark = keep_in_the_dark(k->e);
	(void)pthread_mutex_lock(&k->mu);
	out->young = k->young;
	(void)pthread_mutex_unlock(&k->mu);
}

static int
write_taken(struct store_tx *tx, void *arg, struct err *err)
{
	const struct keep_day *t = arg;
	int rc = sync_set_number(tx, "taken_bytes", (uint64_t)t->bytes, err);

	return rc ? rc : sync_set_number(tx, "taken_ms", (uint64_t)(t->hours * HOUR_MS), err);
}

static bool
differs(double a, double b)
{
	return (a > b ? a - b : b - a) * 100 > b;
}

/* A restart in the morning shall not hide the night's alarm. Lost: a minute's worth of it. */
static void
write_down(struct keep *k, struct keep_day t)
{
	struct err err = ERR_INIT;

	if (t.bytes < 1 && k->written.bytes < 1)
		return;
	if (!differs(t.bytes, k->written.bytes) && !differs(t.hours, k->written.hours))
		return;
	if (store_commit(k->e->store, write_taken, &t, &err))
		log_err(LOG_WARN, "cache.taken", &err);
	else
		k->written = t;
}

static void
read_taken(struct keep *k)
{
	uint64_t bytes = 0, ms = 0;
	struct store_tx *tx;

	if (store_begin_read(&tx, k->e->store, NULL))
		return;
	if (!sync_number(tx, "taken_bytes", &bytes, NULL) &&
	    !sync_number(tx, "taken_ms", &ms, NULL) && ms <= (uint64_t)HOURS * HOUR_MS) {
		k->before.bytes = (double)bytes;
		k->before.hours = (double)ms / HOUR_MS;
	}
	store_end_read(tx);
}

/* R11: nobody may be looking at `status`: the log says it too, once for each change. */
static void
watch_hours(struct keep *k)
{
	struct outbox_counts owed;
	struct store_counts here;
	struct keep_status s;
	struct store_tx *tx;
	enum keep_level level;
	int rc;

	if (k->hours_at_ms && clock_mono(k->e->clock) - k->hours_at_ms < HOURS_EVERY_MS)
		return;
	k->hours_at_ms = clock_mono(k->e->clock);
	if (store_begin_read(&tx, k->e->store, NULL))
		return;
	rc = store_counts(tx, &here, NULL);
	if (!rc)
		rc = outbox_counts(tx, &owed, NULL);
	store_end_read(tx);
	if (rc)
		return;
	keep_status(k, keep_evictable(k->e, &here, &owed), &s);
	write_down(k, s.taken);
	level = keep_level(&s);
	if (level != k->level)
		log_line(level == KEEP_ALARM	 ? LOG_ERROR
			 : level == KEEP_WARNING ? LOG_WARN
						 : LOG_INFO,
			 "cache.hours", "left=%.0f without_central=%.0f", s.hours_left,
			 s.hours_left_dark);
	k->level = level;
}

static void
watch_damage(struct keep *k)
{
	struct err err = ERR_INIT;

	if (k->damage_at_ms && clock_mono(k->e->clock) - k->damage_at_ms < DAMAGE_EVERY_MS)
		return;
	k->damage_at_ms = clock_mono(k->e->clock);
	if (damage_again(k->e, &err))
		log_err(LOG_WARN, "instance.again", &err);
}

void
keep_turn(struct keep *k)
{
	bool wanted, idle;
	uint64_t need;

	(void)pthread_mutex_lock(&k->mu);
	wanted = k->waiting > 0;
	need = k->need;
	idle = rests(k, wanted);
	(void)pthread_mutex_unlock(&k->mu);
	if (!idle && (wanted || percent_used(k->e) >= ASK_PERCENT))
		turn(k, wanted, need);
	watch_hours(k);
	watch_damage(k);
}

static void *
run(void *arg)
{
	struct keep *k = arg;
	struct timespec t;

	(void)pthread_mutex_lock(&k->mu);
	while (!k->stopping) {
		(void)pthread_mutex_unlock(&k->mu);
		keep_turn(k);
		(void)pthread_mutex_lock(&k->mu);
		clock_deadline(&t, k->waiting ? 100 : TURN_SECONDS * 1000);
		if (!k->stopping)
			(void)pthread_cond_timedwait(&k->wake, &k->mu, &t);
	}
	(void)pthread_mutex_unlock(&k->mu);
	return NULL;
}

/* --- start and stop --- */

int
keep_new(struct keep **out, struct edge *e, struct err *err)
{
	struct keep *k = calloc(1, sizeof(*k));
	int rc = k ? evict_new(&k->evict, e, err)
		   : err_set(err, ERR_LOCAL, 0, "no memory to keep the cache");

	if (rc) {
		free(k);
		return rc;
	}
	k->e = e;
	k->can_release = true;
	k->started_ms = clock_mono(e->clock);
	read_taken(k);
	(void)pthread_mutex_init(&k->work_mu, NULL);
	(void)pthread_mutex_init(&k->mu, NULL);
	clock_cond(&k->wake);
	clock_cond(&k->freed);
	*out = k;
	return 0;
}

int
keep_start(struct keep **out, struct edge *e, struct err *err)
{
	int rc = keep_new(out, e, err);

	if (rc)
		return rc;
	(*out)->threaded = pthread_create(&(*out)->thread, NULL, run, *out) == 0;
	if ((*out)->threaded)
		return 0;
	keep_stop(*out);
	*out = NULL;
	return err_set(err, ERR_LOCAL, 0, "cannot start a thread");
}

void
keep_hurry(struct keep *k)
{
	if (!k)
		return;
	(void)pthread_mutex_lock(&k->mu);
	k->stopping = true;
	(void)pthread_cond_broadcast(&k->wake);
	(void)pthread_cond_broadcast(&k->freed);
	(void)pthread_mutex_unlock(&k->mu);
}

void
keep_stop(struct keep *k)
{
	if (!k)
		return;
	keep_hurry(k);
	if (k->threaded)
		(void)pthread_join(k->thread, NULL);
	evict_free(k->evict);
	(void)pthread_mutex_destroy(&k->work_mu);
	(void)pthread_mutex_destroy(&k->mu);
	(void)pthread_cond_destroy(&k->wake);
	(void)pthread_cond_destroy(&k->freed);
	free(k);
}
