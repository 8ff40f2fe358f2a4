/*
 * bench_dimse - loads a node with studies, and times what it answers.
 *
 *	bench_dimse load HOST PORT CALLED [-n ASSOCIATIONS] [-c STUDIES]
 *	    a small object for each study of a made-up population
 *	bench_dimse modality HOST PORT CALLED [-n ASSOCIATIONS] [-r IMAGES/S] [-t SECONDS]
 *	    that many modalities send CT slices, r each a second (0: all they can); least: of one
 *	bench_dimse ask HOST PORT CALLED [-c STUDIES] [-q QUERIES] [-s SEED] KIND...
 *	    on one association, other questions for each seed; prints p50 and p99 to the
 *	    first and to the last answer
 *	    KIND: id hit miss day prefix middle
 *	bench_dimse last HOST PORT CALLED [-q TIMES]
 *	    a CT of 250 slices; from before the last one is sent until C-FIND counts 250
 *	bench_dimse entry HOST PORT CALLED HOST PORT CALLED [-q TIMES]
 *	    an image into the first node; from its answer until the second one finds its study
 *
 * The population: study s is of patient s / 2; a family and a given name are shared by
 * 100 studies each, 100 studies are a CT of today; of less than 50,000 as many as there are.
 */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/dicom/assoc.h"
#include "common/dicom/attrs.h"
#include "common/dicom/keys.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/dimse/send.h"
#include "tests/gen/gen.h"
#include "tests/lib/bench.h"

#define FIND "1.2.840.10008.5.1.4.1.2.2.1"
#define CT "1.2.840.10008.5.1.4.1.1.2"
#define EXPLICIT "1.2.840.10008.1.2.1"
#define TODAY "20260115"

enum {
	SECONDS = 120,
	ANSWERS = 100, /* of a day, of a name */
	NAMES = 500,   /* that syllables makes of three; twenty times as many of five */
	MODALITY_STUDIES = 1000000,
	SLICES = 250
};

static struct {
	struct assoc_target target[2];
	unsigned associations, studies, queries, rate, seconds, seed;
	_Atomic unsigned next, sent;
	unsigned sent_by[64];
} job;

static void
sleep_until(double when)
{
	double left = when - bench_now();
	struct timespec t = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};

	if (left > 0)
		(void)nanosleep(&t, NULL);
}

/* --- the population --- */

/* As many names, and as many studies for one of today, as leave 100 answers. */
static unsigned
kinds(void)
{
	return job.studies / ANSWERS > NAMES ? job.studies / ANSWERS : NAMES;
}

/* No name begins with another one. */
static void
syllables(char out[16], unsigned n)
{
	static const char *const first[] = {"BER", "KOL", "MAR", "NIL", "SOR",
					    "TAV", "WEL", "HAN", "LIN", "DUR"};
	static const char *const then[] = {"GA", "BI", "TO", "RE", "MU",
					   "SA", "NE", "KI", "LO", "VU"};

	(void)snprintf(out, 16, "%s%s%c%s%s", first[n % 10], then[n / 10 % 10],
		       (char)('A' + n / 100 % 5), kinds() > NAMES ? then[n / NAMES % 10] : "",
		       kinds() > NAMES ? first[n / NAMES / 10 % 10] : "");
}

static unsigned
family_of(unsigned study)
{
	return study / 2 % kinds();
}

static unsigned
given_of(unsigned study)
{
	unsigned patient = study / 2;

	return (patient % kinds() * 7 + patient / kinds() * 31) % kinds();
}

struct person {
	char name[64], id[16], accession[16], date[9];
};

static void
person_of(struct person *p, unsigned study)
{
	char family[16], given[16];

	syllables(family, family_of(study));
	syllables(given, given_of(study));
	(void)snprintf(p->name, sizeof(p->name), "%s^X%sY", family, given);
	(void)snprintf(p->id, sizeof(p->id), "P%07u", study / 2);
	(void)snprintf(p->accession, sizeof(p->accession), "A%07u", study);
	if (study % kinds() < 2)
		strcpy(p->date, TODAY);
	else
		(void)snprintf(p->date, sizeof(p->date), "20%02u%02u%02u", 23 + study % 3,
			       1 + study % 12, 1 + study % 28);
}

