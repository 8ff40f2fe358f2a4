#include "central/figures.h"

#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/committed.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/kv/kv.h"
#include "common/store/store.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum {
	FIELDS = 10,
	FIGURE_SIZE = 8 * FIELDS,
	FIGURE_KEY = 1 + SITE_SIZE,
	WORD = 8,
	BRANCH_KEY = 1 + 2 * ID128_SIZE
};

static const char counting_key[] = "@", branch_key = 'b';

static unsigned
table(struct store_tx *tx, const char *name)
{
	return store_table(store_tx_store(tx), name);
}

/* --- rows --- */

/* The first byte of a key, by set. */
enum kind { OF_SITE, OF_ALL, OF_INCARNATION, KINDS };
static const char kinds[2][KINDS] = {{'s', 'a', 'i'}, {'S', 'A', 'I'}};

static void
decode(struct figure *f, const unsigned char *p)
{
	size_t i;

	f->known = buf_get_u64(p);
	for (i = 0; i < TALLY_STATES; i++)
		f->of[i] = buf_get_u64(p + WORD * (1 + i));
	f->exposed = buf_get_u64(p + WORD * 5);
	f->exposed_bytes = buf_get_u64(p + WORD * 6);
	f->damaged = buf_get_u64(p + WORD * 7);
	f->owed_bytes = buf_get_u64(p + WORD * 8);
	f->exposed_committed = buf_get_u64(p + WORD * 9);
}

static void
encode(unsigned char *p, const struct figure *f)
{
	size_t i;

	buf_set_u64(p, f->known);
	for (i = 0; i < TALLY_STATES; i++)
		buf_set_u64(p + WORD * (1 + i), f->of[i]);
	buf_set_u64(p + WORD * 5, f->exposed);
	buf_set_u64(p + WORD * 6, f->exposed_bytes);
	buf_set_u64(p + WORD * 7, f->damaged);
	buf_set_u64(p + WORD * 8, f->owed_bytes);
	buf_set_u64(p + WORD * 9, f->exposed_committed);
}

static int
get(struct store_tx *tx, const void *key, size_t n, struct figure *out, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx, FIGURE_TABLE), kv_slice(key, n), &v, e);

	memset(out, 0, sizeof(*out));
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (v.n != FIGURE_SIZE)
		return err_set(e, ERR_CORRUPT, 0, "a row of figures is torn");
	decode(out, v.p);
	return 0;
}

int
figures_set(struct store_tx *tx, const void *key, size_t n, const struct figure *f, struct err *e)
{
	static const unsigned char zero[FIGURE_SIZE];
	unsigned char value[FIGURE_SIZE];
	int rc;

	encode(value, f);
	if (memcmp(value, zero, sizeof(zero)) != 0)
		return kv_put(store_tx_kv(tx), table(tx, FIGURE_TABLE), kv_slice(key, n),
			      kv_slice(value, sizeof(value)), e);
	rc = kv_del(store_tx_kv(tx), table(tx, FIGURE_TABLE), kv_slice(key, n), e);
	return rc == ERR_ABSENT ? 0 : rc;
}

static size_t
key_of(unsigned char key[FIGURE_KEY], enum figure_set set, enum kind kind, const char *site)
{
	size_t n = kind == OF_SITE ? strlen(site) : 0;

	key[0] = (unsigned char)kinds[set][kind];
	memcpy(key + 1, site, n);
	return 1 + n;
}

static size_t
key_of_incarnation(unsigned char key[FIGURE_KEY], enum figure_set set, const struct id128 *id)
{
	key[0] = (unsigned char)kinds[set][OF_INCARNATION];
	memcpy(key + 1, id->b, ID128_SIZE);
	return 1 + ID128_SIZE;
}

/* --- one digest --- */

