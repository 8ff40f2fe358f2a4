#include "common/dimse/send.h"

#include <poll.h>
#include <string.h>

#include "common/base/err.h"
#include "common/dimse/message.h"

enum { META_AT = 132, GROUP_LENGTH = 12 };

uint64_t
send_dataset_offset(const void *canonical, size_t n)
{
	const unsigned char *p = canonical;

	if (n < META_AT + GROUP_LENGTH || memcmp(p + 128, "DICM", 4) != 0)
		return 0;
	return META_AT + GROUP_LENGTH + buf_get_u32(p + META_AT + 8);
}

unsigned char
send_context(const struct assoc *a, const char *sop_class, const char *syntax, bool as_scp)
{
	struct assoc_context c;
	unsigned i;

	for (i = 0; assoc_context_at(a, i, &c); i++)
		if (c.accepted && strcmp(c.abstract_syntax, sop_class) == 0 &&
		    strcmp(c.syntax, syntax) == 0 && (!as_scp || c.role != ASSOC_ROLE_DEFAULT))
			return c.id;
	return 0;
}

static int
send_bytes(struct assoc *a, unsigned char context, const struct send_object *o, struct err *e)
{
	uint64_t at = 0;
	const void *p = "";
	size_t n = 0;
	int rc = 0;

	do {
		if (o->size)
			rc = o->read(o->arg, at, &p, &n, e);
		if (!rc && o->size && n == 0)
			rc = err_set(e, ERR_CORRUPT, 0, "an object ends too early");
		if (rc)
			return rc;
		if (n > o->size - at)
			n = (size_t)(o->size - at);
		at += n;
		rc = assoc_write(a, context, false, at == o->size, p, n, e);
	} while (!rc && at < o->size);
	return rc;
}

/* Until something comes, or `seconds` are over: whoever waits with us hears of it. */
static int
await(struct assoc *a, const struct send_object *o, unsigned seconds, struct err *e)
{
	struct pollfd p = {.fd = assoc_socket(a), .events = POLLIN};
	unsigned waited;
	int rc = 0;

	for (waited = 0; !rc && o->waiting && waited < seconds && !assoc_waiting(a); waited++)
		if (poll(&p, 1, 1000) == 0)
			rc = o->waiting(o->arg, e);
	return rc;
}

int
send_object(struct assoc *a, unsigned char context, unsigned message_id, unsigned cancel_id,
	    const struct send_object *o, unsigned seconds, struct send_answer *out, struct err *e)
{
	struct message rq, rsp;
	int rc;

	memset(&rq, 0, sizeof(rq));
	rq.context = context;
	rq.command = MESSAGE_STORE_RQ;
	rq.id = message_id;
	rq.has_data = true;
	strncpy(rq.sop_class, o->sop_class, UID_KEEP);
	strncpy(rq.sop_instance, o->sop_instance, UID_KEEP);
	strncpy(rq.originator, o->originator, ASSOC_AET_SIZE - 1); /* R30 */
	rq.originator_id = o->originator_id;
	out->cancelled = false;
	rc = message_send(a, &rq, e);
	if (!rc)
		rc = send_bytes(a, context, o, e);
	if (!rc && o->sent)
		o->sent(o->arg);
	while (!rc) {
		rc = await(a, o, seconds, e);
		if (!rc)
			rc = message_receive(a, o->waiting && !assoc_waiting(a) ? 1 : seconds, &rsp,
					     e);
		if (rc)
			break;
		if (rsp.command == MESSAGE_CANCEL_RQ) {
			out->cancelled = out->cancelled || rsp.responded_to == cancel_id;
			continue;
		}
		if (rsp.command != MESSAGE_STORE_RSP || rsp.responded_to != message_id)
			return err_set(e, ERR_PEER, 0, "another answer than that to our C-STORE");
		out->status = rsp.status;
		return 0;
	}
	return rc == ERR_ABSENT ? err_set(e, ERR_PEER, 0, "released in the middle") : rc;
}
