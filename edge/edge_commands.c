#include "edge/edge_commands.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/os/ctl.h"
#include "common/os/daemon.h"
#include "common/store/differences.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/keep.h"
#include "edge/outbox.h"
#include "edge/rebuild.h"
#include "edge/refill.h"
#include "edge/replicate.h"
#include "edge/status.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_PERSON = 3 };

struct asked {
	struct edge *e;
	struct ctl_reply *r;
	const char *const *words;
	size_t n;
	bool json, instances, group;
	const char *study, *until, *days, *bytes;
};

static void
complain(struct asked *a, const char *what)
{
	char line[300];

	(void)snprintf(line, sizeof(line), "salamander-edge: %s\n", what);
	(void)ctl_progress(a->r, line);
}

static int
failed(struct asked *a, const struct err *err)
{
	complain(a, err->what);
	return EXIT_FAILED;
}

static int
give(struct asked *a, struct buf *out, int code)
{
	(void)ctl_out(a->r, (const char *)out->data, out->len);
	buf_fini(out);
	return code;
}

static int
status(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	bool person;
	int rc = a->json ? status_json(a->e, &out, &person, &err)
			 : status_text(a->e, &out, &person, &err);

	if (rc) {
		buf_fini(&out);
		return failed(a, &err);
	}
	return give(a, &out, person ? EXIT_PERSON : EXIT_OK);
}

static int
conflicts(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	uint64_t n = 0;

	if (differences_print(a->e->store, a->instances, a->json, &out, &n, &err)) {
		buf_fini(&out);
		return failed(a, &err);
	}
	return give(a, &out, n ? EXIT_PERSON : EXIT_OK);
}

static int
evict(struct asked *a)
{
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	struct keep *own = NULL, *keep = a->e->keep;
	uint64_t n = 0, bytes = 0;
	int rc = 0;

	if (!keep) { /* without a server, what it would know is asked here */
		(void)replicate_reach(a->e, NULL);
		rc = keep_start(&own, a->e, &err);
		keep = own;
	}
	if (!rc)
		rc = keep_evict(keep, a->study, &n, &bytes, &err);
	keep_stop(own);
	if (rc)
		return failed(a, &err);
	buf_printf(&out, "%llu images, %llu bytes freed\n", (unsigned long long)n,
		   (unsigned long long)bytes);
	if (a->study && !n) {
		complain(a, "nothing of this study may go: owed, not released, or not here");
		return give(a, &out, EXIT_FAILED);
	}
	return give(a, &out, EXIT_OK);
}

static int
set_hold(struct store_tx *tx, void *arg, struct err *err)
{
	return sync_set_number(tx, "hold", *(uint64_t *)arg, err);
}

static int
hold(struct asked *a)
{
	struct err err = ERR_INIT;
	uint64_t on = a->n == 2 && strcmp(a->words[1], "on") == 0;

	if (a->n != 2 || (!on && strcmp(a->words[1], "off") != 0)) {
		complain(a, "hold on|off");
		return EXIT_USAGE;
	}
	return store_commit(a->e->store, set_hold, &on, &err) ? failed(a, &err) : EXIT_OK;
}

struct pinning {
	const char *study;
	int64_t until;
};

static int
set_pin(struct store_tx *tx, void *arg, struct err *err)
{
	const struct pinning *p = arg;
	int rc = store_pin(tx, p->study, p->until, err);

	return rc == ERR_ABSENT ? err_set(err, ERR_ABSENT, 0, "no such study here") : rc;
}

/* The end of that day, UTC; absent: for ever. */
static bool
end_of_day(const char *date, int64_t *out)
{
	struct tm tm;
	const char *end;

	*out = INT64_MAX;
	if (!date)
		return true;
	memset(&tm, 0, sizeof(tm));
	end = strptime(date, "%Y-%m-%d", &tm);
	if (!end || *end)
		return false;
	*out = ((int64_t)timegm(&tm) + 86400) * 1000;
	return true;
}