static struct share_word *
word_of(struct share *s, const struct id128 *incarnation)
{
	struct share_word *more;
	size_t i;

	for (i = 0; i < s->n; i++)
		if (id128_same(&s->words[i].incarnation, incarnation))
			return &s->words[i];
	if (s->n == s->cap) {
		more = realloc(s->words, (s->cap * 2 + 4) * sizeof(*more));
		if (!more)
			return NULL;
		s->words = more;
		s->cap = s->cap * 2 + 4;
	}
	memset(&s->words[s->n], 0, sizeof(*s->words));
	s->words[s->n].incarnation = *incarnation;
	return &s->words[s->n++];
}

static int
add_word(struct share *s, const struct id128 *incarnation, const struct claim *c, struct err *e)
{
	struct share_word *w = word_of(s, incarnation);

	if (!w)
		return err_set(e, ERR_LOCAL, 0, "no memory for an image's sites");
	if (c->seq >= w->seq) {
		w->seq = c->seq;
		w->has = c->has;
	}
	if (c->has && (!w->first || c->seq < w->first))
		w->first = c->seq;
	w->own = w->own || id128_same(&c->incarnation, incarnation);
	return 0;
}

struct gathering {
	struct store_tx *tx;
	struct share *s;
	/* whose word the claim at hand is; who branched off the first `done` is known */
	struct id128 *lives;
	size_t done, n, cap;
};

static int
add_life(struct gathering *g, const struct id128 *incarnation, const struct claim *c, struct err *e)
{
	struct id128 *more;

	if (g->n == g->cap) {
		more = realloc(g->lives, (g->cap * 2 + 8) * sizeof(*more));
		if (!more)
			return err_set(e, ERR_LOCAL, 0, "no memory for an image's sites");
		g->lives = more;
		g->cap = g->cap * 2 + 8;
	}
	g->lives[g->n++] = *incarnation;
	return add_word(g->s, incarnation, c, e);
}

/* Who branched off it, behind that claim. */
static int
add_branches(struct gathering *g, const struct id128 *incarnation, const struct claim *c,
	     struct err *e)
{
	unsigned char prefix[1 + ID128_SIZE];
	struct id128 other;
	struct kv_cursor *cursor;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&cursor, store_tx_kv(g->tx), table(g->tx, FIGURE_TABLE), e);

	if (rc)
		return rc;
	prefix[0] = (unsigned char)branch_key;
	memcpy(prefix + 1, incarnation->b, ID128_SIZE);
	rc = kv_cursor_seek(cursor, kv_slice(prefix, sizeof(prefix)), &k, &v, e);
	while (!rc && k.n == BRANCH_KEY && memcmp(k.p, prefix, sizeof(prefix)) == 0) {
		memcpy(other.b, (const unsigned char *)k.p + sizeof(prefix), ID128_SIZE);
		if (v.n == WORD && c->seq <= buf_get_u64(v.p))
			rc = add_life(g, &other, c, e);
		if (!rc)
			rc = kv_cursor_next(cursor, &k, &v, e);
	}
	kv_cursor_close(cursor);
	return rc == ERR_ABSENT ? 0 : rc;
}

/* R8: it is also the word of whoever branched off later, and of whoever branched off that. One
 * after the other: a disk may have been set back each day for years. */
static int
add_claim(void *arg, const struct claim *c, struct err *e)
{
	struct gathering *g = arg;
	struct id128 one;
	int rc;

	g->n = g->done = 0;
	rc = add_life(g, &c->incarnation, c, e);
	while (!rc && g->done < g->n) {
		one = g->lives[g->done++]; /* the list moves as it grows */
		rc = add_branches(g, &one, c, e);
	}
	return rc;
}

int
figures_branch(struct store_tx *tx, const struct id128 *from, const struct id128 *incarnation,
	       uint64_t common, struct err *e)
{
	unsigned char key[BRANCH_KEY], value[WORD];

	key[0] = (unsigned char)branch_key;
	memcpy(key + 1, from->b, ID128_SIZE);
	memcpy(key + 1 + ID128_SIZE, incarnation->b, ID128_SIZE);
	buf_set_u64(value, common);
	return kv_put(store_tx_kv(tx), table(tx, FIGURE_TABLE), kv_slice(key, sizeof(key)),
		      kv_slice(value, sizeof(value)), e);
}

