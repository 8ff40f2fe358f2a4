#include "central/join.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/central.h"
#include "central/certificates.h"
#include "central/members.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "proto/join_code.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { FORBIDDEN = 403, TOO_MANY = 429, HOUR_MS = 3600000, DAY_MS = 24 * HOUR_MS };

static const struct conf_row rows[] = {
	{"join", "hours", CONF_NUMBER, "72", 1, 8760, NULL,
	 "Hours for which a join code is good, by central's clock."},
	{"join", "tries", CONF_NUMBER, "200", 1, 10000, NULL,
	 "Failed tries to join within an hour, from anywhere; further ones are not looked at."},
	{"join", "tries_per_address", CONF_NUMBER, "20", 1, 10000, NULL,
	 "The same from one address."},
};

const struct conf_row *
join_rows(size_t *n)
{
	*n = sizeof(rows) / sizeof(rows[0]);
	return rows;
}

/* --- failed tries --- */

struct failed {
	char address[HTTP_ADDRESS_SIZE];
	int64_t at; /* store_time, at least 1; 0: free */
};

struct joins {
	size_t most, most_per_address; /* set once */
	pthread_mutex_t mu;
	/* guarded by mu */
	struct failed *ring; /* the last `most` */
	size_t next;
	uint64_t count;
};

int
joins_new(struct joins **out, const struct conf *conf, struct err *e)
{
	struct joins *j = calloc(1, sizeof(*j));

	if (j) {
		j->most = (size_t)conf_number(conf, "join", NULL, "tries");
		j->most_per_address = (size_t)conf_number(conf, "join", NULL, "tries_per_address");
		j->ring = calloc(j->most, sizeof(*j->ring));
	}
	if (!j || !j->ring) {
		free(j);
		return err_set(e, ERR_LOCAL, 0, "no memory for joining");
	}
	(void)pthread_mutex_init(&j->mu, NULL);
	*out = j;
	return 0;
}

void
joins_free(struct joins *j)
{
	if (!j)
		return;
	(void)pthread_mutex_destroy(&j->mu);
	free(j->ring);
	free(j);
}

uint64_t
joins_failed(struct joins *j)
{
	uint64_t n;

	(void)pthread_mutex_lock(&j->mu);
	n = j->count;
	(void)pthread_mutex_unlock(&j->mu);
	return n;
}

static bool
too_many(struct joins *j, const char *address, int64_t now)
{
	size_t i, all = 0, here = 0;

	(void)pthread_mutex_lock(&j->mu);
	for (i = 0; i < j->most; i++) {
		const struct failed *f = &j->ring[i];

		if (!f->at || now - f->at >= HOUR_MS)
			continue;
		all++;
		here += strcmp(f->address, address) == 0;
	}
	(void)pthread_mutex_unlock(&j->mu);
	return all >= j->most || here >= j->most_per_address;
}

struct keeping {
	unsigned char slot[4];
	struct failed f;
};

static int
keep(struct store_tx *tx, void *arg, struct err *e)
{
	const struct keeping *k = arg;
	unsigned char row[8 + HTTP_ADDRESS_SIZE];
	size_t n = strlen(k->f.address);

	buf_set_u64(row, (uint64_t)k->f.at);
	memcpy(row + 8, k->f.address, n);
	return kv_put(store_tx_kv(tx), store_table(store_tx_store(tx), JOIN_TRIES_TABLE),
		      kv_slice(k->slot, sizeof(k->slot)), kv_slice(row, 8 + n), e);
}

/* R26: a restart gives nobody new tries. They are few: after `most` an hour none is looked at. */
static void
note_failure(struct central *c, const char *address)
{
	struct joins *j = c->joins;
	int64_t now = store_time(c->store);
	struct err e = ERR_INIT;
	struct keeping k;

	(void)pthread_mutex_lock(&j->mu);
	(void)snprintf(k.f.address, sizeof(k.f.address), "%s", address);
	k.f.at = now > 0 ? now : 1;
	buf_set_be32(k.slot, (uint32_t)j->next);
	j->ring[j->next] = k.f;
	j->next = (j->next + 1) % j->most;
	j->count++;
	(void)pthread_mutex_unlock(&j->mu);
	if (store_commit(c->store, keep, &k, &e))
		log_err(LOG_WARN, "join.tries", &e);
}

