#include "tests/lib/witness.h"

#include "common/base/err.h"

struct seen {
	uint64_t oids[WITNESS_OBJECTS];
	size_t n;
};

static int
keep_oid(void *arg, const struct version *v, struct err *e)
{
	struct seen *seen = arg;

	if (v->state != VERSION_HERE)
		return 0;
	if (seen->n == WITNESS_OBJECTS)
		return err_set(e, ERR_LOCAL, 0, "too many objects");
	seen->oids[seen->n++] = v->oid;
	return 0;
}

int
witness_whole(struct store *s, struct err *e)
{
	struct seen seen = {.n = 0};
	struct store_tx *tx;
	size_t i;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	rc = store_versions(tx, 0, keep_oid, &seen, e);
	store_end_read(tx);
	for (i = 0; !rc && i < seen.n; i++)
		rc = store_check(s, seen.oids[i], e);
	return rc;
}
