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
#include "common/base/uid.h"
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
#include "proto/choose.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"

/* --- a note of our own --- */

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
write_note(struct edge *e, const struct choose *c, const struct choose_one *from, size_t n,
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
	uid_make(uid, IMPLEMENTATION_CLASS ".2", rng_real());
	uid_make(own, IMPLEMENTATION_CLASS ".2", rng_real());
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
reject(struct edge *e, const struct choose *c, struct attrs of_study, struct err *err)
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
	const struct choose *c;
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
audit(struct edge *e, const struct choose *c)
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
carry_out(struct edge *e, struct choose *c, struct err *err)
{
	struct restoring r = {e, c};
	struct buf row = BUF_INIT;
	struct attrs of_study = {NULL, 0};
	struct store_tx *tx;
	int rc = store_begin_read(&tx, e->store, err);

	if (rc)
		return rc;
	rc = choose_find(c, tx, err);
	if (!rc && index_study_row(tx, c->study, &of_study, NULL) == 0)
		buf_put(&row, of_study.p, of_study.n);
	store_end_read(tx);
	if (!rc && buf_failed(&row))
		rc = err_set(err, ERR_LOCAL, 0, "no memory for a note");
	if (!rc && c->n)
		rc = c->restore ? store_commit(e->store, restore, &r, err)
				: reject(e, c, attrs_of(&row), err);
	buf_fini(&row);
	return rc;
}

int
reject_command(struct asked *a)
{
	const char *word = command_option(a, "--reason");
	struct edge *e = a->node;
	struct choose c = {.uid = a->words[1],
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
	choose_fini(&c);
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
