#include "proto/receiver.h"

#include <string.h>

enum receiver_append
receiver_append(const struct ledger_head *head, uint64_t first,
		const unsigned char before[SHA256_SIZE], uint64_t n, uint64_t *skip)
{
	*skip = 0;
	if (first == 0 || n > UINT64_MAX - first || first > head->seq + 1)
		return RECEIVER_CONFLICT;
	if (first == head->seq + 1)
		return memcmp(before, head->hash, SHA256_SIZE) == 0 ? RECEIVER_APPEND
								    : RECEIVER_CONFLICT;
	/* Said before, or an answer was lost: what is here must be the same, byte for byte. */
	*skip = head->seq + 1 - first;
	if (*skip >= n) {
		*skip = n;
		return RECEIVER_KNOWN;
	}
	return RECEIVER_COMPARE;
}

enum receiver_piece
receiver_piece(uint64_t written, uint64_t size, uint64_t offset, uint64_t n, uint64_t *skip)
{
	*skip = 0;
	if (offset > written || n > size || offset > size - n)
		return RECEIVER_MISPLACED;
	if (offset + n <= written)
		return RECEIVER_HAVE;
	*skip = written - offset;
	return RECEIVER_TAKE;
}

void
receiver_init(struct receiver *r, uint64_t size, uint64_t durable)
{
	memset(r, 0, sizeof(*r));
	r->size = size;
	r->written = r->durable = durable;
}

/* The request is over: what came is made durable, or, when all is here, judged. */
static enum receiver_do
settle(const struct receiver *r)
{
	if (r->written == r->size)
		return RECEIVER_JUDGE;
	return r->written > r->durable ? RECEIVER_FLUSH : RECEIVER_SAY;
}

static enum receiver_do
on_frame(struct receiver *r, const struct receiver_event *ev, uint64_t *skip)
{
	switch (receiver_piece(r->written, r->size, ev->offset, ev->n, skip)) {
	case RECEIVER_MISPLACED:
		r->misplaced = true;
		return settle(r);
	case RECEIVER_HAVE:
		return RECEIVER_READ;
	case RECEIVER_TAKE:
		break;
	}
	r->next = ev->offset + ev->n;
	return RECEIVER_WRITE;
}

static enum receiver_do
on_done(struct receiver *r)
{
	switch (r->at) {
	case RECEIVER_WRITE:
		r->written = r->next;
		return RECEIVER_READ;
	case RECEIVER_FLUSH:
		return RECEIVER_COMMIT;
	case RECEIVER_COMMIT:
		r->durable = r->written;
		return RECEIVER_SAY;
	case RECEIVER_JUDGE:
		return RECEIVER_ADOPT;
	case RECEIVER_ADOPT:
		return RECEIVER_GIVE;
	case RECEIVER_READ:
	case RECEIVER_SAY:
	case RECEIVER_REFUSE:
	case RECEIVER_GIVE:
		break;
	}
	return RECEIVER_SAY;
}

void
receiver_step(struct receiver *r, const struct receiver_event *ev, struct receiver_action *out)
{
	memset(out, 0, sizeof(*out));
	switch (ev->kind) {
	case RECEIVER_GO:
		r->misplaced = false;
		r->at = RECEIVER_READ;
		break;
	case RECEIVER_FRAME:
		r->at = on_frame(r, ev, &out->skip);
		break;
	case RECEIVER_END:
		r->at = settle(r);
		break;
	case RECEIVER_DONE:
		r->at = on_done(r);
		break;
	case RECEIVER_BAD:
		r->at = RECEIVER_REFUSE;
		break;
	}
	out->what = r->at;
	/* What is to be committed has been flushed; what is said has been committed. */
	out->offset = r->at == RECEIVER_COMMIT ? r->written : r->durable;
	out->misplaced = r->misplaced;
}