static void
study_of(struct gen *g, struct person *p, unsigned study)
{
	static const char *const modalities[] = {"CT", "MR", "US", "DX"};

	gen_init(g);
	person_of(p, study);
	g->study = study;
	g->rows = 0;
	g->name = p->name;
	g->patient_id = p->id;
	g->accession = p->accession;
	g->date = p->date;
	g->modality = study % kinds() == 0 ? "CT" : modalities[study % 4];
}

/* --- sending --- */

struct bytes {
	const struct buf *b;
};

static int
read_bytes(void *arg, uint64_t offset, const void **p, size_t *n, struct err *e)
{
	const struct bytes *b = arg;

	(void)e;
	*p = b->b->data + offset;
	*n = b->b->len - (size_t)offset;
	return 0;
}

static struct assoc *
open_association(const struct assoc_target *t, const char *sop_class)
{
	static const char *const syntaxes[] = {EXPLICIT};
	struct assoc_proposal p = {sop_class, syntaxes, 1, ASSOC_ROLE_DEFAULT};
	struct err e = ERR_INIT;
	struct assoc *a;

	if (assoc_request(&a, t, &p, 1, &e))
		bench_die(&e);
	return a;
}

static void
close_association(struct assoc *a)
{
	assoc_release(a);
	assoc_free(a);
}

static void
store(struct assoc *a, const struct gen *g, const struct buf *dataset)
{
	char uid[65];
	struct bytes b = {dataset};
	struct send_object o = {CT, uid, "", 0, dataset->len, read_bytes, NULL, NULL, &b};
	struct send_answer answer;
	struct err e = ERR_INIT;

	gen_uid(uid, g->study, g->series, g->instance);
	if (send_object(a, 1, g->instance % 65535 + 1, 0, &o, SECONDS, &answer, &e))
		bench_die(&e);
	if (answer.status) {
		fprintf(stderr, "bench_dimse: a store was answered %04x\n", answer.status);
		exit(EXIT_FAILURE);
	}
}

static void *
load(void *arg)
{
	struct assoc *a = open_association(&job.target[0], CT);
	struct buf dataset = BUF_INIT;
	struct person p = {"", "", "", ""};
	struct gen g;
	unsigned s;

	(void)arg;
	while ((s = atomic_fetch_add(&job.next, 1)) < job.studies) {
		study_of(&g, &p, s);
		buf_clear(&dataset);
		gen_dataset(&dataset, &g);
		store(a, &g, &dataset);
		atomic_fetch_add(&job.sent, 1);
	}
	buf_fini(&dataset);
	close_association(a);
	return NULL;
}

/* A slice: a head of its own, and pixels that are made once: the sender is to cost little. */
static void
slice(struct buf *out, const struct gen *g, const struct buf *pixels)
{
	struct gen head = *g;

	head.rows = 0;
	buf_clear(out);
	gen_dataset(out, &head);
	buf_put(out, pixels->data, pixels->len);
}

static void
make_pixels(struct buf *out)
{
	struct buf whole = BUF_INIT, head = BUF_INIT;
	struct gen g;

	gen_init(&g);
	gen_dataset(&whole, &g);
	g.rows = 0;
	gen_dataset(&head, &g);
	buf_put(out, whole.data + head.len, whole.len - head.len);
	buf_fini(&whole);
	buf_fini(&head);
}