static int
pin(struct asked *a)
{
	bool un = strcmp(a->words[0], "unpin") == 0;
	struct pinning p = {a->n == 2 ? a->words[1] : NULL, 0};
	struct err err = ERR_INIT;

	if (!p.study || (!un && !end_of_day(a->until, &p.until))) {
		complain(a, un ? "unpin STUDY" : "pin STUDY [--until YYYY-MM-DD]");
		return EXIT_USAGE;
	}
	return store_commit(a->e->store, set_pin, &p, &err) ? failed(a, &err) : EXIT_OK;
}

/* R17: what was put off is tried now. */
struct retrying {
	uint64_t *seqs;
	size_t n, cap;
};

static int
note_late(void *arg, const struct outbox_row *row, struct err *err)
{
	struct retrying *t = arg;
	uint64_t *more;

	if (!row->not_before)
		return 0;
	if (t->n == t->cap) {
		more = realloc(t->seqs, (t->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return err_set(err, ERR_LOCAL, 0, "no memory for the outbox");
		t->seqs = more;
		t->cap = t->cap * 2 + 64;
	}
	t->seqs[t->n++] = row->seq;
	return 0;
}

static int
try_now(struct store_tx *tx, void *arg, struct err *err)
{
	struct retrying *t = arg;
	struct outbox_row row;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < t->n; i++) {
		rc = outbox_get(tx, OUTBOX_CENTRAL, t->seqs[i], &row, err);
		row.not_before = 0;
		row.parked = false;
		row.tries = 0;
		if (!rc)
			rc = outbox_change(tx, OUTBOX_CENTRAL, &row, err);
		rc = rc == ERR_ABSENT ? 0 : rc;
	}
	return rc;
}

static int
retry(struct asked *a)
{
	struct retrying t = {NULL, 0, 0};
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, a->e->store, &err);

	if (!rc) {
		rc = outbox_each(tx, OUTBOX_CENTRAL, 0, false, note_late, &t, &err);
		store_end_read(tx);
	}
	if (!rc && t.n)
		rc = store_commit(a->e->store, try_now, &t, &err);
	free(t.seqs);
	replicate_wake(a->e->replicate);
	if (rc)
		return failed(a, &err);
	buf_printf(&out, "%zu images are tried again\n", t.n);
	return give(a, &out, EXIT_OK);
}

static bool
size_of(const char *s, uint64_t *out)
{
	static const struct {
		const char *unit;
		unsigned shift;
	} units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
	char *end;
	size_t i;

	*out = strtoull(s, &end, 10);
	for (i = 0; end != s && i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(end, units[i].unit) == 0 && *out <= UINT64_MAX >> units[i].shift) {
			*out <<= units[i].shift;
			return true;
		}
	return false;
}

static int
refill(struct asked *a)
{
	struct refill_config c = {.group = a->group};
	struct refill_result result;
	struct buf out = BUF_INIT;
	struct err err = ERR_INIT;
	char *end = NULL;

	if (a->days) {
		c.days = strtoull(a->days, &end, 10);
		if (*end || end == a->days || c.days == 0 || c.days > 36500) {
			complain(a, "--days: a number from 1 to 36500");
			return EXIT_USAGE;
		}
	}
	if (a->bytes && (!size_of(a->bytes, &c.bytes) || !c.bytes)) {
		complain(a, "--bytes: a size such as 20GiB");
		return EXIT_USAGE;
	}
	if (refill_run(a->e, &c, a->r, &result, &err))
		return failed(a, &err);
	buf_printf(&out,
		   "%llu images known, %llu were here, %llu came (%llu bytes), %llu are not at "
		   "central%s\n",
		   (unsigned long long)result.known, (unsigned long long)result.here,
		   (unsigned long long)result.came, (unsigned long long)result.bytes,
		   (unsigned long long)result.absent,
		   result.stopped ? "; stopped at 70 % of the quota or at --bytes" : "");
	return give(a, &out, result.failed ? EXIT_FAILED : EXIT_OK);
}

