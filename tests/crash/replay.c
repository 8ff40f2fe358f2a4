/*
 * replay - opens what a disk may hold after a power cut, many times.
 *
 *   replay --trace FILE --work DIR [--node edge|central] [--states N] [--seed N] [--only N]
 *          [--early] [--lie sync|through|folders|journal] [--compare DIR]
 *
 * The trace is that of a node whose data folder is called "edge" or "central" in the
 * recorded folder (recorder.c), with marks of what was answered (witness.h). State N of
 * a seed is cut at the same call each time: --only N brings a failing one back, and it
 * stays in DIR/disk. Each state is opened by the product; then every promise given
 * before the cut holds, every object at all passes its check, and the node goes on, also
 * when nothing was promised yet.
 *
 * --early: only cuts before the first answer: a first start that was cut short.
 * --lie: the model forgets what that flush had made durable, or the whole journal of the
 * store, and losses are expected.
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
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/os/file.h"
#include "tests/crash/trace.h"
#include "tests/lib/bench.h"
#include "tests/lib/disk.h"
#include "tests/lib/witness.h"

enum { TRACE_MAX = 1 << 30, SHOWN = 5, SEEN_MAX = 1 << 22 };
enum { NO_JOURNAL = 8 }; /* beside enum disk_lie */

struct options {
	const char *trace, *work, *compare;
	const struct witness_kind *node;
	unsigned long long states, seed, only;
	bool one, early;
	unsigned lies;
};

struct trace {
	const struct trace_head **all;
	size_t n;
};

struct judge {
	const struct witness_kind *node;
	struct witness *witness;
	size_t n; /* marks */
	char conf[300], disk[200];
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
	struct err e = ERR_INIT;
	char mark[512];

	if (h->path >= sizeof(mark))
		die("too long a mark", NULL);
	memcpy(mark, h + 1, h->path);
	mark[h->path] = '\0';
	if (j->node->note(j->witness, mark, &e))
		die(mark, &e);
	j->n++;
}

/* --- the judgement --- */

enum verdict { GOOD, UNOPENED, LOST };

static enum verdict
judge_state(struct judge *j, size_t answered)
{
	struct err e = ERR_INIT;
	int rc = j->node->open(j->witness, &e);

	if (rc && answered == 0) { /* the very first start, cut short: it must go on, too */
		if (j->unopened == 0)
			printf("not opened, nothing was answered: %s: %s\n", where, e.what);
		return UNOPENED;
	}
	if (!rc) {
		rc = j->node->check(j->witness, answered, &e);
		j->node->shut(j->witness);
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
	char dir[300];

	j->node = o->node;
	(void)snprintf(j->disk, sizeof(j->disk), "%.150s/disk", o->work);
	(void)snprintf(j->conf, sizeof(j->conf), "%.150s/node.conf", o->work);
	(void)snprintf(dir, sizeof(dir), "%s/%s", j->disk, o->node->name);
	j->witness = o->node->make(j->conf, dir);
}

/* --- states --- */

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
	char journal[300];
	enum verdict v;

	rng_seeded_init(&r, o->seed * 1000003 + n);
	(void)snprintf(
		where, sizeof(where),
		"seed %llu state %llu of %llu, cut after call %zu, %zu pending, %zu answered",
		o->seed, n, o->states, cut, disk_pending(d), answered);
	disk_write(d, &r.r, j->disk, &state);
	if (o->lies & NO_JOURNAL) {
		(void)snprintf(journal, sizeof(journal), "%s/edge/store/journal", j->disk);
		(void)file_remove(journal, NULL);
	}
	j->kept += state.kept;
	j->distinct += is_new(j, state.hash + answered);
	j->pending += disk_pending(d);
	v = o->lies ? judge_apart(j, answered) : judge_state(j, answered);
	j->states++;
	j->unopened += v == UNOPENED;
	j->lost += v == LOST;
	return v;
}

static size_t
first_mark(const struct trace *t)
{
	size_t n = 0;

	while (n < t->n && t->all[n]->op != TRACE_MARK)
		n++;
	return n;
}

/* States are spread evenly over the calls; one pass over the trace visits them all. */
static void
play(struct judge *j, const struct trace *t, const struct options *o)
{
	struct disk *d = disk_new(o->lies & ~(unsigned)NO_JOURNAL);
	size_t cut, calls = o->early ? first_mark(t) : t->n;
	unsigned long long n = 0;

	for (cut = 0; cut < calls && n < o->states; cut++) {
		disk_add(d, t->all[cut]);
		if (t->all[cut]->op == TRACE_MARK)
			add_mark(j, t->all[cut]);
		for (; n < o->states && n * calls / o->states == cut; n++) {
			if (o->one && n != o->only)
				continue;
			if (one_state(j, d, o, n, cut, j->n) != GOOD && !o->lies)
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
		{"compare", required_argument, NULL, 'c'}, {"node", required_argument, NULL, 'N'},
		{"early", no_argument, NULL, 'e'},	   {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 't')
			o->trace = optarg;
		else if (c == 'w')
			o->work = optarg;
		else if (c == 'c')
			o->compare = optarg;
		else if (c == 'N')
			o->node = strcmp(optarg, "central") == 0 ? &witness_central : &witness_edge;
		else if (c == 'n')
			o->states = strtoull(optarg, NULL, 10);
		else if (c == 'e')
			o->early = true;
		else if (c == 's')
			o->seed = strtoull(optarg, NULL, 10);
		else if (c == 'o')
			o->only = strtoull(optarg, NULL, 10), o->one = true;
		else if (c == 'l')
			o->lies |= strcmp(optarg, "sync") == 0	    ? DISK_NO_SYNC
				   : strcmp(optarg, "through") == 0 ? DISK_NO_THROUGH
				   : strcmp(optarg, "journal") == 0 ? NO_JOURNAL
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
	struct options o = {.states = 2000, .seed = 1, .node = &witness_edge};
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
	start = bench_now();
	play(&j, &t, &o);
	seconds = bench_now() - start;
	j.node->drop(j.witness);
	printf("%llu states (%llu distinct) of %zu calls, %zu answered: %llu lost, ", j.states,
	       j.distinct, t.n, j.n, j.lost);
	printf("%llu unopened before any answer, %.0f%% of what was pending kept, ", j.unopened,
	       100.0 * (double)j.kept / (double)(j.pending ? j.pending : 1));
	printf("%.1f s, %.0f a second\n", seconds, (double)j.states / seconds);
	if (!j.states || (!o.lies && j.unopened))
		return EXIT_FAILURE;
	return (j.lost > 0) == (o.lies != 0) ? EXIT_SUCCESS : EXIT_FAILURE;
}
