#include "common/store/order.h"

#include <stdlib.h>
#include <string.h>

void
order_add(struct order *o, int64_t first, const char *study)
{
	size_t n = strlen(study);

	if (o->n == o->cap) {
		size_t cap = o->cap ? o->cap * 2 : 64;
		struct order_item *all = realloc(o->all, cap * sizeof(*all));

		if (!all) {
			o->failed = true;
			return;
		}
		o->all = all;
		o->cap = cap;
	}
	o->all[o->n++] = (struct order_item){first, (uint32_t)o->uids.len, (uint32_t)n};
	buf_put(&o->uids, study, n);
	o->failed = o->failed || buf_failed(&o->uids);
}

/* Equal ones come together: the same study has the same first arrival. */
static int
newest_first(const void *a, const void *b, void *uids)
{
	const struct order_item *x = a, *y = b;
	const unsigned char *p = ((const struct buf *)uids)->data;
	int c;

	if (x->first != y->first)
		return x->first > y->first ? -1 : 1;
	c = memcmp(p + x->uid, p + y->uid, x->n < y->n ? x->n : y->n);
	return c ? c : (x->n > y->n) - (x->n < y->n);
}

void
order_sort(struct order *o)
{
	size_t i, kept = 0;

	if (o->n > 1)
		qsort_r(o->all, o->n, sizeof(o->all[0]), newest_first, &o->uids);
	for (i = 0; i < o->n; i++)
		if (kept == 0 || newest_first(&o->all[kept - 1], &o->all[i], &o->uids) != 0)
			o->all[kept++] = o->all[i];
	o->n = kept;
	o->at = 0;
}

bool
order_next(struct order *o, char out[UID_SIZE])
{
	const struct order_item *item;

	if (o->at >= o->n)
		return false;
	item = &o->all[o->at++];
	memcpy(out, o->uids.data + item->uid, item->n);
	out[item->n] = '\0';
	return true;
}

void
order_fini(struct order *o)
{
	free(o->all);
	buf_fini(&o->uids);
	memset(o, 0, sizeof(*o));
}
