/*
 * bench_store - what the store alone can do: no network, no scanner.
 *
 *	bench_store DIR turn CLASS    a 512 MiB cache, 90 % full, filled and turned over five times
 *	bench_store DIR put SIZE THREADS SECONDS
 *	bench_store DIR cold          a study read with nothing of it in memory, beside plain files
 *
 * DIR: an empty folder; what is in it stays, for inspection of the file.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/dicom/canon.h"
#include "common/store/private.h"
#include "tests/lib/bench.h"

#define MIB ((uint64_t)1 << 20)
enum {
	OBJECTS = 100000,
	TURNS = 5,
	SLICES = 250,
	CT_SIZE = 526000,
	COLD_ROUNDS = 5,
	IDLE_TICKS = 50
};

struct load {
	struct store *s;
	_Atomic uint64_t next; /* number of the next object */
	_Atomic bool stop, failed;
	size_t size;
	unsigned char *bytes;
};

struct one {
	struct store_object o;
	struct store_verdict v;
	struct object_info info;
};

static int
do_put(struct store_tx *tx, void *arg, struct err *e)
{
	struct one *p = arg;

	return store_put(tx, &p->o, &p->v, e);
}

/* An object of which only names and digests are new; the store does not look at the rest. */
static int
put(struct load *l, size_t size, uint64_t *oid, struct err *e)
{
	uint64_t n = atomic_fetch_add(&l->next, 1);
	struct one *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory");
	(void)snprintf(p->info.sop_instance, UID_SIZE, "1.2.3.4.%llu", (unsigned long long)n);
	(void)snprintf(p->info.study, UID_SIZE, "1.2.3.%llu", (unsigned long long)n / 250);
	(void)snprintf(p->info.series, UID_SIZE, "1.2.3.%llu.1", (unsigned long long)n / 250);
	memcpy(p->info.sop_class, "1.2.840.10008.5.1.4.1.1.2", 26);
	sha256_of(&n, sizeof(n), p->info.digest);
	memcpy(p->info.content, p->info.digest, XXH128_SIZE);
	p->info.size = size;
	p->info.has_pixels = true; /* as a CT: it has a record of its header */
	p->info.header_length = p->info.pixel_offset = 3000;
	p->info.pixel_length = size - 3000;
	p->o.info = &p->info;
	p->o.origin = VERSION_TAKEN_IN;
	rc = store_spool_open(&p->o.spool, l->s, e);
	if (!rc)
		rc = store_spool_add(p->o.spool, l->bytes, size, e);
	if (!rc)
		rc = store_prepare(l->s, &p->o, e);
	if (!rc)
		rc = store_commit_bytes(l->s, do_put, p, size, e);
	*oid = p->v.oid;
	store_spool_close(p->o.spool);
	free(p);
	return rc;
}

static int
do_drop(struct store_tx *tx, void *arg, struct err *e)
{
	return store_drop_bytes(tx, *(uint64_t *)arg, VERSION_ELSEWHERE, e);
}

/* A site's mix: mostly CT slices, some small, some large. */
static size_t
mixed(uint64_t n)
{
	uint64_t x = (n * 2654435761u) >> 7 & 1023;

	if (x < 150)
		return 8000 + (size_t)(x * 131);
	if (x < 800)
		return 526000 + (size_t)(x * 7);
	if (x < 1000)
		return 150000 + (size_t)(x * 300);
	return (size_t)(8 * MIB + x * 4000);
}

