#include "central/token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

static const char purpose[] = "contact token";

static int
seal(const struct central *c, const struct site_row *row, const struct token *t,
     unsigned char mac[EVP_MAX_MD_SIZE], unsigned *n, struct err *e)
{
	struct buf plain = BUF_INIT;
	bool done;

	buf_put(&plain, purpose, sizeof(purpose));
	buf_put(&plain, row->site, strlen(row->site) + 1);
	buf_put(&plain, row->incarnation.b, ID128_SIZE);
	buf_put(&plain, t->epoch.b, ID128_SIZE);
	buf_put(&plain, t->random.b, ID128_SIZE);
	buf_put_u64(&plain, t->number);
	done = !buf_failed(&plain) && HMAC(EVP_sha256(), c->identity.key, sizeof(c->identity.key),
					   plain.data, plain.len, mac, n);
	buf_fini(&plain);
	return done ? 0 : err_set(e, ERR_LOCAL, 0, "cannot seal a contact token");
}

int
token_write(const struct central *c, const struct site_row *row, const struct token *t,
	    struct buf *out, struct err *e)
{
	Sync__ContactToken m = SYNC__CONTACT_TOKEN__INIT;
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	int rc = seal(c, row, t, mac, &n, e);

	m.number = t->number;
	m.epoch = message_bytes(t->epoch.b, ID128_SIZE);
	m.random = message_bytes(t->random.b, ID128_SIZE);
	m.mac = message_bytes(mac, n);
	if (!rc)
		message_pack(out, &m.base);
	return rc;
}

bool
token_read(const struct central *c, const struct site_row *row, const void *p, size_t n,
	   struct token *out)
{
	Sync__ContactToken *m =
		n ? message_read(&sync__contact_token__descriptor, p, n, NULL) : NULL;
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_n = 0;
	bool good;

	memset(out, 0, sizeof(*out));
	if (!m)
		return false;
	out->number = m->number;
	good = message_id(&out->epoch, &m->epoch) && message_id(&out->random, &m->random) &&
	       !seal(c, row, out, mac, &mac_n, NULL) && m->mac.len == mac_n &&
	       memcmp(m->mac.data, mac, mac_n) == 0;
	if (!good)
		memset(out, 0, sizeof(*out));
	message_free(m);
	return good;
}

int
token_judge(struct store_tx *tx, const struct site_row *row, const struct token *said,
	    const struct id128 *contact, const struct id128 *epoch, enum token_word *out,
	    struct err *e)
{
	bool above = said->number > row->contacts, known = true;
	int rc = 0;

	if (above && id128_same(&said->epoch, epoch)) {
		*out = TOKEN_AHEAD;
		return 0;
	}
	if (!row->contacts || above) { /* it was given before this central's memory begins */
		*out = TOKEN_FREE;
		return 0;
	}
	if (said->number && id128_same(&said->random, &row->token)) {
		*out = TOKEN_LAST;
		return 0;
	}
	if (id128_same(&said->random, &row->said) && id128_same(contact, &row->contact)) {
		*out = TOKEN_AGAIN;
		return 0;
	}
	if (said->number) /* R22: or two centrals give tokens in turn */
		rc = record_knows_epoch(tx, &said->epoch, &known, e);
	*out = known ? TOKEN_STALE : TOKEN_FREE;
	return rc;
}

void
token_next(struct site_row *row, const struct token *said, const struct id128 *contact,
	   const struct id128 *random)
{
	row->contacts = (said->number > row->contacts ? said->number : row->contacts) + 1;
	row->token = *random;
	row->said = said->random;
	row->contact = *contact;
}
