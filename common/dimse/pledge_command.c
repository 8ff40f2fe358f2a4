#include "common/dimse/pledge_command.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/dimse/peers.h"
#include "common/dimse/pledge_say.h"
#include "common/dimse/pledge_wish.h"
#include "common/dimse/pledges.h"
#include "common/dimse/pledging.h"
#include "common/os/command.h"
#include "common/store/store.h"

enum { STEP_MS = 50, ALIVE_STEPS = 20, PAGE = 500 };

static bool
given(const struct asked *a, const char *option)
{
	return command_option(a, option) != NULL;
}

/* NULL: it is being made anew. */
static struct store *
enter(const struct pledge_desk *d)
{
	(void)pthread_rwlock_rdlock(d->use);
	return *d->store;
}

static void
leave(const struct pledge_desk *d)
{
	(void)pthread_rwlock_unlock(d->use);
}

static int
shut(struct err *e)
{
	return err_set(e, ERR_AGAIN, 0, "the store is not open; see the log");
}

/* --- whom --- */

/* As a running server has them, which may have read them anew. */
static int
load_peers(const struct pledge_desk *d, struct peers **out, struct err *e)
{
	if (!*d->pledging)
		return peers_load(out, d->conf, NULL, false, e);
	*out = pledging_peers_now(*d->pledging);
	return 0;
}

static int
check_archive(const struct pledge_desk *d, const char *name, struct err *e)
{
	const struct peer *archive;
	struct peers *peers;
	int rc = load_peers(d, &peers, e);

	if (rc)
		return rc;
	archive = peers_named(peers, name);
	if (!archive)
		rc = err_set(e, ERR_ABSENT, 0, "there is no section [peer %.64s]", name);
	else if (!archive->host[0] || !archive->port)
		rc = err_set(e, ERR_ABSENT, 0,
			     "[peer %.64s] needs host and port: where it is asked", name);
	peers_unref(peers);
	return rc;
}

static int
find_count(void *arg, const struct pledge_counts *c, struct err *e)
{
	struct pledge_counts *found = arg;

	(void)e;
	return strcmp(found->archive, c->archive) == 0 ? ERR_AGAIN : 0;
}

/* To be listed: its section may be gone since. */
static int
check_known(const struct pledge_desk *d, struct store *s, const char *name, struct err *e)
{
	struct pledge_counts found = {.unseen = 0};
	struct peers *peers;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	strcpy(found.archive, name);
	rc = pledges_counts(tx, find_count, &found, e);
	store_end_read(tx);
	if (rc)
		return rc == ERR_AGAIN ? 0 : rc;
	rc = load_peers(d, &peers, e);
	if (rc)
		return rc;
	if (!peers_named(peers, name))
		rc = err_set(e, ERR_ABSENT, 0,
			     "there is no section [peer %.64s], and no such archive was asked",
			     name);
	peers_unref(peers);
	return rc;
}

/* The first title that is one. */
static const char *
our_title(const struct conf *c)
{
	const char *title;
	size_t i;

	for (i = 0; (title = conf_list(c, "dicom", NULL, "aet", i)) != NULL; i++)
		if (strcmp(title, "any") != 0)
			return title;
	return "SALAMANDER";
}

/* --- asking --- */

static int
order(struct asked *a, const struct pledge_desk *d, struct pledge_wish *w, struct err *e)
{
	const struct pledge_order o = {
		a->words[1], our_title(d->conf), given(a, "--send"),
		(size_t)conf_number(d->conf, "dicom", NULL, "archive_references"),
		conf_number(d->conf, "dicom", NULL, "archive_wait")};
	struct store *s = enter(d);
	size_t i;
	int rc = s ? check_archive(d, o.archive, e) : shut(e);

	for (i = 2; !rc && i < a->n; i++)
		rc = pledge_wish_add(w, s, a->words[i], e);
	if (!rc) {
		pledge_wish_sort(w);
		rc = pledge_wish_record(w, s, &o, e);
	}
	if (!rc)
		pledging_wake(*d->pledging);
	leave(d);
	return rc;
}

