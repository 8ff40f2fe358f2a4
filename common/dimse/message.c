#include "common/dimse/message.h"

#include <stdio.h>
#include <string.h>

#include "common/base/err.h"

enum { NO_DATA = 0x0101, HEAD = 8, CANCEL_WAIT = 5 };

enum tag {
	TAG_GROUP_LENGTH = 0x0000,
	TAG_CLASS = 0x0002,
	TAG_REQUESTED_CLASS = 0x0003,
	TAG_COMMAND = 0x0100,
	TAG_ID = 0x0110,
	TAG_RESPONDED_TO = 0x0120,
	TAG_DESTINATION = 0x0600,
	TAG_PRIORITY = 0x0700,
	TAG_DATA_TYPE = 0x0800,
	TAG_STATUS = 0x0900,
	TAG_OFFENDING = 0x0901,
	TAG_COMMENT = 0x0902,
	TAG_INSTANCE = 0x1000,
	TAG_REQUESTED_INSTANCE = 0x1001,
	TAG_EVENT_TYPE = 0x1002,
	TAG_ACTION_TYPE = 0x1008,
	TAG_REMAINING = 0x1020,
	TAG_COMPLETED = 0x1021,
	TAG_FAILED = 0x1022,
	TAG_WARNING = 0x1023,
	TAG_ORIGINATOR = 0x1030,
	TAG_ORIGINATOR_ID = 0x1031
};

static void
put_us(struct buf *b, enum tag tag, unsigned v)
{
	buf_put_u16(b, 0);
	buf_put_u16(b, tag);
	buf_put_u32(b, 2);
	buf_put_u16(b, v);
}

static void
put_at(struct buf *b, enum tag tag, uint32_t attribute)
{
	buf_put_u16(b, 0);
	buf_put_u16(b, tag);
	buf_put_u32(b, 4);
	buf_put_u16(b, attribute >> 16);
	buf_put_u16(b, attribute & 0xffff);
}

static void
put_text(struct buf *b, enum tag tag, const char *s, char pad)
{
	size_t n = strlen(s);

	if (n == 0)
		return;
	buf_put_u16(b, 0);
	buf_put_u16(b, tag);
	buf_put_u32(b, (uint32_t)(n + n % 2));
	buf_put(b, s, n);
	if (n % 2)
		buf_put(b, &pad, 1);
}

static bool
has_priority(unsigned command)
{
	return command == MESSAGE_STORE_RQ || command == MESSAGE_FIND_RQ ||
	       command == MESSAGE_MOVE_RQ || command == MESSAGE_GET_RQ;
}

/* PS3.7 10.3: an action names what is requested, its answer and events what is affected. */
static void
put_instance(struct buf *b, const struct message *m)
{
	unsigned kind = m->command & ~(unsigned)MESSAGE_IS_ANSWER;

	put_text(b, m->command == MESSAGE_ACTION_RQ ? TAG_REQUESTED_INSTANCE : TAG_INSTANCE,
		 m->sop_instance, '\0');
	if (kind == MESSAGE_EVENT_RQ)
		put_us(b, TAG_EVENT_TYPE, m->type);
	else if (kind == MESSAGE_ACTION_RQ)
		put_us(b, TAG_ACTION_TYPE, m->type);
}

