/* Which rows match the keys of a query. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/datetime.h"
#include "common/store/index.h"
#include "common/store/match.h"
#include "common/store/query_private.h"
#include "common/store/store.h"
#include "common/store/zone.h"

/* The moment that this key is half of, where both halves are asked for together; NULL: none. */
static const struct zone_pair *
moment_of(const struct query *q, uint32_t tag)
{
	const struct zone_pair *p = q->c.moments ? zone_pair_of(tag) : NULL;
	struct attr a;

	return p && query_key(q, p->date, &a) && query_key(q, p->time, &a) ? p : NULL;
}

static uint64_t
number(struct attrs row, uint32_t tag)
{
	char text[24];

	(void)attrs_copy(row, tag, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

uint64_t
query_instances(const struct query *q, struct attrs row, enum key_level level)
{
	return number(row, level == KEY_STUDY ? TAG_STUDY_INSTANCES : TAG_SERIES_INSTANCES) +
	       (q->c.see_rejected ? number(row, TAG_POOR) : 0);
}

uint64_t
query_series(const struct query *q, struct attrs study)
{
	return number(study, TAG_STUDY_SERIES) +
	       (q->c.see_rejected ? number(study, TAG_POOR_SERIES) : 0);
}

bool
query_sees(const struct query *q, struct attrs instance)
{
	struct attr a;

	return q->c.see_rejected || !attrs_get(instance, TAG_POOR, &a);
}

void
query_enter(struct query *q, struct attrs study)
{
	struct attr a;

	q->row_zoned = attrs_get(study, TAG_TIMEZONE, &a) && zone_parse(a.value, a.n, &q->row_zone);
	q->moves = q->zoned && q->row_zoned;
}

static struct attr
value_of(struct attrs set, uint32_t tag)
{
	struct attr a;

	return attrs_get(set, tag, &a) ? a : (struct attr){tag, "", 0};
}

/* Of which level's rows a key is; false: it is of none, or not matched. */
static bool
level_of(const struct attr *key, enum key_level *out)
{
	const struct key *k = key_find(key->tag);

	*out = k ? k->level : KEY_STUDY;
	if (match_universal(key->value, key->n) ||
	    (k && k->kind == KEY_ITEMS && match_items_universal(key->value, key->n)))
		return false;
	/* The time zone speaks of the query itself (PS3.4 C.4.1.1.3). */
	if (key->tag == TAG_TIMEZONE)
		return false;
	return k || key->tag == TAG_MODALITIES || key->tag == TAG_CLASSES;
}

/* A row's date and time in the zone of the keys. */
static void
moved(const struct query *q, struct attrs row, const struct zone_pair *p, struct attr *date,
      struct attr *time, struct zone_room *room)
{
	*date = value_of(row, p->date);
	*time = value_of(row, p->time);
	if (q->moves && p->moves)
		(void)zone_move(date, time, q->zone - q->row_zone, room);
}

static bool
key_matches(const struct query *q, struct attrs row, const struct attr *key)
{
	const struct key *k = key_find(key->tag);
	const struct zone_pair *m = moment_of(q, key->tag), *p = zone_pair_of(key->tag);
	struct attr value = value_of(row, key->tag), date, time;
	const char *vr = k ? k->vr : key->tag == TAG_CLASSES ? "UI" : "CS";
	/* A DT that says no offset is in the zone of its data set, whatever was negotiated. */
	struct datetime_zones zones = {q->zoned, q->row_zoned, q->zone, q->row_zone};
	struct zone_room room;

	if (p)
		moved(q, row, p, &date, &time, &room);
	if (m)
		return m->time == key->tag ||
		       match_moment(*key, value_of(attrs_of(&q->keys), m->time), date, time);
	if (p)
		value = p->date == key->tag ? date : time;
	if (strcmp(vr, "DT") == 0)
		return datetime_matches_in(&zones, key->value, key->n, value.value, value.n);
	if (k && k->kind == KEY_IDS)
		return match_ids(key->value, key->n, value);
	if (k && k->kind == KEY_ITEMS)
		return match_items(key->value, key->n, value);
	return match_value_by(&q->c.names, vr, key->value, key->n, value);
}

bool
query_row_matches(const struct query *q, struct attrs row, enum key_level from, enum key_level to)
{
	enum key_level level;
	struct attr key;
	size_t pos = 0;

	while (attrs_next(attrs_of(&q->keys), &pos, &key))
		if (level_of(&key, &level) && level >= from && level <= to &&
		    !key_matches(q, row, &key))
			return false;
	return true;
}

bool
query_asks_at(const struct query *q, enum key_level from, enum key_level to)
{
	enum key_level level;
	struct attr key;
	size_t pos = 0;

	while (attrs_next(attrs_of(&q->keys), &pos, &key))
		if (level_of(&key, &level) && level >= from && level <= to)
			return true;
	return false;
}

/* --- relational: what lies below the level --- */

int
query_any_row(struct query *q, struct store_tx *tx, const char *table, const struct buf *prefix,
	      int (*wanted)(struct query *q, struct store_tx *tx, struct kv_slice k,
			    struct kv_slice v, bool *yes, struct err *e),
	      bool *yes, struct err *e)
{
	struct kv_cursor *c;
	struct kv_slice k, v;
	int rc = kv_cursor_open(&c, store_tx_kv(tx), store_table(q->s, table), e);

	*yes = false;
	if (rc)
		return rc;
	rc = kv_cursor_seek(c, kv_slice(prefix->data, prefix->len), &k, &v, e);
	while (!rc && k.n >= prefix->len && memcmp(k.p, prefix->data, prefix->len) == 0) {
		q->looks++;
		rc = wanted(q, tx, k, v, yes, e);
		if (rc || *yes)
			break;
		rc = kv_cursor_next(c, &k, &v, e);
	}
	kv_cursor_close(c);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
instance_wanted(struct query *q, struct store_tx *tx, struct kv_slice k, struct kv_slice v,
		bool *yes, struct err *e)
{
	struct attrs row = {(const char *)v.p + 8, v.n - 8};

	(void)tx;
	(void)k;
	(void)e;
	*yes = query_sees(q, row) && query_row_matches(q, row, KEY_INSTANCE, KEY_INSTANCE);
	return 0;
}

static int
series_wanted(struct query *q, struct store_tx *tx, struct kv_slice k, struct kv_slice v, bool *yes,
	      struct err *e)
{
	struct buf prefix = BUF_INIT;
	int rc = 0;

	*yes = query_instances(q, (struct attrs){v.p, v.n}, KEY_SERIES) > 0 &&
	       query_row_matches(q, (struct attrs){v.p, v.n}, KEY_SERIES, KEY_SERIES);
	if (!*yes || !query_asks_at(q, KEY_INSTANCE, KEY_INSTANCE))
		return 0;
	buf_put(&prefix, k.p, k.n);
	buf_put_u8(&prefix, 0);
	rc = query_any_row(q, tx, "instance", &prefix, instance_wanted, yes, e);
	buf_fini(&prefix);
	return rc;
}

int
query_below_matches(struct query *q, struct store_tx *tx, const char *study, const char *series,
		    bool *yes, struct err *e)
{
	struct buf prefix = BUF_INIT;
	int rc = 0;

	*yes = true;
	if (!q->c.relational || !query_asks_at(q, series ? KEY_INSTANCE : KEY_SERIES, KEY_INSTANCE))
		return 0;
	buf_puts(&prefix, study);
	buf_put_u8(&prefix, 0);
	if (series) {
		buf_puts(&prefix, series);
		buf_put_u8(&prefix, 0);
		rc = query_any_row(q, tx, "instance", &prefix, instance_wanted, yes, e);
	} else {
		rc = query_any_row(q, tx, "series", &prefix, series_wanted, yes, e);
	}
	buf_fini(&prefix);
	return rc;
}
