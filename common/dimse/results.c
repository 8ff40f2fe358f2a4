#include "common/dimse/results.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/assoc.h"
#include "common/dimse/commitment.h"
#include "common/dimse/commitments.h"
#include "common/dimse/message.h"
#include "common/dimse/references.h"
#include "common/store/store.h"

enum {
	EVENT_SUCCESS = 1, /* PS3.4 J.3.3 */
	EVENT_FAILURES = 2,
	LIST_PAGE = 1000
};

static int
read_result(struct store *s, const struct commitment_row *row, struct references *out,
	    struct err *e)
{
	struct store_tx *tx;
	uint32_t at, n;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	strcpy(out->transaction, row->transaction);
	for (at = 0; !rc && at < row->n; at += n) {
		n = row->n - at < LIST_PAGE ? row->n - at : LIST_PAGE;
		rc = store_begin_read(&tx, s, e);
		if (rc)
			break;
		rc = commitments_list(tx, row->number, at, n, out, e);
		store_end_read(tx);
	}
	return rc;
}

int
results_send(struct store *s, struct assoc *a, unsigned char context, unsigned id,
	     const struct commitment_row *row, struct err *e)
{
	struct message m = {.context = context,
			    .command = MESSAGE_EVENT_RQ,
			    .id = id,
			    .type = row->failed ? EVENT_FAILURES : EVENT_SUCCESS};
	struct buf event = BUF_INIT;
	struct references all;
	int rc = read_result(s, row, &all, e);

	strcpy(m.sop_class, COMMITMENT_CLASS);
	strcpy(m.sop_instance, COMMITMENT_INSTANCE);
	if (!rc)
		references_tell(&event, assoc_accepted(a, context)->syntax, &all, row->called);
	if (!rc && buf_failed(&event))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for a result");
	if (!rc)
		rc = message_send_with(a, &m, &event, e);
	references_fini(&all);
	buf_fini(&event);
	return rc;
}

static int
await_answer(struct assoc *a, unsigned seconds, unsigned id, bool *answered, struct err *e)
{
	struct message rsp;
	int rc = message_receive(a, seconds, &rsp, e);

	if (rc)
		return rc == ERR_ABSENT ? err_set(e, ERR_PEER, 0, "released in the middle") : rc;
	if (rsp.command != MESSAGE_EVENT_RSP || rsp.responded_to != id)
		return err_set(e, ERR_PEER, 0, "another message than the answer to a result");
	*answered = true;
	if (rsp.status != STATUS_SUCCESS)
		return err_set(e, ERR_PEER, 0, "it answers the result with %04x", rsp.status);
	return 0;
}

static unsigned char
accepted_context(const struct assoc *a)
{
	struct assoc_context x;
	unsigned i;

	for (i = 0; assoc_context_at(a, i, &x); i++)
		if (x.accepted)
			return x.id;
	return 0;
}

/* TRAPS 1, row 18: as SCP. */
int
results_deliver(struct store *s, const struct assoc_target *to, const struct commitment_row *row,
		bool *answered, struct err *e)
{
	static const char *const plain[] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"};
	static const struct assoc_proposal p = {COMMITMENT_CLASS, plain, 2, ASSOC_ROLE_SCP};
	struct assoc *a = NULL;
	unsigned char context;
	int rc = assoc_request(&a, to, &p, 1, e);

	*answered = false;
	if (rc)
		return rc;
	context = accepted_context(a);
	rc = context ? results_send(s, a, context, 1, row, e)
		     : err_set(e, ERR_PEER, 0, "it takes no storage commitment");
	if (!rc)
		rc = await_answer(a, to->seconds, 1, answered, e);
	if (rc)
		assoc_abort(a);
	else
		assoc_release(a);
	assoc_free(a);
	return rc;
}
