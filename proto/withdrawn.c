#include "proto/withdrawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/uid.h"
#include "common/kv/kv.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"

enum { HEAD = 24 + ID128_SIZE };

static unsigned
table(struct store_tx *tx, const char *of)
{
	return store_table(store_tx_store(tx), of);
}

static const char *
table_of(int kind)
{
	return kind == SYNC__ORDER_KIND__ORDER_SITE	  ? STANDING_TABLE
	       : kind == SYNC__ORDER_KIND__ORDER_REJECTED ? REJECTIONS_TABLE
							  : WITHDRAWN_TABLE;
}

/* The key of a subject's row; of no more than UID_SIZE - 1 bytes, or it is none. */
static const char *
key_of(char key[UID_SIZE + sizeof(STANDING_SUSPENDED)], const Sync__Order *m)
{
	bool apart = m->kind == SYNC__ORDER_KIND__ORDER_SITE &&
		     m->standing == SYNC__STANDING__STANDING_SUSPENDED;

	(void)snprintf(key, UID_SIZE + sizeof(STANDING_SUSPENDED), "%s%s",
		       apart ? STANDING_SUSPENDED : "", m->subject);
	return key;
}

uint64_t
withdrawn_rank(const Sync__Order *m)
{
	return m->of ? m->of : m->number;
}

/* --- rows --- */

static int
read_row(struct withdrawn_row *out, struct kv_slice v, struct err *e)
{
	const unsigned char *p = v.p;
	Sync__Order *m = NULL;

	if (v.n >= HEAD)
		m = message_read(&sync__order__descriptor, p + HEAD, v.n - HEAD, NULL);
	if (!m)
		return err_set(e, ERR_CORRUPT, 0, "a row of `withdrawn` is torn");
	out->said.yes = m->kind == SYNC__ORDER_KIND__ORDER_RETRACT;
	out->said.rank = buf_get_u64(p);
	out->said.number = buf_get_u64(p + 8);
	out->said.heard_ms = (int64_t)buf_get_u64(p + 16);
	memcpy(out->epoch.b, p + 24, ID128_SIZE);
	out->bytes = p + HEAD;
	out->n = v.n - HEAD;
	message_free(m);
	return 0;
}

static int
get(struct store_tx *tx, const char *of, const char *subject, struct withdrawn_row *out,
    struct err *e)
{
	struct kv_slice v, key = kv_slice(subject, strlen(subject));
	int rc = kv_get(store_tx_kv(tx), table(tx, of), key, &v, e);

	return rc ? rc : read_row(out, v, e);
}

static int
get_said(struct store_tx *tx, const char *of, const char *subject, struct withdrawn *out,
	 struct err *e)
{
	struct withdrawn_row row;
	int rc = get(tx, of, subject, &row, e);

	if (!rc)
		*out = row.said;
	return rc;
}

int
withdrawn_get(struct store_tx *tx, const char *uid, struct withdrawn *out, struct err *e)
{
	return get_said(tx, WITHDRAWN_TABLE, uid, out, e);
}

int
rejections_get(struct store_tx *tx, const char *id, struct withdrawn *out, struct err *e)
{
	return get_said(tx, REJECTIONS_TABLE, id, out, e);
}

int
standing_get(struct store_tx *tx, const char *site, struct withdrawn *out, struct err *e)
{
	return get_said(tx, STANDING_TABLE, site, out, e);
}

static bool
is_above(const struct withdrawn *a, const struct withdrawn *b)
{
	return a->rank != b->rank ? a->rank > b->rank : a->number > b->number;
}

int
withdrawn_known(struct store_tx *tx, const Sync__Order *m, struct withdrawn *out, struct err *e)
{
	char key[UID_SIZE + sizeof(STANDING_SUSPENDED)];

	return get_said(tx, table_of((int)m->kind), key_of(key, m), out, e);
}

struct standing {
	struct withdrawn said;
	Sync__Standing standing; /* may, where nothing was said */
};

/* What its row says, or m, if that is above. */
static int
get_standing(struct store_tx *tx, const Sync__Order *m, Sync__Standing as, struct standing *out,
	     struct err *e)
{
	struct withdrawn now = {.rank = withdrawn_rank(m), .number = m->number};
	char key[UID_SIZE + sizeof(STANDING_SUSPENDED)];
	Sync__Order like = *m, *kept;
	struct withdrawn_row row;
	int rc;

	memset(out, 0, sizeof(*out));
	like.standing = as;
	rc = get(tx, STANDING_TABLE, key_of(key, &like), &row, e);
	if (!rc) {
		kept = message_read(&sync__order__descriptor, row.bytes, row.n, NULL);
		out->said = row.said;
		out->standing = kept ? kept->standing : SYNC__STANDING__STANDING_MAY;
		message_free(kept);
	}
	if ((m->standing == SYNC__STANDING__STANDING_SUSPENDED) ==
		    (as == SYNC__STANDING__STANDING_SUSPENDED) &&
	    is_above(&now, &out->said)) {
		out->said = now;
		out->standing = m->standing;
	}
	return rc == ERR_ABSENT ? 0 : rc;
}

