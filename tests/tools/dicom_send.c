/*
 * dicom_send - C-STORE of files with their data set bytes as they are.
 *
 *   dicom_send HOST PORT -c CALLED -a CALLING [-n ASSOCIATIONS] [-q] [-l]
 *              [-t CERT:KEY:CA] PATH...
 *
 * One presentation context per class and syntax, in several associations where
 * 128 do not suffice. Prints "<4 hex status> <path>" for each answer, "---- <path>"
 * where none came, and at the end "sent N failed N seconds S"; -l: each answer as it
 * comes. Exit 0 when all were answered 0000.
 */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/dicom/assoc.h"
#include "common/dicom/canon.h"
#include "common/dimse/message.h"
#include "common/dimse/send.h"
#include "tests/lib/bench.h"
#include "tests/lib/by_tls.h"

enum { SECONDS = 120 };

struct file {
	char *path;
	char sop_class[UID_SIZE], uid[UID_SIZE], syntax[UID_SIZE];
	uint64_t offset, size; /* of the data set in the file */
	unsigned status;
	bool answered;
};

static struct {
	struct file *all;
	size_t n, cap;
	struct assoc_target target;
	bool quiet, live;
} job;

static int
add_path(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type != FTW_F)
		return 0;
	if (job.n == job.cap) {
		job.cap = job.cap ? job.cap * 2 : 256;
		job.all = realloc(job.all, job.cap * sizeof(*job.all));
		if (!job.all)
			abort();
	}
	memset(&job.all[job.n], 0, sizeof(*job.all));
	job.all[job.n++].path = strdup(path);
	return 0;
}

static const unsigned char *
map_file(const char *path, size_t *n)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *p;

	if (fd < 0 || fstat(fd, &st) || st.st_size == 0) {
		if (fd >= 0)
			(void)close(fd);
		return NULL;
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	(void)close(fd);
	*n = (size_t)st.st_size;
	return p == MAP_FAILED ? NULL : p;
}

/* What the file is; where its data set starts follows from the size of the canonical form. */
static bool
look(struct file *f)
{
	struct canon_config config = {.form = CANON_FILE};
	const struct object_info *info;
	struct canon *c = NULL;
	struct buf bytes = BUF_INIT;
	size_t n = 0;
	const unsigned char *p = map_file(f->path, &n);
	uint64_t header;
	bool ok = false;

	if (p && !canon_bytes(&c, &config, p, n, &bytes, &info, NULL)) {
		memcpy(f->sop_class, info->sop_class, UID_SIZE);
		memcpy(f->uid, info->sop_instance, UID_SIZE);
		memcpy(f->syntax, info->syntax, UID_SIZE);
		header = send_dataset_offset(bytes.data, bytes.len);
		f->size = bytes.len - header;
		f->offset = n - f->size;
		ok = header && f->sop_class[0] && f->uid[0] && strlen(f->sop_class) <= UID_MAX;
	}
	canon_free(c);
	buf_fini(&bytes);
	if (p)
		(void)munmap((void *)(uintptr_t)p, n);
	return ok;
}

struct mapped {
	const unsigned char *p;
	uint64_t size;
};

static int
read_mapped(void *arg, uint64_t offset, const void **p, size_t *n, struct err *e)
{
	const struct mapped *m = arg;

	(void)e;
	*p = m->p + offset;
	*n = (size_t)(m->size - offset);
	return 0;
}

struct proposals {
	struct assoc_proposal p[ASSOC_CONTEXTS_MAX];
	const char *syntaxes[ASSOC_CONTEXTS_MAX];
	unsigned n;
};

static bool
propose(struct proposals *out, const struct file *f)
{
	unsigned i;

	for (i = 0; i < out->n; i++)
		if (strcmp(out->p[i].abstract_syntax, f->sop_class) == 0 &&
		    strcmp(out->syntaxes[i], f->syntax) == 0)
			return true;
	if (out->n == ASSOC_CONTEXTS_MAX)
		return false;
	out->syntaxes[i] = f->syntax;
	out->p[i] = (struct assoc_proposal){f->sop_class, &out->syntaxes[i], 1, ASSOC_ROLE_DEFAULT};
	out->n++;
	return true;
}

