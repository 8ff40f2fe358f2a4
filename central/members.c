#include "central/members.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/withdrawn.h"

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

static unsigned
table(struct store_tx *tx)
{
	return store_table(store_tx_store(tx), "member");
}

/* --- rows --- */

static bool
take(unsigned char out[SHA256_SIZE], const ProtobufCBinaryData *b)
{
	return message_digest(out, b);
}

static int
read_row(struct member *out, struct kv_slice v, struct err *e)
{
	Sync__MemberRow *m = message_read(&sync__member_row__descriptor, v.p, v.n, NULL);

	memset(out, 0, sizeof(*out));
	if (!m)
		return err_set(e, ERR_CORRUPT, 0, "a member row of the catalogue is torn");
	(void)snprintf(out->site, sizeof(out->site), "%s", m->site);
	out->keyed = take(out->key, &m->key);
	out->from_ms = m->from_wall_ms;
	out->until_ms = m->until_wall_ms;
	out->suspended = m->suspended;
	out->removed = m->removed;
	out->own = m->own;
	out->coded = take(out->code, &m->code);
	out->code_until_ms = m->code_until_wall_ms;
	out->code_used = take(out->code_key, &m->code_key);
	out->refused = take(out->refused_key, &m->refused_key);
	out->refused_ms = m->refused_wall_ms;
	out->showed = take(out->ca, &m->ca);
	out->unvouched = m->unvouched;
	out->vouches = m->vouches;
	bandwidth_of_runs(&out->bandwidth, m->bandwidth, m->n_bandwidth);
	message_free(m);
	return 0;
}

static int
write_row(struct store_tx *tx, const struct member *in, struct err *e)
{
	Sync__MemberRow m = SYNC__MEMBER_ROW__INIT;
	struct bandwidth_runs runs;
	struct buf b = BUF_INIT;
	int rc;

	m.site = message_text(in->site);
	m.key = message_bytes(in->key, in->keyed ? PKI_PRINT : 0);
	m.from_wall_ms = in->from_ms;
	m.until_wall_ms = in->until_ms;
	m.suspended = in->suspended;
	m.removed = in->removed;
	m.own = in->own;
	m.code = message_bytes(in->code, in->coded ? SHA256_SIZE : 0);
	m.code_until_wall_ms = in->code_until_ms;
	m.code_key = message_bytes(in->code_key, in->code_used ? PKI_PRINT : 0);
	m.refused_key = message_bytes(in->refused_key, in->refused ? PKI_PRINT : 0);
	m.refused_wall_ms = in->refused_ms;
	m.ca = message_bytes(in->ca, in->showed ? PKI_PRINT : 0);
	m.unvouched = in->unvouched;
	m.vouches = in->vouches;
	bandwidth_to_runs(&runs, &in->bandwidth);
	m.bandwidth = runs.list;
	m.n_bandwidth = runs.n;
	message_pack(&b, &m.base);
	rc = buf_failed(&b)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for a catalogue row")
		     : kv_put(store_tx_kv(tx), table(tx), kv_slice(in->site, strlen(in->site)),
			      kv_slice(b.data, b.len), e);
	buf_fini(&b);
	return rc;
}

int
member_get(struct store_tx *tx, const char *site, struct member *out, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx), kv_slice(site, strlen(site)), &v, e);

	return rc ? rc : read_row(out, v, e);
}