static int
name_sites(struct share *s, struct store_tx *tx, struct err *e)
{
	struct site_row row;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < s->n; i++) {
		rc = site_get(tx, &s->words[i].incarnation, &row, e);
		if (rc == ERR_ABSENT)
			return err_set(e, ERR_CORRUPT, 0, "a claim of an unknown incarnation");
		if (rc)
			return rc;
		strcpy(s->words[i].site, row.site);
		s->words[i].closed = site_counts_closed(&row, s->words[i].first);
	}
	return rc;
}

static void
judge(struct share *s)
{
	bool others = false;
	size_t i;

	s->state = TALLY_LOST;
	for (i = 0; i < s->n; i++) {
		if (!s->words[i].has || s->words[i].closed)
			continue;
		s->state = TALLY_OWED;
		others = others || (s->exposed && strcmp(s->exposed, s->words[i].site) != 0);
		s->exposed = s->words[i].site;
	}
	if (s->v.hidden & VERSION_WITHDRAWN)
		s->state = TALLY_WITHDRAWN;
	else if (s->v.state == VERSION_HERE)
		s->state = TALLY_HELD;
	if (others || s->state != TALLY_OWED)
		s->exposed = NULL;
}

int
share_of(struct share *out, struct store_tx *tx, const unsigned char digest[SHA256_SIZE],
	 struct err *e)
{
	struct gathering g = {.tx = tx, .s = out};
	uint64_t oid;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = claim_each(tx, digest, add_claim, &g, e);
	free(g.lives);
	if (rc || !out->n)
		return rc;
	rc = store_by_digest(tx, digest, &oid, e);
	if (!rc)
		rc = store_version(tx, oid, &out->v, e);
	if (rc == ERR_ABSENT) { /* "has it no more" of what nobody ever had: no image */
		out->n = 0;
		return 0;
	}
	if (!rc)
		rc = name_sites(out, tx, e);
	if (!rc)
		rc = committed_get(tx, digest, &out->committed, e);
	if (!rc)
		judge(out);
	return rc;
}

void
share_fini(struct share *s)
{
	free(s->words);
	s->words = NULL;
	s->n = s->cap = 0;
}

/* --- adding it --- */

static int
add_to(struct store_tx *tx, const unsigned char *key, size_t n, const struct share *s, int sign,
       struct err *e)
{
	uint64_t one = (uint64_t)(int64_t)sign;
	struct figure f;
	bool all = key[0] == kinds[0][OF_ALL] || key[0] == kinds[1][OF_ALL];
	bool site = key[0] == kinds[0][OF_SITE] || key[0] == kinds[1][OF_SITE];
	int rc = get(tx, key, n, &f, e);

	if (rc)
		return rc;
	f.known += one;
	f.of[s->state] += one;
	if (s->state == TALLY_OWED)
		f.owed_bytes += one * s->v.size;
	if (all && s->v.state == VERSION_DAMAGED)
		f.damaged += one;
	if (site && s->exposed && strlen(s->exposed) == n - 1 &&
	    memcmp(s->exposed, key + 1, n - 1) == 0) {
		f.exposed += one;
		f.exposed_bytes += one * s->v.size;
		f.exposed_committed += s->committed ? one : 0;
	}
	return figures_set(tx, key, n, &f, e);
}

static bool
said_before(const struct share *s, size_t i)
{
	size_t k;

	for (k = 0; k < i; k++)
		if (strcmp(s->words[k].site, s->words[i].site) == 0)
			return true;
	return false;
}

static void
listed_key(struct listed *out, const char *table_name, const char *site, const struct share *s)
{
	size_t n = strlen(site) + 1;

	out->table = table_name;
	memcpy(out->key, site, n);
	buf_set_be64(out->key + n, (uint64_t)s->v.first_ms ^ UINT64_C(1) << 63);
	memcpy(out->key + n + 8, s->v.digest, SHA256_SIZE);
	out->n = n + 8 + SHA256_SIZE;
}

