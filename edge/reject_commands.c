/* What a person at an edge rejects, restores, and asks about (IHE IOCM). */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/dicom/parameters.h"
#include "common/dimse/audit.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"
#include "common/os/command.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/reject.h"
#include "edge/replicate.h"
#include "edge/take_in.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"

/* Images of one study that are spoken of. */
struct chosen {
	const char *uid, *level;
	enum note_reason reason;
	bool restore; /* else: those that are not rejected for it yet */
	char study[UID_SIZE];
	struct store_tx *tx;
	struct one {
		char series[UID_SIZE];
		struct note_reference image;
	} * all;
	size_t n, cap;
	uint64_t known; /* of the subject, spoken of or not */
};

static bool
is_named(const struct chosen *c, const struct version *v)
{
	return strcmp(v->study, c->uid) == 0 || strcmp(v->series, c->uid) == 0 ||
	       strcmp(v->sop_instance, c->uid) == 0;
}

/* Notes stay as they are: hidden like what they rejected, whatever became of it. */
static int
is_wanted(const struct chosen *c, const struct version *v, bool *yes, struct err *err)
{
	struct rejected r;
	int rc = rejected_get(c->tx, v->sop_instance, &r, err);

	if (rc && rc != ERR_ABSENT)
		return rc;
	if (!rc && strcmp(v->sop_class, NOTE_CLASS) == 0 && strcmp(v->sop_instance, c->uid) != 0)
		*yes = false;
	else
		*yes = c->restore == (!rc && rejected_for(&r, c->reason));
	return 0;
}

