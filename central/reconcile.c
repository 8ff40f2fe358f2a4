#include "central/reconcile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/adopt.h"
#include "central/catalogue.h"
#include "central/central.h"
#include "central/record.h"
#include "central/vault.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/file.h"
#include "proto/pack.h"

enum { MISSING_MIN = 100, MISSING_PERCENT = 1, GROUP = 500 };

struct comparing {
	struct central *c;
	uint64_t adopted, damaged;
};

/* Found without an entry: a crash between its name and the catalogue, or a rebuild. */
static int
look_at_pack(void *arg, const char *place, const unsigned char id[SHA256_SIZE], struct err *e)
{
	struct comparing *m = arg;
	struct err why = ERR_INIT;
	struct pack_row row;
	struct store_tx *tx;
	struct pack *p;
	size_t *bad, n_bad;
	int rc = store_begin_read(&tx, m->c->store, e);

	if (rc)
		return rc;
	rc = pack_row_get(tx, id, &row, e);
	store_end_read(tx);
	if (rc != ERR_ABSENT)
		return rc;
	rc = adopt_examine(m->c->vault, place, &p, &bad, &n_bad, &why);
	if (rc) {
		/* Stays where it is: `verify` and a person look at it; its seqs are owed. */
		log_err(LOG_ERROR, "pack.damaged", &why);
		m->damaged++;
		rc = 0;
	} else {
		rc = adopt_pack(m->c, p, place, NULL, e);
		m->adopted += !rc;
	}
	free(bad);
	pack_close(p);
	return rc;
}

static bool
is_there(const struct central *c, const struct pack_row *row)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/vault/packs/%s", c->dir, row->place);
	return file_exists(path);
}

static int
next_pack(struct central *c, const unsigned char *after, struct pack_row *row, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = pack_row_next(tx, after, row, e);
	store_end_read(tx);
	return rc;
}

/* --- absent ones --- */

struct losing {
	struct central *c;
	const struct pack_row *row;
	uint64_t from, oids[GROUP];
	size_t n;
	bool last;
};

static int
find_member(void *arg, const struct version *v, struct err *e)
{
	struct losing *l = arg;

	(void)e;
	if (l->n == GROUP)
		return ERR_AGAIN;
	l->from = v->oid + 1;
	if (v->state == VERSION_HERE && v->location == VERSION_PACK &&
	    memcmp(v->pack, l->row->id, SHA256_SIZE) == 0)
		l->oids[l->n++] = v->oid;
	return 0;
}

static int
lose_members(struct store_tx *tx, void *arg, struct err *e)
{
	struct losing *l = arg;
	struct version v;
	uint64_t losses;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < l->n; i++) {
		rc = store_version(tx, l->oids[i], &v, e);
		if (!rc)
			rc = store_drop_bytes(tx, l->oids[i], VERSION_DAMAGED, e);
		if (!rc)
			rc = holdings_set_all(tx, v.digest, false, e);
	}
	if (!rc)
		rc = state_number(tx, "losses", &losses, e);
	if (!rc)
		rc = state_set_number(tx, "losses", losses + 1, e);
	if (!rc && l->last)
		rc = pack_row_del(tx, l->row->id, e);
	return rc;
}

int
reconcile_absent(struct central *c, const struct pack_row *row, struct err *e)
{
	struct losing l = {.c = c, .row = row};
	struct store_tx *tx;
	int rc = 0;

	while (!rc && !l.last) {
		l.n = 0;
		rc = store_begin_read(&tx, c->store, e);
		if (rc)
			return rc;
		rc = store_versions(tx, l.from, find_member, &l, e);
		store_end_read(tx);
		l.last = rc == 0;
		if (rc == ERR_AGAIN)
			rc = 0;
		if (!rc)
			rc = store_commit(c->store, lose_members, &l, e);
	}
	if (rc)
		return rc;
	log_line(LOG_ERROR, "pack.absent", "place=%s members=%u", row->place, row->members);
	(void)pthread_mutex_lock(&c->mu);
	c->losses++;
	(void)pthread_mutex_unlock(&c->mu);
	return 0;
}

static int
count_absent(struct central *c, uint64_t *absent, uint64_t *all, struct err *e)
{
	struct pack_row row;
	unsigned char after[SHA256_SIZE] = {0};
	bool first = true;
	int rc;

	*absent = *all = 0;
	while ((rc = next_pack(c, first ? NULL : after, &row, e)) == 0) {
		first = false;
		memcpy(after, row.id, sizeof(after));
		++*all;
		*absent += !is_there(c, &row);
	}
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
lose_absent(struct central *c, struct err *e)
{
	struct pack_row row;
	unsigned char after[SHA256_SIZE] = {0};
	bool first = true;
	int rc;

	while ((rc = next_pack(c, first ? NULL : after, &row, e)) == 0) {
		first = false;
		memcpy(after, row.id, sizeof(after));
		if (!is_there(c, &row))
			rc = reconcile_absent(c, &row, e);
		if (rc)
			return rc;
	}
	return rc == ERR_ABSENT ? 0 : rc;
}

int
reconcile(struct central *c, bool accept_missing, struct err *e)
{
	struct comparing m = {c, 0, 0};
	uint64_t absent, all;
	int rc = vault_list(c->vault, look_at_pack, &m, e);

	if (!rc)
		rc = count_absent(c, &absent, &all, e);
	if (rc)
		return rc;
	if (m.adopted || m.damaged)
		log_line(LOG_WARN, "vault.found", "adopted=%llu damaged=%llu",
			 (unsigned long long)m.adopted, (unsigned long long)m.damaged);
	if (!absent)
		return 0;
	if (!accept_missing && absent > MISSING_MIN && absent > all * MISSING_PERCENT / 100)
		return err_set(e, ERR_ABSENT, 0,
			       "%llu of %llu packs are missing from the vault: not mounted? "
			       "`serve --accept-missing` goes on without them",
			       (unsigned long long)absent, (unsigned long long)all);
	rc = record_epoch(c, "packs are missing from the vault", e);
	return rc ? rc : lose_absent(c, e);
}
