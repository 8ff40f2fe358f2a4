#include "edge/about.h"

#include <string.h>

#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/outbox.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { LOOKS = 4096 }; /* entries in one transaction */

static const char asked_key[] = "decisions_asked";

struct scan {
	struct about *a;
	struct store_tx *tx;
	unsigned looks;
};

static int
look(void *arg, uint64_t seq, const unsigned char hash[SHA256_SIZE], const void *entry, size_t n,
     struct err *err)
{
	struct scan *s = arg;
	struct about *a = s->a;
	Sync__LedgerEntry *m;
	struct decided known;
	int rc = 0;

	(void)hash;
	if (a->n == DECISION_ABOUT_MAX || s->looks++ == LOOKS)
		return ERR_AGAIN;
	a->upto = seq;
	m = message_read(&sync__ledger_entry__descriptor, entry, n, NULL);
	if (m && (ledger_says_has((int)m->kind) || ledger_says_known((int)m->kind)) &&
	    m->sop_instance[0] && strlen(m->sop_instance) < UID_SIZE) {
		rc = decided_get(s->tx, m->sop_instance, &known, err);
		if (rc == ERR_ABSENT) {
			memcpy(a->uid[a->n++], m->sop_instance, strlen(m->sop_instance) + 1);
			rc = 0;
		}
	}
	message_free(m);
	return rc;
}

int
about_next(struct about *a, struct store_tx *tx, bool none, struct err *err)
{
	struct scan s = {a, tx, 0};
	struct ledger_head head;
	int rc = ledger_head(tx, &head, err);

	a->n = 0;
	a->upto = a->asked;
	if (!rc && none)
		a->upto = head.seq;
	else if (!rc && a->asked < head.seq)
		rc = ledger_read(tx, a->asked + 1, look, &s, err);
	return rc == ERR_AGAIN ? 0 : rc;
}

int
about_load(struct about *a, struct store_tx *tx, struct err *err)
{
	return sync_number(tx, asked_key, &a->asked, err);
}

int
about_save(const struct about *a, struct store_tx *tx, struct err *err)
{
	return sync_set_number(tx, asked_key, a->upto, err);
}