static void
take_row(struct joins *j, struct kv_slice key, struct kv_slice v)
{
	size_t n = v.n - 8, slot;

	if (key.n != 4 || v.n < 8 || n >= HTTP_ADDRESS_SIZE)
		return;
	slot = buf_get_be32(key.p);
	if (slot >= j->most || j->ring[slot].at)
		return;
	j->ring[slot].at = (int64_t)buf_get_u64(v.p);
	memcpy(j->ring[slot].address, (const unsigned char *)v.p + 8, n);
	j->ring[slot].address[n] = '\0';
}

/* The next one takes the oldest's place. A catalogue made anew may tell an earlier time. */
static void
settle(struct joins *j, int64_t now)
{
	size_t i;

	for (i = 0; i < j->most; i++)
		if (j->ring[i].at > now)
			j->ring[i].at = now > 0 ? now : 1;
	for (j->next = i = 0; i < j->most; i++)
		if (j->ring[i].at < j->ring[j->next].at)
			j->next = i;
}

int
joins_load(struct joins *j, struct store_tx *tx, struct err *e)
{
	struct kv_cursor *c = NULL;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx),
				store_table(store_tx_store(tx), JOIN_TRIES_TABLE), e);

	(void)pthread_mutex_lock(&j->mu);
	if (!rc)
		rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	while (!rc) {
		take_row(j, k, v);
		rc = kv_cursor_next(c, &k, &v, e);
	}
	settle(j, store_time(store_tx_store(tx)));
	(void)pthread_mutex_unlock(&j->mu);
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- what a code is good for --- */

/* NULL: this key may have a certificate. */
static const char *
judge(const struct member *m, const unsigned char hash[SHA256_SIZE],
      const unsigned char key[PKI_PRINT], int64_t now_ms)
{
	if (m->removed || !m->coded || memcmp(m->code, hash, SHA256_SIZE) != 0)
		return "this code is unknown here";
	if (m->code_used)
		return memcmp(m->code_key, key, PKI_PRINT) == 0 ? NULL
								: "another key has used this code";
	return now_ms > m->code_until_ms
		       ? "this code has expired: `site add --rejoin` makes another"
		       : NULL;
}

/* The certificate's life, and whose the code is, in the table and the log; not for each repeated
 * call. */
static int
record(struct central *c, const struct member *m, const struct pki_certificate *got, bool join,
       struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;

	if ((m->code_used || !join) && m->keyed && memcmp(m->key, got->print, PKI_PRINT) == 0 &&
	    llabs(got->until_ms - m->until_ms) < DAY_MS)
		return 0;
	d.kind = join ? SYNC__DECISION_KIND__DECISION_SITE_JOIN
		      : SYNC__DECISION_KIND__DECISION_SITE_RENEW;
	d.site = message_text(m->site);
	d.key = message_bytes(got->print, PKI_PRINT);
	d.from_wall_ms = got->from_ms;
	d.until_wall_ms = got->until_ms;
	d.why = message_text(join ? "a join code" : "half its life");
	return record_decide_locked(c, &d, e);
}

static int
refuse(struct http_answer *out, int status, const char *why)
{
	out->status = status;
	out->type = "text/plain";
	buf_clear(&out->body);
	buf_printf(&out->body, "%s\n", why);
	return 0;
}

/* R26: once is told to a person; the rest is only counted. */
static int
note_other_key(struct central *c, const struct member *m, const unsigned char key[PKI_PRINT],
	       const struct http_request *rq, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;

	log_line(LOG_WARN, "join.other_key", "site=%s address=%s", m->site, rq->address);
	if (m->refused)
		return 0;
	d.kind = SYNC__DECISION_KIND__DECISION_SITE_REFUSED;
	d.site = message_text(m->site);
	d.key = message_bytes(key, PKI_PRINT);
	d.why = message_text("a used code");
	return record_decide_locked(c, &d, e);
}

