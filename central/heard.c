#include "central/heard.h"

#include <stdlib.h>
#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/dispatch.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/kv/kv.h"
#include "common/os/command.h"
#include "common/store/store.h"
#include "proto/message.h"
#include "proto/orders.h"
#include "proto/sync.pb-c.h"
#include "proto/version.h"

enum { TEXT_MAX = 400, KEY = SITE_SIZE + 8, DAYS_SHOWN = 7 };

static unsigned
table(struct store_tx *tx, const char *name)
{
	return store_table(store_tx_store(tx), name);
}

bool
heard_is_chore(const Sync__Order *m)
{
	return m->kind == SYNC__ORDER_KIND__ORDER_REFILL ||
	       m->kind == SYNC__ORDER_KIND__ORDER_VERIFY ||
	       m->kind == SYNC__ORDER_KIND__ORDER_RESEND ||
	       m->kind == SYNC__ORDER_KIND__ORDER_PREFETCH;
}

/* --- how far it has heard --- */

static int
get_heard(struct store_tx *tx, const char *site, uint64_t *number, struct err *e)
{
	Sync__HeardRow *m;
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx, HEARD_TABLE), kv_slice(site, strlen(site)), &v,
			e);

	*number = 0;
	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	m = message_read(&sync__heard_row__descriptor, v.p, v.n, NULL);
	*number = m ? m->number : 0;
	message_free(m);
	return 0;
}

struct noting {
	struct central *c;
	const char *site;
	uint64_t number;
};

static int
put_heard(struct store_tx *tx, void *arg, struct err *e)
{
	Sync__HeardRow m = SYNC__HEARD_ROW__INIT;
	const struct noting *n = arg;
	struct buf row = BUF_INIT;
	int rc;

	m.number = n->number;
	m.wall_ms = clock_wall(n->c->clock);
	message_pack(&row, &m.base);
	rc = buf_failed(&row)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for a number")
		     : kv_put(store_tx_kv(tx), table(tx, HEARD_TABLE),
			      kv_slice(n->site, strlen(n->site)), kv_slice(row.data, row.len), e);
	buf_fini(&row);
	return rc;
}

int
heard_note(struct central *c, const char *site, uint64_t number, struct err *e)
{
	struct noting n = {c, site, number};
	uint64_t before, given = 0;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = get_heard(tx, site, &before, e);
	if (!rc)
		rc = state_number(tx, DISPATCH_LAST, &given, e);
	store_end_read(tx);
	/* R22: the numbers of another epoch are below; what was never given nobody has heard. */
	if (rc || number <= before || number > given)
		return rc;
	return store_commit(c->store, put_heard, &n, e);
}

/* --- how it ended there --- */

static size_t
key_of(unsigned char key[KEY], const char *site, uint64_t number)
{
	size_t n = strnlen(site, SITE_SIZE - 1);

	memcpy(key, site, n);
	key[n] = 0;
	buf_set_be64(key + n + 1, number);
	return n + 9;
}

static int
get_done(struct store_tx *tx, const char *site, uint64_t number, Sync__OrderDone **out,
	 struct err *e)
{
	unsigned char key[KEY + 1];
	struct kv_slice v;
	int rc = kv_get(store_tx_kv(tx), table(tx, ORDER_DONE_TABLE),
			kv_slice(key, key_of(key, site, number)), &v, e);

	*out = rc ? NULL : message_read(&sync__order_done__descriptor, v.p, v.n, NULL);
	return rc == ERR_ABSENT ? 0 : rc;
}

int
heard_ended(struct store_tx *tx, const char *site, uint64_t number, bool *out, struct err *e)
{
	Sync__OrderDone *m;
	int rc = get_done(tx, site, number, &m, e);

	*out = m != NULL;
	message_free(m);
	return rc;
}

int
heard_apply(struct store_tx *tx, const Sync__LogDecision *m, struct err *e)
{
	Sync__OrderDone *d =
		message_read(&sync__order_done__descriptor, m->order.data, m->order.len, NULL);
	unsigned char key[KEY + 1];
	int rc = 0;

	if (d)
		rc = kv_put(store_tx_kv(tx), table(tx, ORDER_DONE_TABLE),
			    kv_slice(key, key_of(key, m->site, d->number)),
			    kv_slice(m->order.data, m->order.len), e);
	message_free(d);
	return rc;
}

int
heard_replace(struct store_tx *tx, uint64_t number, struct err *e)
{
	unsigned char key[KEY + 1];

	return kv_put(store_tx_kv(tx), table(tx, ORDER_DONE_TABLE),
		      kv_slice(key, key_of(key, "", number)), kv_slice("", 0), e);
}

