#include "common/store/query_keys.h"

#include <string.h>

#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/store/match.h"
#include "common/store/query.h"
#include "common/store/zone.h"

static bool
single(const struct query_config *c, uint32_t tag)
{
	struct attr a;

	return attrs_get(c->keys, tag, &a) && a.n > 0 && !match_has_wildcard(a.value, a.n);
}

static bool
is_list_of_uids(uint32_t tag)
{
	const struct key *k = key_find(tag);

	return tag == TAG_CLASSES || (k && strcmp(k->vr, "UI") == 0);
}

static const char *
wrong_with(const struct query_config *c, const struct attr *a)
{
	int minutes;
	bool unique =
		a->tag == TAG_SOP_INSTANCE || a->tag == TAG_STUDY_UID || a->tag == TAG_SERIES_UID;

	if (unique && !match_universal(a->value, a->n) && match_has_wildcard(a->value, a->n))
		return "a wildcard in a UID";
	if (a->n > ATTRS_VALUE_MAX && !is_list_of_uids(a->tag))
		return "too long a key";
	if (c->zoned && a->tag == TAG_TIMEZONE && a->n > 0 && !zone_parse(a->value, a->n, &minutes))
		return "no offset from UTC";
	return NULL;
}

int
query_keys_check(const struct query_config *c, uint32_t *tag, struct err *e)
{
	const char *what = NULL;
	struct attr a = {0, NULL, 0};
	size_t pos = 0;
	uint32_t missing = 0;

	if (c->relational)
		missing = 0;
	else if (c->level >= QUERY_SERIES && !single(c, TAG_STUDY_UID))
		missing = TAG_STUDY_UID;
	else if (c->level == QUERY_IMAGE && !single(c, TAG_SERIES_UID))
		missing = TAG_SERIES_UID;
	else if (c->patient_root && c->level > QUERY_PATIENT && !single(c, TAG_PATIENT_ID))
		missing = TAG_PATIENT_ID;
	if (missing) {
		a.tag = missing;
		what = "a unique key above the level is missing";
	}
	while (!what && attrs_next(c->keys, &pos, &a))
		what = wrong_with(c, &a);
	if (!what)
		return 0;
	if (tag)
		*tag = a.tag;
	return err_set(e, ERR_PEER, 0, "%s (%04X,%04X)", what, a.tag >> 16, a.tag & 0xffff);
}
