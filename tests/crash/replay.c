/*
 * replay - opens what a disk may hold after a power cut, many times.
 *
 *   replay --trace FILE --work DIR [--states N] [--seed N] [--only N]
 *          [--lie sync|through|folders] [--compare DIR]
 *
 * The trace is that of an edge whose data folder is "edge" in the recorded folder
 * (recorder.c), with marks of what was answered with success. State N of a seed is cut
 * at the same call each time: --only N brings a failing one back, and it stays in
 * DIR/disk. Each state is opened by the product; then every object answered before the
 * cut is there, every object at all passes its check, the ledger's chain holds and one
 * more object can be taken in.
 *
 * --lie: the model forgets what that flush had made durable, and losses are expected.
 * --compare: with nothing lost, the model must hold what this real folder holds.
 * Exit 0: as expected.
 */
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/dicom/canon.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "proto/ledger.h"
#include "tests/crash/trace.h"
#include "tests/lib/disk.h"
#include "tests/lib/stored.h"

enum { OBJECTS_MAX = 4096, TRACE_MAX = 1 << 30, SHOWN = 5, SEEN_MAX = 1 << 16 };

struct options {
	const char *trace, *work, *compare;
	unsigned long long states, seed, only;
	bool one;
	unsigned lies;
};

struct trace {
	const struct trace_head **all;
	size_t n;
};

struct acked {
	unsigned char digest[SHA256_SIZE];
	char path[256];
};

struct judge {
	struct acked acked[OBJECTS_MAX];
	size_t n;
	struct made further; /* what is taken in afterwards */
	char conf[300], disk[200];
	uint64_t oids[OBJECTS_MAX];
	size_t n_oids;
	/* what was found */
	unsigned long long states, distinct, lost, unopened, kept, pending;
	uint64_t seen[SEEN_MAX]; /* hashes of disk and answers, 0: free */
};

/* Where it is, for the handler of deadly signals. */
static char where[200];

static void __attribute__((noreturn)) die(const char *what, const struct err *e)
{
	fprintf(stderr, "replay: %s: %s\n", what, e ? e->what : "");
	exit(2);
}

/* A product that dies on a state has failed on it. */
static void
dying(int sig)
{
	static const char died[] = "DIED: ";
	ssize_t ignored = write(STDOUT_FILENO, died, sizeof(died) - 1);

	ignored = write(STDOUT_FILENO, where, strlen(where));
	ignored = write(STDOUT_FILENO, "\n", 1);
	(void)ignored;
	_exit(100 + sig);
}

/* On a disk that lies it may: judge_apart sees it. */
static void
dying_unseen(int sig)
{
	_exit(100 + sig);
}

/* --- the trace --- */

static void
load(struct trace *t, const char *path)
{
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;
	struct trace_head h;
	size_t at = 0, room = 0;

	if (file_slurp(path, TRACE_MAX, &b, &e))
		die("trace", &e);
	for (; at + sizeof(h) <= b.len; at += h.size) {
		struct trace_head *own;

		memcpy(&h, b.data + at, sizeof(h));
		own = h.size >= sizeof(h) && h.size <= b.len - at ? malloc(h.size) : NULL;
		if (t->n == room) {
			room = room ? 2 * room : 1024;
			t->all = realloc(t->all, room * sizeof(struct trace_head *));
		}
		if (!own || !t->all)
			die("the trace is torn, or there is no memory", NULL);
		memcpy(own, b.data + at, h.size); /* aligned, as records in the file are not */
		t->all[t->n++] = own;
	}
	buf_fini(&b);
}

static void
add_mark(struct judge *j, const struct trace_head *h)
{
	struct canon_config c = {.form = CANON_FILE};
	struct acked *a = &j->acked[j->n];
	const struct object_info *info;
	struct canon *canon = NULL;
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;

	if (j->n == OBJECTS_MAX || h->path >= sizeof(a->path))
		die("too many marks, or too long a path", NULL);
	memcpy(a->path, h + 1, h->path);
	a->path[h->path] = '\0';
	if (file_slurp(a->path, TRACE_MAX, &b, &e) ||
	    canon_bytes(&canon, &c, b.data, b.len, NULL, &info, &e))
		die(a->path, &e);
	memcpy(a->digest, info->digest, SHA256_SIZE);
	j->n++;
	canon_free(canon);
	buf_fini(&b);
}

/* --- the judgement --- */

static int
keep_oid(void *arg, const struct version *v, struct err *e)
{
	struct judge *j = arg;

	if (v->state != VERSION_HERE)
		return 0;
	if (j->n_oids == OBJECTS_MAX)
		return err_set(e, ERR_LOCAL, 0, "too many objects");
	j->oids[j->n_oids++] = v->oid;
	return 0;
}