int
figures_listed(const struct share *s, int (*fn)(void *arg, const struct listed *row, struct err *e),
	       void *arg, struct err *e)
{
	struct listed row;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && s->state == TALLY_OWED && i < s->n; i++) {
		if (said_before(s, i))
			continue;
		listed_key(&row, OWING_TABLE, s->words[i].site, s);
		rc = fn(arg, &row, e);
	}
	if (rc || !s->exposed)
		return rc;
	listed_key(&row, EXPOSED_TABLE, s->exposed, s);
	return fn(arg, &row, e);
}

struct putting {
	struct store_tx *tx;
	const struct share *s;
	int sign;
};

static int
put_listed(void *arg, const struct listed *row, struct err *e)
{
	const struct putting *p = arg;
	unsigned char value[WORD];
	int rc;

	buf_set_u64(value, p->s->v.size);
	if (p->sign > 0)
		return kv_put(store_tx_kv(p->tx), table(p->tx, row->table),
			      kv_slice(row->key, row->n), kv_slice(value, sizeof(value)), e);
	rc = kv_del(store_tx_kv(p->tx), table(p->tx, row->table), kv_slice(row->key, row->n), e);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
figures_add(struct store_tx *tx, enum figure_set set, const struct share *s, int sign,
	    struct err *e)
{
	struct putting p = {tx, s, sign};
	unsigned char key[FIGURE_KEY];
	size_t i, n;
	int rc = 0;

	for (i = 0; !rc && i < s->n; i++) {
		/* What it took over from the one that it branched off counts there. */
		if (s->words[i].own)
			rc = add_to(tx, key, key_of_incarnation(key, set, &s->words[i].incarnation),
				    s, sign, e);
		if (rc || said_before(s, i))
			continue;
		n = key_of(key, set, OF_SITE, s->words[i].site);
		rc = add_to(tx, key, n, s, sign, e);
	}
	if (!rc && s->n)
		rc = add_to(tx, key, key_of(key, set, OF_ALL, ""), s, sign, e);
	return rc || set != FIGURE_RUNNING ? rc : figures_listed(s, put_listed, &p, e);
}

static int
change_share(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], const struct share *s,
	     int sign, struct err *e)
{
	unsigned char from[SHA256_SIZE];
	bool all;
	int rc = figures_add(tx, FIGURE_RUNNING, s, sign, e);

	/* What a count has passed, it will not see again. */
	if (!rc)
		rc = figures_counting(tx, from, &all, e);
	if (!rc && (all || memcmp(digest, from, sizeof(from)) < 0))
		rc = figures_add(tx, FIGURE_COUNTED, s, sign, e);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
change(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], int sign, struct err *e)
{
	struct share s = {.words = NULL};
	int rc = share_of(&s, tx, digest, e);

	if (!rc && s.n)
		rc = change_share(tx, digest, &s, sign, e);
	share_fini(&s);
	return rc;
}

int
figures_leave(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e)
{
	return change(tx, digest, -1, e);
}

int
figures_enter(struct store_tx *tx, const unsigned char digest[SHA256_SIZE], struct err *e)
{
	return change(tx, digest, 1, e);
}

/* --- all of an incarnation --- */

static bool
says_first(const struct share *s, const struct id128 *incarnation, uint64_t seq)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (id128_same(&s->words[i].incarnation, incarnation))
			return s->words[i].first == seq;
	return false;
}

/* Each digest once: at the first seq that says it is there. */
static int
change_at(struct store_tx *tx, const struct id128 *incarnation, uint64_t seq, int sign,
	  struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	Sync__LedgerEntry *entry;
	const void *bytes;
	struct share s = {.words = NULL};
	bool has;
	size_t n;
	int rc = announced_get(tx, incarnation, seq, &bytes, &n, e);

	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	entry = message_read(&sync__ledger_entry__descriptor, bytes, n, NULL);
	has = entry && ledger_says_has((int)entry->kind) && message_digest(digest, &entry->digest);
	message_free(entry);
	if (!has)
		return 0;
	rc = share_of(&s, tx, digest, e);
	if (!rc && says_first(&s, incarnation, seq))
		rc = change_share(tx, digest, &s, sign, e);
	share_fini(&s);
	return rc;
}

