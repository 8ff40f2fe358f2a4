#include "central/recount.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/figures.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/kv/kv.h"
#include "common/os/ctl.h"
#include "common/store/store.h"

enum { KEY = 1 + SITE_SIZE };

/* --- counting --- */

struct counting {
	unsigned page;
	unsigned char from[SHA256_SIZE]; /* where the next page begins */
	bool last;
	uint64_t images, listed; /* of this page, from scratch in each run of the closure */
};

static int
begin(struct store_tx *tx, void *arg, struct err *e)
{
	struct counting *c = arg;
	int rc = figures_count_ends(tx, e); /* of one that a death cut */

	return rc ? rc : figures_count_from(tx, c->from, e);
}

/* The digest behind this one; false: there is none. */
static bool
next_digest(unsigned char digest[SHA256_SIZE])
{
	size_t i = SHA256_SIZE;

	while (i-- > 0)
		if (++digest[i])
			return true;
	return false;
}

struct checking {
	struct counting *c;
	struct store_tx *tx;
	const struct share *s;
};

static int
check_listed(void *arg, const struct listed *row, struct err *e)
{
	struct checking *k = arg;
	unsigned char value[8];
	unsigned table = store_table(store_tx_store(k->tx), row->table);
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(k->tx), table, kv_slice(row->key, row->n), &v, e);

	buf_set_u64(value, k->s->v.size);
	if (!rc && v.n == sizeof(value) && memcmp(v.p, value, sizeof(value)) == 0)
		return 0;
	if (rc && rc != ERR_ABSENT)
		return rc;
	k->c->listed++;
	return kv_put(store_tx_kv(k->tx), table, kv_slice(row->key, row->n),
		      kv_slice(value, sizeof(value)), e);
}

static int
count_one(struct counting *c, struct store_tx *tx, const unsigned char *digest, struct err *e)
{
	struct share s = {.words = NULL};
	struct checking k = {c, tx, &s};
	int rc = share_of(&s, tx, digest, e);

	if (!rc && s.n) {
		c->images++;
		rc = figures_add(tx, FIGURE_COUNTED, &s, 1, e);
		if (!rc)
			rc = figures_listed(&s, check_listed, &k, e);
	}
	share_fini(&s);
	return rc;
}

static int
count_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct counting *c = arg;
	unsigned char digest[SHA256_SIZE];
	unsigned i;
	bool all;
	/* Where this page begins is where the last one that was committed ended. */
	int rc = figures_counting(tx, c->from, &all, e);

	c->images = c->listed = 0;
	c->last = false;
	for (i = 0; !rc && !c->last && i < c->page; i++) {
		rc = claim_next(tx, c->from, digest, e);
		if (!rc)
			rc = count_one(c, tx, digest, e);
		if (rc)
			break;
		memcpy(c->from, digest, sizeof(digest));
		c->last = !next_digest(c->from);
	}
	c->last = c->last || rc == ERR_ABSENT;
	if (rc && rc != ERR_ABSENT)
		return rc;
	return figures_count_from(tx, c->last ? NULL : c->from, e);
}

/* --- comparing --- */

struct row {
	unsigned char key[KEY];
	size_t n;
	struct figure f;
};

struct rows {
	struct row *list;
	size_t n, cap;
};

struct comparing {
	struct rows running, counted;
	struct buf text;
	uint64_t wrong;
};

