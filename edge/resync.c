#include "edge/resync.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/os/ctl.h"
#include "common/store/store.h"
#include "edge/damage.h"
#include "edge/edge.h"
#include "edge/outbox.h"
#include "edge/reach.h"

#define LAST "resync_ms" /* of the sync table */

enum { PAGE = 1000, SHOW_MS = 1000 };

/* --- the bytes here --- */

struct reading {
	struct edge *e;
	const struct resync_config *c;
	struct ctl_reply *r;
	struct resync_result *out;
	uint64_t oids[PAGE];
	size_t n, seen;
	uint64_t from;
	int64_t shown_ms;
};

/* By the digest, which knows no order: ids of what came alike may share a factor with `parts`. */
static bool
in_slice(const struct resync_config *c, const struct version *v)
{
	return !c->parts || buf_get_be64(v->digest) % c->parts == c->part - 1;
}

static int
note_here(void *arg, const struct version *v, struct err *err)
{
	struct reading *x = arg;

	(void)err;
	if (x->seen++ == PAGE)
		return ERR_AGAIN;
	x->from = v->oid + 1;
	if (v->state == VERSION_HERE && in_slice(x->c, v))
		x->oids[x->n++] = v->oid;
	return 0;
}

static int
version_now(struct reading *x, uint64_t oid, struct version *v, struct err *err)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, x->e->store, err);

	if (rc)
		return rc;
	rc = store_version(tx, oid, v, err);
	store_end_read(tx);
	return rc;
}

/* What fails is read again by damage_found: only the second failure is entered. */
static int
read_one(struct reading *x, uint64_t oid, struct err *err)
{
	struct err why = ERR_INIT;
	struct version v;
	int checked = store_check(x->e->store, oid, &why), rc;

	if (checked == ERR_ABSENT) /* evicted meanwhile */
		return 0;
	if (checked == ERR_CORRUPT)
		damage_found(x->e, oid);
	else if (checked)
		log_err(LOG_ERROR, "resync.unread", &why);
	rc = version_now(x, oid, &v, err);
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	x->out->images++;
	x->out->bytes += v.size;
	x->out->rotten += checked && v.state == VERSION_DAMAGED;
	x->out->unread += checked && v.state == VERSION_HERE;
	return 0;
}

/* Also how a command whose reader went away is noticed. */
static void
show(struct reading *x)
{
	int64_t now = clock_mono(x->e->clock);
	char line[100];

	if (now - x->shown_ms < SHOW_MS)
		return;
	x->shown_ms = now;
	(void)snprintf(line, sizeof(line), "%llu images read, %llu MiB",
		       (unsigned long long)x->out->images,
		       (unsigned long long)(x->out->bytes >> 20));
	(void)ctl_draw(x->r, line);
}

static int
read_page(struct reading *x, bool *more, struct err *err)
{
	struct store_tx *tx;
	size_t i;
	int rc = store_begin_read(&tx, x->e->store, err);

	if (rc)
		return rc;
	x->n = x->seen = 0;
	rc = store_versions(tx, x->from, note_here, x, err);
	store_end_read(tx);
	*more = rc == ERR_AGAIN;
	rc = *more ? 0 : rc;
	for (i = 0; !rc && i < x->n; i++) {
		if (atomic_load(&x->e->stopping) || ctl_stopping(x->r))
			return err_set(err, ERR_AGAIN, 0, "stopped before all was read");
		rc = read_one(x, x->oids[i], err);
		show(x);
	}
	return rc;
}

static int
read_all(struct reading *x, struct err *err)
{
	bool more = true;
	int rc = 0;

	x->shown_ms = clock_mono(x->e->clock);
	while (!rc && more)
		rc = read_page(x, &more, err);
	return rc;
}

/* --- all of it --- */

static int
owed_now(struct edge *e, uint64_t *out, struct err *err)
{
	struct outbox_counts counts;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, e->store, err);

	if (rc)
		return rc;
	rc = outbox_counts(tx, &counts, err);
	store_end_read(tx);
	*out = rc ? 0 : counts.owed;
	return rc;
}

static int
set_last(struct store_tx *tx, void *arg, struct err *err)
{
	const struct edge *e = arg;

	return sync_set_number(tx, LAST, (uint64_t)clock_wall(e->clock), err);
}

int
resync_last(struct store_tx *tx, int64_t *wall_ms, struct err *err)
{
	uint64_t n;
	int rc = sync_number(tx, LAST, &n, err);

	*wall_ms = (int64_t)n;
	return rc;
}

static int
compare(struct reading *x, struct err *err)
{
	struct resync_result *out = x->out;
	int rc = owed_now(x->e, &out->owed_before, err);

	if (!rc)
		rc = reach_compared(x->e, x->r, &out->found, err);
	if (!rc)
		rc = owed_now(x->e, &out->owed_after, err);
	out->compared = !rc;
	return rc;
}

static void
note_person(struct resync_result *out, struct edge *e, int rc)
{
	struct contact c;

	edge_contact(e, &c);
	out->two_centrals = c.two_centrals;
	out->closed = c.closed;
	out->drains = atomic_load(&e->drains);
	out->twins = c.n_twins;
	out->person =
		rc == ERR_CONFLICT || out->rotten || out->unread || c.two_centrals || c.closed ||
		out->drains || c.n_twins ||
		(out->compared && (out->found.damaged || out->found.gone || out->found.parked));
}