/* What holds it up is said once. */
struct waiting {
	char why[PLEDGE_WHY_SIZE];
	size_t open;
};

static int
look(const struct pledge_desk *d, const struct pledge_wish *w, struct waiting *wait, struct err *e)
{
	char why[PLEDGE_WHY_SIZE] = "";
	struct store *s = enter(d);
	struct pledge_row row;
	struct store_tx *tx = NULL;
	size_t i;
	int rc = s ? store_begin_read(&tx, s, e) : 0; /* made anew: they are there again soon */

	wait->open = s ? 0 : 1;
	for (i = 0; s && !rc && i < w->n_requests; i++) {
		rc = pledges_get(tx, w->requests[i], &row, e);
		if (!rc && row.phase != PLEDGE_SETTLED) {
			wait->open++;
			memcpy(why, row.why, sizeof(why));
		}
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	store_end_read(tx);
	leave(d);
	memcpy(wait->why, why, sizeof(why));
	return rc;
}

static int
await(struct asked *a, const struct pledge_desk *d, const struct pledge_wish *w, struct err *e)
{
	struct waiting wait = {.open = w->n_requests};
	char said[PLEDGE_WHY_SIZE] = "";
	unsigned steps = 0;
	int rc = 0;

	while (!rc && wait.open) {
		rc = look(d, w, &wait, e);
		if (!rc && wait.why[0] && strcmp(wait.why, said) != 0) {
			memcpy(said, wait.why, sizeof(said));
			command_complain(a, said);
			command_complain(a, "it is tried again");
		}
		if (++steps % ALIVE_STEPS == 0)
			(void)ctl_progress(a->r, ""); /* is anybody there still? */
		if (!rc && wait.open && ctl_stopping(a->r))
			rc = err_set(e, ERR_AGAIN, 0,
				     "this node stops; the request goes on when it is back");
		if (wait.open)
			clock_sleep(clock_real(), STEP_MS);
	}
	return rc;
}

/* --- what came of it --- */

struct outcome {
	uint64_t of[PLEDGE_STATES];
	size_t not_asked;
	bool person;
};

static int
read_outcome(const struct pledge_desk *d, const char *archive, struct pledge_wish *w,
	     struct outcome *o, struct err *e)
{
	struct store *s = enter(d);
	struct store_tx *tx = NULL;
	struct pledge now;
	size_t i;
	int rc = s ? 0 : shut(e);

	memset(o, 0, sizeof(*o));
	for (i = 0; !rc && i < w->asked; i++) {
		if (i % PAGE == 0) {
			store_end_read(tx);
			tx = NULL;
			rc = store_begin_read(&tx, s, e);
		}
		if (!rc)
			rc = pledge_get(tx, archive, w->all[i].sop_instance, &now, e);
		if (rc)
			break;
		w->all[i] = now;
		o->of[now.state]++;
		o->person = o->person || pledge_failed(&now);
	}
	store_end_read(tx);
	leave(d);
	o->not_asked = w->n - w->asked;
	o->person = o->person || o->not_asked;
	return rc;
}

static void
say_text(struct buf *out, const char *archive, const struct pledge_wish *w, const struct outcome *o)
{
	size_t i;

	buf_printf(out, "%zu images, %zu of them asked for in %zu requests to %s: ", w->n, w->asked,
		   w->n_requests, archive);
	buf_printf(out, "%llu committed, %llu refused, %llu ran out, %llu not sent, %llu open\n",
		   (unsigned long long)o->of[PLEDGE_COMMITTED],
		   (unsigned long long)o->of[PLEDGE_REFUSED],
		   (unsigned long long)o->of[PLEDGE_RAN_OUT],
		   (unsigned long long)o->of[PLEDGE_NOT_SENT],
		   (unsigned long long)o->of[PLEDGE_OPEN]);
	if (w->several)
		buf_printf(
			out,
			"  %zu of them have several versions here; a commitment names UIDs only: "
			"the archive may have another version of them\n",
			w->several);
	for (i = 0; i < w->asked; i++)
		if (pledge_failed(&w->all[i]))
			pledge_text(out, &w->all[i]);
	for (; i < w->n; i++)
		buf_printf(out, "  %s not asked: its bytes are not here\n", w->all[i].sop_instance);
}

static void
say_json(struct buf *out, const char *archive, const struct pledge_wish *w, const struct outcome *o)
{
	struct json j;
	size_t i;

	json_init(&j, out);
	json_open(&j, NULL, '{');
	json_text(&j, "archive", archive);
	json_count(&j, "images", w->n);
	json_count(&j, "asked", w->asked);
	json_count(&j, "requests", w->n_requests);
	json_count(&j, "several_versions", w->several);
	json_count(&j, "open", o->of[PLEDGE_OPEN]);
	json_count(&j, "committed", o->of[PLEDGE_COMMITTED]);
	json_count(&j, "refused", o->of[PLEDGE_REFUSED]);
	json_count(&j, "ran_out", o->of[PLEDGE_RAN_OUT]);
	json_count(&j, "not_sent", o->of[PLEDGE_NOT_SENT]);
	json_open(&j, "instances", '[');
	for (i = 0; i < w->asked; i++)
		pledge_json(&j, &w->all[i]);
	json_close(&j, ']');
	json_open(&j, "not_asked", '[');
	for (; i < w->n; i++)
		json_text(&j, NULL, w->all[i].sop_instance);
	json_close(&j, ']');
	json_close(&j, '}');
	buf_puts(out, "\n");
}

static int
ask(struct asked *a, const struct pledge_desk *d)
{
	struct pledge_wish w = {.all = NULL};
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct outcome o = {.person = false};
	int rc;

	if (!d->served && !given(a, "--no-wait")) {
		command_complain(a, "serve is not running: with --no-wait it asks when it does");
		return COMMAND_FAILED;
	}
	rc = order(a, d, &w, &e);
	if (!rc && !given(a, "--no-wait"))
		rc = await(a, d, &w, &e);
	if (!rc)
		rc = read_outcome(d, a->words[1], &w, &o, &e);
	if (!rc && given(a, "--json"))
		say_json(&out, a->words[1], &w, &o);
	else if (!rc)
		say_text(&out, a->words[1], &w, &o);
	pledge_wish_fini(&w);
	return command_end(a, &out, rc, &e, o.person ? COMMAND_PERSON : COMMAND_OK);
}

/* --- looking --- */

struct listing {
	const char *archive;
	struct store_tx *tx;
	struct buf *out;
	struct json *j;
	char after[UID_SIZE];
	unsigned n;
	bool mark;
};

static int
list_one(void *arg, const struct pledge *p, struct err *e)
{
	struct listing *l = arg;

	(void)e;
	strcpy(l->after, p->sop_instance);
	if (pledge_failed(p) && l->j)
		pledge_json(l->j, p);
	else if (pledge_failed(p))
		pledge_text(l->out, p);
	return ++l->n == PAGE ? ERR_AGAIN : 0;
}

/* A page per transaction. */
static int
list_images(struct store *s, struct listing *l, struct err *e)
{
	int rc;

	do {
		l->n = 0;
		rc = store_begin_read(&l->tx, s, e);
		if (rc)
			return rc;
		rc = pledge_each(l->tx, l->archive, l->after, list_one, l, e);
		store_end_read(l->tx);
	} while (rc == ERR_AGAIN);
	return rc;
}

static int
list_request(void *arg, const struct pledge_row *row, struct err *e)
{
	struct listing *l = arg;

	(void)e;
	if (row->phase == PLEDGE_SETTLED || strcmp(row->archive, l->archive) != 0)
		return 0;
	buf_printf(l->out, "request %s, %u images: %s", row->transaction, row->n,
		   row->phase == PLEDGE_WAITS	? "waits for the result"
		   : row->phase == PLEDGE_SENDS ? "is to be sent first"
						: "is to be asked for");
	if (row->tries)
		buf_printf(l->out, "; tried %u times, the last: %s", row->tries, row->why);
	buf_puts(l->out, "\n");
	return 0;
}

/* Collected, then written: what is marked is what was listed before. */
static int
collect_unseen(void *arg, const struct pledge *p, struct err *e)
{
	struct listing *l = arg;

	strcpy(l->after, p->sop_instance);
	if (pledge_failed(p) && !p->seen)
		buf_put(l->out, p, sizeof(*p));
	(void)e;
	return ++l->n == PAGE ? ERR_AGAIN : 0;
}

static int
mark_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct listing *l = arg;
	struct pledge p;
	size_t at;
	int rc = 0;

	for (at = 0; !rc && at < l->out->len; at += sizeof(p)) {
		memcpy(&p, l->out->data + at, sizeof(p));
		rc = pledge_saw(tx, l->archive, &p, e);
	}
	return rc;
}