static int
look_up(struct central *c, const char *site, struct member *out, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc;
	rc = member_get(tx, site, out, e);
	store_end_read(tx);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* --- answers --- */

static int
give(struct central *c, const struct buf *pem, struct http_answer *out)
{
	Sync__JoinAnswer m = SYNC__JOIN_ANSWER__INIT;
	struct buf ca = BUF_INIT;

	certificates_bundle(c->certificates, &ca, NULL);
	m.archive = message_bytes(c->identity.id.b, ID128_SIZE);
	m.certificate = message_bytes(pem->data, pem->len);
	m.ca = message_bytes(ca.data, ca.len);
	message_pack(&out->body, &m.base);
	buf_fini(&ca);
	return 0;
}

/* Under `order`: nobody else uses the code meanwhile. */
static int
enrol_locked(struct central *c, const struct http_request *rq, const Sync__JoinRequest *ask,
	     struct buf *pem, const char **why, struct err *e)
{
	unsigned char hash[SHA256_SIZE], key[PKI_PRINT];
	int64_t now = clock_wall(c->clock);
	struct pki_certificate got;
	char name[PKI_NAME_SIZE];
	struct member m;
	int rc = pki_request_read(ask->csr.data, ask->csr.len, name, key, e);

	sha256_of(ask->secret.data, ask->secret.len, hash);
	if (!rc)
		rc = look_up(c, ask->site, &m, e);
	if (rc)
		return rc;
	*why = judge(&m, hash, key, now);
	if (*why)
		return m.code_used && m.coded && memcmp(m.code, hash, SHA256_SIZE) == 0
			       ? note_other_key(c, &m, key, rq, e)
			       : 0;
	rc = certificates_issue(c->certificates, m.site, ask->csr.data, ask->csr.len, now, pem,
				&got, e);
	if (!rc)
		rc = record(c, &m, &got, true, e);
	if (!rc)
		log_line(LOG_INFO, "site.joined", "site=%s address=%s", m.site, rq->address);
	return rc;
}

int
join_enrol(struct central *c, const struct http_request *rq, struct http_answer *out, struct err *e)
{
	struct buf pem = BUF_INIT;
	const char *why = NULL;
	Sync__JoinRequest *m;
	int rc;

	if (too_many(c->joins, rq->address, store_time(c->store)))
		return refuse(out, TOO_MANY, "too many failed tries: again in an hour");
	m = message_read(&sync__join_request__descriptor, rq->body, rq->body_n, e);
	rc = !m ? ERR_PEER
	     : m->secret.len == JOIN_SECRET && member_name_valid(m->site)
		     ? 0
		     : err_set(e, ERR_PEER, 0, "this is no join code's secret and site");
	if (!rc) {
		(void)pthread_mutex_lock(&c->order);
		rc = enrol_locked(c, rq, m, &pem, &why, e);
		(void)pthread_mutex_unlock(&c->order);
	}
	message_free(m);
	if (why || rc == ERR_PEER) {
		note_failure(c, rq->address);
		log_line(LOG_WARN, "join.refused", "address=%s why=\"%s\"", rq->address,
			 why ? why : "malformed");
	}
	if (!rc)
		rc = why ? refuse(out, FORBIDDEN, why) : give(c, &pem, out);
	buf_fini(&pem);
	return rc;
}

static int
renew_locked(struct central *c, const struct http_request *rq, const Sync__RenewRequest *ask,
	     struct buf *pem, bool *other, struct err *e)
{
	unsigned char key[PKI_PRINT];
	struct pki_certificate got;
	char name[PKI_NAME_SIZE];
	struct member m;
	int rc = pki_request_read(ask->csr.data, ask->csr.len, name, key, e);

	if (!rc)
		rc = look_up(c, rq->site, &m, e);
	if (rc)
		return rc;
	/* What the gate saw may have been taken back since. */
	*other = !m.keyed || memcmp(key, rq->key, PKI_PRINT) != 0 ||
		 memcmp(key, m.key, PKI_PRINT) != 0;
	if (*other)
		return 0;
	rc = certificates_issue(c->certificates, m.site, ask->csr.data, ask->csr.len,
				clock_wall(c->clock), pem, &got, e);
	return rc ? rc : record(c, &m, &got, false, e);
}

int
join_renew(struct central *c, const struct http_request *rq, struct http_answer *out, struct err *e)
{
	struct buf pem = BUF_INIT;
	Sync__RenewRequest *m;
	bool other = false;
	int rc;

	if (!c->certificates)
		return err_set(e, ERR_ABSENT, 0, "this central has no CA of its own");
	m = message_read(&sync__renew_request__descriptor, rq->body, rq->body_n, e);
	if (!m)
		return ERR_PEER;
	(void)pthread_mutex_lock(&c->order);
	rc = renew_locked(c, rq, m, &pem, &other, e);
	(void)pthread_mutex_unlock(&c->order);
	message_free(m);
	if (!rc)
		rc = other ? refuse(out, FORBIDDEN, "another key") : give(c, &pem, out);
	buf_fini(&pem);
	return rc;
}