int
standing_with(struct store_tx *tx, const Sync__Order *m, int *out, struct err *e)
{
	struct standing let, suspended;
	int rc = get_standing(tx, m, SYNC__STANDING__STANDING_MAY, &let, e);

	if (!rc)
		rc = get_standing(tx, m, SYNC__STANDING__STANDING_SUSPENDED, &suspended, e);
	if (rc)
		return rc;
	*out = let.standing != SYNC__STANDING__STANDING_REMOVED &&
			       is_above(&suspended.said, &let.said)
		       ? (int)suspended.standing
		       : (int)let.standing;
	return 0;
}

int
withdrawn_says(struct store_tx *tx, const struct version *v, struct withdrawn *out, struct err *e)
{
	const char *const uids[] = {v->study, v->series, v->sop_instance};
	struct withdrawn one;
	size_t i;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < sizeof(uids) / sizeof(uids[0]); i++) {
		rc = uids[i][0] ? withdrawn_get(tx, uids[i], &one, e) : ERR_ABSENT;
		if (rc && rc != ERR_ABSENT)
			return rc;
		if (!rc && is_above(&one, out))
			*out = one;
	}
	return 0;
}

int
withdrawn_take(struct store_tx *tx, const Sync__Order *m, const void *bytes, size_t n,
	       const struct id128 *epoch, bool *newer, struct err *e)
{
	struct withdrawn now = {.rank = withdrawn_rank(m), .number = m->number};
	char key[UID_SIZE + sizeof(STANDING_SUSPENDED)];
	struct withdrawn_row before;
	struct buf row = BUF_INIT;
	const char *of = table_of((int)m->kind);
	int rc;

	*newer = false;
	if (!m->subject[0] || strlen(key_of(key, m)) >= UID_SIZE || now.rank >= WITHDRAWN_RANK_MAX)
		return err_set(e, ERR_PEER, 0, "a decision about nothing");
	rc = get(tx, of, key, &before, e);
	if (rc && rc != ERR_ABSENT)
		return rc;
	now.heard_ms = store_time(store_tx_store(tx));
	*newer = rc || is_above(&now, &before.said);
	if (!*newer && is_above(&before.said, &now))
		return 0;
	if (!*newer) /* the same again, in another epoch perhaps */
		now.heard_ms = before.said.heard_ms;
	buf_put_u64(&row, now.rank);
	buf_put_u64(&row, now.number);
	buf_put_u64(&row, (uint64_t)now.heard_ms);
	buf_put(&row, epoch->b, ID128_SIZE);
	buf_put(&row, bytes, n);
	rc = buf_failed(&row) ? err_set(e, ERR_LOCAL, 0, "no memory for a decision")
			      : kv_put(store_tx_kv(tx), table(tx, of), kv_slice(key, strlen(key)),
				       kv_slice(row.data, row.len), e);
	buf_fini(&row);
	return rc;
}

static int
heard(struct store_tx *tx, const char *of, const char *uid, const struct id128 *epoch,
      struct err *e)
{
	struct kv_slice v, key = kv_slice(uid, strlen(uid));
	struct buf row = BUF_INIT;
	int rc = kv_get(store_tx_kv(tx), table(tx, of), key, &v, e);

	if (rc || v.n < HEAD)
		return rc == ERR_ABSENT ? 0 : rc;
	buf_put(&row, v.p, v.n);
	if (!buf_failed(&row))
		memcpy(row.data + 24, epoch->b, ID128_SIZE);
	rc = buf_failed(&row)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for a decision")
		     : kv_put(store_tx_kv(tx), table(tx, of), key, kv_slice(row.data, row.len), e);
	buf_fini(&row);
	return rc;
}

int
withdrawn_heard(struct store_tx *tx, const char *uid, const struct id128 *epoch, struct err *e)
{
	return heard(tx, WITHDRAWN_TABLE, uid, epoch, e);
}

int
rejections_heard(struct store_tx *tx, const char *id, const struct id128 *epoch, struct err *e)
{
	return heard(tx, REJECTIONS_TABLE, id, epoch, e);
}

int
standing_heard(struct store_tx *tx, const char *site, const struct id128 *epoch, struct err *e)
{
	return heard(tx, STANDING_TABLE, site, epoch, e);
}

