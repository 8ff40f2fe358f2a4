/* What a person at central rejects and restores (IHE IOCM): orders, as ledgers make them. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "central/central.h"
#include "central/dispatch.h"
#include "central/record.h"
#include "central/rejections.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/uid.h"
#include "common/dimse/audit.h"
#include "common/os/command.h"
#include "common/store/store.h"
#include "proto/choose.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"

/* Of these images, above all that is known of them. */
static int
give_some(struct central *c, const struct choose *from, Sync__Rejection *r, struct err *e)
{
	Sync__Order m = SYNC__ORDER__INIT;
	char id[REJECTION_ID];
	struct store_tx *tx;
	int rc = record_settle_locked(c, e); /* the one before it counts */

	if (!rc)
		rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = rejected_rank(tx, r, &r->rank, e);
	store_end_read(tx);
	if (!rc)
		rc = rejection_id(r, id, e);
	m.kind = SYNC__ORDER_KIND__ORDER_REJECTED;
	m.subject = id;
	m.study = message_text(from->study);
	m.why = message_text("a person");
	m.rejection = r;
	return rc ? rc : dispatch_give_locked(c, &m, e);
}

static int
give_locked(struct central *c, const struct choose *from, struct err *e)
{
	Sync__Rejection r = SYNC__REJECTION__INIT;
	char *uids[REJECTION_MAX];
	size_t i;
	int rc = 0;

	r.on = !from->restore;
	r.reason = from->reason;
	r.study = message_text(from->study);
	r.instances = uids;
	for (i = 0; !rc && i < from->n; i++) {
		uids[r.n_instances++] = message_text(from->all[i].image.sop_instance);
		if (r.n_instances < REJECTION_MAX && i + 1 < from->n)
			continue;
		rc = give_some(c, from, &r, e);
		r.n_instances = 0;
	}
	return rc;
}

/* Chosen and given under one lock: nobody says anything of them in between. */
static int
carry_out(struct central *c, struct choose *what, struct err *e)
{
	struct store_tx *tx;
	int rc;

	(void)pthread_mutex_lock(&c->order);
	rc = record_settle_locked(c, e);
	if (!rc)
		rc = store_begin_read(&tx, c->store, e);
	if (!rc) {
		rc = choose_find(what, tx, e);
		store_end_read(tx);
	}
	if (!rc)
		rc = give_locked(c, what, e);
	(void)pthread_mutex_unlock(&c->order);
	return rc;
}

static void
audit(struct central *c, const struct choose *what)
{
	struct audit *own = NULL;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/audit.log", c->dir);
	if (!c->dicom.audit && audit_open(&own, path, c->clock, NULL))
		return;
	audit_line(own ? own : c->dicom.audit, what->restore ? "restore" : "reject",
		   "%s=%s reason=%s images=%zu", what->level, uid_shown(what->uid),
		   note_reason_word(what->reason), what->n);
	audit_close(own);
}

static int
say(struct asked *a, struct choose *what)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	int rc = carry_out(a->node, what, &e);

	if (rc)
		return command_failed(a, &e);
	if (what->n)
		audit(a->node, what);
	buf_printf(&out,
		   "%s %s: %zu of %llu images %s (%s), here, and at each edge from when it "
		   "hears of it%s\n",
		   what->level, what->uid, what->n, (unsigned long long)what->known,
		   what->restore ? "restored" : "rejected", note_reason_word(what->reason),
		   what->restore ? "; what another reason hides stays hidden" : "");
	return command_give(a, &out, COMMAND_OK);
}

int
rejections_reject(struct asked *a)
{
	const char *word = command_option(a, "--reason");
	struct choose what = {.uid = a->words[1],
			      .reason = word ? note_reason_of(word) : NOTE_NONE};
	int rc;

	if (what.reason == NOTE_NONE) {
		command_complain(a, "--reason quality|safety|worklist|retention");
		return COMMAND_USAGE;
	}
	if (!what.uid[0] || strlen(what.uid) > UID_KEEP) {
		command_complain(a, "no UID");
		return COMMAND_USAGE;
	}
	rc = say(a, &what);
	choose_fini(&what);
	return rc;
}

int
rejections_restore(struct asked *a)
{
	const char *word = command_option(a, "--reason");
	struct choose what = {.uid = a->words[1],
			      .reason = word ? note_reason_of(word) : NOTE_NONE,
			      .restore = true};
	struct central *c = a->node;
	struct store_tx *tx;
	int rc = what.reason == NOTE_NONE || !what.uid[0] || strlen(what.uid) > UID_KEEP
			 ? ERR_ABSENT
			 : store_begin_read(&tx, c->store, NULL);

	if (rc)
		return -1;
	rc = choose_find(&what, tx, NULL);
	store_end_read(tx);
	if (rc || !what.n) {
		choose_fini(&what);
		return -1;
	}
	choose_fini(&what);
	what = (struct choose){.uid = what.uid, .reason = what.reason, .restore = true};
	rc = say(a, &what);
	choose_fini(&what);
	return rc;
}
