#include "central/sites.h"

#include <stdlib.h>
#include <string.h>

#include "central/figures.h"
#include "central/told.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "proto/version.h"

enum { SHORT_KEY = 4, SHORT_HEX = 2 * SHORT_KEY + 1 };

static int
add_member(void *arg, const struct member *m, struct err *e)
{
	struct sites *s = arg;
	struct member *more = realloc(s->members, (s->n_members + 1) * sizeof(*more));

	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for the site table");
	s->members = more;
	s->members[s->n_members++] = *m;
	return 0;
}

int
sites_make(struct sites *out, struct store_tx *tx, struct err *e)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = figures_tally(&out->tally, tx, e);
	if (!rc)
		rc = member_each(tx, add_member, out, e);
	if (rc)
		sites_free(out);
	return rc;
}

void
sites_free(struct sites *s)
{
	tally_free(&s->tally);
	free(s->members);
	memset(s, 0, sizeof(*s));
}

bool
sites_need_a_person(const struct sites *s)
{
	size_t i;

	for (i = 0; i < s->n_members; i++)
		if (s->members[i].refused)
			return true;
	for (i = 0; i < s->tally.n; i++)
		if (s->tally.rows[i].site_copies > 1 || s->tally.rows[i].site.foreign)
			return true; /* R8, R22 */
	return false;
}

size_t
sites_unvouched(const struct sites *s)
{
	size_t i, n = 0;

	for (i = 0; i < s->n_members; i++)
		n += s->members[i].unvouched && !s->members[i].removed;
	return n;
}

static const struct member *
member_of(const struct sites *s, const char *site)
{
	size_t i;

	for (i = 0; i < s->n_members; i++)
		if (strcmp(s->members[i].site, site) == 0)
			return &s->members[i];
	return NULL;
}

static bool
ever_came(const struct sites *s, const char *site)
{
	size_t i;

	for (i = 0; i < s->tally.n; i++)
		if (strcmp(s->tally.rows[i].site.site, site) == 0)
			return true;
	return false;
}

int
sites_know(struct store_tx *tx, const char *site, bool *out, struct err *e)
{
	struct sites s = {.members = NULL};
	struct member m;
	int rc = member_get(tx, site, &m, e);

	*out = rc == 0;
	if (rc != ERR_ABSENT)
		return rc;
	rc = tally_sites(&s.tally, tx, e);
	if (!rc)
		*out = ever_came(&s, site);
	sites_free(&s);
	return rc;
}

/* The last row of a site, which tells its numbers. */
static bool
is_latest(const struct tally *t, size_t i)
{
	return i + 1 == t->n || t->rows[i + 1].leader != t->rows[i].leader;
}

bool
sites_told(const struct sites *s, size_t i, struct told *out)
{
	const struct tally *t = &s->tally;
	const struct site_row *own = &t->rows[i].site, *other;
	size_t first = t->rows[i].leader, k;

	if (own->closed || own->drains)
		return false;
	for (k = first; k < t->n && t->rows[k].leader == first; k++) {
		other = &t->rows[k].site;
		if (k != i && !other->closed && !other->drains &&
		    (other->contact_ms > own->contact_ms ||
		     (other->contact_ms == own->contact_ms && k > i)))
			return false;
	}
	told_open(out, own, member_of(s, own->site), t->rows[first].site_of[TALLY_OWED],
		  s->wall_ms);
	return true;
}

/* --- JSON --- */

static void
json_key(struct json *j, const char *name, const unsigned char key[PKI_PRINT], bool there)
{
	char hex[2 * PKI_PRINT + 1];

	hex_of(key, PKI_PRINT, hex);
	if (there)
		json_text(j, name, hex);
	else
		json_null(j, name);
}

static void
json_line(void *arg, const char *line)
{
	if (strncmp(line, "none ", 5) != 0)
		json_text(arg, NULL, line);
}

static void
json_member(struct json *j, const struct sites *s, const struct member *m)
{
	static const struct member none;
	bool told = m != NULL;

	m = m ? m : &none;
	json_text(j, "state", member_state(m));
	json_text(j, "policy", m->own ? "own" : "all");
	json_bool(j, "unvouched", m->unvouched);
	json_key(j, "key", m->key, m->keyed);
	json_time(j, "certificate_until", m->until_ms);
	json_time(j, "code_until", m->code_used ? 0 : m->code_until_ms);
	json_key(j, "refused_key", m->refused_key, m->refused);
	json_bool(j, "older_ca", s->older && member_behind(m, s->ca));
	json_open(j, "bandwidth", '[');
	if (told)
		bandwidth_lines(&m->bandwidth, json_line, j);
	json_close(j, ']');
}

