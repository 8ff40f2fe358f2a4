#include "proto/decision.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/uid.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

static unsigned char *
seen_of(unsigned char (*digests)[SHA256_SIZE], size_t n)
{
	return (unsigned char *)(digests + n);
}

bool
decision_current(struct decided *out, unsigned char (**digests)[SHA256_SIZE],
		 const Sync__Decision *m)
{
	size_t i, n = m->n_digests;

	*digests = NULL;
	memset(out, 0, sizeof(*out));
	if (m->kind != SYNC__DECIDED_KIND__DECIDED_CURRENT || !n || n > DECIDED_MAX ||
	    !m->sop_instance[0] || strlen(m->sop_instance) > UID_KEEP || !m->number ||
	    m->number > DECISION_NUMBER_MAX || !message_id(&out->id, &m->id))
		return false;
	*digests = calloc(n, SHA256_SIZE + 1); /* seen lies behind them */
	for (i = 0; *digests && i < n; i++)
		if (!message_digest((*digests)[i], &m->digests[i]))
			break;
	if (!*digests || i < n) {
		free(*digests);
		*digests = NULL;
		return false;
	}
	out->number = m->number;
	out->follows = m->follows;
	out->origin = m->origin;
	out->person = m->person;
	out->digests = (const unsigned char(*)[SHA256_SIZE]) * digests;
	out->n = n;
	for (i = 0; i < n; i++)
		seen_of(*digests, n)[i] = i < m->seen.len && m->seen.data[i] == 1;
	out->seen = seen_of(*digests, n);
	return true;
}

static uint64_t
made_as(const struct decided *d)
{
	return d->origin ? d->origin : d->number;
}

enum decision_merge
decision_merge(const struct decided *own, const struct decided *other, bool sealed)
{
	bool higher = !own->number || decided_above(other, own), later;

	/* What people decided burns with no central (R16); what R3 decided without knowing of it
	 * does not undo it. Of two people's the later one counts. */
	later = other->person &&
		(own->person ? made_as(other) > made_as(own) : own->follows < other->number);
	if (later)
		return higher && sealed ? DECISION_TAKE : DECISION_ADOPT;
	if (own->person && (other->person || other->follows < own->number))
		return higher ? DECISION_SAY_AGAIN : DECISION_KEEP;
	if (!higher)
		return DECISION_KEEP;
	return sealed ? DECISION_TAKE : own->number ? DECISION_SAY_AGAIN : DECISION_ADOPT;
}