static void *
modality(void *arg)
{
	struct assoc *a = open_association(&job.target[0], CT);
	struct buf pixels = BUF_INIT, dataset = BUF_INIT;
	double start = bench_now();
	unsigned i, study = MODALITY_STUDIES + *(unsigned *)arg * 1000;
	struct gen g;

	make_pixels(&pixels);
	for (i = 0; bench_now() < start + job.seconds; i++) {
		if (job.rate)
			sleep_until(start + (double)i / job.rate);
		gen_init(&g);
		g.study = study + i / SLICES;
		g.instance = i % SLICES + 1;
		g.modality = "DX";
		g.date = TODAY;
		slice(&dataset, &g, &pixels);
		store(a, &g, &dataset);
		atomic_fetch_add(&job.sent, 1);
	}
	job.sent_by[*(unsigned *)arg] = i;
	buf_fini(&pixels);
	buf_fini(&dataset);
	close_association(a);
	return NULL;
}

static void
in_threads(void *(*run)(void *), const char *what)
{
	pthread_t threads[64];
	unsigned number[64], i;
	double start = bench_now(), took;

	for (i = 0; i < job.associations; i++) {
		number[i] = i;
		if (pthread_create(&threads[i], NULL, run, &number[i]))
			exit(EXIT_FAILURE);
	}
	for (i = 0; i < job.associations; i++)
		(void)pthread_join(threads[i], NULL);
	took = bench_now() - start;
	printf("%s sent %u failed 0 seconds %.3f\n", what, atomic_load(&job.sent), took);
}

static void
modalities(void)
{
	unsigned i, least = UINT_MAX;

	in_threads(modality, "modality");
	for (i = 0; i < job.associations; i++)
		least = job.sent_by[i] < least ? job.sent_by[i] : least;
	printf("least %u\n", least);
}

/* --- asking --- */

static void
put(struct buf *keys, uint32_t tag, const char *value)
{
	attrs_put(keys, tag, value, strlen(value));
}

static void
make_keys(struct buf *keys, const char *kind, unsigned study)
{
	char family[16], given[16], text[32];
	struct person p = {"", "", "", ""};

	person_of(&p, study);
	syllables(family, family_of(study));
	syllables(given, given_of(study));
	buf_clear(keys);
	put(keys, TAG_STUDY_DATE, strcmp(kind, "day") == 0 ? TODAY : "");
	(void)snprintf(text, sizeof(text), "Z%07u", study);
	put(keys, TAG_ACCESSION,
	    strcmp(kind, "hit") == 0	? p.accession
	    : strcmp(kind, "miss") == 0 ? text
					: "");
	put(keys, TAG_QUERY_LEVEL, "STUDY");
	put(keys, TAG_MODALITIES, strcmp(kind, "day") == 0 ? "CT" : "");
	if (strcmp(kind, "prefix") == 0)
		(void)snprintf(text, sizeof(text), "%s*", family);
	else if (strcmp(kind, "middle") == 0)
		(void)snprintf(text, sizeof(text), "*X%sY*", given);
	else
		text[0] = '\0';
	put(keys, TAG_PATIENT_NAME, text);
	put(keys, TAG_PATIENT_ID, strcmp(kind, "id") == 0 ? p.id : "");
	put(keys, TAG_STUDY_UID, "");
	put(keys, TAG_STUDY_INSTANCES, "");
}

struct timing {
	double first, last; /* ms */
	unsigned answers, instances;
};

