/* What may go first (R11): the state of studies, views, pins, candidates. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/store/private.h"

enum { STATE_BYTES = 49, STATE_LEAST = 41, VIEWED_MAX = 4096, PAGE = 1000 };

/* A study's row: times in store_time; origin: the most ours of its versions. */
struct state {
	int64_t first, viewed; /* viewed 0: never */
	/* By the wall clock, and by store_time: over when both say so (R28). */
	int64_t pinned_until, held_until;
	uint64_t here, bytes;
	unsigned origin;
};

struct viewed {
	struct viewed *next;
	char study[UID_SIZE];
};

/* R11: what names no study is kept and goes as one, named "". A key is never empty. */
static struct kv_slice
state_key(const char *study)
{
	return kv_slice(study, study[0] ? strlen(study) : 1);
}

static int
read_state(struct kv_slice v, struct state *out, struct err *e)
{
	const unsigned char *p = v.p;

	memset(out, 0, sizeof(*out));
	if (v.n < STATE_LEAST)
		return err_set(e, ERR_CORRUPT, 0, "the state of a study is torn");
	out->first = (int64_t)buf_get_u64(p);
	out->viewed = (int64_t)buf_get_u64(p + 8);
	out->pinned_until = (int64_t)buf_get_u64(p + 16);
	out->here = buf_get_u64(p + 24);
	out->bytes = buf_get_u64(p + 32);
	out->origin = p[40];
	if (v.n >= STATE_BYTES)
		out->held_until = (int64_t)buf_get_u64(p + 41);
	return 0;
}

static int
get_state(struct store_tx *tx, const char *study, struct state *out, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(tx->txn, T_STUDY_STATE, state_key(study), &v, e);

	memset(out, 0, sizeof(*out));
	return rc ? rc : read_state(v, out, e);
}

static int
put_state(struct store_tx *tx, const char *study, const struct state *s, struct err *e)
{
	unsigned char p[STATE_BYTES];

	buf_set_u64(p, (uint64_t)s->first);
	buf_set_u64(p + 8, (uint64_t)s->viewed);
	buf_set_u64(p + 16, (uint64_t)s->pinned_until);
	buf_set_u64(p + 24, s->here);
	buf_set_u64(p + 32, s->bytes);
	p[40] = (unsigned char)s->origin;
	buf_set_u64(p + 41, (uint64_t)s->held_until);
	return kv_put(tx->txn, T_STUDY_STATE, state_key(study), kv_slice(p, sizeof(p)), e);
}

int
study_touch(struct store_tx *tx, const char *study, enum version_origin origin, int64_t first_ms,
	    struct err *e)
{
	struct state s;
	int rc = get_state(tx, study, &s, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	if (rc == ERR_ABSENT || s.first == 0 || first_ms < s.first)
		s.first = first_ms;
	if ((unsigned)origin > s.origin)
		s.origin = origin;
	return put_state(tx, study, &s, e);
}

int
store_study_first(struct store_tx *tx, const char *study, int64_t *out, struct err *e)
{
	struct state s;
	int rc = get_state(tx, study, &s, e);

	if (!rc)
		*out = s.first;
	return rc;
}

int
study_count(struct store_tx *tx, const char *study, int sign, uint64_t bytes, uint64_t *here,
	    struct err *e)
{
	struct state s;
	int rc = get_state(tx, study, &s, e);