static int
mark_seen(struct store *s, const char *archive, struct err *e)
{
	struct buf page = BUF_INIT;
	struct listing l = {.archive = archive, .out = &page};
	int rc, more;

	do {
		l.n = 0;
		buf_clear(&page);
		rc = store_begin_read(&l.tx, s, e);
		if (rc)
			break;
		more = pledge_each(l.tx, archive, l.after, collect_unseen, &l, e);
		store_end_read(l.tx);
		rc = more == ERR_AGAIN ? 0 : more;
		if (!rc && buf_failed(&page))
			rc = err_set(e, ERR_LOCAL, 0, "no memory for a page");
		if (!rc && page.len)
			rc = store_commit(s, mark_page, &l, e);
	} while (!rc && more == ERR_AGAIN);
	buf_fini(&page);
	return rc;
}

static int
list_archives(struct store *s, const char *archive, struct buf *out, struct json *j,
	      uint64_t *unseen, struct err *e)
{
	struct listing l = {.archive = archive, .out = out};
	struct store_tx *tx;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	rc = pledges_unseen(tx, unseen, e);
	if (!rc && j)
		rc = pledges_json(tx, archive, j, "archives", e);
	else if (!rc)
		rc = pledges_text(tx, archive, out, e);
	if (!rc && !j && archive)
		rc = pledges_each(tx, 0, list_request, &l, e);
	store_end_read(tx);
	return rc;
}