/* One C-FIND; the count of instances of its last answer goes to *t. */
static void
find(struct assoc *a, const struct buf *keys, struct timing *t)
{
	struct message rq, rsp;
	struct buf bytes = BUF_INIT;
	struct err e = ERR_INIT;
	double start = bench_now();
	int rc;

	memset(t, 0, sizeof(*t));
	memset(&rq, 0, sizeof(rq));
	rq.context = 1;
	rq.command = MESSAGE_FIND_RQ;
	rq.id = 1;
	strcpy(rq.sop_class, FIND);
	identifier_build(&bytes, EXPLICIT, attrs_of(keys));
	rc = message_send_with(a, &rq, &bytes, &e);
	do {
		buf_clear(&bytes);
		if (!rc)
			rc = message_receive(a, SECONDS, &rsp, &e);
		if (!rc && rsp.has_data)
			rc = message_receive_identifier(a, &rsp, SECONDS, &bytes, &e);
		if (rc)
			bench_die(&e);
		if (t->first == 0)
			t->first = (bench_now() - start) * 1e3;
		t->answers += rsp.has_data;
		t->last = (bench_now() - start) * 1e3;
		if (rsp.has_data) {
			struct identifier id;
			char text[16];

			if (identifier_parse(&id, EXPLICIT, bytes.data, bytes.len, &e))
				bench_die(&e);
			(void)attrs_copy(attrs_of(&id.keys), TAG_STUDY_INSTANCES, text,
					 sizeof(text));
			t->instances = (unsigned)strtoul(text, NULL, 10);
			identifier_fini(&id);
		}
	} while (rsp.status == STATUS_PENDING || rsp.status == STATUS_PENDING_KEYS);
	if (rsp.status) {
		fprintf(stderr, "bench_dimse: a query ended %04x\n", rsp.status);
		exit(EXIT_FAILURE);
	}
	buf_fini(&bytes);
}

static int
ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
quantile(const double *sorted, unsigned n, unsigned percent)
{
	return sorted[(n - 1) * percent / 100];
}

static void
ask(const char *kind)
{
	struct assoc *a = open_association(&job.target[0], FIND);
	double *first = calloc(job.queries, sizeof(double)),
	       *last = calloc(job.queries, sizeof(double));
	struct buf keys = BUF_INIT;
	struct rng_seeded r;
	struct timing t;
	uint64_t answers = 0;
	unsigned i;

	if (!first || !last)
		exit(EXIT_FAILURE);
	rng_seeded_init(&r, job.seed);
	for (i = 0; i < job.queries; i++) {
		make_keys(&keys, kind, (unsigned)rng_below(&r.r, job.studies));
		find(a, &keys, &t);
		first[i] = t.first;
		last[i] = t.last;
		answers += t.answers;
	}
	qsort(first, job.queries, sizeof(double), ascending);
	qsort(last, job.queries, sizeof(double), ascending);
	printf("%s queries %u answers %.1f first p50 %.2f p99 %.2f last p50 %.2f p99 %.2f ms\n",
	       kind, job.queries, (double)answers / job.queries, quantile(first, job.queries, 50),
	       quantile(first, job.queries, 99), quantile(last, job.queries, 50),
	       quantile(last, job.queries, 99));
	buf_fini(&keys);
	free(first);
	free(last);
	close_association(a);
}

/* --- how soon --- */

/* Asks for one study until it counts this many instances. */
static void
wait_for_study(struct assoc *a, unsigned study, unsigned instances)
{
	struct buf keys = BUF_INIT;
	struct timing t;
	char uid[65];
	double start = bench_now();

	gen_uid(uid, study, 0, 0);
	put(&keys, TAG_QUERY_LEVEL, "STUDY");
	put(&keys, TAG_STUDY_UID, uid);
	put(&keys, TAG_STUDY_INSTANCES, "");
	for (;;) {
		find(a, &keys, &t);
		if (t.instances >= instances)
			break;
		if (bench_now() > start + SECONDS) {
			fprintf(stderr, "bench_dimse: the study did not come\n");
			exit(EXIT_FAILURE);
		}
		sleep_until(bench_now() + 0.001);
	}
	buf_fini(&keys);
}

static void
print_times(const char *what, double *ms, unsigned n)
{
	qsort(ms, n, sizeof(*ms), ascending);
	printf("%s times %u p50 %.1f p99 %.1f most %.1f ms\n", what, n, quantile(ms, n, 50),
	       quantile(ms, n, 99), ms[n - 1]);
}

/* Every study and instance has a number of its own, whichever run of the bench it is. */
static unsigned
fresh_study(void)
{
	return 2000000 + (unsigned)time(NULL) % 1000000 * 100 + atomic_fetch_add(&job.next, 1);
}