int
heard_replaced(struct store_tx *tx, uint64_t number, bool *out, struct err *e)
{
	return heard_ended(tx, "", number, out, e);
}

/* A chore that was given to that site, and has not ended there. */
static int
is_news(struct central *c, const char *site, uint64_t number, bool *out, struct err *e)
{
	Sync__Order *m = NULL;
	struct store_tx *tx;
	bool ended = true, replaced = true;
	int rc = store_begin_read(&tx, c->store, e);

	*out = false;
	if (rc)
		return rc;
	rc = dispatch_get(tx, number, &m, e);
	if (!rc)
		rc = heard_ended(tx, site, number, &ended, e);
	if (!rc)
		rc = heard_replaced(tx, number, &replaced, e);
	store_end_read(tx);
	*out = !rc && heard_is_chore(m) && dispatch_is_for(m, site) && !ended && !replaced;
	message_free(m);
	return rc == ERR_ABSENT ? 0 : rc; /* R22: of a central before this one */
}

/* It comes from outside: a line of text, whatever it was (R35: numbers). */
static void
make_plain(char *s)
{
	size_t i;

	for (i = 0; s[i]; i++)
		if (i >= TEXT_MAX)
			s[i--] = '\0';
		else if ((unsigned char)s[i] < ' ' || (unsigned char)s[i] > '~')
			s[i] = '?';
}

static int
take_one(struct central *c, const char *site, Sync__OrderDone *m, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	struct buf bytes = BUF_INIT;
	bool yes = false;
	int rc;

	make_plain(m->text);
	message_pack(&bytes, &m->base);
	d.kind = SYNC__DECISION_KIND__DECISION_ORDER_DONE;
	d.site = message_text(site);
	d.order = message_bytes(bytes.data, bytes.len);
	(void)pthread_mutex_lock(&c->order);
	rc = buf_failed(&bytes) ? err_set(e, ERR_LOCAL, 0, "no memory for an order")
				: is_news(c, site, m->number, &yes, e);
	if (!rc && yes)
		rc = record_decide_locked(c, &d, e);
	(void)pthread_mutex_unlock(&c->order);
	buf_fini(&bytes);
	if (!rc && yes)
		log_line(LOG_INFO, "order.done", "site=%s number=%llu outcome=%d", site,
			 (unsigned long long)m->number, (int)m->outcome);
	return rc;
}

int
heard_take(struct central *c, const struct http_request *rq, struct err *e)
{
	Sync__OrdersBack *back =
		message_read(&sync__orders_back__descriptor, rq->body, rq->body_n, e);
	size_t i;
	int rc = back ? 0 : ERR_PEER;

	for (i = 0; !rc && i < back->n_done && i < ORDERS_MAX; i++)
		rc = take_one(c, rq->site, back->done[i], e);
	message_free(back);
	return rc;
}

/* --- the list --- */

enum state { UNHEARD, UNDER_WAY, HEARD, ENDED };

struct place {
	char site[SITE_SIZE];
	uint64_t heard;
	uint32_t version;
	enum state state; /* of the order that is looked at */
	Sync__OrderDone *done;
};

struct places {
	struct store_tx *tx;
	struct place *list;
	size_t n;
};

/* Each site that goes on, once. */
static int
note_place(void *arg, const struct site_row *row, struct err *e)
{
	struct places *p = arg;
	struct place *more;
	size_t i;

	if (row->closed)
		return 0;
	for (i = 0; i < p->n; i++)
		if (strcmp(p->list[i].site, row->site) == 0)
			return 0;
	more = realloc(p->list, (p->n + 1) * sizeof(*more));
	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list");
	p->list = more;
	memset(&more[p->n], 0, sizeof(*more));
	memcpy(more[p->n].site, row->site, SITE_SIZE);
	more[p->n].version = row->version;
	return get_heard(p->tx, row->site, &p->list[p->n++].heard, e);
}

static int
look_at(struct places *p, struct place *at, const Sync__Order *m, struct err *e)
{
	int rc = 0;

	message_free(at->done);
	at->done = NULL;
	at->state = at->heard < m->number ? UNHEARD : heard_is_chore(m) ? UNDER_WAY : HEARD;
	if (heard_is_chore(m))
		rc = get_done(p->tx, at->site, m->number, &at->done, e);
	if (at->done)
		at->state = ENDED;
	return rc;
}