static void
json_told(struct json *j, const struct sites *s, const struct tally_row *r)
{
	struct told t;
	size_t i;

	for (i = 0; i < s->tally.n; i++)
		if (&s->tally.rows[i] == r && sites_told(s, i, &t)) {
			told_json(j, &t);
			told_close(&t);
			return;
		}
	json_null(j, "sync");
}

/* leader: the row that tells of the site. */
static void
json_row(struct json *j, const struct sites *s, const struct tally_row *r,
	 const struct tally_row *leader, const struct member *m)
{
	size_t k;

	json_open(j, NULL, '{');
	json_text(j, "name", m ? m->site : r->site.site);
	json_id(j, "incarnation", &r->site.incarnation);
	json_bool(j, "closed", r->site.closed);
	json_time(j, "reopened", r->site.reopened_ms);
	json_bool(j, "turning", r->site.turning != 0); /* its figures follow */
	json_text(j, "address", r->site.address);
	json_bool(j, "twin", leader->site_copies > 1 && !r->site.closed && !r->site.drains);
	json_bool(j, "drains", r->site.drains);
	json_bool(j, "foreign_receipt", r->site.foreign);
	json_count(j, "known", r->known); /* what this incarnation announced */
	for (k = 0; k < TALLY_STATES; k++)
		json_count(j, tally_name((enum tally_state)k), r->of[k]);
	json_open(j, "of_site", '{'); /* R18: each image once */
	json_count(j, "known", leader->site_known);
	for (k = 0; k < TALLY_STATES; k++)
		json_count(j, tally_name((enum tally_state)k), leader->site_of[k]);
	json_close(j, '}');
	json_open(j, "exposure", '{');
	json_count(j, "instances", leader->site_exposure.instances);
	json_count(j, "bytes", leader->site_exposure.bytes);
	json_count(j, "committed", leader->site_exposure.committed);
	json_count(j, "oldest_seconds", leader->site_exposure.oldest_seconds);
	json_close(j, '}');
	json_open(j, "lag", '{');
	json_count(j, "instances", leader->site_of[TALLY_OWED]);
	json_count(j, "bytes", leader->site_owed_bytes);
	json_count(j, "oldest_seconds", leader->site_owed_seconds);
	json_close(j, '}');
	json_told(j, s, r);
	json_count(j, "ledger_seq", r->site.head.seq);
	json_time(j, "last_contact", r->site.contact_ms);
	json_count(j, "protocol", r->site.version);
	json_text(j, "software", r->site.software);
	json_member(j, s, m);
	json_close(j, '}');
}

void
sites_json(struct json *j, const char *key, const struct sites *s)
{
	static const struct tally_row none;
	size_t i;

	json_open(j, key, '[');
	for (i = 0; i < s->tally.n; i++)
		json_row(j, s, &s->tally.rows[i], &s->tally.rows[s->tally.rows[i].leader],
			 member_of(s, s->tally.rows[i].site.site));
	for (i = 0; i < s->n_members; i++)
		if (!ever_came(s, s->members[i].site))
			json_row(j, s, &none, &none, &s->members[i]);
	json_close(j, ']');
}

/* --- text --- */

int64_t
sites_last_contact(const struct sites *s, const char *site)
{
	int64_t last = 0;
	size_t i;

	for (i = 0; i < s->tally.n; i++)
		if (strcmp(s->tally.rows[i].site.site, site) == 0 &&
		    s->tally.rows[i].site.contact_ms > last)
			last = s->tally.rows[i].site.contact_ms;
	return last;
}

static void
text_member(struct buf *out, const struct sites *s, const char *site, const struct member *m)
{
	static const struct member none;
	char key[SHORT_HEX], until[CLOCK_RFC3339_SIZE], when[CLOCK_RFC3339_SIZE];

	m = m ? m : &none;
	hex_of(m->key, SHORT_KEY, key);
	clock_rfc3339(m->until_ms, until);
	clock_rfc3339(sites_last_contact(s, site), when);
	buf_printf(out, "%-16s %-9s %-6s %-8s %-20s  %s\n", site, member_state(m),
		   m->own ? "own" : "all", m->keyed ? key : "", until, when);
}

