#include "central/reconcile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/adopt.h"
#include "central/catalogue.h"
#include "central/central.h"
#include "central/figures.h"
#include "central/record.h"
#include "central/returns.h"
#include "central/vault.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/daemon.h"
#include "common/os/file.h"
#include "proto/message.h"
#include "proto/pack.h"

enum { MISSING_MIN = 100, MISSING_PERCENT = 1, GROUP = 500, SCAN = 20000 };

struct comparing {
	struct central *c;
	bool rebuilding; /* the log has told what came again */
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
	int rc = daemon_go_on(e);

	if (!rc)
		rc = store_begin_read(&tx, m->c->store, e);
	if (rc)
		return rc;
	rc = pack_row_get(tx, id, &row, e);
	store_end_read(tx);
	if (rc != ERR_ABSENT)
		return rc;
	rc = vault_secure(m->c->vault, place, e);
	if (rc)
		return rc;
	rc = adopt_examine(m->c->vault, place, &p, &bad, &n_bad, &why);
	if (rc == ERR_AGAIN) {
		rc = daemon_go_on(e);
	} else if (rc) {
		/* Stays where it is; what is whole of it counts, the rest is owed. */
		log_err(LOG_ERROR, "pack.damaged", &why);
		m->damaged++;
		rc = rc == ERR_CORRUPT && p ? adopt_rest(m->c, p, place, bad, n_bad, e) : 0;
	} else {
		if (!m->rebuilding) /* R15: it came, and nobody had listed it yet */
			rc = returns_note(m->c, p, true, e);
		if (!rc)
			rc = adopt_pack(m->c, p, place, NULL, e);
		m->adopted += !rc;
	}
	free(bad);
	pack_close(p);
	return rc;
}

static bool
is_gone(const struct central *c, const struct pack_row *row)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/vault/packs/%s", c->dir, row->place);
	return file_missing(path);
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
	const struct pack_row *rows; /* by id */
	size_t n_rows;
	uint64_t from, next, oids[GROUP];
	size_t n, looked;
	bool last;
};

static int
by_id(const void *a, const void *b)
{
	return memcmp(((const struct pack_row *)a)->id, ((const struct pack_row *)b)->id,
		      SHA256_SIZE);
}

static int
find_member(void *arg, const struct version *v, struct err *e)
{
	struct losing *l = arg;
	struct pack_row key = {.size = 0};

	(void)e;
	if (l->n == GROUP || l->looked == SCAN)
		return ERR_AGAIN;
	l->looked++;
	l->next = v->oid + 1;
	if (v->state != VERSION_HERE || v->location != VERSION_PACK)
		return 0;
	memcpy(key.id, v->pack, SHA256_SIZE);
	if (bsearch(&key, l->rows, l->n_rows, sizeof(key), by_id))
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
			rc = figures_leave(tx, v.digest, e);
		if (!rc)
			rc = store_drop_bytes(tx, l->oids[i], VERSION_DAMAGED, e);
		if (!rc)
			rc = holdings_set_all(tx, v.digest, false, e);
		if (!rc)
			rc = figures_enter(tx, v.digest, e);
	}
	if (!rc)
		rc = state_number(tx, "losses", &losses, e);
	if (!rc)
		rc = state_set_number(tx, "losses", losses + 1, e);
	for (i = 0; !rc && l->last && i < l->n_rows; i++)
		rc = pack_row_del(tx, l->rows[i].id, e);
	return rc;
}

int
reconcile_absent(struct central *c, struct pack_row *rows, size_t n, struct err *e)
{
	struct losing l = {.c = c, .rows = rows, .n_rows = n};
	struct store_tx *tx;
	size_t i;
	int rc = 0;

	qsort(rows, n, sizeof(*rows), by_id);
	while (!rc && !l.last) {
		l.n = l.looked = 0;
		rc = store_begin_read(&tx, c->store, e);
		if (rc)
			return rc;
		rc = store_versions(tx, l.from, find_member, &l, e);
		store_end_read(tx);
		l.last = rc == 0;
		l.from = l.next;
		if (rc == ERR_AGAIN)
			rc = 0;
		if (!rc && (l.n || l.last))
			rc = store_commit(c->store, lose_members, &l, e);
	}
	if (rc)
		return rc;
	for (i = 0; i < n; i++)
		log_line(LOG_ERROR, "pack.absent", "place=%s members=%u", rows[i].place,
			 rows[i].members);
	(void)pthread_mutex_lock(&c->mu);
	c->losses++;
	(void)pthread_mutex_unlock(&c->mu);
	dispatch_news(c);
	return 0;
}