/* Every answered object has a version whose bytes are here; the chain holds. */
static int
check_rows(struct judge *j, struct store *s, size_t answered, struct err *e)
{
	struct store_tx *tx;
	struct version v;
	uint64_t oid, bad;
	size_t i;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	rc = ledger_verify(tx, &bad, e);
	for (i = 0; !rc && i < answered; i++) {
		rc = store_by_digest(tx, j->acked[i].digest, &oid, e);
		if (!rc)
			rc = store_version(tx, oid, &v, e);
		if (!rc && (v.state != VERSION_HERE || v.seq == 0))
			rc = ERR_ABSENT;
		if (rc)
			err_set(e, ERR_ABSENT, 0, "answered, and gone: %s", j->acked[i].path);
	}
	j->n_oids = 0;
	if (!rc)
		rc = store_versions(tx, 0, keep_oid, j, e);
	store_end_read(tx);
	return rc;
}

static int
check_store(struct judge *j, struct store *s, size_t answered, struct err *e)
{
	struct store_verdict verdict = {0};
	int rc = check_rows(j, s, answered, e);
	size_t i;

	for (i = 0; !rc && i < j->n_oids; i++) /* nothing is half */
		rc = store_check(s, j->oids[i], e);
	if (!rc)
		rc = stored_put(s, &j->further, "after", &verdict, e);
	if (!rc)
		rc = store_check(s, verdict.oid, e);
	return rc;
}

enum verdict { GOOD, UNOPENED, LOST };

static enum verdict
judge_state(struct judge *j, size_t answered)
{
	struct err e = ERR_INIT;
	struct edge edge;
	int rc = edge_open(&edge, j->conf, EDGE_SERVE, &e);

	if (rc && answered == 0) { /* the very first start, cut short: nothing to lose */
		if (j->unopened == 0)
			printf("not opened, nothing was answered: %s: %s\n", where, e.what);
		return UNOPENED;
	}
	if (!rc) {
		rc = check_store(j, edge.store, answered, &e);
		edge_close(&edge);
	}
	if (rc && j->lost < SHOWN)
		printf("LOST: %s: %s\n", where, e.what);
	return rc ? LOST : GOOD;
}

/* A disk that lies may kill the product (SIGBUS in a mapping): in a process of its own. */
static enum verdict
judge_apart(struct judge *j, size_t answered)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork", NULL);
	if (pid == 0)
		_exit((int)judge_state(j, answered));
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid", NULL);
	if (WIFEXITED(status) && WEXITSTATUS(status) <= LOST)
		return (enum verdict)WEXITSTATUS(status);
	return answered ? LOST : UNOPENED;
}

static void
prepare(struct judge *j, const struct options *o)
{
	static const struct recipe further = {
		.study = "1.2.3.4.5", .uid = "1.2.3.4.5.6", .pixel = 7, .pixels = 20000};
	FILE *f;

	(void)snprintf(j->disk, sizeof(j->disk), "%.150s/disk", o->work);
	(void)snprintf(j->conf, sizeof(j->conf), "%.150s/edge.conf", o->work);
	f = fopen(j->conf, "we");
	if (!f)
		die(j->conf, NULL);
	fprintf(f, "[site]\nname = edge\nissuer = EDGE\n[data]\ndir = %s/edge\nquota = 64MiB\n",
		j->disk);
	fprintf(f, "[dicom]\naet = EDGE\nlisten = 127.0.0.1:11112\n[log]\nlevel = error\n");
	if (fclose(f))
		die(j->conf, NULL);
	made_init(&j->further, &further);
}

/* --- states --- */

static double
now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A full table counts no more: what is said to be distinct is. */
static bool
is_new(struct judge *j, uint64_t hash)
{
	size_t i, n;

	hash += hash == 0;
	for (n = 0, i = hash % SEEN_MAX; n < SEEN_MAX && j->seen[i]; n++, i = (i + 1) % SEEN_MAX)
		if (j->seen[i] == hash)
			return false;
	if (n < SEEN_MAX)
		j->seen[i] = hash;
	return n < SEEN_MAX;
}

static enum verdict
one_state(struct judge *j, struct disk *d, const struct options *o, unsigned long long n,
	  size_t cut, size_t answered)
{
	struct rng_seeded r;
	struct disk_state state;
	enum verdict v;

	rng_seeded_init(&r, o->seed * 1000003 + n);
	(void)snprintf(
		where, sizeof(where),
		"seed %llu state %llu of %llu, cut after call %zu, %zu pending, %zu answered",
		o->seed, n, o->states, cut, disk_pending(d), answered);
	disk_write(d, &r.r, j->disk, &state);
	j->kept += state.kept;
	j->distinct += is_new(j, state.hash + answered);
	j->pending += disk_pending(d);
	v = o->lies ? judge_apart(j, answered) : judge_state(j, answered);
	j->states++;
	j->unopened += v == UNOPENED;
	j->lost += v == LOST;
	return v;
}