	if (rc && rc != ERR_ABSENT)
		return rc;
	if (sign > 0) {
		s.here++;
		s.bytes += bytes;
	} else if (s.here > 0) {
		s.here--;
		s.bytes -= bytes < s.bytes ? bytes : s.bytes;
	}
	*here = s.here;
	return put_state(tx, study, &s, e);
}

int
store_pin(struct store_tx *tx, const char *study, int64_t until_wall_ms, struct err *e)
{
	int64_t now = clock_wall(tx->s->c.clock);
	struct state s;
	int rc = study[0] ? get_state(tx, study, &s, e) : ERR_ABSENT;

	if (rc)
		return rc;
	s.pinned_until = until_wall_ms;
	s.held_until = 0;
	if (until_wall_ms > now && until_wall_ms != INT64_MAX)
		s.held_until = store_time(tx->s) + until_wall_ms - now;
	return put_state(tx, study, &s, e);
}

/* R28: a wall clock that goes wrong ends no pin. */
static bool
is_pinned(struct store *s, const struct state *st)
{
	return st->pinned_until > clock_wall(s->c.clock) || st->held_until > store_time(s);
}

bool
store_pinned(struct store_tx *tx, const char *study)
{
	struct state s;

	return study[0] && get_state(tx, study, &s, NULL) == 0 && is_pinned(tx->s, &s);
}

int
store_pins(struct store_tx *tx,
	   int (*fn)(void *arg, const char *study, int64_t until_wall_ms, struct err *e), void *arg,
	   struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	char study[UID_SIZE];
	struct state s;
	int rc = kv_cursor_open(&c, tx->txn, T_STUDY_STATE, e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice("", 1), &k, &v, e);
	while (!rc) {
		rc = read_state(v, &s, e);
		if (!rc && s.pinned_until && k.n < sizeof(study)) {
			memcpy(study, k.p, k.n);
			study[k.n] = '\0';
			rc = fn(arg, study, s.pinned_until, e);
		}
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- views --- */

void
store_viewed(struct store *s, const char *study)
{
	struct viewed *v;
	unsigned n = 0;

	if (!study[0])
		return;
	pthread_mutex_lock(&s->mu);
	for (v = s->viewed; v && strcmp(v->study, study) != 0; v = v->next)
		n++;
	if (!v && n < VIEWED_MAX && (v = calloc(1, sizeof(*v))) != NULL) {
		memcpy(v->study, study, strlen(study) + 1);
		v->next = s->viewed;
		s->viewed = v;
	}
	pthread_mutex_unlock(&s->mu);
}

static struct viewed *
take_viewed(struct store *s)
{
	struct viewed *list;

	pthread_mutex_lock(&s->mu);
	list = s->viewed;
	s->viewed = NULL;
	pthread_mutex_unlock(&s->mu);
	return list;
}

static void
free_list(struct viewed *v)
{
	while (v) {
		struct viewed *next = v->next;

		free(v);
		v = next;
	}
}

/* The committer's thread: a view that is lost costs a place in the order of eviction only. */
void
views_flush(struct store *s)
{
	struct viewed *list = take_viewed(s), *v;
	struct store_tx tx = {s, NULL, true};
	struct err e = ERR_INIT;
	struct state state;
	int rc = list ? kv_begin(&tx.txn, s->kv, KV_WRITE, &e) : ERR_ABSENT;

	if (!rc) {
		for (v = list; !rc && v; v = v->next) {
			rc = get_state(&tx, v->study, &state, &e);
			state.viewed = store_time(s);
			if (!rc)
				rc = put_state(&tx, v->study, &state, &e);
			if (rc == ERR_ABSENT)
				rc = 0;
		}
		if (rc)
			kv_abort(tx.txn);
		else
			rc = kv_commit(tx.txn, &e);
		if (rc)
			log_err(LOG_WARN, "store.views", &e);
	}
	free_list(list);
}

void
views_free(struct store *s)
{
	free_list(take_viewed(s));
}

/* --- candidates --- */

static enum store_class
class_of(const struct store *s, const struct state *st, int64_t keep_ms)
{
	int64_t now = store_time((struct store *)(uintptr_t)s);

	if (st->origin == VERSION_PREFETCHED)
		return st->viewed ? STORE_FETCHED : STORE_NEVER_OPENED;
	if (st->origin == VERSION_FETCHED)
		return STORE_FETCHED;
	return now - st->first >= keep_ms ? STORE_OLD : STORE_YOUNG;
}

static int
order(const struct store_candidate *a, const struct store_candidate *b)
{
	if (a->class != b->class)
		return a->class < b->class ? -1 : 1;
	if (a->last_ms != b->last_ms)
		return a->last_ms < b->last_ms ? -1 : 1;
	return strcmp(a->study, b->study);
}

/* Keeps out[] the first max behind *after, in order. */
static void
insert(struct store_candidate *out, size_t max, size_t *n, const struct store_candidate *c)
{
	size_t at = *n;

	if (*n == max && order(c, &out[max - 1]) >= 0)
		return;
	if (*n == max)
		at = max - 1;
	else
		++*n;
	while (at > 0 && order(c, &out[at - 1]) < 0) {
		out[at] = out[at - 1];
		at--;
	}
	out[at] = *c;
}

static void
consider(struct store *s, struct kv_slice k, const struct state *st, int64_t keep_ms,
	 const struct store_candidate *after, struct store_candidate *out, size_t max, size_t *n)
{
	struct store_candidate c;

	if (st->here == 0 || k.n >= UID_SIZE || is_pinned(s, st))
		return;
	memset(&c, 0, sizeof(c));
	memcpy(c.study, k.p, k.n);
	c.class = class_of(s, st, keep_ms);
	/* A study that was refilled came first before this store was (first < 0), and ranks so. */
	c.last_ms = st->viewed && st->viewed > st->first ? st->viewed : st->first;
	c.bytes = st->bytes;
	c.instances = st->here;
	if (!after || order(&c, after) > 0)
		insert(out, max, n, &c);
}

struct choosing {
	struct store *s;
	int64_t keep_ms;
	const struct store_candidate *after;
	struct store_candidate *out;
	size_t max, *n;
	unsigned char next[KV_KEY_MAX]; /* where the next page begins */
	size_t next_n;
};

/* One page of studies; ERR_ABSENT: it was the last. */
static int
consider_page(struct choosing *g, struct store_tx *tx, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	struct state st;
	unsigned rows;
	int rc = kv_cursor_open(&c, tx->txn, T_STUDY_STATE, e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(g->next, g->next_n), &k, &v, e);
	for (rows = 0; !rc && rows < PAGE; rows++) {
		rc = read_state(v, &st, e);
		if (!rc)
			consider(g->s, k, &st, g->keep_ms, g->after, g->out, g->max, g->n);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	if (!rc) {
		memcpy(g->next, k.p, k.n);
		g->next_n = k.n;
	}
	kv_cursor_close(c);
	return rc;
}

int
store_candidates(struct store *s, int64_t keep_ms, const struct store_candidate *after,
		 struct store_candidate *out, size_t max, size_t *n, struct err *e)
{
	struct choosing g = {
		.s = s, .keep_ms = keep_ms, .after = after, .out = out, .max = max, .n = n};
	struct store_tx *tx;
	int rc;

	*n = 0;
	do { /* a transaction for each page: there may be a hundred thousand studies (TRAPS 3) */
		rc = store_begin_read(&tx, s, e);
		if (!rc) {
			rc = consider_page(&g, tx, e);
			store_end_read(tx);
		}
	} while (!rc);
	return rc == ERR_ABSENT ? 0 : rc;
}
