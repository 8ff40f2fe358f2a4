#include "central/order_commands.h"

#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/sites.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/uid.h"
#include "common/os/command.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/settings.h"
#include "proto/sync.pb-c.h"
#include "proto/version.h"

enum { DAYS_MAX = 36500 };

const char order_commands_set_usage[] =
	"set keep_days|retract_days DAYS|default [--site NAME], or set dark keep|default [--site "
	"NAME]";

/* R10: of a central that is being rebuilt, or whose copies are doubted. */
int
order_commands_hold(struct asked *a)
{
	Sync__Order m = SYNC__ORDER__INIT;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;

	m.kind = SYNC__ORDER_KIND__ORDER_HOLD;
	m.on = strcmp(a->words[1], "on") == 0;
	m.why = message_text("a person");
	if (!m.on && strcmp(a->words[1], "off") != 0) {
		command_complain(a, "hold on|off");
		return COMMAND_USAGE;
	}
	if (dispatch_give(a->node, &m, &e))
		return command_failed(a, &e);
	buf_printf(&out, "order %llu: %s\n", (unsigned long long)m.number,
		   m.on ? "no edge evicts anything, from when it hears this on"
			: "edges may evict again what central releases");
	return command_give(a, &out, COMMAND_OK);
}

/* --- chores --- */

struct site_now {
	const char *name;
	uint32_t version; /* of the copy that called last; 0: none has */
	int64_t contact_ms;
};

static int
note_version(void *arg, const struct site_row *row, struct err *e)
{
	struct site_now *s = arg;

	(void)e;
	if (row->closed || strcmp(row->site, s->name) != 0 || row->contact_ms < s->contact_ms)
		return 0;
	s->version = row->version;
	s->contact_ms = row->contact_ms;
	return 0;
}

static int
find_site(struct central *c, struct site_now *s, struct err *e)
{
	struct store_tx *tx;
	bool known = false;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = sites_know(tx, s->name, &known, e);
	if (!rc)
		rc = site_each(tx, note_version, s, e);
	store_end_read(tx);
	return rc || known ? rc : err_set(e, ERR_ABSENT, 0, "no site %.64s; see `sites`", s->name);
}

/* What is waited for is said: an order is no deed yet. */
static int
give_to(struct asked *a, Sync__Order *m, const char *name, const char *what)
{
	struct site_now s = {.name = name};
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;

	m->site = message_text(name);
	m->why = message_text("a person");
	if (find_site(a->node, &s, &e) || dispatch_give(a->node, m, &e))
		return command_failed(a, &e);
	buf_printf(&out, "order %llu: %s %s; `orders` says how it goes\n",
		   (unsigned long long)m->number, name, what);
	if (s.version && s.version < PROTOCOL_DECISIONS)
		buf_printf(&out,
			   "%s speaks version %u of the protocol: it hears of it when it is "
			   "upgraded\n",
			   name, s.version);
	return command_give(a, &out, COMMAND_OK);
}

static bool
only(const struct asked *a, const char *options)
{
	size_t i;

	for (i = 0; i < a->n_options; i++)
		if (!strstr(options, a->options[i]))
			return false;
	return a->n == 3;
}

/* R12, R27: what comes stops at 70 % of the site's quota, and nothing goes for it. */
static int
site_refill(struct asked *a)
{
	const char *days = command_option(a, "--days"), *bytes = command_option(a, "--bytes");
	Sync__Order m = SYNC__ORDER__INIT;
	char *end = NULL;

	m.kind = SYNC__ORDER_KIND__ORDER_REFILL;
	m.group = command_option(a, "--group") != NULL;
	if (days) {
		m.days = strtoull(days, &end, 10);
		if (*days < '0' || *days > '9' || *end || m.days == 0 || m.days > DAYS_MAX) {
			command_complain(a, "--days: a number from 1 to 36500");
			return COMMAND_USAGE;
		}
	}
	if (bytes && (!command_size(bytes, &m.most_bytes) || !m.most_bytes)) {
		command_complain(a, "--bytes: a size such as 20GiB");
		return COMMAND_USAGE;
	}
	return give_to(a, &m, a->words[2], "fetches back what it had");
}

