#include "edge/obey.h"

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/outbox.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), ORDER_TABLE);
}

/* --- what is told once: the last number of its kind counts --- */

/* *newer: it is above all of this name so far; it is the last from now on. */
static int
is_newer(struct store_tx *tx, const char *name, uint64_t number, bool *newer, struct err *e)
{
	uint64_t last;
	int rc = sync_number(tx, name, &last, e);

	*newer = !rc && number > last;
	return *newer ? sync_set_number(tx, name, number, e) : rc;
}

/* R10. A person at the edge may end it: the same order again does not bring it back. */
static int
obey_hold(struct store_tx *tx, const Sync__Order *m, struct err *e)
{
	uint64_t hold = 0;
	bool newer;
	int rc = is_newer(tx, "hold_order", m->number, &newer, e);

	if (rc || !newer)
		return rc;
	rc = sync_number(tx, "hold", &hold, e);
	hold = m->on ? hold | HOLD_ORDER : hold & ~(uint64_t)HOLD_ORDER;
	return rc ? rc : sync_set_number(tx, "hold", hold, e);
}

/* --- each kind --- */

static bool
is_known(int kind)
{
	return kind == SYNC__ORDER_KIND__ORDER_HOLD;
}

static int
keep(struct store_tx *tx, const Sync__Order *m, const void *bytes, size_t n, struct err *e)
{
	unsigned char key[8];

	buf_set_be64(key, m->number);
	return kv_put(store_tx_kv(tx), table(tx), kv_slice(key, sizeof(key)), kv_slice(bytes, n),
		      e);
}

int
obey(struct store_tx *tx, const Sync__Order *m, const void *bytes, size_t n, struct err *e)
{
	if (!is_known((int)m->kind))
		return keep(tx, m, bytes, n, e);
	if (m->kind == SYNC__ORDER_KIND__ORDER_HOLD)
		return obey_hold(tx, m, e);
	return 0;
}

/* --- those that were not known --- */

struct kept {
	struct store_tx *tx;
	uint64_t n, from, number; /* number: of the next that is known now */
	struct buf bytes;
};

static int
each_kept(struct store_tx *tx, uint64_t from, bool (*fn)(struct kept *k, struct kv_slice v),
	  struct kept *k, struct err *e)
{
	struct kv_cursor *c = NULL;
	unsigned char key[8];
	struct kv_slice at, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	buf_set_be64(key, from);
	if (!rc)
		rc = kv_cursor_seek(c, kv_slice(key, sizeof(key)), &at, &v, e);
	while (!rc) {
		k->number = buf_get_be64(at.p);
		if (fn(k, v))
			break;
		rc = kv_cursor_next(c, &at, &v, e);
	}
	kv_cursor_close(c);
	return rc;
}

static bool
count_one(struct kept *k, struct kv_slice v)
{
	(void)v;
	k->n++;
	return false;
}

int
obey_unknown(struct store_tx *tx, uint64_t *out, struct err *e)
{
	struct kept k = {.n = 0};
	int rc = each_kept(tx, 0, count_one, &k, e);

	*out = k.n;
	return rc == ERR_ABSENT ? 0 : rc;
}

static bool
now_known(struct kept *k, struct kv_slice v)
{
	Sync__Order *m = message_read(&sync__order__descriptor, v.p, v.n, NULL);
	bool yes = m && is_known((int)m->kind);

	message_free(m);
	if (yes)
		buf_put(&k->bytes, v.p, v.n);
	return yes;
}

static int
obey_next(struct store_tx *tx, void *arg, struct err *e)
{
	struct kept *k = arg;
	unsigned char key[8];
	Sync__Order *m;
	int rc;

	buf_clear(&k->bytes);
	rc = each_kept(tx, k->from, now_known, k, e);
	if (rc)
		return rc;
	m = message_read(&sync__order__descriptor, k->bytes.data, k->bytes.len, e);
	rc = m ? obey(tx, m, k->bytes.data, k->bytes.len, e) : ERR_PEER;
	message_free(m);
	buf_set_be64(key, k->number);
	return rc ? rc : kv_del(store_tx_kv(tx), table(tx), kv_slice(key, sizeof(key)), e);
}

int
obey_kept(struct edge *e, struct err *err)
{
	struct kept k = {.bytes = BUF_INIT};
	int rc = 0;

	while (!rc) {
		rc = store_commit(e->store, obey_next, &k, err);
		if (!rc)
			log_line(LOG_INFO, "order.understood", "number=%llu",
				 (unsigned long long)k.number);
		k.from = k.number + 1;
	}
	buf_fini(&k.bytes);
	return rc == ERR_ABSENT ? 0 : rc;
}