static int
add_row(void *arg, const void *key, size_t n, const struct figure *f, struct err *e)
{
	struct rows *r = arg;
	struct row *more;

	if (r->n == r->cap) {
		more = realloc(r->list, (r->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return err_set(e, ERR_LOCAL, 0, "no memory for figures");
		r->list = more;
		r->cap = r->cap * 2 + 64;
	}
	memset(&r->list[r->n], 0, sizeof(*r->list));
	memcpy(r->list[r->n].key, key, n);
	r->list[r->n].n = n;
	r->list[r->n++].f = *f;
	return 0;
}

static const struct row *
find(const struct rows *r, const struct row *like)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		if (r->list[i].n == like->n && memcmp(r->list[i].key, like->key, like->n) == 0)
			return &r->list[i];
	return NULL;
}

static void
put_figure(struct buf *out, const struct figure *f)
{
	buf_printf(out,
		   "known %llu = held %llu + owed %llu + lost %llu + withdrawn %llu, "
		   "exposed %llu (%llu of them committed), damaged %llu",
		   (unsigned long long)f->known, (unsigned long long)f->of[TALLY_HELD],
		   (unsigned long long)f->of[TALLY_OWED], (unsigned long long)f->of[TALLY_LOST],
		   (unsigned long long)f->of[TALLY_WITHDRAWN], (unsigned long long)f->exposed,
		   (unsigned long long)f->exposed_committed, (unsigned long long)f->damaged);
}

static void
say(struct comparing *c, const struct row *row, const struct figure *kept,
    const struct figure *counted)
{
	char hex[2 * ID128_SIZE + 1];

	c->wrong++;
	if (row->key[0] == 's') {
		buf_printf(&c->text, "wrong figures of site %.*s: ", (int)row->n - 1,
			   (const char *)row->key + 1);
	} else if (row->key[0] == 'i' && row->n == 1 + ID128_SIZE) {
		hex_of(row->key + 1, ID128_SIZE, hex);
		buf_printf(&c->text, "wrong figures of incarnation %s: ", hex);
	} else {
		buf_puts(&c->text, "wrong figures of all together: ");
	}
	put_figure(&c->text, kept);
	buf_puts(&c->text, "; counted: ");
	put_figure(&c->text, counted);
	buf_puts(&c->text, "\n");
}

static int
compare(struct store_tx *tx, void *arg, struct err *e)
{
	static const struct figure none;
	struct comparing *c = arg;
	const struct row *other;
	size_t i;
	int rc;

	c->running.n = c->counted.n = 0;
	c->wrong = 0;
	buf_clear(&c->text);
	rc = figures_each(tx, FIGURE_RUNNING, add_row, &c->running, e);
	if (!rc)
		rc = figures_each(tx, FIGURE_COUNTED, add_row, &c->counted, e);
	for (i = 0; !rc && i < c->running.n; i++) {
		const struct row *row = &c->running.list[i];

		other = find(&c->counted, row);
		if (other && memcmp(&other->f, &row->f, sizeof(row->f)) == 0)
			continue;
		say(c, row, &row->f, other ? &other->f : &none);
		rc = figures_set(tx, row->key, row->n, other ? &other->f : &none, e);
	}
	for (i = 0; !rc && i < c->counted.n; i++) {
		const struct row *row = &c->counted.list[i];

		if (find(&c->running, row))
			continue;
		say(c, row, &none, &row->f);
		rc = figures_set(tx, row->key, row->n, &row->f, e);
	}
	return rc ? rc : figures_count_ends(tx, e);
}

/* --- rows of `exposed` and `owing` that should not be --- */

struct sweeping {
	unsigned page;
	const char *table;
	unsigned char from[LISTED_KEY_MAX], next[LISTED_KEY_MAX]; /* this page; the one behind */
	size_t from_n, next_n;
	bool last;
	uint64_t wrong; /* of this page, from scratch in each run of the closure */
};

struct seeking {
	const char *table;
	struct kv_slice k;
	bool found;
};

static int
is_it(void *arg, const struct listed *row, struct err *e)
{
	struct seeking *x = arg;

	(void)e;
	x->found = x->found || (strcmp(row->table, x->table) == 0 && row->n == x->k.n &&
				memcmp(row->key, x->k.p, row->n) == 0);
	return 0;
}

static int
is_right(struct store_tx *tx, const char *table, struct kv_slice k, bool *right, struct err *e)
{
	struct seeking x = {table, k, false};
	unsigned char digest[SHA256_SIZE];
	struct share s = {.words = NULL};
	int rc;

	*right = false;
	if (k.n < sizeof(digest))
		return 0;
	memcpy(digest, (const unsigned char *)k.p + k.n - sizeof(digest), sizeof(digest));
	rc = share_of(&s, tx, digest, e);
	if (!rc && s.n)
		rc = figures_listed(&s, is_it, &x, e);
	*right = x.found;
	share_fini(&s);
	return rc;
}

static int
sweep_page(struct store_tx *tx, void *arg, struct err *e)
{
	struct sweeping *s = arg;
	struct kv_cursor *c;
	struct kv_slice k, v;
	unsigned i;
	bool right;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), store_table(store_tx_store(tx), s->table), e);

	if (rc)
		return rc;
	s->wrong = 0;
	rc = kv_cursor_seek(c, kv_slice(s->from, s->from_n), &k, &v, e);
	for (i = 0; !rc && i < s->page; i++) {
		rc = is_right(tx, s->table, k, &right, e);
		if (!rc && !right) {
			s->wrong++;
			rc = kv_cursor_del(c, e);
		}
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	s->last = rc == ERR_ABSENT;
	if (!rc && k.n <= sizeof(s->next)) {
		memcpy(s->next, k.p, k.n);
		s->next_n = k.n;
	}
	kv_cursor_close(c);
	return s->last ? 0 : rc;
}

