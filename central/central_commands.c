#include "central/central_commands.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/loss.h"
#include "central/record.h"
#include "central/tally.h"
#include "central/verify.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/os/ctl.h"
#include "common/os/daemon.h"
#include "common/store/differences.h"
#include "proto/sync.pb-c.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_PERSON = 3 };

struct asked {
	struct central *c;
	struct ctl_reply *r;
	const char *const *words;
	size_t n;
	bool json, csv, instances;
	const char *site;
};

static int
failed(struct asked *a, const struct err *e)
{
	char line[300];

	(void)snprintf(line, sizeof(line), "salamander-central: %s\n", e->what);
	(void)ctl_progress(a->r, line);
	return EXIT_FAILED;
}

static int
give(struct asked *a, struct buf *out, int code)
{
	(void)ctl_out(a->r, (const char *)out->data, out->len);
	buf_fini(out);
	return code;
}

/* --- status and sites --- */

struct snapshot {
	struct id128 epoch;
	struct store_counts counts;
	uint64_t packs;
	struct tally sites;
};

static int
snapshot(struct central *c, struct snapshot *s, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	memset(s, 0, sizeof(*s));
	if (rc)
		return rc;
	rc = state_id(tx, "epoch", &s->epoch, e);
	if (!rc)
		rc = store_counts(tx, &s->counts, e);
	if (!rc)
		rc = pack_row_count(tx, &s->packs, e);
	if (!rc)
		rc = tally_make(&s->sites, tx, e);
	store_end_read(tx);
	return rc;
}

static bool
needs_a_person(const struct snapshot *s)
{
	size_t i;

	for (i = 0; i < s->sites.n; i++)
		if (s->sites.rows[i].of[TALLY_LOST])
			return true;
	return s->counts.conflicts > 0;
}

