#include "edge/late.h"

#include <stdbool.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/outbox.h"

enum {
	PAGE = 1000,
	TRY_AGAIN_MS = 60000,		/* x n^2 (DESIGN 6)       */
	TRY_AGAIN_MAX_MS = 4 * 3600000, /* then parked, once a day */
	DAY_MS = 24 * 3600000
};

static const char blamed_key[] = "blamed";

void
late_put_off(struct outbox_row *row, int64_t now)
{
	int64_t n = row->tries < 100 ? (int64_t)row->tries + 1 : 100;
	int64_t wait = TRY_AGAIN_MS * n * n;

	row->tries++;
	row->parked = wait > TRY_AGAIN_MAX_MS;
	row->not_before = now + (row->parked ? DAY_MS : wait);
}

static int
note_first(void *arg, const struct outbox_row *row, struct err *e)
{
	(void)e;
	*(int64_t *)arg = row->not_before;
	return ERR_AGAIN; /* the first is enough */
}

int
late_first(struct store_tx *tx, int64_t *out, struct err *e)
{
	int rc;

	*out = 0;
	rc = outbox_late(tx, OUTBOX_CENTRAL, note_first, out, e);
	return rc == ERR_AGAIN ? 0 : rc;
}

enum retrying_what { DUE, EVERY_ONE, BLAMED };

struct retrying {
	enum retrying_what what;
	uint64_t seqs[PAGE], from;
	size_t n;
	int64_t now;
};

static bool
is_wanted(const struct retrying *t, const struct outbox_row *row)
{
	switch (t->what) {
	case DUE:
		return row->not_before && row->not_before <= t->now;
	case EVERY_ONE:
		return row->not_before || row->parked;
	case BLAMED:
		return row->blamed;
	}
	return false;
}

static int
note(void *arg, const struct outbox_row *row, struct err *e)
{
	struct retrying *t = arg;

	(void)e;
	if (t->what == DUE && !is_wanted(t, row))
		return ERR_ABSENT; /* nor is any behind it */
	t->from = row->seq + 1;
	if (is_wanted(t, row))
		t->seqs[t->n++] = row->seq;
	return t->n == PAGE ? ERR_AGAIN : 0;
}

/* Back to its lane; parked it stays to the eye until it is taken, and fails alone. */
static int
try_page(struct store_tx *tx, void *arg, struct err *e)
{
	const struct retrying *t = arg;
	struct outbox_row row;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < t->n; i++) {
		rc = outbox_get(tx, OUTBOX_CENTRAL, t->seqs[i], &row, e);
		if (!rc && is_wanted(t, &row)) {
			row.not_before = 0;
			if (t->what != DUE) {
				row.parked = false;
				row.tries = t->what == BLAMED && row.tries ? 1 : 0;
				row.blamed = false;
			}
			rc = outbox_change(tx, OUTBOX_CENTRAL, &row, e);
		}
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	return rc;
}

static int
read_page(struct retrying *t, struct store *s, bool *more, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, s, e);

	t->n = 0;
	if (rc)
		return rc;
	rc = t->what == DUE ? outbox_late(tx, OUTBOX_CENTRAL, note, t, e)
			    : outbox_each(tx, OUTBOX_CENTRAL, t->from, note, t, e);
	store_end_read(tx);
	*more = rc == ERR_AGAIN;
	return *more || (rc == ERR_ABSENT && t->what == DUE) ? 0 : rc;
}

static int
try_all(struct retrying *t, struct store *s, size_t *n, struct err *e)
{
	bool more = true;
	int rc = 0;

	*n = 0;
	while (!rc && more) {
		rc = read_page(t, s, &more, e);
		if (!rc && t->n)
			rc = store_commit(s, try_page, t, e);
		*n += rc ? 0 : t->n;
	}
	return rc;
}

static int
try_what(struct store *s, enum retrying_what what, size_t *n, struct err *e)
{
	struct retrying *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_set(e, ERR_LOCAL, 0, "no memory for the outbox");
	t->what = what;
	t->now = store_time(s);
	rc = try_all(t, s, n, e);
	free(t);
	return rc;
}

int
late_due(struct store *s, struct err *e)
{
	size_t n;

	return try_what(s, DUE, &n, e);
}

int
late_try_now(struct store *s, size_t *n, struct err *e)
{
	return try_what(s, EVERY_ONE, n, e);
}

int
late_blame(struct store_tx *tx, struct err *e)
{
	uint64_t n;
	int rc = sync_number(tx, blamed_key, &n, e);

	return rc ? rc : sync_set_number(tx, blamed_key, n + 1, e);
}

static int
no_more_blamed(struct store_tx *tx, void *arg, struct err *e)
{
	uint64_t n;
	int rc = sync_number(tx, blamed_key, &n, e);

	return rc || n != *(uint64_t *)arg ? rc : sync_set_number(tx, blamed_key, 0, e);
}

int
late_try_blamed(struct store *s, struct err *e)
{
	struct store_tx *tx;
	uint64_t number;
	size_t n;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	rc = sync_number(tx, blamed_key, &number, e);
	store_end_read(tx);
	if (rc || !number)
		return rc;
	rc = try_what(s, BLAMED, &n, e);
	return rc ? rc : store_commit(s, no_more_blamed, &number, e);
}