void
message_build(struct buf *out, const struct message *m)
{
	struct buf b = BUF_INIT;
	bool answer = m->command & 0x8000;

	put_text(&b, m->command == MESSAGE_ACTION_RQ ? TAG_REQUESTED_CLASS : TAG_CLASS,
		 m->sop_class, '\0');
	put_us(&b, TAG_COMMAND, m->command);
	if (answer || m->command == MESSAGE_CANCEL_RQ)
		put_us(&b, TAG_RESPONDED_TO, m->responded_to);
	else
		put_us(&b, TAG_ID, m->id);
	put_text(&b, TAG_DESTINATION, m->destination, ' ');
	if (has_priority(m->command))
		put_us(&b, TAG_PRIORITY, m->priority);
	put_us(&b, TAG_DATA_TYPE, m->has_data ? 1 : NO_DATA);
	if (answer)
		put_us(&b, TAG_STATUS, m->status);
	if (m->offending)
		put_at(&b, TAG_OFFENDING, m->offending);
	put_text(&b, TAG_COMMENT, m->comment, ' ');
	put_instance(&b, m);
	if (m->has_counts) {
		if (m->status == STATUS_PENDING || m->status == STATUS_CANCELED)
			put_us(&b, TAG_REMAINING, m->remaining);
		put_us(&b, TAG_COMPLETED, m->completed);
		put_us(&b, TAG_FAILED, m->failed);
		put_us(&b, TAG_WARNING, m->warning);
	}
	put_text(&b, TAG_ORIGINATOR, m->originator, ' ');
	if (m->originator[0])
		put_us(&b, TAG_ORIGINATOR_ID, m->originator_id);
	buf_put_u16(out, 0);
	buf_put_u16(out, TAG_GROUP_LENGTH);
	buf_put_u32(out, 4);
	buf_put_u32(out, (uint32_t)b.len);
	buf_put(out, b.data, b.len);
	if (buf_failed(&b))
		out->failed = true;
	buf_fini(&b);
}

static unsigned
take_us(const unsigned char *p, size_t n)
{
	return n >= 2 ? buf_get_u16(p) : 0;
}

static void
take(struct message *m, unsigned tag, const unsigned char *p, size_t n)
{
	switch (tag) {
	case TAG_CLASS:
	case TAG_REQUESTED_CLASS:
		buf_copy_text(m->sop_class, sizeof(m->sop_class), p, n);
		break;
	case TAG_COMMAND:
		m->command = take_us(p, n);
		break;
	case TAG_ID:
		m->id = take_us(p, n);
		break;
	case TAG_RESPONDED_TO:
		m->responded_to = take_us(p, n);
		break;
	case TAG_DESTINATION:
		buf_copy_text(m->destination, sizeof(m->destination), p, n);
		break;
	case TAG_PRIORITY:
		m->priority = take_us(p, n);
		break;
	case TAG_DATA_TYPE:
		m->has_data = take_us(p, n) != NO_DATA;
		break;
	case TAG_STATUS:
		m->status = take_us(p, n);
		break;
	case TAG_OFFENDING: /* the first of a list */
		if (n >= 4)
			m->offending = (uint32_t)buf_get_u16(p) << 16 | buf_get_u16(p + 2);
		break;
	case TAG_COMMENT:
		buf_copy_text(m->comment, sizeof(m->comment), p, n);
		break;
	case TAG_INSTANCE:
	case TAG_REQUESTED_INSTANCE:
		buf_copy_text(m->sop_instance, sizeof(m->sop_instance), p, n);
		break;
	case TAG_EVENT_TYPE:
	case TAG_ACTION_TYPE:
		m->type = take_us(p, n);
		break;
	case TAG_REMAINING:
		m->remaining = take_us(p, n);
		break;
	case TAG_COMPLETED:
		m->completed = take_us(p, n);
		m->has_counts = true;
		break;
	case TAG_FAILED:
		m->failed = take_us(p, n);
		break;
	case TAG_WARNING:
		m->warning = take_us(p, n);
		break;
	case TAG_ORIGINATOR:
		buf_copy_text(m->originator, sizeof(m->originator), p, n);
		break;
	case TAG_ORIGINATOR_ID:
		m->originator_id = take_us(p, n);
		break;
	default: /* elements that we have no use for */
		break;
	}
}

int
message_parse(struct message *m, const void *bytes, size_t n, struct err *e)
{
	const unsigned char *p = bytes;

	memset(m, 0, sizeof(*m));
	while (n > 0) {
		uint32_t length;

		if (n < HEAD || buf_get_u16(p) != 0)
			return err_set(e, ERR_PEER, 0, "a command set that is none");
		length = buf_get_u32(p + 4);
		if (length > n - HEAD)
			return err_set(e, ERR_PEER, 0, "a command set cut short");
		take(m, buf_get_u16(p + 2), p + HEAD, length);
		p += HEAD + length;
		n -= HEAD + length;
	}
	return m->command ? 0 : err_set(e, ERR_PEER, 0, "a command set without a command");
}

