/* What others call to have something committed; the committer itself: commit.c. */
#include <errno.h>
#include <string.h>

#include "common/base/err.h"
#include "common/store/private.h"

void
commit_begin(struct store *s, struct commit_request *r)
{
	(void)sem_init(&r->done, 0, 0);
	committer_take(s, r);
}

int
commit_wait(struct commit_request *r, struct err *e)
{
	while (sem_wait(&r->done) && errno == EINTR)
		continue;
	(void)sem_destroy(&r->done);
	if (r->rc && e && e->code == ERR_NONE)
		*e = r->e;
	return r->rc;
}

static int
commit(struct store *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e), void *arg,
       uint64_t bytes, bool quick, struct err *e)
{
	struct commit_request r;

	memset(&r, 0, sizeof(r));
	r.fn = fn;
	r.arg = arg;
	r.bytes = bytes;
	r.quick = quick;
	commit_begin(s, &r);
	return commit_wait(&r, e);
}

int
store_commit_bytes(struct store *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e),
		   void *arg, uint64_t bytes, struct err *e)
{
	return commit(s, fn, arg, bytes, false, e);
}

int
store_commit(struct store *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e), void *arg,
	     struct err *e)
{
	return commit(s, fn, arg, 0, false, e);
}

int
store_commit_quick(struct store *s, int (*fn)(struct store_tx *tx, void *arg, struct err *e),
		   void *arg, uint64_t bytes, struct err *e)
{
	return commit(s, fn, arg, bytes, true, e);
}

static int
nothing(struct store_tx *tx, void *arg, struct err *e)
{
	(void)tx;
	(void)arg;
	(void)e;
	return 0;
}

bool
store_unsettled(const struct store *s)
{
	return atomic_load(&s->unsettled);
}

int
store_settle(struct store *s, struct err *e)
{
	return s->committer && atomic_load(&s->unsettled) ? store_commit(s, nothing, NULL, e) : 0;
}