static int
site_verify(struct asked *a)
{
	const char *subset = command_option(a, "--subset");
	Sync__Order m = SYNC__ORDER__INIT;

	m.kind = SYNC__ORDER_KIND__ORDER_VERIFY;
	if (subset && !command_slice(subset, &m.part, &m.parts)) {
		command_complain(a, "--subset: a slice such as 3/30");
		return COMMAND_USAGE;
	}
	return give_to(a, &m, a->words[2], "reads its bytes, and compares its ledger");
}

static int
site_resend(struct asked *a)
{
	Sync__Order m = SYNC__ORDER__INIT;

	m.kind = SYNC__ORDER_KIND__ORDER_RESEND;
	return give_to(a, &m, a->words[2], "compares its whole ledger, and sends what is not here");
}

int
order_commands_site(struct asked *a)
{
	const char *what = a->words[1];

	if (strcmp(what, "refill") == 0 && only(a, "--days --bytes --group"))
		return site_refill(a);
	if (strcmp(what, "verify") == 0 && only(a, "--subset"))
		return site_verify(a);
	if (strcmp(what, "resend") == 0 && only(a, ""))
		return site_resend(a);
	return -1;
}

static int
note_shown(void *arg, const struct version *v, struct err *e)
{
	(void)e;
	*(bool *)arg = !(v->hidden & VERSION_WITHDRAWN);
	return *(bool *)arg ? ERR_AGAIN : 0;
}

int
order_commands_prefetch(struct asked *a)
{
	const char *study = a->words[1];
	Sync__Order m = SYNC__ORDER__INIT;
	struct central *c = a->node;
	struct err e = ERR_INIT;
	struct store_tx *tx;
	bool shown = false;
	int rc;

	if (!study[0] || strlen(study) > UID_KEEP) {
		command_complain(a, "no UID of a study");
		return COMMAND_USAGE;
	}
	rc = store_begin_read(&tx, c->store, &e);
	if (rc)
		return command_failed(a, &e);
	rc = store_versions_of_study(tx, study, 0, note_shown, &shown, &e);
	store_end_read(tx);
	if (!shown && (!rc || rc == ERR_AGAIN))
		rc = err_set(&e, ERR_ABSENT, 0, "no study with this UID is shown here");
	if (rc && rc != ERR_AGAIN)
		return command_failed(a, &e);
	m.kind = SYNC__ORDER_KIND__ORDER_PREFETCH;
	m.study = message_text(study);
	return give_to(a, &m, a->words[2], "fetches the study");
}

/* --- settings --- */

static int
tell_set(struct asked *a, const Sync__Order *m, const Sync__OrderSetting *s)
{
	struct buf out = BUF_INIT;

	buf_printf(&out, "order %llu: %s, %s %s%s\n", (unsigned long long)m->number,
		   m->site[0] ? m->site : "every site", s->name, s->value[0] ? s->value : "default",
		   s->value[0] ? "; where its own file keeps more, that counts" : "");
	return command_give(a, &out, COMMAND_OK);
}

int
order_commands_set(struct asked *a)
{
	const struct setting *known = settings_find(a->words[1]);
	const char *name = command_option(a, "--site"), *value = a->words[2];
	Sync__OrderSetting s = SYNC__ORDER_SETTING__INIT, *list = &s;
	Sync__Order m = SYNC__ORDER__INIT;
	struct site_now site = {.name = name};
	struct err e = ERR_INIT;

	if (strcmp(value, "default") == 0)
		value = "";
	else if (!value[0])
		known = NULL;
	if (!known || !settings_valid(known, value)) {
		command_complain(a, order_commands_set_usage);
		return COMMAND_USAGE;
	}
	s.name = message_text(known->name);
	s.value = message_text(value);
	m.kind = SYNC__ORDER_KIND__ORDER_SETTINGS;
	m.settings = &list;
	m.n_settings = 1;
	m.site = message_text(name ? name : "");
	m.why = message_text("a person");
	if ((name && find_site(a->node, &site, &e)) || dispatch_give(a->node, &m, &e))
		return command_failed(a, &e);
	return tell_set(a, &m, &s);
}
