#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "tests/lib/witness.h"

/* What left central for an edge. */
struct said {
	enum { EPOCH, LEDGER, RECEIPT } what;
	struct id128 id; /* the epoch, or an incarnation */
	uint64_t first, last;
	unsigned char hash[SHA256_SIZE]; /* H at last */
};

struct witness {
	char conf[300];
	struct said said[WITNESS_MARKS];
	size_t n;
	struct central central;
};

static struct witness *
make(const char *conf, const char *dir)
{
	struct witness *w = calloc(1, sizeof(*w));
	FILE *f = fopen(conf, "we");

	if (!w || !f)
		abort();
	(void)snprintf(w->conf, sizeof(w->conf), "%s", conf);
	fprintf(f, "[data]\ndir = %s\ncatalogue = 64MiB\n[log]\nlevel = error\n", dir);
	fprintf(f, "[dicom]\nlisten = 127.0.0.1:11112\n[http]\nlisten = 127.0.0.1:11113\n");
	if (fclose(f))
		abort();
	return w;
}

static void
drop(struct witness *w)
{
	free(w);
}

static int
note(struct witness *w, const char *mark, struct err *e)
{
	struct said *s = &w->said[w->n];
	char id[33] = "", hash[65] = "";
	unsigned long long first = 0, last = 0;

	if (w->n == WITNESS_MARKS)
		return err_set(e, ERR_LOCAL, 0, "too many marks");
	if (sscanf(mark, "receipt %32s %llu %llu %64s", id, &first, &last, hash) == 4)
		s->what = RECEIPT;
	else if (sscanf(mark, "ledger %32s %llu %64s", id, &last, hash) == 3)
		s->what = LEDGER;
	else if (sscanf(mark, "epoch %32s", id) == 1)
		s->what = EPOCH;
	else
		return err_set(e, ERR_LOCAL, 0, "no such mark: %s", mark);
	s->first = first;
	s->last = last;
	if (!hex_to(id, s->id.b, sizeof(s->id.b)) ||
	    (s->what != EPOCH && !hex_to(hash, s->hash, sizeof(s->hash))))
		return err_set(e, ERR_LOCAL, 0, "not hex: %s", mark);
	w->n++;
	return 0;
}

static int
open_central(struct witness *w, struct err *e)
{
	return central_open(&w->central, w->conf, CENTRAL_SERVE, e);
}

static void
shut(struct witness *w)
{
	central_close(&w->central);
}

/* --- what was said --- */

/* The entry is announced; where it tells of bytes, these are here (all of them are read later). */
static int
check_entry(struct store_tx *tx, const struct said *s, uint64_t seq, struct err *e)
{
	Sync__LedgerEntry *entry;
	unsigned char digest[SHA256_SIZE];
	const void *bytes;
	struct version v;
	uint64_t oid;
	size_t n;
	int rc = announced_get(tx, &s->id, seq, &bytes, &n, e);

	if (rc)
		return rc;
	entry = message_read(&sync__ledger_entry__descriptor, bytes, n, e);
	if (!entry)
		return ERR_CORRUPT;
	if (ledger_says_has((int)entry->kind) && message_digest(digest, &entry->digest)) {
		rc = store_by_digest(tx, digest, &oid, e);
		if (!rc)
			rc = store_version(tx, oid, &v, e);
		if (!rc && v.state != VERSION_HERE)
			rc = ERR_ABSENT;
	}
	message_free(entry);
	return rc;
}

static int
check_receipt(struct store_tx *tx, const struct said *s, struct err *e)
{
	struct buf bits = BUF_INIT;
	uint64_t seq, i;
	int rc = holdings_read(tx, &s->id, s->first, s->last - s->first + 1, &bits, e);

	for (seq = s->first, i = 0; !rc && seq <= s->last; seq++, i++) {
		if (i / 8 >= bits.len || !(bits.data[i / 8] >> (i % 8) & 1))
			rc = err_set(e, ERR_ABSENT, 0, "no bit for a receipted seq");
		if (!rc)
			rc = check_entry(tx, s, seq, e);
	}
	buf_fini(&bits);
	return rc;
}

static int
check_said(struct witness *w, struct store_tx *tx, const struct said *s, struct err *e)
{
	unsigned char hash[SHA256_SIZE];
	struct id128 epoch;
	int rc;

	if (s->what == EPOCH) {
		/* R22: another epoch says that something is gone, which voids all receipts. */
		central_epoch(&w->central, &epoch);
		return id128_same(&epoch, &s->id)
			       ? 0
			       : err_set(e, ERR_CONFLICT, 0, "it took a new epoch");
	}
	rc = announced_hash(tx, &s->id, s->last, hash, e);
	if (!rc && memcmp(hash, s->hash, sizeof(hash)) != 0)
		rc = ERR_CONFLICT;
	if (!rc && s->what == RECEIPT)
		rc = check_receipt(tx, s, e);
	return rc;
}

static int
check(struct witness *w, size_t marks, struct err *e)
{
	static const struct id128 stranger = {{1, 2, 3}};
	struct store_tx *tx;
	size_t i;
	int rc = store_begin_read(&tx, w->central.store, e);

	if (rc)
		return rc;
	for (i = 0; !rc && i < marks; i++) {
		const struct said *s = &w->said[i];

		rc = check_said(w, tx, s, e);
		if (rc)
			err_set(e, ERR_ABSENT, 0, "said (%d), and gone: seq %llu to %llu", s->what,
				(unsigned long long)s->first, (unsigned long long)s->last);
	}
	store_end_read(tx);
	if (!rc)
		rc = witness_whole(w->central.store, e);
	return rc ? rc
		  : record_decision(&w->central, SYNC__DECISION_KIND__DECISION_OPEN, "further",
				    &stranger, "a site that comes afterwards", e);
}

const struct witness_kind witness_central = {"central",	   make,  drop, note,
					     open_central, check, shut};
