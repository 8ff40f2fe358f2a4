#include "common/dimse/pledge_steps.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dimse/audit.h"
#include "common/dimse/backoff.h"
#include "common/store/store.h"

struct changing {
	struct pledge_row row;
	const struct pledge *of;
	size_t n;
	bool all;
	int64_t now;
	unsigned status;
	const char *why;
	enum pledge_state state;
	unsigned changed;
	struct store_tx *tx;
};

static int
change(const struct pledge_steps *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e),
       struct changing *h)
{
	struct err e = ERR_INIT;
	int rc;

	h->now = store_time(s->store);
	rc = store_commit(s->store, fn, h, &e);
	if (rc && rc != ERR_ABSENT)
		log_err(LOG_ERROR, "pledge", &e);
	return rc;
}

/* As it is now. */
static int
read_unsettled(struct store_tx *tx, struct changing *h, struct err *e)
{
	int rc = pledges_get(tx, h->row.number, &h->row, e);

	return rc ? rc : h->row.phase == PLEDGE_SETTLED ? ERR_ABSENT : 0;
}

/* --- its images --- */

struct collecting {
	struct pledge *all;
	size_t n;
};

static int
collect(void *arg, const struct pledge *p, struct err *e)
{
	struct collecting *c = arg;

	(void)e;
	c->all[c->n++] = *p;
	return 0;
}

int
pledge_read_open(const struct pledge_steps *s, const struct pledge_row *row, struct pledge **all,
		 size_t *n)
{
	struct collecting c = {calloc(row->n ? row->n : 1, sizeof(*c.all)), 0};
	struct changing now = {.row = *row};
	struct err e = ERR_INIT;
	struct store_tx *tx;
	int rc = c.all ? store_begin_read(&tx, s->store, &e)
		       : err_set(&e, ERR_LOCAL, 0, "no memory for a request");

	if (!rc) {
		rc = read_unsettled(tx, &now, &e);
		if (!rc)
			rc = pledges_open(tx, &now.row, collect, &c, &e);
		store_end_read(tx);
	}
	if (rc) {
		if (rc != ERR_ABSENT)
			log_err(LOG_ERROR, "pledge", &e);
		free(c.all);
		return rc;
	}
	*all = c.all;
	*n = c.n;
	return 0;
}

static int
supplied(struct store_tx *tx, void *arg, struct err *e)
{
	struct changing *h = arg;
	struct pledge now;
	size_t i;
	int rc = read_unsettled(tx, h, e);

	for (i = 0; !rc && i < h->n; i++) {
		rc = pledge_get(tx, h->row.archive, h->of[i].sop_instance, &now, e);
		if (!rc && now.number == h->row.number)
			rc = pledge_put(tx, h->row.archive, &h->of[i], e);
	}
	if (rc || !h->all)
		return rc;
	h->row.phase = PLEDGE_ASKS;
	return pledges_put(tx, &h->row, e);
}

int
pledge_supplied(const struct pledge_steps *s, const struct pledge_row *row, const struct pledge *of,
		size_t n, bool all)
{
	struct changing h = {.row = *row, .of = of, .n = n, .all = all};

	return change(s, supplied, &h);
}

/* --- the question --- */

static int
goes_out(struct store_tx *tx, void *arg, struct err *e)
{
	struct changing *h = arg;
	int rc = read_unsettled(tx, h, e);

	if (!rc && h->row.out)
		rc = pledges_new_transaction(tx, &h->row, e);
	h->row.out = true;
	return rc ? rc : pledges_put(tx, &h->row, e);
}

int
pledge_goes_out(const struct pledge_steps *s, struct pledge_row *row)
{
	struct changing h = {.row = *row};
	int rc = change(s, goes_out, &h);

	*row = h.row;
	return rc;
}

static int
is_asked(struct store_tx *tx, void *arg, struct err *e)
{
	struct changing *h = arg;
	int rc = read_unsettled(tx, h, e);

	h->row.phase = PLEDGE_WAITS;
	h->row.status = 0;
	h->row.why[0] = '\0';
	return rc ? rc : pledges_put(tx, &h->row, e);
}