static void
json_sites(struct json *j, const char *key, const struct tally *t)
{
	size_t i, k;

	json_open(j, key, '[');
	for (i = 0; i < t->n; i++) {
		const struct tally_row *r = &t->rows[i];

		json_open(j, NULL, '{');
		json_text(j, "name", r->site.site);
		json_id(j, "incarnation", &r->site.incarnation);
		json_bool(j, "closed", r->site.closed);
		json_count(j, "known", r->known);
		for (k = 0; k < TALLY_STATES; k++)
			json_count(j, tally_name((enum tally_state)k), r->of[k]);
		json_count(j, "ledger_seq", r->site.head.seq);
		json_time(j, "last_contact", r->site.contact_ms);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void
text_sites(struct buf *out, const struct tally *t)
{
	char hex[ID128_HEX], when[CLOCK_RFC3339_SIZE];
	size_t i;

	buf_printf(out, "%-16s %-8s %-6s %9s %9s %9s %9s %9s %9s  %s\n", "site", "incarn.", "state",
		   "known", "held", "owed", "lost", "withdrawn", "seq", "last contact");
	for (i = 0; i < t->n; i++) {
		const struct tally_row *r = &t->rows[i];

		hex_of(r->site.incarnation.b, ID128_SIZE, hex);
		clock_rfc3339(r->site.contact_ms, when);
		buf_printf(out, "%-16s %.8s %-6s %9llu %9llu %9llu %9llu %9llu %9llu  %s\n",
			   r->site.site, hex, r->site.closed ? "closed" : "live",
			   (unsigned long long)r->known, (unsigned long long)r->of[TALLY_HELD],
			   (unsigned long long)r->of[TALLY_OWED],
			   (unsigned long long)r->of[TALLY_LOST],
			   (unsigned long long)r->of[TALLY_WITHDRAWN],
			   (unsigned long long)r->site.head.seq, when);
	}
}

static void
text_status(struct buf *out, const struct snapshot *s)
{
	char hex[ID128_HEX];

	hex_of(s->epoch.b, ID128_SIZE, hex);
	buf_printf(out,
		   "central, epoch %s\n%llu images of %llu studies, %llu bytes, in %llu packs\n"
		   "%llu variants, %llu revisions, %llu UIDs in conflict\n",
		   hex, (unsigned long long)s->counts.instances,
		   (unsigned long long)s->counts.studies, (unsigned long long)s->counts.bytes,
		   (unsigned long long)s->packs, (unsigned long long)s->counts.variants,
		   (unsigned long long)s->counts.revisions,
		   (unsigned long long)s->counts.conflicts);
	text_sites(out, &s->sites);
}

static void
json_status(struct buf *out, const struct snapshot *s)
{
	struct json j;

	json_init(&j, out);
	json_open(&j, NULL, '{');
	json_text(&j, "role", "central");
	json_id(&j, "epoch", &s->epoch);
	json_count(&j, "instances", s->counts.instances);
	json_count(&j, "studies", s->counts.studies);
	json_count(&j, "bytes", s->counts.bytes);
	json_count(&j, "packs", s->packs);
	json_count(&j, "variants", s->counts.variants);
	json_count(&j, "revisions", s->counts.revisions);
	json_count(&j, "conflicts", s->counts.conflicts);
	json_sites(&j, "sites", &s->sites);
	json_close(&j, '}');
	buf_puts(out, "\n");
}

static int
status(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct snapshot s;
	bool only_sites = strcmp(a->words[0], "sites") == 0;
	struct json j;
	int code;

	if (snapshot(a->c, &s, &e))
		return failed(a, &e);
	if (only_sites && a->json) {
		json_init(&j, &out);
		json_sites(&j, NULL, &s.sites);
		buf_puts(&out, "\n");
	} else if (only_sites) {
		text_sites(&out, &s.sites);
	} else if (a->json) {
		json_status(&out, &s);
	} else {
		text_status(&out, &s);
	}
	code = needs_a_person(&s) && !only_sites ? EXIT_PERSON : EXIT_OK;
	tally_free(&s.sites);
	return give(a, &out, code);
}

/* --- the others --- */

/* 0 when the site ever came. */
static int
known_site(struct asked *a, const char *name, struct err *e)
{
	struct store_tx *tx;
	struct tally t;
	bool known = false;
	size_t i;
	int rc = store_begin_read(&tx, a->c->store, e);

	if (rc)
		return rc;
	rc = tally_sites(&t, tx, e);
	store_end_read(tx);
	for (i = 0; !rc && i < t.n; i++)
		known = known || strcmp(t.rows[i].site.site, name) == 0;
	if (!rc)
		tally_free(&t);
	return rc || known ? rc : err_set(e, ERR_ABSENT, 0, "no site %s; see `sites`", name);
}

static int
loss(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	unsigned long long lost = 0;

	if (a->site && known_site(a, a->site, &e))
		return failed(a, &e);
	if (loss_print(a->c->store, a->site,
		       a->csv	 ? LOSS_CSV
		       : a->json ? LOSS_JSON
				 : LOSS_TEXT,
		       a->instances, &out, &lost, &e)) {
		buf_fini(&out);
		return failed(a, &e);
	}
	return give(a, &out, lost ? EXIT_PERSON : EXIT_OK);
}

static int
conflicts(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	uint64_t n = 0;

	if (differences_print(a->c->store, a->instances, a->json, &out, &n, &e)) {
		buf_fini(&out);
		return failed(a, &e);
	}
	return give(a, &out, n ? EXIT_PERSON : EXIT_OK);
}

static int
site_lost(struct asked *a)
{
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT;

	if (a->n != 3 || strcmp(a->words[1], "lost") != 0) {
		(void)ctl_progress(a->r, "salamander-central: site lost NAME\n");
		return EXIT_USAGE;
	}
	if (known_site(a, a->words[2], &e))
		return failed(a, &e);
	if (record_decision(a->c, SYNC__DECISION_KIND__DECISION_CLOSE, a->words[2], NULL,
			    "site lost", &e))
		return failed(a, &e);
	buf_printf(&out, "%s is closed; `loss --site %s` lists what it had not sent\n", a->words[2],
		   a->words[2]);
	return give(a, &out, EXIT_OK);
}

static int
verify(struct asked *a)
{
	struct verify_result v;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;

	if (verify_all(a->c, a->r, a->c->http != NULL, &v, &e))
		return failed(a, &e);
	buf_printf(
		&out,
		"%llu packs with %llu members read: %llu damaged, %llu healed, %llu in packs that "
		"are gone; %llu packs with a damaged frame, %llu holdings bits corrected\n",
		(unsigned long long)v.packs, (unsigned long long)v.members,
		(unsigned long long)v.damaged, (unsigned long long)v.healed,
		(unsigned long long)v.absent, (unsigned long long)v.frames,
		(unsigned long long)v.wrong_bits);
	return give(a, &out, v.damaged || v.absent || v.frames ? EXIT_PERSON : EXIT_OK);
}

/* A running server makes it in main's thread; here it is waited for. */
static int
rebuild(struct central *c, struct ctl_reply *r)
{
	struct timespec step = {0, 50000000L};
	char text[] = "the catalogue was made anew from packs and log\n";

	if (c->ctl) {
		atomic_store(&c->rebuild_result, 0);
		atomic_store(&c->rebuild_wanted, true);
		daemon_wake();
		while (!atomic_load(&c->rebuild_result) && !ctl_stopping(r))
			(void)nanosleep(&step, NULL);
		if (atomic_load(&c->rebuild_result) == 0) {
			(void)ctl_progress(r, "salamander-central: stopping\n");
			return EXIT_FAILED;
		}
		if (atomic_load(&c->rebuild_result) < 0) {
			(void)ctl_progress(r, "salamander-central: rebuild failed; see the log\n");
			return EXIT_FAILED;
		}
	}
	(void)ctl_out(r, text, strlen(text));
	return EXIT_OK;
}

static int
reload(struct asked *a)
{
	(void)a;
	daemon_reload();
	return EXIT_OK;
}

static const struct {
	const char *name;
	int (*run)(struct asked *a);
	bool reads;
} commands[] = {{"status", status, true},   {"sites", status, true},
		{"loss", loss, true},	    {"conflicts", conflicts, true},
		{"site", site_lost, false}, {"verify", verify, false},
		{"reload", reload, false}};

bool
central_commands_reads(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].reads;
	return false;
}

/* Words that begin with "--" are options; the rest stays in its order. */
static size_t
sort_out(struct asked *a, size_t n, const char *const *words, const char **rest)
{
	size_t i, k = 0;

	for (i = 0; i < n; i++)
		if (strcmp(words[i], "--json") == 0)
			a->json = true;
		else if (strcmp(words[i], "--csv") == 0)
			a->csv = true;
		else if (strcmp(words[i], "--instances") == 0)
			a->instances = true;
		else if (strcmp(words[i], "--site") == 0 && i + 1 < n)
			a->site = words[++i];
		else
			rest[k++] = words[i];
	return k;
}

int
central_commands_run(void *central, size_t n, const char *const *words, struct ctl_reply *r)
{
	struct central *c = central;
	const char *rest[CTL_WORDS];
	struct asked a = {.c = c, .r = r, .words = rest};
	size_t i;
	int code;

	a.n = sort_out(&a, n, words, rest);
	if (a.n && strcmp(rest[0], "rebuild") == 0)
		return rebuild(c, r);
	for (i = 0; a.n && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, rest[0]) == 0) {
			(void)pthread_rwlock_rdlock(&c->use);
			code = c->store ? commands[i].run(&a) : EXIT_FAILED;
			(void)pthread_rwlock_unlock(&c->use);
			return code;
		}
	(void)ctl_progress(r, "salamander-central: no such command\n");
	return EXIT_USAGE;
}
