#include "edge/reject.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dicom/canon.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/obey.h"
#include "edge/outbox.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

int
reject_count(struct store_tx *tx, const char *name, struct err *err)
{
	uint64_t n;
	int rc = sync_number(tx, name, &n, err);

	return rc ? rc : sync_set_number(tx, name, n + 1, err);
}

int
reject_say(struct store_tx *tx, struct edge *e, struct Sync__Rejection *m, uint64_t *changed,
	   struct err *err)
{
	struct buf entry = BUF_INIT;
	uint64_t seq;
	int rc = m->rank ? 0 : rejected_rank(tx, m, &m->rank, err);

	if (!rc)
		rc = rejected_take(tx, m, err);
	if (!rc)
		rc = withdrawn_settle_rejection(tx, m, &obey_node, changed, err);
	if (rc)
		return rc;
	ledger_rejected(&entry, m, clock_wall(e->clock));
	rc = ledger_append(tx, &entry, &seq, err);
	buf_fini(&entry);
	return rc;
}

/* The references of one study, as many as one rejection takes, from *at on. A note is no worse for
 * one that nothing can be said of (R32). */
static size_t
gather(const struct note *note, unsigned study, size_t *at, char **out)
{
	size_t n, found = 0;
	const struct note_reference *all = note_references(note, &n);

	for (; *at < n && found < REJECTION_MAX; ++*at)
		if (all[*at].study == study && rejected_can_name(all[*at].sop_instance))
			out[found++] = message_text(all[*at].sop_instance);
	return found;
}

static int
say_study(struct store_tx *tx, struct edge *e, const struct note *note, unsigned study,
	  const Sync__Rejection *like, uint64_t *images, struct err *err)
{
	char *uids[REJECTION_MAX];
	Sync__Rejection m = *like;
	uint64_t changed;
	size_t at = 0;
	int rc = 0;

	m.study = message_text(note_study(note, study));
	m.instances = uids;
	while (!rc && (m.n_instances = gather(note, study, &at, uids)) > 0) {
		m.rank = 0;
		rc = reject_say(tx, e, &m, &changed, err);
		*images += rc ? 0 : changed;
	}
	return rc;
}

/* It is hidden like what it rejects: by the same means, and everywhere. */
static int
say_note(struct store_tx *tx, struct edge *e, const struct object_info *info,
	 const Sync__Rejection *like, struct err *err)
{
	char *uid = message_text(info->sop_instance);
	Sync__Rejection m = *like;
	uint64_t changed;

	m.study = message_text(info->study);
	m.instances = &uid;
	m.n_instances = 1;
	return reject_say(tx, e, &m, &changed, err);
}

int
reject_by_note(struct store_tx *tx, struct edge *e, const struct note *note,
	       enum note_reason reason, const struct object_info *info, uint64_t *images,
	       struct err *err)
{
	Sync__Rejection m = SYNC__REJECTION__INIT;
	const struct note_reference *all;
	struct rejected known;
	size_t n, i;
	unsigned study, last = 0;
	int rc = rejected_get(tx, info->sop_instance, &known, err);

	*images = 0;
	if (rc != ERR_ABSENT &&
	    (rc || known.on[reason])) /* a sender repeats it, and says no more */
		return rc;
	all = note_references(note, &n);
	for (i = 0; i < n; i++)
		last = all[i].study;
	m.on = true;
	m.reason = reason;
	m.note = message_text(info->sop_instance);
	/* The note first: it never is all that is shown of a study. */
	rc = rejected_can_name(info->sop_instance) ? say_note(tx, e, info, &m, err) : 0;
	for (study = 0; !rc && study <= last; study++)
		rc = say_study(tx, e, note, study, &m, images, err);
	return rc;
}

int
reject_stored(struct store_tx *tx, struct edge *e, const char *sop_instance, struct err *err)
{
	Sync__Rejection m = SYNC__REJECTION__INIT;
	char *uid = message_text(sop_instance);
	struct rejected r;
	uint64_t changed;
	int rc = sop_instance[0] ? rejected_get(tx, sop_instance, &r, err) : ERR_ABSENT;

	if (rc || !rejected_for(&r, NOTE_RETENTION))
		return rc == ERR_ABSENT ? 0 : rc;
	m.reason = NOTE_RETENTION;
	m.study = r.study;
	m.instances = &uid;
	m.n_instances = 1;
	return reject_say(tx, e, &m, &changed, err);
}