/* What central holds is held, whoever says that he has it: only cleared bits count (R19). */
static int
each_unheld(struct store_tx *tx, const struct id128 *incarnation, uint64_t first, uint64_t last,
	    int (*fn)(void *arg, uint64_t seq, struct err *e), void *arg, struct err *e)
{
	struct buf bits = BUF_INIT;
	uint64_t i, n;
	int rc = 0;

	for (; !rc && first <= last; first += n) {
		n = last - first + 1;
		n = n < HOLDINGS_PAGE ? n : HOLDINGS_PAGE;
		buf_clear(&bits);
		rc = holdings_read(tx, incarnation, first, n, &bits, e);
		for (i = 0; !rc && i < n; i++)
			if (!(bits.data[i / 8] & 1u << i % 8))
				rc = fn(arg, first + i, e);
	}
	buf_fini(&bits);
	return rc;
}

struct changing {
	struct store_tx *tx;
	const struct id128 *incarnation;
	int sign;
};

static int
change_one(void *arg, uint64_t seq, struct err *e)
{
	const struct changing *c = arg;

	return change_at(c->tx, c->incarnation, seq, c->sign, e);
}

int
figures_leave_all(struct store_tx *tx, const struct id128 *incarnation, uint64_t first,
		  uint64_t last, struct err *e)
{
	struct changing c = {tx, incarnation, -1};

	return each_unheld(tx, incarnation, first, last, change_one, &c, e);
}

int
figures_enter_all(struct store_tx *tx, const struct id128 *incarnation, uint64_t first,
		  uint64_t last, struct err *e)
{
	struct changing c = {tx, incarnation, 1};

	return each_unheld(tx, incarnation, first, last, change_one, &c, e);
}

struct parting {
	unsigned left;
	uint64_t to;
};

static int
count_down(void *arg, uint64_t seq, struct err *e)
{
	struct parting *p = arg;

	(void)e;
	p->to = seq;
	return --p->left ? 0 : ERR_AGAIN;
}

int
figures_part(struct store_tx *tx, const struct id128 *incarnation, uint64_t first, uint64_t last,
	     unsigned n, uint64_t *to, struct err *e)
{
	struct parting p = {n, last};
	int rc = each_unheld(tx, incarnation, first, last, count_down, &p, e);

	*to = rc == ERR_AGAIN ? p.to : last;
	return rc == ERR_AGAIN ? 0 : rc;
}

/* --- reading them --- */

int
figures_of_site(struct store_tx *tx, const char *site, struct figure *out, struct err *e)
{
	unsigned char key[FIGURE_KEY];
	size_t n = key_of(key, FIGURE_RUNNING, site[0] ? OF_SITE : OF_ALL, site);

	return get(tx, key, n, out, e);
}

