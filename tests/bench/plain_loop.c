/*
 * plain_loop - what the disk gives to a program that does nothing else.
 *
 *	plain_loop [-n THREADS] FROM TO
 *
 * Each file of FROM is written to TO under a temporary name, fdatasynced, renamed, and the
 * folder fsynced: one file an object, durable. Prints "sent N failed 0 seconds S", as
 * dicom_send does.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

static struct {
	const char *from, *to;
	char **names;
	size_t n;
	unsigned threads;
} job;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
list(void)
{
	DIR *d = opendir(job.from);
	const struct dirent *entry;

	if (!d)
		die(job.from);
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		job.names = realloc(job.names, (job.n + 1) * sizeof(*job.names));
		if (!job.names)
			die("no memory");
		job.names[job.n++] = strdup(entry->d_name);
	}
	(void)closedir(d);
}

static void
store(const char *name, int folder)
{
	char from[PATH_MAX], part[PATH_MAX], to[PATH_MAX];
	struct stat st;
	const char *p;
	size_t at, n;
	int in, out;

	(void)snprintf(from, sizeof(from), "%s/%s", job.from, name);
	(void)snprintf(to, sizeof(to), "%s/%s", job.to, name);
	(void)snprintf(part, sizeof(part), "%s/%s.part", job.to, name);
	in = open(from, O_RDONLY | O_CLOEXEC);
	out = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (in < 0 || out < 0 || fstat(in, &st))
		die(part);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, in, 0);
	if (p == MAP_FAILED)
		die(from);
	for (at = 0; at < (size_t)st.st_size; at += n) {
		n = (size_t)st.st_size - at < PIECE ? (size_t)st.st_size - at : PIECE;
		if (write(out, p + at, n) != (ssize_t)n)
			die(part);
	}
	if (fdatasync(out) || close(out) || rename(part, to) || fsync(folder))
		die(to);
	(void)munmap((void *)(size_t)p, (size_t)st.st_size);
	(void)close(in);
}

static void *
run(void *arg)
{
	size_t i;
	int folder = open(job.to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (folder < 0)
		die(job.to);
	for (i = *(size_t *)arg; i < job.n; i += job.threads)
		store(job.names[i], folder);
	(void)close(folder);
	return NULL;
}

int
main(int argc, char **argv)
{
	pthread_t threads[64];
	size_t first[64];
	struct timespec a, b;
	unsigned i;
	int c;

	job.threads = 1;
	while ((c = getopt(argc, argv, "n:")) != -1)
		job.threads = c == 'n' ? (unsigned)strtoul(optarg, NULL, 10) : 0;
	if (argc - optind != 2 || job.threads < 1 || job.threads > 64) {
		fprintf(stderr, "usage: plain_loop [-n THREADS] FROM TO\n");
		return 2;
	}
	job.from = argv[optind];
	job.to = argv[optind + 1];
	list();
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	for (i = 0; i < job.threads; i++) {
		first[i] = i;
		if (pthread_create(&threads[i], NULL, run, &first[i]))
			die("a thread");
	}
	for (i = 0; i < job.threads; i++)
		(void)pthread_join(threads[i], NULL);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	printf("sent %zu failed 0 seconds %.3f\n", job.n,
	       (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	return 0;
}