static void
text_line(void *arg, const char *line)
{
	if (strncmp(line, "none ", 5) != 0)
		buf_printf(arg, " %s;", line);
}

static void
text_remarks(struct buf *out, const struct sites *s, const struct member *m)
{
	char key[SHORT_HEX], when[CLOCK_RFC3339_SIZE];

	if (s->older && member_behind(m, s->ca))
		buf_printf(out,
			   "%s: has not called with a certificate of the newest CA: `ca retire` "
			   "would cut it off\n",
			   m->site);
	if (!bandwidth_is_free(&m->bandwidth)) {
		buf_printf(out, "%s: may use of its link, by its local time:", m->site);
		bandwidth_lines(&m->bandwidth, text_line, out);
		buf_puts(out, " else all\n");
	}
	if (m->unvouched)
		buf_printf(out,
			   "%s: came in by its certificate alone, or central has a new epoch "
			   "since: it "
			   "delivers, and reads what it delivered, until more than half of the "
			   "others have told who was removed, or `site readmit` says that it may\n",
			   m->site);
	if (m->coded && !m->code_used) {
		clock_rfc3339(m->code_until_ms, when);
		buf_printf(out, "%s: a join code waits until %s\n", m->site, when);
	}
	if (m->refused) {
		hex_of(m->refused_key, SHORT_KEY, key);
		clock_rfc3339(m->refused_ms, when);
		buf_printf(
			out,
			"%s: key %s came at %s with the join code that another had used: who was "
			"it? `site add --rejoin` makes a new code, `site readmit` forgets this\n",
			m->site, key, when);
	}
}

/* R18: what follows in pieces is said to be no more than a part. */
static void
text_turning(struct buf *out, const struct site_row *row)
{
	if (row->turning)
		buf_printf(out,
			   "%s: is just being %s, and its figures follow: part of them are still "
			   "as before; `loss` is not\n",
			   row->site, row->closed ? "closed" : "opened again");
}

static void
text_reopened(struct buf *out, const struct site_row *row)
{
	char when[CLOCK_RFC3339_SIZE];

	if (!row->reopened_ms)
		return;
	clock_rfc3339(row->reopened_ms, when);
	buf_printf(out,
		   "%s: called again at %s after it had been closed: what it still has is owed, "
		   "not lost\n",
		   row->site, when);
}

/* R8, R22: what a person must decide. */
static void
text_copies(struct buf *out, const struct tally *t, size_t i)
{
	const struct site_row *row = &t->rows[i].site;
	char hex[ID128_HEX];
	size_t k;

	if (row->foreign)
		buf_printf(out,
			   "%s: holds a receipt that is not ours: did another central with this "
			   "archive's id answer it?\n",
			   row->site);
	if (row->drains && !row->closed) {
		buf_printf(out, "%s: the copy at %s drains", row->site, row->address);
		if (!t->rows[t->rows[i].leader].site_copies)
			buf_printf(out,
				   ", and no other calls: `site twin %s --keep %s` lets it take in "
				   "again",
				   row->site, row->address);
		buf_puts(out, "\n");
	}
	if (t->rows[i].site_copies < 2)
		return;
	buf_printf(out, "%s: TWIN: copies of one edge call:", row->site);
	for (k = i; k < t->n && t->rows[k].leader == i; k++) {
		hex_of(t->rows[k].site.incarnation.b, ID128_SIZE, hex);
		if (!t->rows[k].site.closed && !t->rows[k].site.drains)
			buf_printf(out, " %s (incarnation %.8s)", t->rows[k].site.address, hex);
	}
	buf_printf(out, "; `site twin %s --keep ADDRESS` says which one stays\n", row->site);
}

/* Old and new work together; but what an old one cannot obey, it does not hear. */
static void
text_version(struct buf *out, const struct site_row *row)
{
	if (!row->closed && row->version && row->version < PROTOCOL_VERSION)
		buf_printf(out,
			   "%s: speaks version %u of the protocol, this central %d: it hears no "
			   "decisions until it is upgraded\n",
			   row->site, row->version, PROTOCOL_VERSION);
}

static void
text_numbers(struct buf *out, uint64_t known, const uint64_t of[TALLY_STATES])
{
	buf_printf(out, "%9llu %9llu %9llu %9llu %9llu", (unsigned long long)known,
		   (unsigned long long)of[TALLY_HELD], (unsigned long long)of[TALLY_OWED],
		   (unsigned long long)of[TALLY_LOST], (unsigned long long)of[TALLY_WITHDRAWN]);
}