static int
list(struct asked *a, const struct pledge_desk *d)
{
	const char *archive = a->n > 1 ? a->words[1] : NULL;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct json j = {.out = NULL}, *json = given(a, "--json") ? &j : NULL;
	struct listing l = {.archive = archive, .out = &out, .j = json};
	struct store *s = enter(d);
	uint64_t unseen = 0;
	int rc = s ? 0 : shut(&e);

	if (!rc && archive)
		rc = check_known(d, s, archive, &e);
	if (!rc && archive && given(a, "--seen"))
		rc = mark_seen(s, archive, &e);
	if (json) {
		json_init(json, &out);
		json_open(json, NULL, '{');
	}
	if (!rc)
		rc = list_archives(s, archive, &out, json, &unseen, &e);
	if (json)
		json_open(json, "instances", '[');
	if (!rc && archive)
		rc = list_images(s, &l, &e);
	leave(d);
	if (json) {
		json_close(json, ']');
		json_close(json, '}');
		buf_puts(&out, "\n");
	} else if (!rc && !out.len) {
		buf_puts(&out, "no archive was asked for anything\n");
	}
	return command_end(a, &out, rc, &e, unseen ? COMMAND_PERSON : COMMAND_OK);
}

int
pledge_command(struct asked *a, const struct pledge_desk *d)
{
	bool asks = a->n > 2;

	if (asks ? given(a, "--seen")
		 : given(a, "--send") || given(a, "--no-wait") ||
			    (given(a, "--seen") && a->n < 2)) {
		command_complain(a, PLEDGE_USAGE);
		return COMMAND_USAGE;
	}
	if (a->n > 1 && strlen(a->words[1]) >= COMMITMENT_PEER_SIZE) {
		command_complain(a, "no section [peer] has so long a name");
		return COMMAND_FAILED;
	}
	return asks ? ask(a, d) : list(a, d);
}
