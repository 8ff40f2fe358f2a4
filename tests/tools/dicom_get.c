/*
 * dicom_get - C-GET of whole studies, each object written in canonical form.
 *
 *   dicom_get HOST PORT -c CALLED -a CALLING [-o DIR] [--all | --study UID]... [--find]
 *             [--explicit] [-t CERT:KEY:CA]
 *
 * Asks by C-FIND which studies there are (--all) and which classes and syntaxes
 * they hold, proposes exactly those, one context each, and writes
 * DIR/<SOP Instance UID>.<n>.dcm; --explicit: proposes Explicit VR little endian
 * alone. Prints a line a study: UID, final status, completed, failed. --find prints
 * the studies and gets nothing. Exit 0 when every study ended 0000.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/attrs.h"
#include "common/dicom/canon.h"
#include "common/dicom/keys.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/os/file.h"
#include "tests/lib/by_tls.h"

#define FIND "1.2.840.10008.5.1.4.1.2.2.1"
#define GET "1.2.840.10008.5.1.4.1.2.2.3"

enum { SECONDS = 60, STUDIES_MAX = 100000 };

static const char *const plain[] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"};

struct kind { /* a class in a syntax */
	char sop_class[UID_SIZE], syntax[UID_SIZE];
};

struct getting {
	struct assoc_target target;
	const char *out;
	char (*studies)[UID_SIZE];
	size_t n_studies;
	char series[512][UID_SIZE];
	size_t n_series;
	struct kind kinds[ASSOC_CONTEXTS_MAX];
	unsigned n_kinds, written;
	bool explicit; /* takes nothing else */
	uint64_t instances;
};

typedef void on_answer(struct getting *g, struct attrs set);

static void
note_study(struct getting *g, struct attrs set)
{
	char(*grown)[UID_SIZE] = realloc(g->studies, (g->n_studies + 1) * UID_SIZE);

	if (!grown || g->n_studies >= STUDIES_MAX)
		abort();
	g->studies = grown;
	if (attrs_copy(set, TAG_STUDY_UID, grown[g->n_studies], UID_SIZE))
		g->n_studies++;
}

static void
note_series(struct getting *g, struct attrs set)
{
	if (g->n_series < 512 && attrs_copy(set, TAG_SERIES_UID, g->series[g->n_series], UID_SIZE))
		g->n_series++;
}

static void
note_instance(struct getting *g, struct attrs set)
{
	struct kind k = {"", ""};
	unsigned i;

	(void)attrs_copy(set, TAG_SOP_CLASS, k.sop_class, UID_SIZE);
	(void)attrs_copy(set, TAG_AVAILABLE_SYNTAX, k.syntax, UID_SIZE);
	if (g->explicit)
		strcpy(k.syntax, plain[0]);
	g->instances++;
	for (i = 0; i < g->n_kinds; i++)
		if (strcmp(g->kinds[i].sop_class, k.sop_class) == 0 &&
		    strcmp(g->kinds[i].syntax, k.syntax) == 0)
			return;
	if (g->n_kinds < ASSOC_CONTEXTS_MAX - 1 && k.sop_class[0] && k.syntax[0])
		g->kinds[g->n_kinds++] = k;
}

static int
send_query(struct assoc *a, struct message *rq, const struct buf *keys, struct err *e)
{
	struct buf identifier = BUF_INIT;
	int rc;

	identifier_build(&identifier, assoc_accepted(a, rq->context)->syntax, attrs_of(keys));
	rc = message_send_with(a, rq, &identifier, e);
	buf_fini(&identifier);
	return rc;
}

static int
find(struct getting *g, struct assoc *a, const struct buf *keys, on_answer *fn, struct err *e)
{
	struct message rq, rsp;
	int rc;

	memset(&rq, 0, sizeof(rq));
	rq.context = 1;
	rq.command = MESSAGE_FIND_RQ;
	rq.id = 1;
	strcpy(rq.sop_class, FIND);
	rc = send_query(a, &rq, keys, e);
	while (!rc) {
		struct buf bytes = BUF_INIT;
		struct identifier id;

		rc = message_receive(a, SECONDS, &rsp, e);
		if (!rc && rsp.has_data)
			rc = message_receive_identifier(a, &rsp, SECONDS, &bytes, e);
		if (!rc && rsp.has_data)
			rc = identifier_parse(&id, assoc_accepted(a, 1)->syntax, bytes.data,
					      bytes.len, e);
		if (!rc && rsp.has_data) {
			fn(g, attrs_of(&id.keys));
			identifier_fini(&id);
		}
		buf_fini(&bytes);
		if (!rc && rsp.status != STATUS_PENDING && rsp.status != STATUS_PENDING_KEYS)
			return rsp.status ? err_set(e, ERR_PEER, 0, "find ended %04x %s",
						    rsp.status, rsp.comment)
					  : 0;
	}
	return rc;
}

