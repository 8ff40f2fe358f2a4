#include "common/dimse/pledge_event.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dimse/audit.h"
#include "common/dimse/commitment.h"
#include "common/dimse/message.h"
#include "common/dimse/pledges.h"
#include "common/dimse/references.h"
#include "common/store/store.h"

enum { EVENT_SUCCESS = 1, EVENT_FAILURES = 2 };

struct hearing {
	const char *archive;
	const struct references *list;
	int64_t now;
	struct pledge_row row;
	bool foreign, again;
	unsigned committed, refused, silent;
	struct store_tx *tx;
};

/* What stands otherwise than its request left it has been asked for anew. */
static int
say(struct hearing *h, const struct reference *r, struct err *e)
{
	struct pledge p;
	int rc = pledge_get(h->tx, h->archive, r->sop_instance, &p, e);

	if (rc || p.number != h->row.number || p.state == PLEDGE_NOT_SENT)
		return rc == ERR_ABSENT ? 0 : rc; /* it was not asked for */
	p.state = r->reason ? PLEDGE_REFUSED : PLEDGE_COMMITTED;
	p.reason = r->reason;
	return pledge_put(h->tx, h->archive, &p, e);
}

/* Failures last: of what stands in both lists nothing is believed but that. */
static int
say_all(struct hearing *h, bool failures, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < h->list->n; i++)
		if ((h->list->all[i].reason != 0) == failures)
			rc = say(h, &h->list->all[i], e);
	return rc;
}

static int
leave(void *arg, const struct pledge *p, struct err *e)
{
	struct hearing *h = arg;
	struct pledge now = *p;

	now.state = PLEDGE_RAN_OUT;
	h->silent++;
	return pledge_put(h->tx, h->archive, &now, e);
}

static int
take(struct store_tx *tx, void *arg, struct err *e)
{
	struct hearing *h = arg;
	size_t i;
	int rc = pledges_of_transaction(tx, h->list->transaction, &h->row, e);

	h->tx = tx;
	h->silent = h->committed = h->refused = 0;
	h->foreign = !rc && strcmp(h->row.archive, h->archive) != 0;
	h->again = !rc && h->row.phase == PLEDGE_SETTLED;
	if (rc || h->foreign || h->again)
		return rc;
	for (i = 0; i < h->list->n; i++)
		h->refused += h->list->all[i].reason != 0;
	h->committed = (unsigned)h->list->n - h->refused;
	rc = say_all(h, false, e);
	if (!rc)
		rc = say_all(h, true, e);
	if (!rc)
		rc = pledges_open(tx, &h->row, leave, h, e);
	return rc ? rc : pledges_settle(tx, &h->row, h->now + PLEDGES_KEPT_MS, e);
}

static void
tell(const struct pledge_heard *from, const struct hearing *h)
{
	bool whole = !h->refused && !h->silent;

	audit_line(from->audit, "pledge.result",
		   "peer=%s transaction=%s committed=%u refused=%u unsaid=%u again=%d",
		   from->archive, uid_shown(h->list->transaction), h->committed, h->refused,
		   h->silent, (int)h->again);
	log_line(whole ? LOG_INFO : LOG_WARN, "pledge.result",
		 "peer=%s transaction=%s committed=%u refused=%u unsaid=%u again=%d", from->archive,
		 uid_shown(h->list->transaction), h->committed, h->refused, h->silent,
		 (int)h->again);
}

static unsigned
hear(const struct pledge_heard *from, const struct references *list, struct err *e)
{
	struct hearing h = {.archive = from->archive, .list = list, .now = store_time(from->store)};
	int rc = store_commit(from->store, take, &h, e);

	if (rc == ERR_ABSENT) {
		(void)err_set(e, ERR_ABSENT, 0, "no such transaction of ours");
		return STATUS_INVALID_ARGUMENT;
	}
	if (rc)
		return STATUS_PROCESSING_FAILURE;
	if (h.foreign) {
		(void)err_set(e, ERR_PEER, 0, "another peer than the one that was asked");
		return STATUS_REFUSED_NOT_AUTHORIZED;
	}
	tell(from, &h);
	return STATUS_SUCCESS;
}

unsigned
pledge_event_take(const struct pledge_heard *from, const char *syntax, const struct message *rq,
		  const struct buf *information, struct err *e)
{
	struct references list;
	unsigned status;

	if (rq->sop_instance[0] && strcmp(rq->sop_instance, COMMITMENT_INSTANCE) != 0) {
		(void)err_set(e, ERR_PEER, 0, "another instance");
		return STATUS_NO_SUCH_INSTANCE;
	}
	if (rq->type != EVENT_SUCCESS && rq->type != EVENT_FAILURES) {
		(void)err_set(e, ERR_PEER, 0, "another event");
		return STATUS_NO_SUCH_EVENT;
	}
	if (references_parse(&list, syntax, information->data, information->len, e))
		return STATUS_INVALID_ARGUMENT;
	status = hear(from, &list, e);
	references_fini(&list);
	return status;
}