int
resync_run(struct edge *e, const struct resync_config *c, struct ctl_reply *r,
	   struct resync_result *out, struct err *err)
{
	struct reading x = {.e = e, .c = c, .r = r, .out = out};
	int rc = 0;

	memset(out, 0, sizeof(*out));
	if (atomic_exchange(&e->resyncing, true))
		return err_set(err, ERR_AGAIN, 0, "another resync is running");
	if (c->verify)
		rc = read_all(&x, err);
	if (!rc)
		rc = compare(&x, err);
	note_person(out, e, rc);
	if (!rc && !out->person)
		rc = store_commit(e->store, set_last, e, err);
	atomic_store(&e->resyncing, false);
	log_line(rc || out->person ? LOG_WARN : LOG_INFO, "resync",
		 "compared=%d held=%llu queued=%llu owed=%llu damaged=%llu gone=%llu rotten=%llu",
		 out->compared, (unsigned long long)out->found.held,
		 (unsigned long long)out->found.queued, (unsigned long long)out->owed_after,
		 (unsigned long long)out->found.damaged, (unsigned long long)out->found.gone,
		 (unsigned long long)out->rotten);
	return rc;
}

/* --- the report --- */

static bool
in_step(const struct resync_result *x)
{
	return x->compared && !x->owed_after && !x->found.damaged && !x->found.gone;
}

static void
line(struct buf *out, uint64_t n, const char *what)
{
	if (n)
		buf_printf(out, "%llu images %s\n", (unsigned long long)n, what);
}

void
resync_text(const struct resync_config *c, const struct resync_result *x, const struct err *why,
	    struct buf *out)
{
	const struct comparison *f = &x->found;
	char text[sizeof(why->what) + 100];

	if (c->verify) {
		buf_printf(out, "read: %llu images, ", (unsigned long long)x->images);
		buf_put_size(out, x->bytes);
		buf_puts(out, "\n");
	}
	line(out, x->rotten, "DAMAGED here: what central holds is fetched back");
	line(out, x->unread, "could not be read: is the disk well? See the log");
	if (x->compared)
		buf_printf(out,
			   "compared: %llu ledger entries; at central: %llu images, queued now: "
			   "%llu, owed before: %llu, owed now: %llu\n",
			   (unsigned long long)f->entries, (unsigned long long)f->held,
			   (unsigned long long)f->queued, (unsigned long long)x->owed_before,
			   (unsigned long long)x->owed_after);
	line(out, f->damaged, "damaged here, and not at central: its `loss` lists them");
	line(out, f->gone, "neither here nor at central: its `loss` lists them");
	line(out, f->parked, "had been refused again and again, and are tried again");
	if (x->closed)
		buf_puts(out, "central counts this edge as lost or replaced\n");
	if (x->two_centrals)
		buf_puts(out, "TWO CENTRALS answer in turn\n");
	if (x->twins)
		buf_puts(out, "TWIN: another copy of this edge calls as well: see `status`\n");
	if (x->drains)
		buf_puts(out, "another copy of this edge is the site's: this one drains\n");
	err_text(why, text, sizeof(text));
	buf_printf(out, "%s%s\n",
		   !x->compared ? "NOT COMPARED: "
		   : in_step(x) ? "in step"
		   : x->person	? "something needs a person"
				: "all that was missing is queued",
		   x->compared ? "" : text);
}

/* Without a comparison none of it is known. */
static void
json_found(struct json *j, const struct resync_result *x)
{
	const struct {
		const char *key;
		uint64_t n;
	} rows[] = {{"entries", x->found.entries}, {"held", x->found.held},
		    {"queued", x->found.queued},   {"owed_before", x->owed_before},
		    {"owed_after", x->owed_after}, {"parked", x->found.parked},
		    {"damaged", x->found.damaged}, {"gone", x->found.gone}};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (x->compared)
			json_count(j, rows[i].key, rows[i].n);
		else
			json_null(j, rows[i].key);
}

static void
json_read(struct json *j, const struct resync_config *c, const struct resync_result *x)
{
	if (!c->verify) {
		json_null(j, "verify");
		return;
	}
	json_open(j, "verify", '{');
	json_count(j, "part", c->parts ? c->part : 1);
	json_count(j, "parts", c->parts ? c->parts : 1);
	json_count(j, "images", x->images);
	json_count(j, "bytes", x->bytes);
	json_count(j, "damaged", x->rotten);
	json_count(j, "unread", x->unread);
	json_close(j, '}');
}

void
resync_json(const struct edge *e, const struct resync_config *c, const struct resync_result *x,
	    const struct err *why, struct buf *out)
{
	char text[sizeof(why->what) + 100];
	struct json j;

	err_text(why, text, sizeof(text));
	json_init(&j, out);
	json_open(&j, NULL, '{');
	json_text(&j, "site", e->site);
	json_bool(&j, "compared", x->compared);
	json_text(&j, "why", text);
	json_bool(&j, "in_step", in_step(x));
	json_bool(&j, "person", x->person);
	json_found(&j, x);
	json_bool(&j, "two_centrals", x->two_centrals);
	json_bool(&j, "closed", x->closed);
	json_bool(&j, "twin", x->twins > 0);
	json_bool(&j, "drains", x->drains);
	json_read(&j, c, x);
	json_close(&j, '}');
	buf_puts(out, "\n");
}
