#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/canon.h"
#include "common/os/file.h"
#include "edge/edge.h"
#include "proto/ledger.h"
#include "tests/lib/stored.h"
#include "tests/lib/witness.h"

enum { FILE_MAX = 1 << 30 };

struct acked {
	unsigned char digest[SHA256_SIZE];
	char path[256];
};

struct witness {
	char conf[300];
	struct acked acked[WITNESS_MARKS];
	size_t n;
	struct made further; /* what is taken in afterwards */
	struct edge edge;
};

static struct witness *
make(const char *conf, const char *dir)
{
	static const struct recipe further = {
		.study = "1.2.3.4.5", .uid = "1.2.3.4.5.6", .pixel = 7, .pixels = 20000};
	struct witness *w = calloc(1, sizeof(*w));
	FILE *f = fopen(conf, "we");

	if (!w || !f)
		abort();
	(void)snprintf(w->conf, sizeof(w->conf), "%s", conf);
	/* The journal as it was recorded (power.py): of another size it is made anew each time. */
	fprintf(f, "[site]\nname = edge\nissuer = EDGE\n[data]\ndir = %s\n", dir);
	fprintf(f, "quota = 64MiB\njournal = 256KiB\n");
	fprintf(f, "[dicom]\naet = EDGE\nlisten = 127.0.0.1:11112\n[log]\nlevel = error\n");
	if (fclose(f))
		abort();
	made_init(&w->further, &further);
	return w;
}

static void
drop(struct witness *w)
{
	made_fini(&w->further);
	free(w);
}

static int
note(struct witness *w, const char *mark, struct err *e)
{
	struct canon_config c = {.form = CANON_FILE};
	struct acked *a = &w->acked[w->n];
	const struct object_info *info;
	struct canon *canon = NULL;
	struct buf b = BUF_INIT;
	int rc = 0;

	if (w->n == WITNESS_MARKS || strlen(mark) >= sizeof(a->path))
		return err_set(e, ERR_LOCAL, 0, "too many marks, or too long a path");
	strcpy(a->path, mark);
	rc = file_slurp(a->path, FILE_MAX, &b, e);
	if (!rc)
		rc = canon_bytes(&canon, &c, b.data, b.len, NULL, &info, e);
	if (!rc)
		memcpy(a->digest, info->digest, SHA256_SIZE);
	w->n++;
	canon_free(canon);
	buf_fini(&b);
	return rc;
}

static int
open_edge(struct witness *w, struct err *e)
{
	return edge_open(&w->edge, w->conf, EDGE_SERVE, e);
}

static void
shut(struct witness *w)
{
	edge_close(&w->edge);
}

/* Every answered object has a version whose bytes are here; the chain holds. */
static int
check_rows(struct witness *w, size_t marks, struct err *e)
{
	struct store_tx *tx;
	struct version v;
	uint64_t oid, bad;
	size_t i;
	int rc = store_begin_read(&tx, w->edge.store, e);

	if (rc)
		return rc;
	rc = ledger_verify(tx, &bad, e);
	for (i = 0; !rc && i < marks; i++) {
		rc = store_by_digest(tx, w->acked[i].digest, &oid, e);
		if (!rc)
			rc = store_version(tx, oid, &v, e);
		if (!rc && (v.state != VERSION_HERE || v.seq == 0))
			rc = ERR_ABSENT;
		if (rc)
			err_set(e, ERR_ABSENT, 0, "answered, and gone: %s", w->acked[i].path);
	}
	store_end_read(tx);
	return rc;
}

static int
check(struct witness *w, size_t marks, struct err *e)
{
	struct store_verdict verdict = {0};
	int rc = check_rows(w, marks, e);

	if (!rc)
		rc = witness_whole(w->edge.store, e);
	if (!rc)
		rc = stored_put(w->edge.store, &w->further, "after", &verdict, e);
	if (!rc)
		rc = store_settle(w->edge.store, e);
	return rc ? rc : store_check(w->edge.store, verdict.oid, e);
}

const struct witness_kind witness_edge = {"edge", make, drop, note, open_edge, check, shut};
