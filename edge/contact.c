#include "edge/contact.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/keep.h"
#include "edge/late.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "edge/packing.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/sender.h"
#include "proto/version.h"

enum { ONE_CENTRAL_HELLOS = 20 };

void
contact_show(struct edge *e, const struct sender *s, uint64_t compared, bool answered_hello)
{
	struct contact *c = &e->contact;
	bool answers = answered_hello && s->reachable, again;

	(void)pthread_mutex_lock(&e->mu);
	again = answers && (!c->ever || c->why[0]);
	c->reachable = s->reachable;
	if (answers || c->ever) /* before: what the last serve knew */
		c->announced = s->announced;
	c->comparing = sender_comparing(s);
	c->compared = compared;
	c->losses = s->losses;
	c->full_lanes = s->closed;
	c->cut_off = sender_cut_off(s, clock_mono(e->clock));
	c->retry_ms = sender_retry(s);
	if (s->reachable)
		c->wall_ms = clock_wall(e->clock);
	if (answers) {
		c->ever = true;
		c->mono_ms = clock_mono(e->clock);
		c->turned_away = c->other_versions = false;
		c->why[0] = '\0';
	}
	(void)pthread_mutex_unlock(&e->mu);
	if (again) {
		log_line(LOG_INFO, "central.answers", "%s", "");
		orders_wake(e->orders);
	}
}

void
contact_note_why(struct edge *e, const struct http_done *done, bool hello, bool ours)
{
	struct contact *c = &e->contact;
	char why[sizeof(c->why)], text[HTTP_WHAT_SIZE];
	bool first;

	http_done_why(done, text);
	if (done->status == 0)
		(void)snprintf(why, sizeof(why), "%s", text);
	else if (done->status == 403) /* R24: its gate says why */
		(void)snprintf(why, sizeof(why), "it turns this edge away: %.80s", text);
	else if (hello && done->status == PROTOCOL_NONE_COMMON)
		(void)snprintf(why, sizeof(why), "it speaks other versions of the protocol: %.80s",
			       text);
	else if (done->status >= 500)
		(void)snprintf(why, sizeof(why), "it answered %d", done->status);
	else if (hello && done->status == 200 && !ours)
		(void)snprintf(why, sizeof(why),
			       "what answers speaks another version, or is no central");
	else if (hello && done->status != 200)
		(void)snprintf(why, sizeof(why), "it answered hello with %d: %.80s", done->status,
			       text);
	else
		return;
	(void)pthread_mutex_lock(&e->mu);
	first = !c->why[0] || (hello && c->turned_away != (done->status == 403));
	memcpy(c->why, why, sizeof(why));
	c->failed_with = done->status;
	if (hello) {
		c->turned_away = done->status == 403;
		c->other_versions = done->status == PROTOCOL_NONE_COMMON;
	}
	(void)pthread_mutex_unlock(&e->mu);
	if (first)
		log_line(LOG_WARN, "central.silent", "what=\"%s\"", why);
}

/* R22: the epochs of the last hellos; A, B, A is two centrals. Or one that was set back: when one
 * epoch alone has answered for as long as the dark takes to begin, it was that. */
void
contact_note_epoch(struct edge *e, const struct id128 *epoch)
{
	struct contact *c = &e->contact;
	bool other, two, one;

	(void)pthread_mutex_lock(&e->mu);
	other = !id128_same(&c->epoch, epoch);
	two = other && !id128_none(epoch) && id128_same(&c->before, epoch) && !c->two_centrals;
	if (other) {
		c->before = c->epoch;
		c->epoch = *epoch;
		c->epoch_ms = clock_mono(e->clock);
		c->epoch_hellos = 0;
	}
	c->epoch_hellos++;
	one = c->two_centrals && c->epoch_hellos >= ONE_CENTRAL_HELLOS &&
	      clock_mono(e->clock) - c->epoch_ms >= KEEP_DARK_MS;
	if (one)
		memset(&c->before, 0, sizeof(c->before));
	c->two_centrals = (c->two_centrals || two) && !one;
	(void)pthread_mutex_unlock(&e->mu);
	if (two)
		log_line(LOG_ERROR, "central.two", "%s", "what=\"two epochs alternate\"");
	if (one)
		log_line(LOG_WARN, "central.one", "%s", "what=\"one epoch alone answers again\"");
}

void
contact_note_piece(const struct sender_event *ev, const struct sender_slot *slot,
		   const struct packing *p, struct edge *e)
{
	struct contact *c = &e->contact;
	bool taken = ev->status == 200;
	uint64_t to = ev->receipted ? slot->size : ev->number;
	uint64_t bytes = taken && to > slot->offset && to <= slot->size ? to - slot->offset : 0;
	uint64_t images = taken && ev->receipted && p->pack ? pack_count(p->pack) : 0;

	if (!ev->status)
		return;
	(void)pthread_mutex_lock(&e->mu);
	/* 409, 422: a place, members; they say nothing of central. */
	c->pieces_failed_with = ev->status == 403 || ev->status >= 500 ? ev->status : 0;
	if (bytes || images)
		pace_add(&c->pace, clock_mono(e->clock), (int64_t)ev->ms, images, bytes);
	(void)pthread_mutex_unlock(&e->mu);
}

struct software {
	const char *name;
};

static int
put_software(struct store_tx *tx, void *arg, struct err *e)
{
	const struct software *s = arg;

	return sync_put(tx, "software", s->name, strlen(s->name), e);
}

/* R17: another version of central may take what the last one refused. */
int
contact_note_software(struct edge *e, const char *software, struct err *err)
{
	struct software now = {software};
	struct buf before = BUF_INIT;
	struct store_tx *tx;
	size_t n = 0;
	int rc = store_begin_read(&tx, e->store, err);

	if (!rc) {
		rc = sync_get(tx, "software", &before, err);
		store_end_read(tx);
	}
	if (!rc && (before.len != strlen(now.name) ||
		    (before.len && memcmp(before.data, now.name, before.len) != 0))) {
		rc = late_try_now(e->store, &n, err);
		if (!rc)
			rc = store_commit(e->store, put_software, &now, err);
		log_line(LOG_INFO, "central.version", "tried_again=%zu", n);
	}
	buf_fini(&before);
	return rc;
}

static int
put_drains(struct store_tx *tx, void *arg, struct err *err)
{
	return sync_set_number(tx, "drains", *(const bool *)arg, err);
}

int
contact_note_drains(struct edge *e, bool drains, struct err *err)
{
	int rc;

	if (drains == atomic_load(&e->drains))
		return 0;
	rc = store_commit(e->store, put_drains, &drains, err);
	if (rc)
		return rc;
	atomic_store(&e->drains, drains);
	log_line(LOG_WARN, drains ? "edge.drains" : "edge.takes_in", "%s",
		 drains ? "what=\"another copy of this edge is the site's\"" : "");
	return 0;
}