static uint64_t
file_size(const char *dir, const char *name)
{
	char path[4096];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

struct turn {
	double rate; /* MB/s */
	uint64_t file;
};

static void
print_turns(const struct turn *t, unsigned refused)
{
	unsigned i;

	for (i = 0; i <= TURNS; i++)
		printf("turn %u: %.0f MB/s, file %.0f MB\n", i, t[i].rate, (double)t[i].file / 1e6);
	printf("refused %u fill %.1f first %.1f last %.1f grew %.1f\n", refused, t[0].rate,
	       t[1].rate, t[TURNS].rate, ((double)t[TURNS].file - (double)t[0].file) / 1e6);
}

/* As an edge, which has nothing to do for seconds now and then: the file is made ready. */
static void
stand_idle(const char *dir, uint64_t quota)
{
	const struct timespec tick = {0, 100000000};
	unsigned i;

	for (i = 0; i < IDLE_TICKS && file_size(dir, "data.mdb") < quota; i++)
		(void)nanosleep(&tick, NULL);
}

/* Turn 0 fills the cache. */
static void
turn(struct load *l, const char *dir, uint64_t quota)
{
	uint64_t *oid = calloc(OBJECTS, sizeof(*oid)), first = 0, last = 0, bytes = 0;
	struct turn turns[TURNS + 1];
	struct store_space space;
	struct err e = ERR_INIT;
	double start = bench_now();
	unsigned done = 0, refused = 0;
	int rc;

	while (oid && done <= TURNS && last < OBJECTS) {
		size_t size = mixed(last);

		for (store_space(l->s, &space);
		     space.used - space.dropping + size > quota / 10 * 9 && first < last;
		     store_space(l->s, &space))
			if (store_commit(l->s, do_drop, &oid[first++], &e))
				bench_die(&e);
		rc = put(l, size, &oid[last], &e);
		if (rc == ERR_FULL) {
			refused++;
			err_clear(&e);
			continue;
		}
		if (rc)
			bench_die(&e);
		last++;
		bytes += size;
		if (bytes < quota)
			continue;
		turns[done].rate = (double)bytes / (bench_now() - start) / 1e6;
		if (done == 0)
			stand_idle(dir, quota);
		turns[done++].file = file_size(dir, "data.mdb");
		bytes = 0;
		start = bench_now();
	}
	if (done > TURNS)
		print_turns(turns, refused);
	free(oid);
}

/* --- cold --- */

/* What the kernel keeps of a file goes; what is not on disk yet would stay. */
static void
forget_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fdatasync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		exit(1);
	(void)close(fd);
}

static void
plain_path(const char *dir, unsigned i, char out[4096])
{
	(void)snprintf(out, 4096, "%s/slice%u", dir, i);
}

static void
write_plain(const struct load *l, const char *dir)
{
	char path[4096];
	unsigned i;

	for (i = 0; i < SLICES; i++) {
		int fd;

		plain_path(dir, i, path);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, l->bytes + i, CT_SIZE) != CT_SIZE || close(fd))
			exit(1);
	}
}

static double
read_plain(const char *dir, unsigned char *to)
{
	char path[4096];
	double start = bench_now();
	unsigned i;

	for (i = 0; i < SLICES; i++) {
		int fd;

		plain_path(dir, i, path);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, to, CT_SIZE) != CT_SIZE || close(fd))
			exit(1);
	}
	return (double)SLICES * CT_SIZE / (bench_now() - start) / 1e6;
}

static double
read_study(struct store *s, const uint64_t *oid, unsigned char *to)
{
	struct store_reader *r;
	struct err e = ERR_INIT;
	double start = bench_now();
	size_t got;
	unsigned i;

	for (i = 0; i < SLICES; i++) { /* as a retrieve does */
		if (store_read_open(&r, s, oid[i], &e) || store_read_check(r, &e))
			bench_die(&e);
		if (i + 1 < SLICES)
			store_read_expect(s, oid[i + 1]);
		if (store_read(r, 0, to, CT_SIZE, &got, &e) || got != CT_SIZE)
			bench_die(&e);
		store_read_close(r);
	}
	return (double)SLICES * CT_SIZE / (bench_now() - start) / 1e6;
}

/* Nothing of the files nor of the environment, which is closed for that, is left in memory. */
static void
forget_all(struct load *l, const struct store_config *c)
{
	char path[4096];
	struct err e = ERR_INIT;
	unsigned i;

	store_close(l->s);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", c->dir);
	forget_file(path);
	for (i = 0; i < SLICES; i++) {
		plain_path(c->dir, i, path);
		forget_file(path);
	}
	if (store_open(&l->s, c, &e))
		bench_die(&e);
}