/* All packs whose files are gone. */
static int
list_absent(struct central *c, struct pack_row **rows, size_t *n, uint64_t *all, struct err *e)
{
	unsigned char after[SHA256_SIZE] = {0};
	struct pack_row row, *more;
	bool first = true;
	int rc;

	*rows = NULL;
	*n = 0;
	*all = 0;
	while ((rc = next_pack(c, first ? NULL : after, &row, e)) == 0) {
		rc = daemon_go_on(e);
		if (rc)
			return rc;
		first = false;
		memcpy(after, row.id, sizeof(after));
		++*all;
		if (!is_gone(c, &row))
			continue;
		more = realloc(*rows, (*n + 1) * sizeof(*more));
		if (!more)
			return err_set(e, ERR_LOCAL, 0, "no memory for a list of packs");
		*rows = more;
		(*rows)[(*n)++] = row;
	}
	return rc == ERR_ABSENT ? 0 : rc;
}

int
reconcile_missing(struct central *c, bool accept, uint64_t *lost, struct err *e)
{
	struct pack_row *rows;
	uint64_t all, members = 0;
	size_t n, i;
	int rc = list_absent(c, &rows, &n, &all, e);

	for (i = 0; i < n; i++)
		members += rows[i].members;
	if (!rc && n && !accept && n > MISSING_MIN && n > all * MISSING_PERCENT / 100)
		rc = err_set(e, ERR_ABSENT, 0,
			     "%zu of %llu packs are missing from the vault: not mounted? "
			     "`serve --accept-missing` goes on without them",
			     n, (unsigned long long)all);
	if (!rc && n)
		rc = record_epoch(c, "packs are missing from the vault", e);
	if (!rc && n)
		rc = reconcile_absent(c, rows, n, e);
	free(rows);
	*lost = rc ? 0 : members;
	return rc;
}

/* --- uploads that nobody will finish --- */

static int
forget(struct store_tx *tx, void *arg, struct err *e)
{
	return upload_del(tx, arg, e);
}

struct last_word {
	const struct id128 *of;
	bool gone;
};

static int
note_word(void *arg, const struct claim *c, struct err *e)
{
	struct last_word *w = arg;

	(void)e;
	if (id128_same(w->of, &c->incarnation))
		w->gone = !c->has; /* claims come in the order of their seqs */
	return 0;
}

/* It is here, or its maker says that it has it no more: it will not come in this pack. */
static int
is_settled(struct central *c, struct store_tx *tx, const struct pack *p, size_t i, bool *yes,
	   struct err *e)
{
	struct last_word w = {pack_incarnation(p), false};
	struct version v = {.oid = 0};
	uint64_t oid;
	int rc = store_by_digest(tx, pack_member(p, i)->digest, &oid, e);

	*yes = false;
	if (!rc)
		rc = store_version(tx, oid, &v, e);
	if (!rc)
		*yes = v.state == VERSION_HERE && adopt_is_trusted(c, &v);
	if (!rc && !*yes)
		rc = claim_each(tx, pack_member(p, i)->digest, note_word, &w, e);
	*yes = *yes || w.gone;
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
is_over(struct central *c, const struct pack *p, bool *over, struct err *e)
{
	struct site_row row;
	struct store_tx *tx;
	size_t i;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = site_get(tx, pack_incarnation(p), &row, e);
	/* Should one that was closed deliver after all, it begins anew. */
	*over = rc == ERR_ABSENT || (!rc && row.closed);
	if (!rc && !*over)
		for (i = 0, *over = true; !rc && *over && i < pack_count(p); i++)
			rc = is_settled(c, tx, p, i, over, e);
	store_end_read(tx);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* What was given up while the DELETE was lost, or by whom a fire took: it has no row, or nothing
 * of it is still to come. */
static int
sweep_one(void *arg, const unsigned char id[SHA256_SIZE], struct err *e)
{
	struct central *c = arg;
	struct buf manifest = BUF_INIT;
	unsigned char own[SHA256_SIZE];
	struct upload *u = NULL;
	struct pack *p = NULL;
	struct store_tx *tx;
	uint64_t offset;
	bool over = false;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	memcpy(own, id, sizeof(own));
	rc = upload_get(tx, id, &offset, e);
	store_end_read(tx);
	if (rc == ERR_ABSENT)
		return vault_drop(c->vault, id, e);
	if (!rc && !vault_resume(&u, c->vault, id, &manifest, NULL) &&
	    !pack_open(&p, manifest.data, manifest.len, NULL))
		rc = is_over(c, p, &over, e);
	vault_end(u);
	pack_close(p);
	buf_fini(&manifest);
	if (!rc && over)
		rc = store_commit(c->store, forget, own, e);
	return rc || !over ? rc : vault_drop(c->vault, id, e);
}

int
reconcile(struct central *c, bool accept_missing, bool rebuilding, struct err *e)
{
	struct comparing m = {.c = c, .rebuilding = rebuilding};
	uint64_t lost;
	int rc = vault_list(c->vault, look_at_pack, &m, e);

	if (rc)
		return rc;
	if (m.adopted || m.damaged)
		log_line(LOG_WARN, "vault.found", "adopted=%llu damaged=%llu",
			 (unsigned long long)m.adopted, (unsigned long long)m.damaged);
	rc = reconcile_missing(c, accept_missing, &lost, e);
	return rc ? rc : vault_uploads(c->vault, sweep_one, c, e);
}
