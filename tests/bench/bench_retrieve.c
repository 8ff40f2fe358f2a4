/*
 * bench_retrieve - viewers that fetch studies, and throw away what comes.
 *
 *	bench_retrieve get HOST PORT CALLED [-n VIEWERS] [-t SECONDS] STUDY...
 *	bench_retrieve move HOST PORT CALLED -l PORT [-n VIEWERS] [-t SECONDS] STUDY...
 *
 * Each viewer, BENCH, is one association that asks for one study after the other, all of them
 * once, or over and over for -t seconds. move: it listens on that port, and is the destination.
 * Prints "objects N bytes N seconds S MB/s R first p50 X max Y ms": first is from a request to
 * the last byte of its first image (get). Exit 0 when every answer was 0000 and something came.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/assoc.h"
#include "common/dicom/attrs.h"
#include "common/dicom/keys.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "tests/lib/bench.h"

#define GET "1.2.840.10008.5.1.4.1.2.2.3"
#define MOVE "1.2.840.10008.5.1.4.1.2.2.2"

enum { SECONDS = 120, FIRSTS = 65536 };

static const char *const plain[] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"};
static const char *const classes[] = {"1.2.840.10008.5.1.4.1.1.2",   "1.2.840.10008.5.1.4.1.1.1.1",
				      "1.2.840.10008.5.1.4.1.1.4",   "1.2.840.10008.5.1.4.1.1.7",
				      "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.6.1"};
enum { CLASSES = sizeof(classes) / sizeof(classes[0]) };

static struct {
	struct assoc_target target;
	char *const *studies;
	int n_studies;
	unsigned viewers, seconds, listen;
	bool move;
	_Atomic uint64_t objects, bytes;
	_Atomic unsigned n_firsts;
	double firsts[FIRSTS];
	double start;
} job;

/* A C-STORE to us: read, counted, answered. */
static int
take(struct assoc *a, const struct message *rq, struct err *e)
{
	struct assoc_pdv pdv;
	struct message rsp;
	int rc;

	do {
		rc = assoc_read(a, SECONDS, &pdv, e);
		if (rc)
			return rc;
		atomic_fetch_add(&job.bytes, pdv.n);
	} while (!pdv.last);
	atomic_fetch_add(&job.objects, 1);
	message_answer(&rsp, rq, STATUS_SUCCESS);
	return message_send(a, &rsp, e);
}

static void
ask(struct assoc *a, const char *study, struct err *e)
{
	struct buf keys = BUF_INIT, identifier = BUF_INIT;
	struct message rq;

	memset(&rq, 0, sizeof(rq));
	rq.context = 1;
	rq.command = job.move ? MESSAGE_MOVE_RQ : MESSAGE_GET_RQ;
	rq.id = 7;
	strcpy(rq.sop_class, job.move ? MOVE : GET);
	if (job.move)
		strcpy(rq.destination, "BENCH");
	attrs_put(&keys, TAG_QUERY_LEVEL, "STUDY", 5);
	attrs_put(&keys, TAG_STUDY_UID, study, strlen(study));
	identifier_build(&identifier, assoc_accepted(a, 1)->syntax, attrs_of(&keys));
	if (message_send_with(a, &rq, &identifier, e))
		bench_die(e);
	buf_fini(&keys);
	buf_fini(&identifier);
}

static void
fetch(struct assoc *a, const char *study)
{
	struct err e = ERR_INIT;
	struct message m;
	double asked = bench_now();
	bool first = true;

	ask(a, study, &e);
	do {
		if (message_receive(a, SECONDS, &m, &e))
			bench_die(&e);
		if (m.command == MESSAGE_STORE_RQ) {
			if (take(a, &m, &e))
				bench_die(&e);
			if (first && job.n_firsts < FIRSTS)
				job.firsts[atomic_fetch_add(&job.n_firsts, 1) % FIRSTS] =
					(bench_now() - asked) * 1000;
			first = false;
		}
	} while (m.command == MESSAGE_STORE_RQ || m.status == STATUS_PENDING);
	if (m.status || m.failed) {
		fprintf(stderr, "bench_retrieve: %04x, %u failed\n", m.status, m.failed);
		exit(EXIT_FAILURE);
	}
}

