#include "common/dimse/pledge_call.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/assoc.h"
#include "common/dimse/commitment.h"
#include "common/dimse/message.h"
#include "common/dimse/references.h"

enum { ACTION_COMMIT = 1, ACTION_ID = 1 }; /* PS3.4 J.3.2 */
enum { EARLY_MAX = 100 };		   /* results before the answer */

/* The answer to the request; the result may come first. */
static int
receive(struct assoc *a, unsigned seconds, const struct pledge_early *early, struct message *rsp,
	struct err *e)
{
	unsigned n = 0;
	int rc;

	do {
		rc = message_receive(a, seconds, rsp, e);
		if (rc || rsp->command != MESSAGE_EVENT_RQ)
			break;
		rc = early->event(early->arg, a, rsp, e);
	} while (!rc && ++n < EARLY_MAX);
	return rc;
}

static int
ask(struct assoc *a, unsigned char context, const struct references *list, unsigned seconds,
    const struct pledge_early *early, unsigned *status, struct err *e)
{
	struct message rsp, rq = {.context = context,
				  .command = MESSAGE_ACTION_RQ,
				  .id = ACTION_ID,
				  .type = ACTION_COMMIT};
	struct buf bytes = BUF_INIT;
	int rc;

	strcpy(rq.sop_class, COMMITMENT_CLASS);
	strcpy(rq.sop_instance, COMMITMENT_INSTANCE);
	references_ask(&bytes, assoc_accepted(a, context)->syntax, list);
	rc = buf_failed(&bytes) ? err_set(e, ERR_LOCAL, 0, "no memory for a request")
				: message_send_with(a, &rq, &bytes, e);
	buf_fini(&bytes);
	if (!rc)
		rc = receive(a, seconds, early, &rsp, e);
	if (rc)
		return rc == ERR_ABSENT ? err_set(e, ERR_PEER, 0, "released in the middle") : rc;
	if (rsp.command != MESSAGE_ACTION_RSP || rsp.responded_to != ACTION_ID)
		return err_set(e, ERR_PEER, 0, "another message than the answer to a request");
	*status = rsp.status;
	if (!rsp.has_data)
		return 0;
	rc = message_receive_identifier(a, &rsp, seconds, &bytes, e); /* it says nothing of use */
	buf_fini(&bytes);
	return rc;
}

int
pledge_call(struct assoc **out, const struct assoc_target *to, const struct references *list,
	    const struct pledge_early *early, unsigned *status, struct err *e)
{
	static const char *const plain[] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"};
	static const struct assoc_proposal p = {COMMITMENT_CLASS, plain, 2, ASSOC_ROLE_DEFAULT};
	struct assoc_context x;
	struct assoc *a = NULL;
	int rc = assoc_request(&a, to, &p, 1, e);

	if (rc)
		return rc;
	*status = STATUS_CLASS_NOT_SUPPORTED;
	if (assoc_context_at(a, 0, &x) && x.accepted)
		rc = ask(a, x.id, list, to->seconds, early, status, e);
	if (rc) {
		assoc_abort(a);
		assoc_free(a);
		return rc;
	}
	*out = a;
	return 0;
}