int
member_each(struct store_tx *tx, int (*fn)(void *arg, const struct member *m, struct err *e),
	    void *arg, struct err *e)
{
	struct member row;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	while (!rc) {
		rc = read_row(&row, v, e);
		if (!rc)
			rc = fn(arg, &row, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- decisions --- */

static void
forget_code(struct member *m)
{
	m->coded = m->code_used = m->refused = false;
	m->code_until_ms = m->refused_ms = 0;
}

static void
forget_key(struct member *m)
{
	m->keyed = m->showed = false;
	m->from_ms = m->until_ms = 0;
}

static void
add(struct member *m, const Sync__LogDecision *d)
{
	if (m->removed)
		m->removed = m->suspended = false;
	forget_code(m);
	m->coded = take(m->code, &d->code);
	m->code_until_ms = d->code_until_wall_ms;
}

/* With a code, or, where the log does not know the site, by a certificate that the CA signed. */
static void
join(struct member *m, const Sync__LogDecision *d)
{
	m->keyed = take(m->key, &d->key);
	m->showed = take(m->ca, &d->ca);
	m->from_ms = d->from_wall_ms;
	m->until_ms = d->until_wall_ms;
	m->code_used = m->coded;
	memcpy(m->code_key, m->key, PKI_PRINT);
}

static void
renew(struct member *m, const Sync__LogDecision *d)
{
	unsigned char key[PKI_PRINT];

	if (!take(key, &d->key) || !m->keyed || memcmp(key, m->key, PKI_PRINT) != 0)
		return;
	m->from_ms = d->from_wall_ms;
	m->until_ms = d->until_wall_ms;
	if (d->ca.len) /* it was shown; else it was only given */
		m->showed = take(m->ca, &d->ca);
}

static void
change(struct member *m, const Sync__LogDecision *d)
{
	switch ((int)d->kind) { /* of this table; the others were sorted out */
	case SYNC__DECISION_KIND__DECISION_SITE_ADD:
		add(m, d);
		break;
	case SYNC__DECISION_KIND__DECISION_SITE_JOIN:
		join(m, d);
		m->unvouched = d->unvouched;
		break;
	case SYNC__DECISION_KIND__DECISION_SITE_RENEW:
		renew(m, d);
		break;
	case SYNC__DECISION_KIND__DECISION_SITE_REFUSED:
		m->refused = take(m->refused_key, &d->key);
		m->refused_ms = d->wall_ms;
		break;
	case SYNC__DECISION_KIND__DECISION_SITE_SUSPEND:
		m->suspended = true;
		break;
	case SYNC__DECISION_KIND__DECISION_SITE_READMIT:
		m->suspended = m->removed = m->refused = m->unvouched = false;
		break;
	case SYNC__DECISION_KIND__DECISION_SITE_REMOVE:
		m->removed = true;
		m->vouches = false;
		forget_key(m);
		forget_code(m);
		break;
	case SYNC__DECISION_KIND__DECISION_SITE_POLICY:
		m->own = d->own;
		m->unvouched = false;
		break;
	case SYNC__DECISION_KIND__DECISION_SITE_VOUCHES:
		m->vouches = true;
		break;
	case SYNC__DECISION_KIND__DECISION_SITE_BANDWIDTH:
		bandwidth_of_runs(&m->bandwidth, d->bandwidth, d->n_bandwidth);
		break;
	}
}

static bool
is_of_members(Sync__DecisionKind kind)
{
	return (kind >= SYNC__DECISION_KIND__DECISION_SITE_ADD &&
		kind <= SYNC__DECISION_KIND__DECISION_SITE_POLICY) ||
	       kind == SYNC__DECISION_KIND__DECISION_SITE_BANDWIDTH ||
	       kind == SYNC__DECISION_KIND__DECISION_SITE_VOUCHES;
}

/* --- who vouches (R25, R26) --- */

struct vouching { /* of sites that may call, as far as is known here */
	struct store_tx *tx;
	unsigned may, vouch;
};

static bool
row_says_may(const struct withdrawn_row *row)
{
	Sync__Order *m = message_read(&sync__order__descriptor, row->bytes, row->n, NULL);
	bool may = m && m->standing == SYNC__STANDING__STANDING_MAY;

	message_free(m);
	return may;
}

struct naming {
	const char *site;
	bool may;
};

static int
note_named(void *arg, const struct withdrawn_row *row, struct err *e)
{
	struct naming *n = arg;

	(void)e;
	n->may = n->may || (strcmp(row->uid, n->site) == 0 && row_says_may(row));
	return 0;
}

/* What m adds to both counts. One that was named, and has not called yet, may call as well. */
static int
weigh(struct store_tx *tx, const struct member *m, unsigned *may, unsigned *vouch, struct err *e)
{
	struct naming n = {m->site, false};
	int rc = 0;

	*may = *vouch = 0;
	if (m->removed || m->suspended)
		return 0;
	if (!m->keyed && !m->coded)
		rc = standing_rows(tx, note_named, &n, e);
	*may = m->keyed || n.may;
	*vouch = m->keyed && m->vouches;
	return rc;
}

static int
weigh_member(void *arg, const struct member *m, struct err *e)
{
	struct vouching *v = arg;
	unsigned may, vouch;
	int rc = weigh(v->tx, m, &may, &vouch, e);

	v->may += may;
	v->vouch += vouch;
	return rc;
}

static int
weigh_named(void *arg, const struct withdrawn_row *row, struct err *e)
{
	struct vouching *v = arg;
	struct member m;
	int rc = member_get(v->tx, row->uid, &m, e);

	v->may += rc == ERR_ABSENT && row_says_may(row);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
weigh_all(struct vouching *v, struct store_tx *tx, struct err *e)
{
	int rc;

	*v = (struct vouching){tx, 0, 0};
	rc = member_each(tx, weigh_member, v, e);
	return rc ? rc : standing_rows(tx, weigh_named, v, e);
}

/*
 * Two that were both removed know nothing of each other's end, and tell so. Those that were are
 * fewer than those that stayed: more than half of the others must have told.
 */
static int
is_vouched(const struct vouching *v, const struct member *m, bool *out, struct err *e)
{
	unsigned may, vouch;
	int rc = weigh(v->tx, m, &may, &vouch, e);

	*out = 2 * (v->vouch - vouch) > v->may - may;
	return rc;
}

static int
vouch_for(void *arg, const struct member *m, struct err *e)
{
	const struct vouching *v = arg;
	struct member now = *m;
	bool yes = false;
	int rc = m->unvouched ? is_vouched(v, m, &yes, e) : 0;

	now.unvouched = false;
	return !rc && yes ? write_row(v->tx, &now, e) : rc;
}

int
member_vouched(struct store_tx *tx, const char *site, bool *out, struct err *e)
{
	struct vouching v;
	struct member m;
	int rc = weigh_all(&v, tx, e);

	if (rc)
		return rc;
	rc = member_get(tx, site, &m, e);
	if (rc && rc != ERR_ABSENT)
		return rc;
	if (rc) {
		memset(&m, 0, sizeof(m));
		(void)snprintf(m.site, sizeof(m.site), "%s", site);
	}
	return is_vouched(&v, &m, out, e);
}

/* One that is the only site has nobody who could say otherwise. */
static int
doubt(void *arg, const struct member *m, struct err *e)
{
	const struct vouching *v = arg;
	struct member now = *m;
	unsigned may, vouch;
	int rc = weigh(v->tx, m, &may, &vouch, e);

	if (rc || !m->keyed)
		return rc;
	now.vouches = false;
	now.unvouched = m->unvouched || v->may > may;
	return write_row(v->tx, &now, e);
}

int
member_new_epoch(struct store_tx *tx, struct err *e)
{
	struct vouching v;
	int rc = weigh_all(&v, tx, e);

	return rc ? rc : member_each(tx, doubt, &v, e);
}

/* --- what was decided --- */

static bool
may_vouch(Sync__DecisionKind kind)
{
	return kind == SYNC__DECISION_KIND__DECISION_SITE_VOUCHES ||
	       kind == SYNC__DECISION_KIND__DECISION_SITE_ADD ||
	       kind == SYNC__DECISION_KIND__DECISION_SITE_SUSPEND ||
	       kind == SYNC__DECISION_KIND__DECISION_SITE_REMOVE;
}

int
member_apply(struct store_tx *tx, const Sync__LogDecision *d, struct err *e)
{
	struct vouching v;
	struct member m;
	int rc;

	if (!is_of_members(d->kind) || !d->site[0])
		return 0;
	rc = member_get(tx, d->site, &m, e);
	if (rc == ERR_ABSENT) {
		memset(&m, 0, sizeof(m));
		bandwidth_clear(&m.bandwidth);
		(void)snprintf(m.site, sizeof(m.site), "%s", d->site);
		rc = 0;
	}
	if (rc)
		return rc;
	change(&m, d);
	rc = write_row(tx, &m, e);
	if (!rc && may_vouch(d->kind))
		rc = weigh_all(&v, tx, e);
	if (!rc && may_vouch(d->kind))
		rc = member_each(tx, vouch_for, &v, e);
	return rc;
}

bool
member_behind(const struct member *m, const unsigned char ca[PKI_PRINT])
{
	return m->keyed && !m->removed && (!m->showed || memcmp(m->ca, ca, PKI_PRINT) != 0);
}

const char *
member_state(const struct member *m)
{
	return m->removed	       ? "removed"
	       : m->suspended	       ? "suspended"
	       : m->coded && !m->keyed ? "invited"
				       : "active";
}

bool
member_name_valid(const char *site)
{
	size_t n = strlen(site);

	return n > 0 && n < SITE_SIZE && strspn(site, alphabet) == n &&
	       strncmp(site, "central.", 8) != 0;
}
