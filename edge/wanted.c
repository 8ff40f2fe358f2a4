#include "edge/wanted.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/outbox.h"
#include "proto/message.h"
#include "proto/settings.h"
#include "proto/sync.pb-c.h"

enum { NUMBER = 8, SETTINGS_MAX = 64, KEY = SETTING_NAME_MAX + 8 };

static void
key_of(char key[KEY], const char *name)
{
	(void)snprintf(key, KEY, "set_%s", name);
}

static int
take_one(struct store_tx *tx, uint64_t number, const Sync__OrderSetting *s, struct err *e)
{
	struct buf row = BUF_INIT;
	char key[KEY];
	int rc;

	if (!s->name[0] || strlen(s->name) > SETTING_NAME_MAX ||
	    strlen(s->value) > SETTING_VALUE_MAX)
		return 0; /* the next one is no worse for it */
	key_of(key, s->name);
	rc = sync_get(tx, key, &row, e);
	if (!rc && (row.len < NUMBER || buf_get_u64(row.data) < number)) {
		buf_clear(&row);
		buf_put_u64(&row, number);
		buf_puts(&row, s->value);
		rc = buf_failed(&row) ? err_set(e, ERR_LOCAL, 0, "no memory for a setting")
				      : sync_put(tx, key, row.data, row.len, e);
	}
	buf_fini(&row);
	return rc;
}

int
wanted_take(struct store_tx *tx, const Sync__Order *m, struct err *e)
{
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < m->n_settings && i < SETTINGS_MAX; i++)
		rc = take_one(tx, m->number, m->settings[i], e);
	return rc;
}

int
wanted_other_archive(struct store_tx *tx, struct err *e)
{
	struct buf row = BUF_INIT;
	const struct setting *all;
	char key[KEY];
	size_t i, n;
	int rc = 0;

	all = settings_all(&n);
	for (i = 0; !rc && i < n; i++) {
		key_of(key, all[i].name);
		rc = sync_get(tx, key, &row, e);
		if (rc || row.len < NUMBER)
			continue;
		buf_set_u64(row.data, 0);
		rc = sync_put(tx, key, row.data, row.len, e);
	}
	buf_fini(&row);
	return rc;
}

int
wanted_value(struct store_tx *tx, const char *name, struct buf *out, struct err *e)
{
	struct buf row = BUF_INIT;
	char key[KEY];
	int rc;

	key_of(key, name);
	rc = sync_get(tx, key, &row, e);
	buf_clear(out);
	if (!rc && row.len > NUMBER)
		buf_put(out, row.data + NUMBER, row.len - NUMBER);
	buf_put_u8(out, 0);
	buf_fini(&row);
	return rc;
}

static int
value_now(const struct edge *e, const char *name, struct buf *out)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, e->store, NULL);

	if (rc)
		return rc;
	rc = wanted_value(tx, name, out, NULL);
	store_end_read(tx);
	return rc;
}

static void
text_one(const struct setting *s, const char *value, struct buf *out)
{
	if (value[0])
		buf_printf(out,
			   "central wants %s %s; where this edge's file keeps more, that "
			   "counts\n",
			   s->name, value);
}

int
wanted_text(const struct edge *e, struct buf *out, struct err *err)
{
	struct buf value = BUF_INIT;
	const struct setting *all;
	size_t i, n;
	int rc = 0;

	all = settings_all(&n);
	for (i = 0; !rc && i < n; i++) {
		rc = value_now(e, all[i].name, &value);
		if (!rc && !buf_failed(&value))
			text_one(&all[i], (const char *)value.data, out);
	}
	buf_fini(&value);
	return rc ? err_set(err, ERR_LOCAL, 0, "central's settings cannot be read") : 0;
}

int
wanted_json(const struct edge *e, struct json *j, const char *name, struct err *err)
{
	struct buf value = BUF_INIT;
	const struct setting *all;
	size_t i, n;
	int rc = 0;

	all = settings_all(&n);
	json_open(j, name, '{');
	for (i = 0; !rc && i < n; i++) {
		rc = value_now(e, all[i].name, &value);
		if (!rc && !buf_failed(&value) && value.data[0])
			json_text(j, all[i].name, (const char *)value.data);
	}
	json_close(j, '}');
	buf_fini(&value);
	return rc ? err_set(err, ERR_LOCAL, 0, "central's settings cannot be read") : 0;
}

int64_t
wanted_number(const struct edge *e, const char *name)
{
	const struct setting *s = settings_find(name);
	int64_t own = conf_number(e->conf, "cache", NULL, name);
	struct buf value = BUF_INIT;

	own = value_now(e, name, &value) || buf_failed(&value)
		      ? s->max
		      : settings_number(s, own, (const char *)value.data);
	buf_fini(&value);
	return own;
}

bool
wanted_dark_keep(const struct edge *e)
{
	const char *own = conf_string(e->conf, "cache", NULL, "dark");
	struct buf value = BUF_INIT;
	bool yes = strcmp(own, "keep") == 0 || value_now(e, "dark", &value) || buf_failed(&value) ||
		   strcmp((const char *)value.data, "keep") == 0;

	buf_fini(&value);
	return yes;
}