static int
choose(void *arg, const struct version *v, struct err *err)
{
	struct chosen *c = arg;
	struct one *more;
	bool yes;
	int rc;

	if (!v->current || !v->study[0] || !v->series[0] || !v->sop_instance[0] || !is_named(c, v))
		return 0;
	c->known++;
	rc = is_wanted(c, v, &yes, err);
	if (rc || !yes)
		return rc;
	if (c->n == c->cap) {
		more = realloc(c->all, (c->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return err_set(err, ERR_LOCAL, 0, "no memory for a list of images");
		c->all = more;
		c->cap = c->cap * 2 + 64;
	}
	more = &c->all[c->n++];
	memset(more, 0, sizeof(*more));
	strcpy(more->series, v->series);
	strcpy(more->image.sop_class, v->sop_class);
	strcpy(more->image.sop_instance, v->sop_instance);
	more->image.image = v->has_pixels;
	return 0;
}

static int
its_study(void *arg, const struct version *v, struct err *err)
{
	(void)err;
	memcpy(arg, v->study, UID_SIZE);
	return ERR_AGAIN; /* the first one says it */
}

/* A study, a series or an instance that is known here. */
static int
find(struct chosen *c, struct err *err)
{
	int rc;

	c->level = "study";
	(void)snprintf(c->study, sizeof(c->study), "%s", c->uid);
	rc = store_versions_of_study(c->tx, c->uid, 0, choose, c, err);
	if (rc || c->known)
		return rc;
	c->level = "series";
	rc = index_series_study(c->tx, c->uid, c->study, err);
	if (rc == ERR_ABSENT) {
		c->level = "image";
		rc = store_versions_of(c->tx, c->uid, its_study, c->study, err);
		rc = rc == ERR_AGAIN ? 0 : rc ? rc : ERR_ABSENT;
	}
	if (!rc)
		rc = store_versions_of_study(c->tx, c->study, 0, choose, c, err);
	return rc == ERR_ABSENT || (!rc && !c->known)
		       ? err_set(err, ERR_ABSENT, 0,
				 "no study, series or image with this UID is known")
		       : rc;
}

static int
by_series(const void *a, const void *b)
{
	const struct one *x = a, *y = b;
	int c = strcmp(x->series, y->series);

	return c ? c : strcmp(x->image.sop_instance, y->image.sop_instance);
}

/* --- a note of our own --- */

static void
new_uid(char out[UID_SIZE])
{
	const uint64_t some = UINT64_C(100000000000); /* 64 characters at most */

	(void)snprintf(out, UID_SIZE, IMPLEMENTATION_CLASS ".2.%llu.%llu",
		       (unsigned long long)rng_u64(rng_real()),
		       (unsigned long long)rng_below(rng_real(), some));
}

/* As a peer would send it that may reject: durable, owed and in force on 0. */
static int
take_in(struct edge *e, const char *uid, const struct buf *data, struct err *err)
{
	static const struct peer here = {
		.name = "", .aet = "", .host = "", .issuer = "", .may = PEER_STORE | PEER_REJECT};
	struct dimse_caller who = {.peer = &here, .calling = "", .called = ""};
	struct dimse_handlers h = {.node = e};
	struct message rq, rsp;
	void *sink;
	int rc;

	memset(&rq, 0, sizeof(rq));
	memset(&rsp, 0, sizeof(rsp));
	strcpy(rq.sop_class, NOTE_CLASS);
	(void)snprintf(rq.sop_instance, sizeof(rq.sop_instance), "%s", uid);
	take_in_handlers(&h);
	rc = h.store_begin(e, &who, &rq, "1.2.840.10008.1.2.1", &sink, err);
	if (rc)
		return rc;
	(void)h.store_feed(sink, data->data, data->len, NULL); /* it remembers what was wrong */
	h.store_end(sink, &rsp);
	return rsp.status == STATUS_SUCCESS
		       ? 0
		       : err_set(err, rsp.status == STATUS_OUT_OF_RESOURCES ? ERR_FULL : ERR_LOCAL,
				 0, "the note could not be stored (%04x) %s", rsp.status,
				 rsp.comment);
}

static int
write_note(struct edge *e, const struct chosen *c, const struct one *from, size_t n,
	   struct attrs of_study, struct err *err)
{
	struct note_reference *all = calloc(n, sizeof(*all));
	char(*series)[UID_SIZE] = calloc(n, UID_SIZE), uid[UID_SIZE], own[UID_SIZE];
	time_t now = (time_t)(clock_wall(e->clock) / 1000);
	char date[16] = "", clock[16] = "";
	struct note_text t = {.reason = c->reason, .study = c->study, .of_study = of_study};
	struct buf data = BUF_INIT;
	struct tm tm;
	size_t i;
	int rc = all && series ? 0 : err_set(err, ERR_LOCAL, 0, "no memory for a note");

	for (i = 0; !rc && i < n; i++) {
		all[i] = from[i].image;
		strcpy(series[i], from[i].series);
	}
	if (localtime_r(&now, &tm)) {
		(void)strftime(date, sizeof(date), "%Y%m%d", &tm);
		(void)strftime(clock, sizeof(clock), "%H%M%S", &tm);
	}
	new_uid(uid);
	new_uid(own);
	t.sop_instance = uid;
	t.series = own;
	t.date = date;
	t.time = clock;
	t.all = all;
	t.series_of = (const char(*)[UID_SIZE])series;
	t.n = n;
	if (!rc) {
		note_write(&data, &t);
		rc = buf_failed(&data) ? err_set(err, ERR_LOCAL, 0, "no memory for a note")
				       : take_in(e, uid, &data, err);
	}
	buf_fini(&data);
	free(series);
	free(all);
	return rc;
}

static int
reject(struct edge *e, const struct chosen *c, struct attrs of_study, struct err *err)
{
	size_t at, n;
	int rc = 0;

	for (at = 0; !rc && at < c->n; at += n) {
		n = c->n - at < NOTE_MAX ? c->n - at : NOTE_MAX;
		rc = write_note(e, c, c->all + at, n, of_study, err);
	}
	return rc;
}

/* --- and its end --- */

struct restoring {
	struct edge *e;
	const struct chosen *c;
};

static int
restore(struct store_tx *tx, void *arg, struct err *err)
{
	const struct restoring *r = arg;
	Sync__Rejection m = SYNC__REJECTION__INIT;
	char *uids[REJECTION_MAX];
	uint64_t changed;
	size_t i;
	int rc = 0;

	m.reason = r->c->reason;
	m.study = message_text(r->c->study);
	m.instances = uids;
	for (i = 0; !rc && i < r->c->n; i++) {
		uids[m.n_instances++] = message_text(r->c->all[i].image.sop_instance);
		if (m.n_instances < REJECTION_MAX && i + 1 < r->c->n)
			continue;
		m.rank = 0;
		rc = reject_say(tx, r->e, &m, &changed, err);
		m.n_instances = 0;
	}
	return rc;
}

/* --- commands --- */

static void
audit(struct edge *e, const struct chosen *c)
{
	struct audit *own = NULL;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/audit.log", e->dir);
	if (!e->dicom.audit && audit_open(&own, path, e->clock, NULL))
		return;
	audit_line(own ? own : e->dicom.audit, c->restore ? "restore" : "reject",
		   "%s=%s reason=%s images=%zu", c->level, uid_shown(c->uid),
		   note_reason_word(c->reason), c->n);
	audit_close(own);
}

static int
carry_out(struct edge *e, struct chosen *c, struct err *err)
{
	struct restoring r = {e, c};
	struct buf row = BUF_INIT;
	struct attrs of_study = {NULL, 0};
	int rc = store_begin_read(&c->tx, e->store, err);

	if (rc)
		return rc;
	rc = find(c, err);
	if (!rc && index_study_row(c->tx, c->study, &of_study, NULL) == 0)
		buf_put(&row, of_study.p, of_study.n);
	store_end_read(c->tx);
	if (!rc && buf_failed(&row))
		rc = err_set(err, ERR_LOCAL, 0, "no memory for a note");
	if (!rc && c->n) {
		qsort(c->all, c->n, sizeof(*c->all), by_series);
		rc = c->restore ? store_commit(e->store, restore, &r, err)
				: reject(e, c, attrs_of(&row), err);
	}
	buf_fini(&row);
	return rc;
}

int
reject_command(struct asked *a)
{
	const char *word = command_option(a, "--reason");
	struct edge *e = a->node;
	struct chosen c = {.uid = a->words[1],
			   .restore = strcmp(a->words[0], "restore") == 0,
			   .reason = word ? note_reason_of(word) : NOTE_NONE};
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	int rc;

	if (c.reason == NOTE_NONE) {
		command_complain(a, "--reason quality|safety|worklist|retention");
		return COMMAND_USAGE;
	}
	if (!c.uid[0] || strlen(c.uid) > UID_KEEP) {
		command_complain(a, "no UID");
		return COMMAND_USAGE;
	}
	rc = carry_out(e, &c, &err);
	if (!rc && c.n) {
		(void)store_settle(e->store, NULL);
		audit(e, &c);
		replicate_wake(e->replicate);
	}
	if (!rc)
		buf_printf(&out, "%s %s: %zu of %llu images %s (%s)%s\n", c.level, c.uid, c.n,
			   (unsigned long long)c.known, c.restore ? "restored" : "rejected", word,
			   c.restore ? "; what another reason hides stays hidden" : "");
	free(c.all);
	return rc ? command_failed(a, &err) : command_give(a, &out, COMMAND_OK);
}

int
reject_list(struct asked *a)
{
	struct edge *e = a->node;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, e->store, &err);

	if (!rc) {
		rc = rejected_print(tx, command_option(a, "--json") != NULL, &out, &err);
		store_end_read(tx);
	}
	return command_end(a, &out, rc, &err, COMMAND_OK);
}