static void
put_oldest(struct buf *out, uint64_t seconds)
{
	unsigned long long s = seconds;

	buf_printf(out, ", oldest %02llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
}

/* How far behind central is: announced, not here, and somebody has it. */
static void
text_lag(struct buf *out, const struct tally *t)
{
	size_t i;

	for (i = 0; i < t->n; i++) {
		const struct tally_row *r = &t->rows[i];

		if (r->leader != i || !r->site_of[TALLY_OWED])
			continue;
		buf_printf(out, "%s: lags by %llu images, ", r->site.site,
			   (unsigned long long)r->site_of[TALLY_OWED]);
		buf_put_size(out, r->site_owed_bytes);
		put_oldest(out, r->site_owed_seconds);
		buf_puts(out, "\n");
	}
}

/* Why that is so, as far as the edge has told. */
static void
text_told(struct buf *out, const struct sites *s)
{
	struct told t;
	size_t i;

	for (i = 0; i < s->tally.n; i++) {
		if (!sites_told(s, i, &t))
			continue;
		told_text(out, s->tally.rows[i].site.site, &t);
		told_close(&t);
	}
}

/* What a fire would take now: what nobody else has. */
static void
text_exposure(struct buf *out, const struct tally *t)
{
	size_t i;

	for (i = 0; i < t->n; i++) {
		const struct exposure *x = &t->rows[i].site_exposure;

		if (t->rows[i].leader != i)
			continue;
		buf_printf(out, "%s: if this building burnt now: %llu images, ",
			   t->rows[i].site.site, (unsigned long long)x->instances);
		buf_put_size(out, x->bytes);
		if (x->instances)
			put_oldest(out, x->oldest_seconds);
		if (x->committed)
			buf_printf(out, "; %llu of them committed: who sent them may have none",
				   (unsigned long long)x->committed);
		buf_puts(out, "\n");
	}
}

void
sites_text_numbers(struct buf *out, const struct sites *s)
{
	char hex[ID128_HEX], when[CLOCK_RFC3339_SIZE];
	size_t i;

	buf_puts(out, "of each site, whatever incarnations announced them, each image once: beside "
		      "its latest one\n");
	buf_printf(out, "%-16s %-32s %-6s %9s %9s %9s %9s %9s %9s  %s\n", "site", "incarnation",
		   "ledger", "known", "held", "owed", "lost", "withdrawn", "seq", "last contact");
	for (i = 0; i < s->tally.n; i++) {
		const struct tally_row *r = &s->tally.rows[i];

		hex_of(r->site.incarnation.b, ID128_SIZE, hex);
		clock_rfc3339(r->site.contact_ms, when);
		buf_printf(out, "%-16s %s %-6s ", r->site.site, hex,
			   r->site.closed ? "closed" : "live");
		if (is_latest(&s->tally, i))
			text_numbers(out, s->tally.rows[r->leader].site_known,
				     s->tally.rows[r->leader].site_of);
		else
			buf_printf(out, "%49s", "");
		buf_printf(out, " %9llu  %s\n", (unsigned long long)r->site.head.seq, when);
	}
	for (i = 0; i < s->tally.n; i++)
		text_turning(out, &s->tally.rows[i].site);
	text_lag(out, &s->tally);
	text_told(out, s);
	text_exposure(out, &s->tally);
}

void
sites_text(struct buf *out, const struct sites *s)
{
	const char *last = "";
	size_t i;

	buf_printf(out, "%-16s %-9s %-6s %-8s %-20s  %s\n", "site", "state", "policy", "key",
		   "certificate until", "last contact");
	for (i = 0; i < s->tally.n; i++) { /* they stand by name */
		const char *site = s->tally.rows[i].site.site;

		if (strcmp(site, last) != 0)
			text_member(out, s, site, member_of(s, site));
		last = site;
	}
	for (i = 0; i < s->n_members; i++)
		if (!ever_came(s, s->members[i].site))
			text_member(out, s, s->members[i].site, &s->members[i]);
	for (i = 0; i < s->n_members; i++)
		text_remarks(out, s, &s->members[i]);
	for (i = 0; i < s->tally.n; i++)
		text_reopened(out, &s->tally.rows[i].site);
	for (i = 0; i < s->tally.n; i++)
		text_copies(out, &s->tally, i);
	for (i = 0; i < s->tally.n; i++)
		text_version(out, &s->tally.rows[i].site);
	buf_puts(out, "\n");
	sites_text_numbers(out, s);
}