static int
rows(struct store_tx *tx, const char *of, const char *from,
     int (*fn)(void *arg, const struct withdrawn_row *row, struct err *e), void *arg, struct err *e)
{
	struct withdrawn_row row;
	struct kv_cursor *c = NULL;
	struct kv_slice k, v;
	char uid[UID_SIZE];
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, of), e);

	if (!rc)
		rc = kv_cursor_seek(c, kv_slice(from, strlen(from)), &k, &v, e);
	while (!rc) {
		rc = k.n < UID_SIZE ? read_row(&row, v, e)
				    : err_set(e, ERR_CORRUPT, 0, "a row of `withdrawn` is torn");
		if (rc)
			break;
		memcpy(uid, k.p, k.n);
		uid[k.n] = '\0';
		row.uid = uid;
		rc = fn(arg, &row, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
withdrawn_rows(struct store_tx *tx, const char *from,
	       int (*fn)(void *arg, const struct withdrawn_row *row, struct err *e), void *arg,
	       struct err *e)
{
	return rows(tx, WITHDRAWN_TABLE, from, fn, arg, e);
}

int
rejections_rows(struct store_tx *tx,
		int (*fn)(void *arg, const struct withdrawn_row *row, struct err *e), void *arg,
		struct err *e)
{
	return rows(tx, REJECTIONS_TABLE, "", fn, arg, e);
}

int
standing_rows(struct store_tx *tx,
	      int (*fn)(void *arg, const struct withdrawn_row *row, struct err *e), void *arg,
	      struct err *e)
{
	return rows(tx, STANDING_TABLE, "", fn, arg, e);
}

/* --- another archive --- */

struct ranking {
	struct ranked {
		char uid[UID_SIZE];
		struct withdrawn said;
	} * list;
	size_t n;
};

static int
note_rank(void *arg, const struct withdrawn_row *row, struct err *e)
{
	struct ranking *r = arg;
	struct ranked *more = r->list;

	if (r->n % 64 == 0)
		more = realloc(r->list, (r->n + 64) * sizeof(*more));
	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for decisions");
	r->list = more;
	(void)snprintf(more[r->n].uid, UID_SIZE, "%s", row->uid);
	more[r->n++].said = row->said;
	return 0;
}

static int
by_rank(const void *a, const void *b)
{
	const struct withdrawn *x = &((const struct ranked *)a)->said;
	const struct withdrawn *y = &((const struct ranked *)b)->said;

	return is_above(x, y) - is_above(y, x);
}

static int
set_rank(struct store_tx *tx, const char *of, const char *uid, uint64_t rank, struct err *e)
{
	struct kv_slice v, key = kv_slice(uid, strlen(uid));
	struct buf row = BUF_INIT;
	int rc = kv_get(store_tx_kv(tx), table(tx, of), key, &v, e);

	if (rc)
		return rc;
	buf_put_u64(&row, rank);
	buf_put_u64(&row, rank);
	buf_put(&row, (const unsigned char *)v.p + 16, v.n - 16);
	rc = buf_failed(&row)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for a decision")
		     : kv_put(store_tx_kv(tx), table(tx, of), key, kv_slice(row.data, row.len), e);
	buf_fini(&row);
	return rc;
}

static int
rank_anew(struct store_tx *tx, const char *of, struct err *e)
{
	struct ranking r = {NULL, 0};
	size_t i, low;
	int rc = rows(tx, of, "", note_rank, &r, e);

	if (r.n)
		qsort(r.list, r.n, sizeof(*r.list), by_rank);
	low = r.n >= WITHDRAWN_LIFE ? r.n - WITHDRAWN_LIFE + 1 : 0;
	for (i = 0; !rc && i < r.n; i++)
		rc = set_rank(tx, of, r.list[i].uid, i < low ? 1 : i - low + 1, e);
	free(r.list);
	return rc;
}

int
withdrawn_other_archive(struct store_tx *tx, struct err *e)
{
	int rc = rank_anew(tx, WITHDRAWN_TABLE, e);

	if (!rc)
		rc = rank_anew(tx, REJECTIONS_TABLE, e);
	return rc ? rc : rank_anew(tx, STANDING_TABLE, e);
}

/* --- images --- */

static struct attrs
valid(const ProtobufCBinaryData *b)
{
	struct attrs set = {b->data, b->len}, none = {NULL, 0};

	return attrs_valid(set) ? set : none;
}

/* What it is current of is found again; its study's row has stayed. */
static int
show(struct store_tx *tx, const struct version *shown, const struct withdrawn_node *node,
     struct err *e)
{
	struct index_sets sets = {.dropped = NULL};
	struct index_change change;
	Sync__LedgerEntry *entry = node->entry_of(tx, shown);
	struct tags dropped;
	int rc;

	if (entry) {
		ledger_corrected(&dropped, entry);
		sets.series = valid(&entry->series_attributes);
		sets.instance = valid(&entry->instance_attributes);
		sets.dropped = &dropped;
	}
	rc = index_put(tx, shown, &sets, &change, e);
	message_free(entry);
	return rc;
}

int
withdrawn_hides(struct store_tx *tx, const struct version *v, uint32_t *out, struct err *e)
{
	struct withdrawn said;
	uint32_t rejected = 0;
	int rc = withdrawn_says(tx, v, &said, e);

	if (!rc)
		rc = rejected_hides(tx, v->sop_instance, &rejected, e);
	*out = rc ? 0 : (v->hidden & ~(uint32_t)WITHDRAWN_BITS) | rejected;
	if (!rc && said.yes)
		*out |= VERSION_WITHDRAWN;
	return rc;
}

/* Of what hides it these bits follow. */
static int
settle(struct store_tx *tx, const struct version *v, uint32_t bits,
       const struct withdrawn_node *node, bool *changed, struct err *e)
{
	struct version now = *v;
	uint32_t decided;
	int rc = withdrawn_hides(tx, v, &decided, e);

	now.hidden = (v->hidden & ~bits) | (decided & bits);
	*changed = !rc && now.hidden != v->hidden;
	if (rc || !*changed)
		return rc;
	rc = node->leave ? node->leave(tx, v->digest, e) : 0;
	if (!rc)
		rc = store_set_hidden(tx, v->oid, now.hidden, e);
	if (!rc && v->current && version_indexed(&now) && !version_indexed(v))
		rc = show(tx, &now, node, e);
	return rc || !node->enter ? rc : node->enter(tx, v->digest, e);
}

int
withdrawn_settle(struct store_tx *tx, const struct version *v, const struct withdrawn_node *node,
		 bool *changed, struct err *e)
{
	return settle(tx, v, WITHDRAWN_BITS, node, changed, e);
}

int
withdrawn_settle_new(struct store_tx *tx, uint64_t oid, uint32_t *hidden, struct err *e)
{
	struct version v;
	int rc = store_version(tx, oid, &v, e);

	*hidden = 0;
	if (!rc)
		rc = withdrawn_hides(tx, &v, hidden, e);
	/* What hides it may only be more than it was: it has just come. */
	*hidden |= v.hidden;
	return rc || *hidden == v.hidden ? rc : store_set_hidden(tx, oid, *hidden, e);
}

struct naming {
	const Sync__Order *m;
	uint64_t *oids;
	size_t n, cap;
};

static int
note_oid(void *arg, const struct version *v, struct err *e)
{
	struct naming *x = arg;
	uint64_t *more;

	if (x->n == x->cap) {
		more = realloc(x->oids, (x->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return err_set(e, ERR_LOCAL, 0, "no memory for a decision");
		x->oids = more;
		x->cap = x->cap * 2 + 64;
	}
	x->oids[x->n++] = v->oid;
	return 0;
}

static int
note(void *arg, const struct version *v, struct err *e)
{
	struct naming *x = arg;
	const char *uid = x->m->subject;

	return strcmp(v->study, uid) != 0 && strcmp(v->series, uid) != 0 &&
			       strcmp(v->sop_instance, uid) != 0
		       ? 0
		       : note_oid(arg, v, e);
}

static int
settle_noted(struct store_tx *tx, const struct naming *x, uint32_t bits,
	     const struct withdrawn_node *node, uint64_t *changed, struct err *e)
{
	struct version v;
	bool one;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < x->n; i++) {
		rc = store_version(tx, x->oids[i], &v, e);
		if (!rc)
			rc = settle(tx, &v, bits, node, &one, e);
		*changed += !rc && one;
	}
	return rc;
}

int
withdrawn_settle_all(struct store_tx *tx, const Sync__Order *m, const struct withdrawn_node *node,
		     uint64_t *changed, struct err *e)
{
	struct naming x = {.m = m};
	int rc = store_versions_of_study(tx, m->study, 0, note, &x, e);

	*changed = 0;
	if (!rc)
		rc = settle_noted(tx, &x, WITHDRAWN_BITS, node, changed, e);
	free(x.oids);
	return rc;
}

int
withdrawn_settle_rejection(struct store_tx *tx, const Sync__Rejection *m,
			   const struct withdrawn_node *node, uint64_t *changed, struct err *e)
{
	struct naming x = {.m = NULL};
	size_t i;
	int rc = 0;

	*changed = 0;
	for (i = 0; !rc && i < m->n_instances; i++) {
		x.n = 0;
		rc = store_versions_of(tx, m->instances[i], note_oid, &x, e);
		if (!rc)
			rc = settle_noted(tx, &x, VERSION_REJECTED | VERSION_POOR, node, changed,
					  e); /* central may have withdrawn it by its digest */
	}
	free(x.oids);
	return rc;
}
