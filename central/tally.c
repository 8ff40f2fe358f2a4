#include "central/tally.h"

#include <stdlib.h>
#include <string.h>

#include "central/committed.h"
#include "common/base/err.h"
#include "proto/message.h"

void
tally_free(struct tally *t)
{
	free(t->rows);
	t->rows = NULL;
	t->n = 0;
}

const char *
tally_name(enum tally_state s)
{
	switch (s) {
	case TALLY_HELD:
		return "held";
	case TALLY_OWED:
		return "owed";
	case TALLY_LOST:
		return "lost";
	case TALLY_WITHDRAWN:
		return "withdrawn";
	case TALLY_STATES:
		break;
	}
	return "";
}

static int
add_site(void *arg, const struct site_row *row, struct err *e)
{
	struct tally *t = arg;
	struct tally_row *more = realloc(t->rows, (t->n + 1) * sizeof(*more));

	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for a tally");
	t->rows = more;
	memset(&t->rows[t->n], 0, sizeof(*more));
	t->rows[t->n++].site = *row;
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	const struct tally_row *x = a, *y = b;
	int c = strcmp(x->site.site, y->site.site);

	return c ? c
		 : (x->site.opened_ms > y->site.opened_ms) -
			       (x->site.opened_ms < y->site.opened_ms);
}

int
tally_sites(struct tally *out, struct store_tx *tx, struct err *e)
{
	size_t i;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = site_each(tx, add_site, out, e);
	if (rc)
		tally_free(out);
	else if (out->n)
		qsort(out->rows, out->n, sizeof(*out->rows), by_name);
	for (i = 0; !rc && i < out->n; i++) {
		out->rows[i].leader =
			i && strcmp(out->rows[i].site.site, out->rows[i - 1].site.site) == 0
				? out->rows[i - 1].leader
				: i;
		if (!out->rows[i].site.closed && !out->rows[i].site.drains)
			out->rows[out->rows[i].leader].site_copies++;
	}
	return rc;
}

/* A row's first and last word on the digest at hand, and where it says so. */
struct word {
	size_t row;	/* in tally.rows */
	uint64_t first; /* seq of its first claim */
	bool has;
};

struct walking {
	struct store_tx *tx;
	struct tally t;
	size_t *parents; /* by row: the one that it branched off (R8); t.n: none */
	bool branched;	 /* any is not none */
	unsigned char digest[SHA256_SIZE];
	struct word *claims; /* of the digest, by incarnation and seq: `first` is its own seq */
	size_t n_claims, room;
	struct word *words; /* one for each row that has a word on it */
	size_t n;
	int64_t now_ms; /* store_time */
	int (*fn)(struct walking *w, const struct version *v, enum tally_state s,
		  const char *holder, struct err *e);
	/* of tally_each */
	const char *site;
	int (*visit)(void *arg, const struct tally_item *item, struct err *e);
	void *arg;
};

/* The claims of this row itself up to a seq, as one word; false: there is none. */
static bool
own_word(const struct walking *w, size_t row, uint64_t up_to, struct word *out)
{
	bool any = false;
	size_t i;

	for (i = 0; i < w->n_claims; i++) {
		const struct word *c = &w->claims[i];

		if (c->row != row || c->first > up_to)
			continue;
		if (!any)
			*out = *c;
		out->has = c->has; /* claims come in the order of their seqs */
		any = true;
	}
	return any;
}

/* R8, R18: what it announced before it branched off is its word as well, the later word counts. */
static bool
word_of(const struct walking *w, size_t row, struct word *out)
{
	uint64_t up_to = UINT64_MAX;
	struct word older;
	bool any = false;
	size_t at = row;

	while (at < w->t.n) {
		if (own_word(w, at, up_to, &older)) {
			*out = (struct word){row, older.first, any ? out->has : older.has};
			any = true;
		}
		if (w->t.rows[at].site.common < up_to)
			up_to = w->t.rows[at].site.common;
		at = w->parents[at];
	}
	return any;
}

/* One word for each row. */
static void
gather_words(struct walking *w)
{
	size_t i;

	w->n = 0;
	if (w->branched) {
		for (i = 0; i < w->t.n; i++)
			if (word_of(w, i, &w->words[w->n]))
				w->n++;
		return;
	}
	for (i = 0; i < w->n_claims; i++) {
		if (w->n && w->words[w->n - 1].row == w->claims[i].row)
			w->words[w->n - 1].has = w->claims[i].has;
		else
			w->words[w->n++] = w->claims[i];
	}
}

static int
judge(struct walking *w, struct err *e)
{
	enum tally_state s = TALLY_LOST;
	const char *holder = "";
	struct version v;
	uint64_t oid;
	size_t i;
	int rc;

	if (!w->n_claims)
		return 0;
	rc = store_by_digest(w->tx, w->digest, &oid, e);
	if (!rc)
		rc = store_version(w->tx, oid, &v, e);
	if (rc) /* "has it no more" of what nobody ever had: no image */
		return rc == ERR_ABSENT ? 0 : rc;
	gather_words(w);
	for (i = 0; i < w->n; i++)
		if (w->words[i].has && !w->t.rows[w->words[i].row].site.closed) {
			s = TALLY_OWED;
			holder = w->t.rows[w->words[i].row].site.site;
		}
	if (v.hidden & VERSION_WITHDRAWN)
		s = TALLY_WITHDRAWN;
	else if (v.state == VERSION_HERE)
		s = TALLY_HELD;
	return w->fn(w, &v, s, holder, e);
}

