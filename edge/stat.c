#include "edge/stat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/uid.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/outbox.h"

enum { PAGE = 1000, DAY_MINUTES = 1440, DAYS = 7, MARK_SIZE = UID_SIZE + 8 };

static const struct conf_row rows[] = {
	{"stat *", "peer", CONF_LIST, "", 0, 0, NULL,
	 "Names of the peers whose images go to central before all others; empty: any."},
	{"stat *", "calling", CONF_TITLES, "", 0, 0, NULL,
	 "Titles that call with them; empty: any."},
	{"stat *", "called", CONF_TITLES, "", 0, 0, NULL,
	 "Titles that are called with them; empty: any."},
	{"stat *", "modality", CONF_LIST, "", 0, 0, NULL,
	 "Their modalities, such as CT, MR; empty: any."},
	{"stat *", "hours", CONF_LIST, "", 0, 0, NULL,
	 "When, in local time by central's clock: 18:00-07:00, or mon-fri 18:00-07:00, sat "
	 "00:00-24:00; empty: always."},
};

const struct conf_row *
stat_rows(size_t *n)
{
	*n = sizeof(rows) / sizeof(rows[0]);
	return rows;
}

/* --- hours --- */

struct hours {	       /* from the minute `from` of each of these days, for `minutes` */
	unsigned days; /* bit 1 << day; sunday is 0 */
	int from, minutes;
};

static bool
day_of(const char *s, unsigned *out)
{
	static const char names[DAYS][4] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

	for (*out = 0; *out < DAYS; ++*out)
		if (strcmp(s, names[*out]) == 0)
			return true;
	return false;
}

/* "mon" or "fri-mon". */
static bool
days_of(const char *s, unsigned *set)
{
	char first[4] = "", last[4] = "", rest;
	int n = sscanf(s, "%3[a-z]-%3[a-z]%c", first, last, &rest);
	unsigned a, b;

	if (n < 1 || n > 2 || strlen(s) != (n == 2 ? 7u : 3u) || !day_of(first, &a) ||
	    !day_of(n == 2 ? last : first, &b))
		return false;
	for (*set = 1u << a; a != b; *set |= 1u << a)
		a = (a + 1) % DAYS;
	return true;
}

static bool
hours_of(const char *s, struct hours *h)
{
	const char *space = strchr(s, ' ');
	int h1, m1, h2, m2, end = 0;
	char days[9];

	h->days = (1u << DAYS) - 1;
	if (space) {
		if ((size_t)(space - s) >= sizeof(days))
			return false;
		memcpy(days, s, (size_t)(space - s));
		days[space - s] = '\0';
		if (!days_of(days, &h->days))
			return false;
		s = space + 1;
	}
	if (sscanf(s, "%2d:%2d-%2d:%2d%n", &h1, &m1, &h2, &m2, &end) != 4 || s[end] || h1 < 0 ||
	    h1 > 23 || m1 < 0 || m1 > 59 || h2 < 0 || h2 > 24 || m2 < 0 || m2 > 59 ||
	    (h2 == 24 && m2))
		return false;
	h->from = 60 * h1 + m1;
	h->minutes = 60 * h2 + m2 - h->from;
	if (h->minutes <= 0) /* over midnight: of the day on which it begins */
		h->minutes += DAY_MINUTES;
	return true;
}

static bool
is_in(const struct hours *h, int64_t wall_ms)
{
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;
	int minute;
	unsigned today, before;

	if (!localtime_r(&t, &tm))
		return false;
	minute = 60 * tm.tm_hour + tm.tm_min;
	today = (unsigned)tm.tm_wday;
	before = (today + DAYS - 1) % DAYS;
	return (h->days & 1u << today && minute >= h->from && minute < h->from + h->minutes) ||
	       (h->days & 1u << before && minute + DAY_MINUTES < h->from + h->minutes);
}

/* --- rules --- */

static const char *const keys[] = {"peer", "calling", "called", "modality", "hours"};
enum { KEYS = sizeof(keys) / sizeof(keys[0]), HOURS = KEYS - 1 };

int
stat_check(const struct conf *c, struct err *e)
{
	const char *name, *value;
	struct hours h;
	size_t i, k, said;

	for (i = 0; (name = conf_name(c, "stat *", i)) != NULL; i++) {
		for (k = said = 0; k < KEYS; k++)
			said += conf_list(c, "stat *", name, keys[k], 0) != NULL;
		if (!said)
			return err_set(e, ERR_LOCAL, 0,
				       "[stat %s]: a rule says at least one of peer, calling, "
				       "called, modality, hours",
				       name);
		for (k = 0; (value = conf_list(c, "stat *", name, "hours", k)) != NULL; k++)
			if (!hours_of(value, &h))
				return err_set(e, ERR_LOCAL, 0,
					       "[stat %s] hours: \"%.40s\" is not like 18:00-07:00 "
					       "or mon-fri 18:00-07:00",
					       name, value);
	}
	return 0;
}