/* The oldest comes first. */
static int
oldest(struct store_tx *tx, const char *of, const char *site, uint64_t *seconds, struct err *e)
{
	size_t n = strlen(site) + 1;
	struct kv_cursor *c;
	struct kv_slice k, v;
	int64_t age;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, of), e);

	*seconds = 0;
	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(site, n), &k, &v, e);
	if (!rc && k.n == n + 8 + SHA256_SIZE && memcmp(k.p, site, n) == 0) {
		age = store_time(store_tx_store(tx)) -
		      (int64_t)(buf_get_be64((const unsigned char *)k.p + n) ^ UINT64_C(1) << 63);
		*seconds = age > 0 ? (uint64_t)age / 1000 : 0;
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
fill_site(struct tally_row *row, struct store_tx *tx, struct err *e)
{
	struct figure f;
	int rc = figures_of_site(tx, row->site.site, &f, e);

	if (rc)
		return rc;
	row->site_known = f.known;
	memcpy(row->site_of, f.of, sizeof(f.of));
	row->site_exposure.instances = f.exposed;
	row->site_exposure.bytes = f.exposed_bytes;
	row->site_exposure.committed = f.exposed_committed;
	row->site_owed_bytes = f.owed_bytes;
	rc = oldest(tx, OWING_TABLE, row->site.site, &row->site_owed_seconds, e);
	return rc ? rc
		  : oldest(tx, EXPOSED_TABLE, row->site.site, &row->site_exposure.oldest_seconds,
			   e);
}

static int
fill_incarnation(struct tally_row *row, struct store_tx *tx, struct err *e)
{
	unsigned char key[FIGURE_KEY];
	struct figure f;
	size_t n = key_of_incarnation(key, FIGURE_RUNNING, &row->site.incarnation);
	int rc = get(tx, key, n, &f, e);

	row->known = f.known;
	memcpy(row->of, f.of, sizeof(f.of));
	return rc;
}

int
figures_tally(struct tally *out, struct store_tx *tx, struct err *e)
{
	struct figure all;
	size_t i;
	int rc = tally_sites(out, tx, e);

	if (rc)
		return rc;
	rc = figures_of_site(tx, "", &all, e);
	out->damaged = all.damaged;
	for (i = 0; !rc && i < out->n; i++) {
		rc = fill_incarnation(&out->rows[i], tx, e);
		if (!rc && out->rows[i].leader == i)
			rc = fill_site(&out->rows[i], tx, e);
	}
	if (rc)
		tally_free(out);
	return rc;
}

/* --- a count --- */

int
figures_counting(struct store_tx *tx, unsigned char from[SHA256_SIZE], bool *all, struct err *e)
{
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx, FIGURE_TABLE),
			kv_slice(counting_key, sizeof(counting_key) - 1), &v, e);

	if (!rc && v.n && v.n != SHA256_SIZE)
		return err_set(e, ERR_CORRUPT, 0, "the row of a count is torn");
	*all = !rc && !v.n;
	if (!rc && v.n)
		memcpy(from, v.p, SHA256_SIZE);
	return rc;
}

int
figures_count_from(struct store_tx *tx, const unsigned char *from, struct err *e)
{
	return kv_put(store_tx_kv(tx), table(tx, FIGURE_TABLE),
		      kv_slice(counting_key, sizeof(counting_key) - 1),
		      kv_slice(from ? from : (const unsigned char *)"", from ? SHA256_SIZE : 0), e);
}

static bool
belongs(enum figure_set set, struct kv_slice k, enum kind *kind)
{
	unsigned i;

	for (i = 0; i < KINDS; i++)
		if (k.n && *(const char *)k.p == kinds[set][i]) {
			*kind = (enum kind)i;
			return true;
		}
	return false;
}

static int
give_row(enum figure_set set, struct kv_slice k, struct kv_slice v,
	 int (*fn)(void *arg, const void *key, size_t n, const struct figure *f, struct err *e),
	 void *arg, struct err *e)
{
	unsigned char key[FIGURE_KEY];
	struct figure f;
	enum kind kind;

	if (!belongs(set, k, &kind))
		return 0;
	if (v.n != FIGURE_SIZE || k.n > sizeof(key))
		return err_set(e, ERR_CORRUPT, 0, "a row of figures is torn");
	decode(&f, v.p);
	memcpy(key, k.p, k.n);
	key[0] = (unsigned char)kinds[FIGURE_RUNNING][kind];
	return fn(arg, key, k.n, &f, e);
}

int
figures_each(struct store_tx *tx, enum figure_set set,
	     int (*fn)(void *arg, const void *key, size_t n, const struct figure *f, struct err *e),
	     void *arg, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, FIGURE_TABLE), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	while (!rc) {
		rc = give_row(set, k, v, fn, arg, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
figures_count_ends(struct store_tx *tx, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	enum kind kind;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), table(tx, FIGURE_TABLE), e);

	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(NULL, 0), &k, &v, e);
	while (!rc) {
		if (belongs(FIGURE_COUNTED, k, &kind) ||
		    (k.n && *(const char *)k.p == counting_key[0]))
			rc = kv_cursor_del(c, e);
		if (!rc)
			rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}