static int
add_claim(struct walking *w, const struct claim *c, struct err *e)
{
	size_t row;

	for (row = 0; row < w->t.n; row++)
		if (id128_same(&w->t.rows[row].site.incarnation, &c->incarnation))
			break;
	if (row == w->t.n)
		return err_set(e, ERR_CORRUPT, 0, "a claim of an unknown incarnation");
	if (w->n_claims == w->room) {
		size_t room = w->room ? 2 * w->room : 16;
		struct word *more = realloc(w->claims, room * sizeof(*more));

		if (!more)
			return err_set(e, ERR_LOCAL, 0, "no memory for a tally");
		w->claims = more;
		w->room = room;
	}
	w->claims[w->n_claims++] = (struct word){row, c->seq, c->has};
	return 0;
}

static int
on_claim(void *arg, const struct claim *c, struct err *e)
{
	struct walking *w = arg;
	int rc = 0;

	if (w->n_claims && memcmp(w->digest, c->digest, SHA256_SIZE) != 0) {
		rc = judge(w, e);
		w->n_claims = 0;
	}
	memcpy(w->digest, c->digest, SHA256_SIZE);
	return rc ? rc : add_claim(w, c, e);
}

/* Who branched off whom. */
static int
find_parents(struct walking *w, struct err *e)
{
	size_t i, k;

	w->parents = calloc(w->t.n + 1, sizeof(*w->parents));
	if (!w->parents)
		return err_set(e, ERR_LOCAL, 0, "no memory for a tally");
	for (i = 0; i < w->t.n; i++) {
		const struct site_row *row = &w->t.rows[i].site;

		w->parents[i] = w->t.n;
		for (k = 0; row->common && k < w->t.n; k++)
			if (id128_same(&row->previous, &w->t.rows[k].site.incarnation))
				w->parents[i] = k;
		w->branched = w->branched || w->parents[i] < w->t.n;
	}
	return 0;
}

static int
walk(struct walking *w, struct err *e)
{
	int rc = tally_sites(&w->t, w->tx, e);

	if (rc)
		return rc;
	rc = find_parents(w, e);
	w->now_ms = store_time(store_tx_store(w->tx));
	w->words = calloc(w->t.n + 1, sizeof(*w->words));
	if (!rc)
		rc = w->words ? claim_each(w->tx, NULL, on_claim, w, e)
			      : err_set(e, ERR_LOCAL, 0, "no memory for a tally");
	if (!rc)
		rc = judge(w, e);
	free(w->parents);
	free(w->claims);
	free(w->words);
	return rc;
}

/* Of what is owed: the one site that has it, or NULL. */
static struct tally_row *
only_holder(struct walking *w)
{
	struct tally_row *only = NULL;
	size_t i;

	for (i = 0; i < w->n; i++) {
		const struct tally_row *row = &w->t.rows[w->words[i].row];

		if (!w->words[i].has || row->site.closed)
			continue;
		if (only && only != &w->t.rows[row->leader])
			return NULL;
		only = &w->t.rows[row->leader];
	}
	return only;
}

static int
expose(struct walking *w, const struct version *v, struct err *e)
{
	struct tally_row *row = only_holder(w);
	int64_t age_ms = w->now_ms - v->first_ms;
	bool committed = false;
	int rc = row ? committed_get(w->tx, v->digest, &committed, e) : 0;

	if (!row || rc)
		return rc;
	row->site_exposure.instances++;
	row->site_exposure.bytes += v->size;
	row->site_exposure.committed += committed;
	if (age_ms / 1000 > (int64_t)row->site_exposure.oldest_seconds)
		row->site_exposure.oldest_seconds = (uint64_t)age_ms / 1000;
	return 0;
}

static void
owe(const struct walking *w, struct tally_row *row, const struct version *v)
{
	int64_t age_ms = w->now_ms - v->first_ms;

	row->site_owed_bytes += v->size;
	if (age_ms / 1000 > (int64_t)row->site_owed_seconds)
		row->site_owed_seconds = (uint64_t)age_ms / 1000;
}

static int
count(struct walking *w, const struct version *v, enum tally_state s, const char *holder,
      struct err *e)
{
	size_t i, k;
	int rc = s == TALLY_OWED ? expose(w, v, e) : 0;

	(void)holder;
	w->t.damaged += v->state == VERSION_DAMAGED;
	for (i = 0; i < w->n; i++) {
		struct tally_row *row = &w->t.rows[w->words[i].row];

		row->known++;
		row->of[s]++;
		for (k = 0; k < i && w->t.rows[w->words[k].row].leader != row->leader; k++)
			;
		if (k < i) /* its site has announced it before */
			continue;
		w->t.rows[row->leader].site_known++;
		w->t.rows[row->leader].site_of[s]++;
		if (s == TALLY_OWED)
			owe(w, &w->t.rows[row->leader], v);
	}
	return rc;
}

int
tally_make(struct tally *out, struct store_tx *tx, struct err *e)
{
	struct walking w = {.tx = tx, .fn = count};
	int rc = walk(&w, e);

	*out = w.t;
	if (rc)
		tally_free(out);
	return rc;
}

static int
visit(struct walking *w, const struct version *v, enum tally_state s, const char *holder,
      struct err *e)
{
	size_t i;

	for (i = 0; i < w->n; i++) {
		const struct tally_row *row = &w->t.rows[w->words[i].row];
		struct tally_item item = {v, s, holder, &row->site, w->words[i].first};

		if (!w->site || strcmp(row->site.site, w->site) == 0)
			return w->visit(w->arg, &item, e);
	}
	return 0;
}

int
tally_each(struct store_tx *tx, const char *site,
	   int (*fn)(void *arg, const struct tally_item *item, struct err *e), void *arg,
	   struct err *e)
{
	struct walking w = {.tx = tx, .fn = visit, .site = site, .visit = fn, .arg = arg};
	int rc = walk(&w, e);

	tally_free(&w.t);
	return rc;
}
