#include "proto/choose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "proto/rejected.h"

static bool
is_named(const struct choose *c, const struct version *v)
{
	return strcmp(v->study, c->uid) == 0 || strcmp(v->series, c->uid) == 0 ||
	       strcmp(v->sop_instance, c->uid) == 0;
}

/* Notes stay as they are: hidden like what they rejected, whatever became of it. */
static int
is_wanted(const struct choose *c, const struct version *v, bool *yes, struct err *err)
{
	struct rejected r;
	int rc = rejected_get(c->tx, v->sop_instance, &r, err);

	if (rc && rc != ERR_ABSENT)
		return rc;
	if (!rc && strcmp(v->sop_class, NOTE_CLASS) == 0 && strcmp(v->sop_instance, c->uid) != 0)
		*yes = false;
	else
		*yes = c->restore == (!rc && rejected_for(&r, c->reason));
	return 0;
}

static int
choose(void *arg, const struct version *v, struct err *err)
{
	struct choose *c = arg;
	struct choose_one *more;
	bool yes;
	int rc;

	if (!v->current || !v->study[0] || !v->series[0] || !v->sop_instance[0] || !is_named(c, v))
		return 0;
	c->known++;
	rc = is_wanted(c, v, &yes, err);
	if (rc || !yes)
		return rc;
	if (c->n == c->cap) {
		more = realloc(c->all, (c->cap * 2 + 64) * sizeof(*more));
		if (!more)
			return err_set(err, ERR_LOCAL, 0, "no memory for a list of images");
		c->all = more;
		c->cap = c->cap * 2 + 64;
	}
	more = &c->all[c->n++];
	memset(more, 0, sizeof(*more));
	strcpy(more->series, v->series);
	strcpy(more->image.sop_class, v->sop_class);
	strcpy(more->image.sop_instance, v->sop_instance);
	more->image.image = v->has_pixels;
	return 0;
}

static int
its_study(void *arg, const struct version *v, struct err *err)
{
	(void)err;
	memcpy(arg, v->study, UID_SIZE);
	return ERR_AGAIN; /* the first one says it */
}

static int
find(struct choose *c, struct err *err)
{
	int rc;

	c->level = "study";
	(void)snprintf(c->study, sizeof(c->study), "%s", c->uid);
	rc = store_versions_of_study(c->tx, c->uid, 0, choose, c, err);
	if (rc || c->known)
		return rc;
	c->level = "series";
	rc = index_series_study(c->tx, c->uid, c->study, err);
	if (rc == ERR_ABSENT) {
		c->level = "image";
		rc = store_versions_of(c->tx, c->uid, its_study, c->study, err);
		rc = rc == ERR_AGAIN ? 0 : rc ? rc : ERR_ABSENT;
	}
	if (!rc)
		rc = store_versions_of_study(c->tx, c->study, 0, choose, c, err);
	return rc == ERR_ABSENT || (!rc && !c->known)
		       ? err_set(err, ERR_ABSENT, 0,
				 "no study, series or image with this UID is known")
		       : rc;
}

static int
by_series(const void *a, const void *b)
{
	const struct choose_one *x = a, *y = b;
	int c = strcmp(x->series, y->series);

	return c ? c : strcmp(x->image.sop_instance, y->image.sop_instance);
}

int
choose_find(struct choose *c, struct store_tx *tx, struct err *err)
{
	int rc;

	c->tx = tx;
	rc = find(c, err);
	if (!rc && c->n)
		qsort(c->all, c->n, sizeof(*c->all), by_series);
	return rc;
}

void
choose_fini(struct choose *c)
{
	free(c->all);
	c->all = NULL;
}