static void
put(struct buf *keys, uint32_t tag, const char *value)
{
	attrs_put(keys, tag, value, strlen(value));
}

static int
find_kinds(struct getting *g, struct assoc *a, const char *study, struct err *e)
{
	struct buf keys = BUF_INIT;
	size_t i;
	int rc;

	g->n_series = g->n_kinds = 0;
	g->instances = 0;
	put(&keys, TAG_QUERY_LEVEL, "SERIES");
	put(&keys, TAG_STUDY_UID, study);
	put(&keys, TAG_SERIES_UID, "");
	rc = find(g, a, &keys, note_series, e);
	for (i = 0; !rc && i < g->n_series; i++) {
		buf_clear(&keys);
		put(&keys, TAG_SOP_CLASS, "");
		put(&keys, TAG_SOP_INSTANCE, "");
		put(&keys, TAG_QUERY_LEVEL, "IMAGE");
		put(&keys, TAG_AVAILABLE_SYNTAX, "");
		put(&keys, TAG_STUDY_UID, study);
		put(&keys, TAG_SERIES_UID, g->series[i]);
		rc = find(g, a, &keys, note_instance, e);
	}
	buf_fini(&keys);
	return rc;
}

static int
write_object(struct getting *g, const struct object_info *info, const struct buf *bytes,
	     struct err *e)
{
	char path[4096];
	int fd, rc;

	(void)snprintf(path, sizeof(path), "%s/%s.%u.dcm", g->out,
		       uid_valid(info->sop_instance, strlen(info->sop_instance))
			       ? info->sop_instance
			       : "object",
		       g->written++);
	fd = file_create(path, e);
	rc = fd < 0 ? fd : file_write(fd, bytes->data, bytes->len, e);
	if (fd >= 0)
		file_close(fd);
	return rc;
}

static int
append(void *arg, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(arg, p, n);
	return 0;
}

static int
receive_object(struct getting *g, struct assoc *a, const struct message *rq, struct err *e)
{
	const struct assoc_context *context = assoc_accepted(a, rq->context);
	struct canon_config config = {.form = CANON_DATASET, .sink = append};
	const struct object_info *info;
	struct buf bytes = BUF_INIT;
	struct canon *c;
	struct assoc_pdv pdv;
	struct message rsp;
	int rc;

	config.syntax = context->syntax;
	config.sink_arg = &bytes;
	rc = canon_new(&c, &config, e);
	if (rc)
		return rc;
	do {
		rc = assoc_read(a, SECONDS, &pdv, e);
		if (!rc)
			rc = canon_feed(c, pdv.data, pdv.n, e);
	} while (!rc && !pdv.last);
	if (!rc)
		rc = canon_end(c, &info, e);
	if (!rc)
		rc = write_object(g, info, &bytes, e);
	canon_free(c);
	buf_fini(&bytes);
	message_answer(&rsp, rq, rc ? STATUS_OUT_OF_RESOURCES : STATUS_SUCCESS);
	return rc ? rc : message_send(a, &rsp, e);
}