static int
send_one(struct assoc *a, struct file *f, unsigned id, struct err *e)
{
	unsigned char context = send_context(a, f->sop_class, f->syntax, false);
	struct send_answer answer;
	struct mapped m;
	struct send_object o;
	size_t n = 0;
	const unsigned char *p;
	int rc;

	if (!context) {
		f->status = 0x0122;
		f->answered = true;
		return 0;
	}
	p = map_file(f->path, &n);
	if (!p)
		return 0;
	m.p = p + f->offset;
	m.size = f->size;
	memset(&o, 0, sizeof(o));
	o.sop_class = f->sop_class;
	o.sop_instance = f->uid;
	o.originator = "";
	o.size = f->size;
	o.read = read_mapped;
	o.arg = &m;
	rc = send_object(a, context, id, 0, &o, SECONDS, &answer, e);
	(void)munmap((void *)(uintptr_t)p, n);
	if (!rc) {
		f->status = answer.status;
		f->answered = true;
		if (job.live)
			printf("%04x %s\n", f->status, f->path);
	}
	return rc;
}

/* One sender: files first, first + step, ...; as many associations as their contexts need. */
struct sender {
	pthread_t thread;
	size_t first, step;
};

static size_t
fill(const struct sender *s, size_t at, struct proposals *p)
{
	p->n = 0;
	while (at < job.n && propose(p, &job.all[at]))
		at += s->step;
	return at;
}

static void *
run(void *arg)
{
	struct sender *s = arg;
	struct proposals *p = calloc(1, sizeof(*p));
	size_t at = s->first, end;
	unsigned id = 0;

	while (p && at < job.n) {
		struct assoc *a = NULL;
		struct err e = ERR_INIT;
		int rc;

		end = fill(s, at, p);
		rc = assoc_request(&a, &job.target, p->p, p->n, &e);
		for (; !rc && at < end; at += s->step) {
			id = id % 65535 + 1;
			rc = send_one(a, &job.all[at], id, &e);
		}
		if (rc) {
			fprintf(stderr, "dicom_send: %s\n", e.what);
			assoc_free(a);
			break;
		}
		assoc_release(a);
		assoc_free(a);
	}
	free(p);
	return NULL;
}

static int
report(double seconds)
{
	size_t i, sent = 0;

	for (i = 0; i < job.n; i++) {
		const struct file *f = &job.all[i];

		sent += f->answered && f->status == 0;
		if (job.quiet || (job.live && f->answered))
			continue;
		if (f->answered)
			printf("%04x %s\n", f->status, f->path);
		else
			printf("---- %s\n", f->path);
	}
	printf("sent %zu failed %zu seconds %.3f\n", sent, job.n - sent, seconds);
	return sent == job.n ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void
keep_sendable(void)
{
	size_t i, n = 0;

	for (i = 0; i < job.n; i++) {
		if (look(&job.all[i])) {
			job.all[n++] = job.all[i];
		} else {
			fprintf(stderr, "dicom_send: cannot be sent: %s\n", job.all[i].path);
			free(job.all[i].path);
		}
	}
	job.n = n;
}

int
main(int argc, char **argv)
{
	static struct sender senders[64];
	unsigned n = 1, i;
	double start;
	int c;

	job.target = (struct assoc_target){
		.calling = "DICOM_SEND", .called = "ANY", .max_pdu = ASSOC_PDU_MAX, .seconds = 30};
	while ((c = getopt(argc, argv, "c:a:n:qlt:")) != -1) {
		if (c == 'c')
			job.target.called = optarg;
		else if (c == 'a')
			job.target.calling = optarg;
		else if (c == 'n')
			n = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'q')
			job.quiet = true;
		else if (c == 'l')
			job.live = true;
		else if (c == 't')
			by_tls(&job.target, optarg);
		else
			return 2;
	}
	if (argc - optind < 3 || n < 1 || n > 64) {
		fprintf(stderr,
			"usage: dicom_send HOST PORT -c CALLED -a CALLING [-n N] PATH...\n");
		return 2;
	}
	job.target.host = argv[optind];
	job.target.port = (unsigned)strtoul(argv[optind + 1], NULL, 10);
	for (i = (unsigned)optind + 2; i < (unsigned)argc; i++)
		(void)nftw(argv[i], add_path, 16, FTW_PHYS);
	keep_sendable();
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	start = bench_now();
	for (i = 0; i < n; i++) {
		senders[i].first = i;
		senders[i].step = n;
		if (pthread_create(&senders[i].thread, NULL, run, &senders[i]))
			return EXIT_FAILURE;
	}
	for (i = 0; i < n; i++)
		(void)pthread_join(senders[i].thread, NULL);
	return report(bench_now() - start);
}