/* Of the sites that it is for: how many have not carried it out. */
static int
count_open(struct places *p, const Sync__Order *m, size_t *open, bool *any, struct err *e)
{
	size_t i;
	int rc = 0;

	*open = 0;
	*any = false;
	for (i = 0; !rc && i < p->n; i++) {
		p->list[i].state = HEARD;
		if (!dispatch_is_for(m, p->list[i].site))
			continue;
		*any = true;
		rc = look_at(p, &p->list[i], m, e);
		*open += p->list[i].state == UNHEARD || p->list[i].state == UNDER_WAY;
	}
	return rc;
}

static int
places_make(struct places *p, struct store_tx *tx, struct err *e)
{
	memset(p, 0, sizeof(*p));
	p->tx = tx;
	return site_each(tx, note_place, p, e);
}

static void
places_fini(struct places *p)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		message_free(p->list[i].done);
	free(p->list);
}

int
heard_is_new(struct store_tx *tx, const Sync__Order *m, bool *out, struct err *e)
{
	bool withdrawal = m->kind == SYNC__ORDER_KIND__ORDER_RETRACT ||
			  m->kind == SYNC__ORDER_KIND__ORDER_RESTORE ||
			  m->kind == SYNC__ORDER_KIND__ORDER_REJECTED ||
			  m->kind == SYNC__ORDER_KIND__ORDER_SITE;
	size_t open, i, heard = 0;
	struct places p;
	bool any = false;
	int rc = places_make(&p, tx, e);

	if (!rc)
		rc = count_open(&p, m, &open, &any, e);
	for (i = 0, open = 0; i < p.n && any; i++) {
		open += p.list[i].state == UNHEARD;
		heard += p.list[i].state != UNHEARD && dispatch_is_for(m, p.list[i].site);
	}
	places_fini(&p);
	*out = !rc && (withdrawal ? heard == 0 : open > 0);
	return rc;
}

struct listing {
	struct places places;
	struct buf *out;
	struct json *j; /* NULL: as text */
	bool all, person;
	int64_t now_ms; /* wall clock */
};

static const char *
state_name(const struct place *at)
{
	static const char *const names[] = {
		[UNHEARD] = "not heard", [UNDER_WAY] = "under way", [HEARD] = "heard"};

	if (at->state != ENDED)
		return names[at->state];
	return at->done->outcome == SYNC__ORDER_OUTCOME__ORDER_OUTCOME_DONE	? "done"
	       : at->done->outcome == SYNC__ORDER_OUTCOME__ORDER_OUTCOME_PERSON ? "needs a person"
										: "failed";
}

static bool
went_wrong(const struct place *at)
{
	return at->state == ENDED && at->done->outcome != SYNC__ORDER_OUTCOME__ORDER_OUTCOME_DONE;
}

static void
text_place(struct buf *out, const struct place *at)
{
	buf_printf(out, "  %s: %s%s%s%s\n", at->site, state_name(at), at->done ? ": " : "",
		   at->done ? at->done->text : "",
		   at->state == UNHEARD && at->version && at->version < PROTOCOL_DECISIONS
			   ? ": its version hears no orders"
			   : "");
}

static void
text_order(struct listing *l, const Sync__Order *m)
{
	char when[CLOCK_RFC3339_SIZE];
	size_t i;

	clock_rfc3339(m->wall_ms, when);
	buf_printf(l->out, "order %llu of %s: %s", (unsigned long long)m->number, when,
		   orders_kind_name((int)m->kind));
	if (m->kind == SYNC__ORDER_KIND__ORDER_HOLD)
		buf_puts(l->out, m->on ? " on" : " off");
	if (m->subject[0] || m->study[0])
		buf_printf(l->out, " %s", m->subject[0] ? m->subject : m->study);
	for (i = 0; i < m->n_settings; i++)
		buf_printf(l->out, " %s %s", m->settings[i]->name,
			   m->settings[i]->value[0] ? m->settings[i]->value : "default");
	buf_puts(l->out, "\n");
	for (i = 0; i < l->places.n; i++)
		if (dispatch_is_for(m, l->places.list[i].site))
			text_place(l->out, &l->places.list[i]);
}

static void
json_order(struct listing *l, const Sync__Order *m)
{
	size_t i;

	json_open(l->j, NULL, '{');
	json_count(l->j, "number", m->number);
	json_text(l->j, "kind", orders_kind_name((int)m->kind));
	json_text(l->j, "subject", m->subject[0] ? m->subject : m->study);
	json_time(l->j, "given", m->wall_ms);
	json_open(l->j, "settings", '{');
	for (i = 0; i < m->n_settings; i++)
		json_text(l->j, m->settings[i]->name, m->settings[i]->value);
	json_close(l->j, '}');
	json_open(l->j, "sites", '[');
	for (i = 0; i < l->places.n; i++) {
		const struct place *at = &l->places.list[i];

		if (!dispatch_is_for(m, at->site))
			continue;
		json_open(l->j, NULL, '{');
		json_text(l->j, "site", at->site);
		json_text(l->j, "state", state_name(at));
		json_text(l->j, "said", at->done ? at->done->text : "");
		json_close(l->j, '}');
	}
	json_close(l->j, ']');
	json_close(l->j, '}');
}