static int
get_study(struct getting *g, const char *study, unsigned *status, struct err *e)
{
	struct assoc_proposal p[ASSOC_CONTEXTS_MAX];
	const char *syntaxes[ASSOC_CONTEXTS_MAX];
	struct buf keys = BUF_INIT;
	struct message rq, m;
	struct assoc *a;
	unsigned i;
	int rc;

	p[0] = (struct assoc_proposal){GET, plain, 2, ASSOC_ROLE_DEFAULT};
	for (i = 0; i < g->n_kinds; i++) {
		syntaxes[i] = g->kinds[i].syntax;
		p[i + 1] = (struct assoc_proposal){g->kinds[i].sop_class, &syntaxes[i], 1,
						   ASSOC_ROLE_SCP};
	}
	rc = assoc_request(&a, &g->target, p, g->n_kinds + 1, e);
	if (rc)
		return rc;
	memset(&rq, 0, sizeof(rq));
	rq.context = 1;
	rq.command = MESSAGE_GET_RQ;
	rq.id = 7;
	strcpy(rq.sop_class, GET);
	put(&keys, TAG_QUERY_LEVEL, "STUDY");
	put(&keys, TAG_STUDY_UID, study);
	rc = send_query(a, &rq, &keys, e);
	buf_fini(&keys);
	while (!rc) {
		rc = message_receive(a, SECONDS, &m, e);
		if (!rc && m.command == MESSAGE_STORE_RQ) {
			rc = receive_object(g, a, &m, e);
		} else if (!rc && m.command == MESSAGE_GET_RSP) {
			struct buf list = BUF_INIT;

			if (m.has_data)
				rc = message_receive_identifier(a, &m, SECONDS, &list, e);
			buf_fini(&list);
			if (m.status != STATUS_PENDING) {
				*status = m.status;
				printf("%s %04x %u %u\n", study, m.status, m.completed, m.failed);
				break;
			}
		}
	}
	assoc_release(a);
	assoc_free(a);
	return rc;
}

static int
run(struct getting *g, bool all, bool only_find, struct err *e)
{
	struct assoc_proposal p = {FIND, plain, 2, ASSOC_ROLE_DEFAULT};
	struct buf keys = BUF_INIT;
	struct assoc *a;
	unsigned status, worst = 0;
	size_t i;
	int rc = assoc_request(&a, &g->target, &p, 1, e);

	if (rc)
		return rc;
	put(&keys, TAG_QUERY_LEVEL, "STUDY");
	put(&keys, TAG_STUDY_UID, "");
	if (all)
		rc = find(g, a, &keys, note_study, e);
	for (i = 0; !rc && i < g->n_studies; i++) {
		if (only_find) {
			printf("%s\n", g->studies[i]);
			continue;
		}
		status = 0;
		rc = find_kinds(g, a, g->studies[i], e);
		if (!rc)
			rc = get_study(g, g->studies[i], &status, e);
		worst = status ? status : worst;
	}
	buf_fini(&keys);
	assoc_release(a);
	assoc_free(a);
	return rc || !worst ? rc : err_set(e, ERR_PEER, 0, "not every study came whole");
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"all", no_argument, NULL, 'A'},
					      {"find", no_argument, NULL, 'F'},
					      {"explicit", no_argument, NULL, 'E'},
					      {"study", required_argument, NULL, 's'},
					      {NULL, 0, NULL, 0}};
	struct getting *g = calloc(1, sizeof(*g));
	struct err e = ERR_INIT;
	bool all = false, only_find = false;
	int c, rc;

	if (!g)
		return EXIT_FAILURE;
	g->target = (struct assoc_target){
		.calling = "DICOM_GET", .called = "ANY", .max_pdu = ASSOC_PDU_MAX, .seconds = 30};
	g->out = ".";
	while ((c = getopt_long(argc, argv, "c:a:o:t:", longs, NULL)) != -1) {
		struct buf one = BUF_INIT;

		if (c == 'c')
			g->target.called = optarg;
		else if (c == 'a')
			g->target.calling = optarg;
		else if (c == 'o')
			g->out = optarg;
		else if (c == 't')
			by_tls(&g->target, optarg);
		else if (c == 'A')
			all = true;
		else if (c == 'E')
			g->explicit = true;
		else if (c == 'F')
			only_find = all = true;
		else if (c == 's')
			put(&one, TAG_STUDY_UID, optarg);
		else
			return 2;
		if (one.len)
			note_study(g, attrs_of(&one));
		buf_fini(&one);
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: dicom_get HOST PORT -c CALLED -a CALLING -o DIR --all\n");
		return 2;
	}
	g->target.host = argv[optind];
	g->target.port = (unsigned)strtoul(argv[optind + 1], NULL, 10);
	rc = run(g, all, only_find, &e);
	if (rc)
		fprintf(stderr, "dicom_get: %s\n", e.what);
	free(g->studies);
	free(g);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