/* --- all of it --- */

static int
stopped(struct ctl_reply *r, struct err *e)
{
	return ctl_stopping(r) ? err_set(e, ERR_AGAIN, 0, "stopped before all was counted") : 0;
}

static int
count_all(struct central *c, struct ctl_reply *r, unsigned page, struct recount *out, struct err *e)
{
	struct counting k = {.page = page};
	int rc = store_commit(c->store, begin, &k, e);

	while (!rc && !k.last) {
		rc = stopped(r, e);
		if (!rc)
			rc = store_commit(c->store, count_page, &k, e);
		out->images += rc ? 0 : k.images;
		out->listed += rc ? 0 : k.listed;
	}
	return rc;
}

static int
compare_all(struct central *c, struct ctl_reply *r, struct recount *out, struct err *e)
{
	struct comparing k = {.text = BUF_INIT};
	int rc = store_commit(c->store, compare, &k, e);

	if (!rc) {
		out->figures = k.wrong;
		(void)ctl_out(r, (const char *)k.text.data, k.text.len);
	}
	buf_fini(&k.text);
	free(k.running.list);
	free(k.counted.list);
	return rc;
}

static int
sweep_all(struct central *c, struct ctl_reply *r, unsigned page, const char *table,
	  struct recount *out, struct err *e)
{
	struct sweeping s = {.page = page, .table = table};
	int rc = 0;

	while (!rc && !s.last) {
		rc = stopped(r, e);
		if (!rc)
			rc = store_commit(c->store, sweep_page, &s, e);
		out->listed += rc ? 0 : s.wrong;
		memcpy(s.from, s.next, s.next_n);
		s.from_n = s.next_n;
	}
	return rc;
}

int
recount_figures(struct central *c, struct ctl_reply *r, unsigned page, struct recount *out,
		struct err *e)
{
	int rc;

	memset(out, 0, sizeof(*out));
	if (atomic_exchange(&c->recounting, true))
		return err_set(e, ERR_AGAIN, 0, "another count is under way");
	rc = count_all(c, r, page, out, e);
	if (!rc)
		rc = compare_all(c, r, out, e);
	if (!rc)
		rc = sweep_all(c, r, page, EXPOSED_TABLE, out, e);
	if (!rc)
		rc = sweep_all(c, r, page, OWING_TABLE, out, e);
	atomic_store(&c->recounting, false);
	if (out->figures || out->listed)
		log_line(LOG_ERROR, "figures.wrong", "figures=%llu listed=%llu",
			 (unsigned long long)out->figures, (unsigned long long)out->listed);
	return rc;
}