static void
last_slice(void)
{
	struct assoc *to = open_association(&job.target[0], CT);
	struct assoc *from = open_association(&job.target[0], FIND);
	struct buf pixels = BUF_INIT, dataset = BUF_INIT;
	double *ms = calloc(job.queries, sizeof(double)), start = 0;
	struct gen g;
	unsigned i;

	make_pixels(&pixels);
	for (i = 0; ms && i < job.queries; i++) {
		gen_init(&g);
		g.study = fresh_study();
		for (g.instance = 1; g.instance <= SLICES; g.instance++) {
			slice(&dataset, &g, &pixels);
			start = bench_now();
			store(to, &g, &dataset);
		}
		wait_for_study(from, g.study, SLICES);
		ms[i] = (bench_now() - start) * 1e3;
	}
	if (ms)
		print_times("last", ms, job.queries);
	free(ms);
	buf_fini(&pixels);
	buf_fini(&dataset);
	close_association(to);
	close_association(from);
}

static void
entry(void)
{
	struct assoc *to = open_association(&job.target[0], CT);
	struct assoc *from = open_association(&job.target[1], FIND);
	struct buf dataset = BUF_INIT;
	double *ms = calloc(job.queries, sizeof(double)), start;
	struct gen g;
	unsigned i;

	for (i = 0; ms && i < job.queries; i++) {
		gen_init(&g);
		g.study = fresh_study();
		g.rows = 60;
		g.columns = 60;
		buf_clear(&dataset);
		gen_dataset(&dataset, &g);
		store(to, &g, &dataset);
		start = bench_now();
		wait_for_study(from, g.study, 1);
		ms[i] = (bench_now() - start) * 1e3;
		sleep_until(bench_now() + 0.03);
	}
	if (ms)
		print_times("entry", ms, job.queries);
	free(ms);
	buf_fini(&dataset);
	close_association(to);
	close_association(from);
}

/* --- arguments --- */

static void
usage(void)
{
	fprintf(stderr, "usage: bench_dimse load|modality|ask|last|entry HOST PORT CALLED ...\n");
	exit(2);
}

static void
parse(int argc, char **argv)
{
	int c;

	job.associations = 4;
	job.studies = 50000;
	job.queries = 300;
	job.seconds = 10;
	job.seed = 7;
	while ((c = getopt(argc, argv, "n:c:q:r:t:s:")) != -1) {
		unsigned v = c == '?' ? 0 : (unsigned)strtoul(optarg, NULL, 10);

		*(c == 'n'   ? &job.associations
		  : c == 'c' ? &job.studies
		  : c == 'q' ? &job.queries
		  : c == 'r' ? &job.rate
		  : c == 's' ? &job.seed
			     : &job.seconds) = v;
		if (c == '?')
			usage();
	}
	if (job.associations < 1 || job.associations > 64 || job.studies < 1 || job.queries < 1)
		usage();
}

static int
target(struct assoc_target *t, int argc, char **argv, int at)
{
	if (argc - at < 3)
		usage();
	*t = (struct assoc_target){.host = argv[at],
				   .port = (unsigned)strtoul(argv[at + 1], NULL, 10),
				   .calling = "BENCH",
				   .called = argv[at + 2],
				   .max_pdu = ASSOC_PDU_MAX,
				   .seconds = 30};
	return at + 3;
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int at;

	parse(argc > 1 ? argc - 1 : argc, argc > 1 ? argv + 1 : argv);
	at = target(&job.target[0], argc, argv, optind + 1);
	if (strcmp(what, "load") == 0)
		in_threads(load, what);
	else if (strcmp(what, "modality") == 0)
		modalities();
	else if (strcmp(what, "last") == 0)
		last_slice();
	else if (strcmp(what, "ask") == 0)
		for (; at < argc; at++)
			ask(argv[at]);
	else if (strcmp(what, "entry") == 0 && target(&job.target[1], argc, argv, at))
		entry();
	else
		usage();
	return EXIT_SUCCESS;
}