/* The study lies between others, which came at the same time: every third slice is its. */
static void
cold(struct load *l, const struct store_config *c)
{
	unsigned char *to = malloc(CT_SIZE);
	uint64_t oid[SLICES], other;
	struct err e = ERR_INIT;
	unsigned i, round;

	if (!to)
		exit(1);
	for (i = 0; i < SLICES; i++)
		if (put(l, CT_SIZE, &oid[i], &e) || put(l, CT_SIZE, &other, &e) ||
		    put(l, 8000, &other, &e))
			bench_die(&e);
	write_plain(l, c->dir);
	for (round = 0; round < COLD_ROUNDS; round++) {
		double ours[2], files[2];

		forget_all(l, c);
		for (i = 0; i < 2; i++) {
			files[i] = read_plain(c->dir, to);
			ours[i] = read_study(l->s, oid, to);
		}
		printf("cold: store %.1f files %.1f MB/s; again: store %.1f files %.1f MB/s\n",
		       ours[0], files[0], ours[1], files[1]);
	}
	free(to);
}

static void *
put_many(void *arg)
{
	struct load *l = arg;
	struct err e = ERR_INIT;
	uint64_t oid;

	while (!atomic_load(&l->stop) && !put(l, l->size, &oid, &e))
		continue;
	if (e.code != ERR_NONE)
		bench_die(&e);
	return NULL;
}

static void
throughput(struct load *l, unsigned threads, double seconds)
{
	pthread_t thread[64];
	double start = bench_now(), took;
	struct timespec nap = {(time_t)seconds, 0};
	unsigned i;

	for (i = 0; i < threads && i < 64; i++)
		if (pthread_create(&thread[i], NULL, put_many, l))
			exit(1);
	(void)nanosleep(&nap, NULL);
	atomic_store(&l->stop, true);
	for (i = 0; i < threads && i < 64; i++)
		(void)pthread_join(thread[i], NULL);
	took = bench_now() - start;
	printf("%zu bytes, %u threads: %.0f objects/s, %.0f MB/s\n", l->size, threads,
	       (double)l->next / took, (double)l->next * (double)l->size / took / 1e6);
}

int
main(int argc, char **argv)
{
	struct store_config c;
	struct rng_seeded r;
	struct load l;
	struct err e = ERR_INIT;
	bool turning = argc == 4 && strcmp(argv[2], "turn") == 0;
	bool reading = argc == 3 && strcmp(argv[2], "cold") == 0;

	if (!turning && !reading && argc != 6) {
		fprintf(stderr,
			"bench_store DIR turn CLASS | DIR put SIZE THREADS SECONDS | DIR cold\n");
		return 1;
	}
	memset(&c, 0, sizeof(c));
	memset(&l, 0, sizeof(l));
	c.dir = argv[1];
	c.clock = clock_real();
	c.quota = turning ? 512 * MIB : 0;
	c.ahead = c.quota / 32; /* as the edge does */
	c.map_bytes = 64 * 1024 * MIB;
	c.chunk_class = turning ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	l.bytes = malloc(16 * MIB);
	l.size = turning || reading ? 0 : (size_t)strtoull(argv[3], NULL, 10);
	if (!l.bytes || l.size > 16 * MIB || store_open(&l.s, &c, &e))
		bench_die(&e);
	rng_seeded_init(&r, 7);
	rng_fill(&r.r, l.bytes, 16 * MIB);
	if (turning)
		turn(&l, c.dir, c.quota);
	else if (reading)
		cold(&l, &c);
	else
		throughput(&l, (unsigned)strtoul(argv[4], NULL, 10), strtod(argv[5], NULL));
	store_close(l.s);
	free(l.bytes);
	return 0;
}