/* States are spread evenly over the calls; one pass over the trace visits them all. */
static void
play(struct judge *j, const struct trace *t, const struct options *o)
{
	struct disk *d = disk_new(o->lies);
	unsigned long long n = 0;
	size_t cut;

	for (cut = 0; cut < t->n && n < o->states; cut++) {
		disk_add(d, t->all[cut]);
		if (t->all[cut]->op == TRACE_MARK)
			add_mark(j, t->all[cut]);
		for (; n < o->states && n * t->n / o->states == cut; n++) {
			if (o->one && n != o->only)
				continue;
			if (one_state(j, d, o, n, cut, j->n) == LOST && !o->lies)
				goto out; /* it stays for whoever looks */
		}
	}
out:
	disk_free(d);
}

/* --- did the recorder see everything? --- */

static int
same_file(const char *a, const char *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	int rc = file_slurp(a, TRACE_MAX, &x, NULL);

	if (!rc)
		rc = file_slurp(b, TRACE_MAX, &y, NULL);
	if (!rc && (x.len != y.len || (x.len && memcmp(x.data, y.data, x.len) != 0)))
		rc = ERR_CONFLICT;
	buf_fini(&x);
	buf_fini(&y);
	return rc;
}

/* Regular files of one in the other; lock.mdb is written through a mapping, sockets are names. */
static bool
holds(const char *one, const char *other)
{
	struct dirent *entry;
	bool same = true;
	DIR *dir = opendir(one);

	while (dir && same && (entry = readdir(dir)) != NULL) {
		char a[1024], b[1024];
		struct stat st;

		if (entry->d_name[0] == '.' && strlen(entry->d_name) < 3)
			continue;
		(void)snprintf(a, sizeof(a), "%.700s/%s", one, entry->d_name);
		(void)snprintf(b, sizeof(b), "%.700s/%s", other, entry->d_name);
		if (lstat(a, &st) == 0 && S_ISDIR(st.st_mode))
			same = holds(a, b);
		else if (S_ISREG(st.st_mode) && strcmp(entry->d_name, "lock.mdb") != 0)
			same = same_file(a, b) == 0;
		if (!same)
			printf("differs from the replay: %s\n", a);
	}
	if (dir)
		(void)closedir(dir);
	return same && dir;
}

static bool
compare(struct judge *j, const struct trace *t, const char *real)
{
	struct disk *d = disk_new(DISK_HONEST);
	struct disk_state state;
	size_t i;

	for (i = 0; i < t->n; i++)
		disk_add(d, t->all[i]);
	disk_write(d, NULL, j->disk, &state);
	disk_free(d);
	return holds(real, j->disk) && holds(j->disk, real);
}

/* --- options --- */

static bool
read_options(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"trace", required_argument, NULL, 't'},   {"work", required_argument, NULL, 'w'},
		{"states", required_argument, NULL, 'n'},  {"seed", required_argument, NULL, 's'},
		{"only", required_argument, NULL, 'o'},	   {"lie", required_argument, NULL, 'l'},
		{"compare", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 't')
			o->trace = optarg;
		else if (c == 'w')
			o->work = optarg;
		else if (c == 'c')
			o->compare = optarg;
		else if (c == 'n')
			o->states = strtoull(optarg, NULL, 10);
		else if (c == 's')
			o->seed = strtoull(optarg, NULL, 10);
		else if (c == 'o')
			o->only = strtoull(optarg, NULL, 10), o->one = true;
		else if (c == 'l')
			o->lies |= strcmp(optarg, "sync") == 0	    ? DISK_NO_SYNC
				   : strcmp(optarg, "through") == 0 ? DISK_NO_THROUGH
								    : DISK_NO_FOLDERS;
		else
			return false;
	}
	return o->trace && o->work && o->states;
}

int
main(int argc, char **argv)
{
	static struct judge j;
	struct options o = {.states = 2000, .seed = 1};
	struct trace t = {NULL, 0};
	double start, seconds;

	if (!read_options(&o, argc, argv)) {
		fprintf(stderr, "usage: replay --trace FILE --work DIR [--states N] [--seed N]\n");
		return 2;
	}
	(void)signal(SIGBUS, o.lies ? dying_unseen : dying);
	(void)signal(SIGSEGV, o.lies ? dying_unseen : dying);
	(void)signal(SIGABRT, o.lies ? dying_unseen : dying);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	load(&t, o.trace);
	prepare(&j, &o);
	if (o.compare && !compare(&j, &t, o.compare))
		return EXIT_FAILURE;
	start = now();
	play(&j, &t, &o);
	seconds = now() - start;
	printf("%llu states (%llu distinct) of %zu calls, %zu answered: %llu lost, ", j.states,
	       j.distinct, t.n, j.n, j.lost);
	printf("%llu unopened before any answer, %.0f%% of what was pending kept, ", j.unopened,
	       100.0 * (double)j.kept / (double)(j.pending ? j.pending : 1));
	printf("%.1f s, %.0f a second\n", seconds, (double)j.states / seconds);
	return (j.lost > 0) == (o.lies != 0) && j.states > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