static void *
view(void *arg)
{
	struct assoc_proposal p[CLASSES + 1];
	struct err e = ERR_INIT;
	struct assoc *a;
	unsigned i;
	int k;

	(void)arg;
	p[0] = (struct assoc_proposal){job.move ? MOVE : GET, plain, 2, ASSOC_ROLE_DEFAULT};
	for (i = 0; i < CLASSES; i++)
		p[i + 1] = (struct assoc_proposal){classes[i], plain, 2, ASSOC_ROLE_SCP};
	if (assoc_request(&a, &job.target, p, job.move ? 1 : CLASSES + 1, &e))
		bench_die(&e);
	do {
		for (k = 0; k < job.n_studies; k++)
			fetch(a, job.studies[k]);
	} while (job.seconds && bench_now() < job.start + job.seconds);
	assoc_release(a);
	assoc_free(a);
	return NULL;
}

/* --- the destination --- */

static void *
accept_images(void *arg)
{
	struct err e = ERR_INIT;
	struct assoc_context c;
	struct assoc *a;
	struct message m;
	unsigned i, j;
	int rc = assoc_receive(&a, *(int *)arg, NULL, ASSOC_PDU_MAX, SECONDS, &e);

	free(arg);
	if (rc)
		bench_die(&e);
	for (i = 0; assoc_context_at(a, i, &c); i++) {
		for (j = 0; j < c.n_syntaxes; j++)
			if (strcmp(assoc_proposed_syntax(a, i, j), plain[0]) == 0)
				break;
		if (j < c.n_syntaxes)
			rc = assoc_accept_context(a, c.id, plain[0], &e);
		else
			rc = assoc_refuse_context(a, c.id, true, &e);
	}
	if (!rc)
		rc = assoc_acknowledge(a, &e);
	while (!rc) {
		rc = message_receive(a, SECONDS, &m, &e);
		if (!rc)
			rc = take(a, &m, &e);
	}
	if (rc == ERR_ABSENT)
		assoc_release(a);
	assoc_free(a);
	return NULL;
}

static void *
listener(void *arg)
{
	int s = *(int *)arg, *fd;
	pthread_t t;

	for (;;) {
		fd = malloc(sizeof(*fd));
		if (!fd)
			exit(EXIT_FAILURE);
		*fd = accept4(s, NULL, NULL, SOCK_CLOEXEC);
		if (*fd < 0 || pthread_create(&t, NULL, accept_images, fd))
			exit(EXIT_FAILURE);
		(void)pthread_detach(t);
	}
	return NULL;
}

static void
be_destination(void)
{
	static int s;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)job.listen)};
	pthread_t t;
	int yes = 1;

	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (s < 0 || bind(s, (struct sockaddr *)&to, sizeof(to)) || listen(s, 16) ||
	    pthread_create(&t, NULL, listener, &s)) {
		perror("bench_retrieve: listen");
		exit(EXIT_FAILURE);
	}
	(void)pthread_detach(t);
}

static int
less(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
report(void)
{
	double took = bench_now() - job.start;
	unsigned n = job.n_firsts;

	qsort(job.firsts, n, sizeof(job.firsts[0]), less);
	printf("objects %llu bytes %llu seconds %.3f MB/s %.1f first p50 %.1f max %.1f ms\n",
	       (unsigned long long)job.objects, (unsigned long long)job.bytes, took,
	       (double)job.bytes / took / 1e6, n ? job.firsts[n / 2] : 0,
	       n ? job.firsts[n - 1] : 0);
}

int
main(int argc, char **argv)
{
	pthread_t threads[64];
	unsigned i;
	int c;

	job.viewers = 1;
	while ((c = getopt(argc, argv, "n:t:l:")) != -1) {
		unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

		if (c == 'n' && n > 0 && n <= 64)
			job.viewers = n;
		else if (c == 't')
			job.seconds = n;
		else if (c == 'l')
			job.listen = n;
		else
			return 2;
	}
	if (argc - optind < 5 ||
	    (job.move = strcmp(argv[optind], "move") == 0) != (job.listen > 0)) {
		fprintf(stderr,
			"usage: bench_retrieve get|move HOST PORT CALLED STUDY... [-l PORT]\n");
		return 2;
	}
	job.target = (struct assoc_target){.host = argv[optind + 1],
					   .port = (unsigned)strtoul(argv[optind + 2], NULL, 10),
					   .calling = "BENCH",
					   .called = argv[optind + 3],
					   .max_pdu = ASSOC_PDU_MAX,
					   .seconds = SECONDS};
	job.studies = argv + optind + 4;
	job.n_studies = argc - optind - 4;
	if (job.listen)
		be_destination();
	job.start = bench_now();
	for (i = 0; i < job.viewers; i++)
		if (pthread_create(&threads[i], NULL, view, NULL))
			return EXIT_FAILURE;
	for (i = 0; i < job.viewers; i++)
		(void)pthread_join(threads[i], NULL);
	report();
	return job.objects > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