void
message_answer(struct message *m, const struct message *rq, unsigned status)
{
	memset(m, 0, sizeof(*m));
	m->context = rq->context;
	m->command = rq->command | 0x8000;
	m->responded_to = rq->id;
	m->status = status;
	memcpy(m->sop_class, rq->sop_class, sizeof(m->sop_class));
	memcpy(m->sop_instance, rq->sop_instance, sizeof(m->sop_instance));
	m->type = rq->type;
}

int
message_send(struct assoc *a, const struct message *m, struct err *e)
{
	struct buf b = BUF_INIT;
	int rc;

	message_build(&b, m);
	rc = buf_failed(&b) ? err_set(e, ERR_LOCAL, 0, "no memory for a command set")
			    : assoc_write(a, m->context, true, true, b.data, b.len, e);
	buf_fini(&b);
	return rc;
}

int
message_send_with(struct assoc *a, const struct message *m, const struct buf *identifier,
		  struct err *e)
{
	struct message with = *m;
	int rc;

	with.has_data = true;
	rc = message_send(a, &with, e);
	return rc ? rc
		  : assoc_write(a, m->context, false, true, identifier->data, identifier->len, e);
}

/* All PDVs of one kind up to the last, at most max bytes. */
static int
collect(struct assoc *a, unsigned seconds, bool command, size_t max, unsigned char *context,
	struct buf *out, struct err *e)
{
	struct assoc_pdv pdv;
	int rc;

	do {
		rc = assoc_read(a, seconds, &pdv, e);
		if (rc)
			return rc;
		if (pdv.command != command)
			return err_set(e, ERR_PEER, 0, "a %s where a %s was due",
				       command ? "data set" : "command",
				       command ? "command" : "data set");
		if (!assoc_accepted(a, pdv.context))
			return err_set(e, ERR_PEER, 0, "context %u was not accepted", pdv.context);
		if (pdv.n > max - out->len)
			return err_set(e, ERR_PEER, 0, "more than %zu bytes", max);
		buf_put(out, pdv.data, pdv.n);
		if (buf_failed(out))
			return err_set(e, ERR_LOCAL, 0, "no memory for a message");
		*context = pdv.context;
	} while (!pdv.last);
	return 0;
}

int
message_receive(struct assoc *a, unsigned seconds, struct message *out, struct err *e)
{
	struct buf b = BUF_INIT;
	unsigned char context = 0;
	int rc = collect(a, seconds, true, MESSAGE_COMMAND_MAX, &context, &b, e);

	if (!rc)
		rc = message_parse(out, b.data, b.len, e);
	out->context = context;
	buf_fini(&b);
	return rc;
}

int
message_receive_identifier(struct assoc *a, const struct message *m, unsigned seconds,
			   struct buf *out, struct err *e)
{
	unsigned char context = 0;
	bool lists = m->command == MESSAGE_ACTION_RQ || m->command == MESSAGE_EVENT_RQ;
	int rc = collect(a, seconds, false, lists ? MESSAGE_REFERENCES_MAX : MESSAGE_IDENTIFIER_MAX,
			 &context, out, e);

	if (!rc && context != m->context)
		rc = err_set(e, ERR_PEER, 0, "an identifier on another context");
	return rc;
}

int
message_cancelled(struct assoc *a, unsigned id, bool *yes, struct err *e)
{
	struct message m;
	int rc = 0;

	while (!rc && !*yes && assoc_waiting(a)) {
		rc = message_receive(a, CANCEL_WAIT, &m, e);
		if (!rc && m.command == MESSAGE_CANCEL_RQ && m.responded_to == id)
			*yes = true;
		else if (!rc && m.command != MESSAGE_CANCEL_RQ) /* one operation at a time */
			rc = err_set(e, ERR_PEER, 0, "a command while another one runs");
	}
	return rc;
}