int
pledge_is_asked(const struct pledge_steps *s, const struct pledge_row *row)
{
	struct changing h = {.row = *row};

	audit_line(s->audit, "pledge.asked", "peer=%s transaction=%s instances=%u", row->archive,
		   row->transaction, row->n);
	return change(s, is_asked, &h);
}

int64_t
pledge_patient_until(const struct pledge_row *row)
{
	return row->ends_ms - INT64_C(1000) * row->half_s;
}

static int
put_off(struct store_tx *tx, void *arg, struct err *e)
{
	struct changing *h = arg;
	int64_t until;
	int rc = read_unsettled(tx, h, e);

	if (rc)
		return rc;
	until = pledge_patient_until(&h->row);
	h->row.next_ms = h->now + backoff_ms(h->row.tries++);
	if (h->row.phase == PLEDGE_SENDS && h->now < until && h->row.next_ms > until)
		h->row.next_ms = until;
	h->row.status = h->status;
	(void)snprintf(h->row.why, sizeof(h->row.why), "%s", h->why);
	return pledges_put(tx, &h->row, e);
}

void
pledge_put_off(const struct pledge_steps *s, const struct pledge_row *row, unsigned status,
	       const char *why)
{
	struct changing h = {.row = *row, .status = status, .why = why};

	log_line(LOG_WARN, "pledge.not_asked", "peer=%s transaction=%s tries=%u what=\"%s\"",
		 row->archive, row->transaction, row->tries + 1, why);
	(void)change(s, put_off, &h);
}

/* --- its end --- */

static int
end_one(void *arg, const struct pledge *p, struct err *e)
{
	struct changing *h = arg;
	struct pledge now = *p;

	now.state = h->state;
	now.reason = h->status;
	h->changed++;
	return pledge_put(h->tx, h->row.archive, &now, e);
}

static int
end(struct store_tx *tx, void *arg, struct err *e)
{
	struct changing *h = arg;
	int rc = read_unsettled(tx, h, e);

	h->tx = tx;
	h->changed = 0;
	if (!rc)
		rc = pledges_open(tx, &h->row, end_one, h, e);
	if (rc)
		return rc;
	return h->state == PLEDGE_RAN_OUT
		       ? pledges_forget(tx, &h->row, e)
		       : pledges_settle(tx, &h->row, h->now + PLEDGES_KEPT_MS, e);
}

void
pledge_end(const struct pledge_steps *s, const struct pledge_row *row, enum pledge_state state,
	   unsigned status)
{
	const char *event = state == PLEDGE_RAN_OUT ? "pledge.ran-out" : "pledge.refused";
	struct changing h = {.row = *row, .state = state, .status = status};

	if (change(s, end, &h) || !h.changed)
		return;
	audit_line(s->audit, event, "peer=%s transaction=%s instances=%u status=%04x", row->archive,
		   row->transaction, h.changed, status);
	log_line(LOG_ERROR, state == PLEDGE_RAN_OUT ? "pledge.ran_out" : "pledge.refused",
		 "peer=%s transaction=%s instances=%u status=%04x", row->archive, row->transaction,
		 h.changed, status);
}

static int
forget(struct store_tx *tx, void *arg, struct err *e)
{
	const struct changing *h = arg;

	return pledges_forget(tx, &h->row, e);
}

void
pledge_forget(const struct pledge_steps *s, const struct pledge_row *row)
{
	struct changing h = {.row = *row};

	(void)change(s, forget, &h);
}

bool
pledge_is_settled(const struct pledge_steps *s, uint64_t number)
{
	struct pledge_row row;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, s->store, NULL);

	if (rc)
		return false;
	rc = pledges_get(tx, number, &row, NULL);
	store_end_read(tx);
	return rc == ERR_ABSENT || (!rc && row.phase == PLEDGE_SETTLED);
}