static bool
fits(const struct conf *c, const char *name, size_t key, const char *value, int64_t wall_ms)
{
	const char *want;
	struct hours h;
	size_t i;

	for (i = 0; (want = conf_list(c, "stat *", name, keys[key], i)) != NULL; i++)
		if (key == HOURS ? hours_of(want, &h) && is_in(&h, wall_ms)
				 : value && strcmp(want, value) == 0)
			return true;
	return i == 0;
}

bool
stat_rule(const struct conf *c, const struct stat_object *o)
{
	const char *const values[KEYS] = {o->peer, o->calling, o->called, o->modality, NULL};
	const char *name;
	size_t i, k;

	for (i = 0; (name = conf_name(c, "stat *", i)) != NULL; i++) {
		for (k = 0; k < KEYS && fits(c, name, k, values[k], o->wall_ms); k++)
			;
		if (k == KEYS)
			return true;
	}
	return false;
}

/* --- marks: in table `sync`, "stat:" and the study --- */

static struct kv_slice
mark_key(char key[MARK_SIZE], const char *study)
{
	(void)snprintf(key, MARK_SIZE, "stat:%s", study);
	return kv_slice(key, strlen(key));
}

static bool
is_marked(struct store_tx *tx, const char *study)
{
	char key[MARK_SIZE];
	struct kv_slice v;

	return study && study[0] &&
	       kv_get(store_tx_kv(tx), store_table(store_tx_store(tx), SYNC_TABLE),
		      mark_key(key, study), &v, NULL) == 0;
}

enum lane
stat_lane(struct store_tx *tx, const struct edge *e, const struct stat_object *o)
{
	return is_marked(tx, o->study) || stat_rule(e->conf, o) ? LANE_STAT : LANE_FRESH;
}

struct marking {
	const char *study;
	bool on;
	uint64_t seqs[PAGE], from; /* of what is here of the study */
	size_t n, moved;
};

static int
set_mark(struct store_tx *tx, void *arg, struct err *e)
{
	const struct marking *m = arg;
	unsigned t = store_table(store_tx_store(tx), SYNC_TABLE);
	char key[MARK_SIZE];
	int rc;

	if (m->on)
		return kv_put(store_tx_kv(tx), t, mark_key(key, m->study), kv_slice("", 0), e);
	rc = kv_del(store_tx_kv(tx), t, mark_key(key, m->study), e);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
note(void *arg, const struct version *v, struct err *e)
{
	struct marking *m = arg;

	(void)e;
	m->from = v->oid + 1;
	if (v->seq)
		m->seqs[m->n++] = v->seq;
	return m->n == PAGE ? ERR_AGAIN : 0;
}

static int
move_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct marking *m = arg;
	enum lane to = m->on ? LANE_STAT : LANE_FRESH;
	struct outbox_row row;
	size_t i;
	int rc = 0;

	m->moved = 0;
	for (i = 0; !rc && i < m->n; i++) {
		rc = outbox_get(tx, OUTBOX_CENTRAL, m->seqs[i], &row, e);
		if (!rc && (m->on || row.lane == LANE_STAT)) {
			m->moved++;
			row.lane = to;
			rc = outbox_change(tx, OUTBOX_CENTRAL, &row, e);
		}
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	return rc;
}

static int
mark_all(struct marking *m, struct edge *e, size_t *n, struct err *err)
{
	struct store_tx *tx;
	bool more = true;
	int rc = 0;

	while (!rc && more) {
		rc = store_begin_read(&tx, e->store, err);
		if (rc)
			return rc;
		m->n = 0;
		rc = store_versions_of_study(tx, m->study, m->from, note, m, err);
		store_end_read(tx);
		more = rc == ERR_AGAIN;
		rc = more ? 0 : rc;
		if (!rc && m->n)
			rc = store_commit(e->store, move_page, m, err);
		*n += rc || !m->n ? 0 : m->moved;
	}
	if (!rc && !m->from && m->on)
		rc = err_set(err, ERR_ABSENT, 0, "no such study here");
	return rc;
}

int
stat_mark(struct edge *e, const char *study, bool on, size_t *n, struct err *err)
{
	struct marking *m;
	int rc;

	*n = 0;
	if (!uid_usable(study, strlen(study)))
		return err_set(err, ERR_LOCAL, 0, "a Study Instance UID is wanted");
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(err, ERR_LOCAL, 0, "no memory to mark a study");
	m->study = study;
	m->on = on;
	/* The mark first: what comes meanwhile is marked by itself. */
	rc = store_commit(e->store, set_mark, m, err);
	if (!rc)
		rc = mark_all(m, e, n, err);
	if (rc == ERR_ABSENT) { /* it would wait for a study that nobody meant */
		m->on = false;
		(void)store_commit(e->store, set_mark, m, NULL);
	}
	free(m);
	return rc;
}