/* A running server makes it in main's thread; here it is waited for. */
static int
rebuild(struct edge *e, struct ctl_reply *r)
{
	struct rebuild_result result;
	struct err err = ERR_INIT;
	char line[300];
	int rc = 0;

	if (e->ctl) {
		atomic_store(&e->rebuild_done, 0);
		atomic_store(&e->rebuild_wanted, true);
		daemon_wake();
		while (!atomic_load(&e->rebuild_done) && !ctl_stopping(r))
			clock_sleep(50);
		rc = atomic_load(&e->rebuild_done) == 1 ? 0 : ERR_LOCAL;
		(void)err_set(&err, ERR_LOCAL, 0, "rebuild failed; see the log");
		result = e->rebuilt;
	} else {
		edge_close_store(e);
		rc = rebuild_store(e, &result, &err);
	}
	if (rc)
		(void)snprintf(line, sizeof(line), "salamander-edge: %s\n", err.what);
	else
		(void)snprintf(line, sizeof(line),
			       "%llu images found again, all owed until central confirms them; "
			       "%llu torn%s%s\n",
			       (unsigned long long)result.objects, (unsigned long long)result.torn,
			       result.kept ? "; the old file stays as store.old" : "",
			       /* R20: nobody shall take a part for the whole */
			       edge_has_central(e) ? "; `refill` lists what had been evicted" : "");
	if (rc)
		(void)ctl_progress(r, line);
	else
		(void)ctl_out(r, line, strlen(line));
	return rc ? EXIT_FAILED : result.torn ? EXIT_PERSON : EXIT_OK;
}

static int
reload(struct asked *a)
{
	if (!a->e->ctl) {
		complain(a, "serve is not running");
		return EXIT_FAILED;
	}
	daemon_reload();
	return EXIT_OK;
}

static const struct {
	const char *name;
	int (*run)(struct asked *a);
	bool reads;
} commands[] = {{"status", status, true}, {"conflicts", conflicts, true},
		{"evict", evict, false},  {"hold", hold, false},
		{"pin", pin, false},	  {"unpin", pin, false},
		{"retry", retry, false},  {"refill", refill, false},
		{"reload", reload, false}};
enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

bool
edge_commands_known(const char *name)
{
	size_t i;

	for (i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return true;
	return strcmp(name, "rebuild") == 0;
}

bool
edge_commands_reads(const char *name)
{
	size_t i;

	for (i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].reads;
	return false;
}

static size_t
sort_out(struct asked *a, size_t n, const char *const *words, const char **rest)
{
	const struct {
		const char *name;
		const char **to;
	} values[] = {{"--study", &a->study},
		      {"--until", &a->until},
		      {"--days", &a->days},
		      {"--bytes", &a->bytes}};
	size_t i, k, left = 0;
	bool taken;

	for (i = 0; i < n; i++) {
		taken = false;
		for (k = 0; k < sizeof(values) / sizeof(values[0]) && i + 1 < n; k++)
			if (strcmp(words[i], values[k].name) == 0) {
				*values[k].to = words[++i];
				taken = true;
				break;
			}
		if (taken)
			continue;
		if (strcmp(words[i], "--json") == 0)
			a->json = true;
		else if (strcmp(words[i], "--instances") == 0)
			a->instances = true;
		else if (strcmp(words[i], "--group") == 0)
			a->group = true;
		else
			rest[left++] = words[i];
	}
	return left;
}

int
edge_commands_run(void *edge, size_t n, const char *const *words, struct ctl_reply *r)
{
	const char *rest[CTL_WORDS];
	struct asked a = {.e = edge, .r = r, .words = rest};
	size_t i;
	int code;

	a.n = sort_out(&a, n, words, rest);
	if (a.n && strcmp(rest[0], "rebuild") == 0)
		return rebuild(edge, r);
	for (i = 0; a.n && i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, rest[0]) == 0) {
			(void)pthread_rwlock_rdlock(&a.e->use);
			code = a.e->store ? commands[i].run(&a) : EXIT_FAILED;
			(void)pthread_rwlock_unlock(&a.e->use);
			return code;
		}
	complain(&a, "no such command; see --help");
	return EXIT_USAGE;
}
