#include "common/kv/changes.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

enum { HEAD = 8 };

void
changes_fini(struct changes *c)
{
	buf_fini(&c->keys);
	c->n = 0;
}

void
changes_add(struct changes *c, unsigned table, struct kv_slice key)
{
	if (!c->on)
		return;
	buf_put_u32(&c->keys, table);
	buf_put_u32(&c->keys, (uint32_t)key.n);
	buf_put(&c->keys, key.p, key.n);
	c->n++;
}

static int
compare(const void *a, const void *b)
{
	const unsigned char *x = *(const unsigned char *const *)a;
	const unsigned char *y = *(const unsigned char *const *)b;
	uint32_t tx = buf_get_u32(x), ty = buf_get_u32(y);
	uint32_t nx = buf_get_u32(x + 4), ny = buf_get_u32(y + 4);
	int order;

	if (tx != ty)
		return tx < ty ? -1 : 1;
	order = memcmp(x + HEAD, y + HEAD, nx < ny ? nx : ny);
	return order ? order : (nx > ny) - (nx < ny);
}

int
changes_each(struct changes *c,
	     int (*fn)(void *arg, unsigned table, struct kv_slice key, struct err *e), void *arg,
	     struct err *e)
{
	const unsigned char **at = calloc(c->n ? c->n : 1, sizeof(*at));
	const unsigned char *p = c->keys.data;
	size_t i;
	int rc = 0;

	if (!at || buf_failed(&c->keys))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for what changed");
	for (i = 0; !rc && i < c->n; i++) {
		at[i] = p;
		p += HEAD + buf_get_u32(p + 4);
	}
	if (!rc && c->n > 0)
		qsort(at, c->n, sizeof(*at), compare);
	for (i = 0; !rc && i < c->n; i++)
		if (i == 0 || compare(&at[i - 1], &at[i]) != 0)
			rc = fn(arg, buf_get_u32(at[i]),
				kv_slice(at[i] + HEAD, buf_get_u32(at[i] + 4)), e);
	free(at);
	buf_clear(&c->keys);
	c->keys.failed = false;
	c->n = 0;
	return rc;
}