/* What is open, and for a while (R28: to the eye alone) what did not end well. */
static int
list_one(void *arg, const Sync__Order *m, struct err *e)
{
	bool any, recent, replaced, wrong = false;
	struct listing *l = arg;
	size_t open, i;
	int rc = heard_replaced(l->places.tx, m->number, &replaced, e);

	if (rc || replaced || m->kind == SYNC__ORDER_KIND__ORDER_NONE)
		return rc;
	rc = count_open(&l->places, m, &open, &any, e);
	if (rc)
		return rc;
	recent = l->now_ms - m->wall_ms < DAYS_SHOWN * INT64_C(86400000);
	for (i = 0; i < l->places.n; i++)
		wrong = wrong || (recent && went_wrong(&l->places.list[i]));
	l->person = l->person || wrong;
	if (!(open || wrong || l->all))
		return 0;
	if (l->j)
		json_order(l, m);
	else
		text_order(l, m);
	return 0;
}

/* --- how many are open --- */

struct opening {
	struct places places;
	uint64_t open, chore, last; /* the first chore that is open; the last order */
};

static int
count_one(void *arg, const Sync__Order *m, struct err *e)
{
	struct opening *o = arg;
	bool any, replaced;
	size_t open;
	int rc = heard_replaced(o->places.tx, m->number, &replaced, e);

	o->last = m->number;
	if (rc || replaced || m->kind == SYNC__ORDER_KIND__ORDER_NONE)
		return rc;
	rc = count_open(&o->places, m, &open, &any, e);
	o->open += open > 0;
	if (open && !o->chore && heard_is_chore(m))
		o->chore = m->number;
	return rc;
}

/* What all have heard is closed, but for chores; of these, what was closed once stays so while no
 * other site is there. So years of orders are not read to count those of today. */
static uint64_t
first_open(struct central *c, const struct places *p, uint64_t *print)
{
	uint64_t from = UINT64_MAX;
	struct buf names = BUF_INIT;
	size_t i;

	for (i = 0; i < p->n; i++) {
		from = p->list[i].heard + 1 < from ? p->list[i].heard + 1 : from;
		buf_put(&names, p->list[i].site, strlen(p->list[i].site) + 1);
	}
	*print = buf_failed(&names) ? 0 : xxh64_of(names.data, names.len);
	buf_fini(&names);
	(void)pthread_mutex_lock(&c->dispatch.mu);
	if (!*print || c->dispatch.chores_of != *print)
		from = 0;
	else if (c->dispatch.chores_from < from)
		from = c->dispatch.chores_from;
	(void)pthread_mutex_unlock(&c->dispatch.mu);
	return from;
}

int
heard_open(struct central *c, struct store_tx *tx, uint64_t *out, struct err *e)
{
	struct opening o = {.open = 0};
	uint64_t print = 0, from;
	int rc = places_make(&o.places, tx, e);

	*out = 0;
	if (!rc && o.places.n) {
		from = first_open(c, &o.places, &print);
		o.last = from ? from - 1 : 0;
		rc = dispatch_each(tx, from, count_one, &o, e);
	}
	if (!rc && o.places.n) {
		(void)pthread_mutex_lock(&c->dispatch.mu);
		c->dispatch.chores_from = o.chore ? o.chore : o.last + 1;
		c->dispatch.chores_of = print;
		(void)pthread_mutex_unlock(&c->dispatch.mu);
		*out = o.open;
	}
	places_fini(&o.places);
	return rc;
}

int
heard_list(struct asked *a)
{
	struct central *c = a->node;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	struct listing l = {.out = &out,
			    .all = command_option(a, "--all") != NULL,
			    .now_ms = clock_wall(c->clock)};
	struct store_tx *tx;
	struct json j;
	int rc = store_begin_read(&tx, c->store, &e);

	if (rc)
		return command_failed(a, &e);
	l.j = command_list(a, &j, &out);
	rc = places_make(&l.places, tx, &e);
	if (!rc)
		rc = dispatch_each(tx, 0, list_one, &l, &e);
	store_end_read(tx);
	places_fini(&l.places);
	command_list_end(l.j, &out);
	return command_end(a, &out, rc, &e, l.person ? COMMAND_PERSON : COMMAND_OK);
}
