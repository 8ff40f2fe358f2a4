#include "edge/refill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dicom/canon.h"
#include "common/http/client.h"
#include "common/os/ctl.h"
#include "common/store/decided.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/committed.h"
#include "edge/decisions.h"
#include "edge/edge.h"
#include "edge/known.h"
#include "edge/outbox.h"
#include "edge/reach.h"
#include "edge/replicate.h"
#include "edge/throttle.h"
#include "proto/ledger.h"
#include "proto/link.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

enum {
	PAGE = 500,
	RANGE = 8 << 20,
	GAP = 64 << 10, /* between members that one request still covers */
	QUOTA_PERCENT = 70,
	CALL_SECONDS = 120,
	PATIENCE_MS = 600000, /* of silence, or of 5xx: then it is begun again by hand */
	ALONE_MS = 20000,     /* the same without a server: it holds the lock, and `serve` waits */
	PAUSE_MS = 1000,
	TRIES = 5, /* of a range that central fails to read: the others come  */
	FULL_PAGE = 200,
	PARTIAL = 206,
	NO_SUCH_PACK = 404,
	NO_SUCH_RANGE = 416,
	CANNOT_READ = 500
};

#define DAY_MS INT64_C(86400000)

struct wanted { /* one instance of a page */
	const Sync__RefillItem *item;
	Sync__LedgerEntry *entry;
	uint64_t oid, size;
	unsigned char pack[SHA256_SIZE];
	size_t rank; /* in the page */
};

struct refilling {
	struct edge *e;
	const struct refill_config *c;
	struct ctl_reply *r;
	struct refill_result *out;
	struct link *link;
	struct id128 epoch;
	Sync__RefillAnswer *page;
	struct wanted *list;
	size_t n;
	uint64_t total; /* for the progress bar */
	int64_t patience_ms;
	uint64_t range; /* bytes of one request at most */
};

/* --- asking --- */

static int
ask(struct refilling *f, struct http_call *call, int want, struct http_done *done, struct err *err)
{
	int64_t until = clock_mono(f->e->clock) + f->patience_ms;
	struct contact c;
	unsigned tries = 0;
	bool said = false;
	int rc;

	for (;;) {
		struct http_call copy = *call;

		edge_contact(f->e, &c);
		f->epoch = c.epoch;
		hex_of(f->epoch.b, ID128_SIZE, copy.epoch);
		copy.seconds = CALL_SECONDS;
		buf_init(&copy.body);
		buf_put(&copy.body, call->body.data, call->body.len);
		rc = link_ask(f->link, &copy, done, &f->e->stopping, err);
		if (rc || done->status == want)
			return rc;
		if (atomic_load(&f->e->stopping) || (done->status == 409 && !f->e->replicate) ||
		    (done->status >= 400 && done->status < 500 && done->status != 409) ||
		    (call->ranged && done->status == CANNOT_READ && ++tries == TRIES) ||
		    clock_mono(f->e->clock) >= until || ctl_stopping(f->r))
			break;
		if (done->status == 409) /* R22: another epoch */
			replicate_hello(f->e->replicate);
		buf_fini(&done->body);
		if (f->patience_ms &&
		    !said) /* a restart of central, or of the WAN, ends no refill */
			(void)ctl_progress(f->r, "central does not answer: waiting\n");
		said = true;
		clock_sleep(f->e->clock, f->patience_ms ? PAUSE_MS : 0);
	}
	rc = err_set(err, ERR_AGAIN, 0, "central answered %d%s%s", done->status,
		     done->status ? "" : ": ", done->what);
	buf_fini(&done->body);
	return rc;
}

/* Where the next page begins. A central of an older release knows no cursors: it answers `next`. */
struct place {
	struct buf cursor;
	uint64_t before;
};

static int
next_page(struct refilling *f, const struct place *at, struct err *err)
{
	Sync__RefillRequest m = SYNC__REFILL_REQUEST__INIT;
	struct http_call call = {.method = "POST", .path = "/sync/v1/refill", .body = BUF_INIT};
	struct http_done done = {.body = BUF_INIT};
	struct contact c;
	int rc;

	edge_contact(f->e, &c);
	m.site = message_text(f->c->group || f->c->study ? "" : f->e->site);
	m.study = message_text(f->c->study ? f->c->study : "");
	m.before = at->before;
	m.cursor = message_bytes(at->cursor.data, at->cursor.len);
	m.count = PAGE;
	if (f->c->days)
		m.not_before_ms =
			clock_wall(f->e->clock) + c.skew_ms - (int64_t)f->c->days * DAY_MS;
	message_pack(&call.body, &m.base);
	rc = ask(f, &call, FULL_PAGE, &done, err);
	buf_fini(&call.body);
	if (rc)
		return rc;
	f->page =
		message_read(&sync__refill_answer__descriptor, done.body.data, done.body.len, err);
	buf_fini(&done.body);
	return f->page ? 0 : ERR_PEER;
}

/* R11: what nobody asked for here goes first. */
static enum version_origin
origin(const struct refilling *f)
{
	return f->c->study ? VERSION_PREFETCHED : VERSION_REFILLED;
}

/* --- the list: known from now on, with or without bytes (R20) --- */

static struct attrs
study_of(const struct refilling *f, const char *study)
{
	struct attrs none = {NULL, 0};
	size_t i;

	for (i = 0; i < f->page->n_studies; i++) {
		struct attrs set = {f->page->studies[i]->attributes.data,
				    f->page->studies[i]->attributes.len};

		if (strcmp(f->page->studies[i]->study, study) == 0 && attrs_valid(set))
			return set;
	}
	return none;
}

static struct attrs
set_of(const ProtobufCBinaryData *b)
{
	struct attrs set = {b->data, b->len}, none = {NULL, 0};

	return attrs_valid(set) ? set : none;
}

/* R3: central's word on what viewers get, but where something newer was taken in here. */
static int
make_current(struct store_tx *tx, const struct version *told, uint64_t oid,
	     const struct index_sets *sets, struct err *err)
{
	struct index_sets adding = *sets;
	struct store_verdict verdict;
	struct version now;
	int rc = store_current(tx, told->sop_instance, &now, err);

	adding.dropped = NULL;
	if (rc || now.oid == oid || now.origin == VERSION_TAKEN_IN)
		return rc == ERR_ABSENT ? 0 : rc;
	return store_set_current(tx, oid, &adding, &verdict, err);
}

static int
announce_one(struct refilling *f, struct store_tx *tx, struct wanted *w, struct err *err)
{
	struct store_verdict verdict;
	struct buf study = BUF_INIT;
	struct index_sets sets;
	struct decided decided;
	struct tags dropped;
	struct version v;
	uint32_t hidden;
	int rc;

	if (!ledger_version(&v, w->entry))
		return 0;
	v.hidden &= ~(uint32_t)WITHDRAWN_BITS; /* R15: central's decisions alone say it */
	ledger_corrected(&dropped, w->entry);
	v.origin = origin(f);
	v.arrived_wall_ms = clock_wall(f->e->clock) - w->item->age_ms;
	v.first_ms = store_time(f->e->store) - w->item->age_ms;
	ledger_record(&study, study_of(f, v.study)); /* counts of central's row are its own */
	sets = (struct index_sets){attrs_of(&study), set_of(&w->entry->series_attributes),
				   set_of(&w->entry->instance_attributes), &dropped};
	rc = store_announce(tx, &v, &sets, &verdict, err);
	if (!rc)
		rc = withdrawn_settle_new(tx, verdict.oid, &hidden, err);
	/* R3: where a decision speaks, it does; refill tells of those that no central numbered. */
	if (!rc && w->item->current && v.sop_instance[0] &&
	    decided_get(tx, v.sop_instance, &decided, NULL) == ERR_ABSENT)
		rc = make_current(tx, &v, verdict.oid, &sets, err);
	buf_fini(&study);
	w->oid = verdict.oid;
	w->size = v.size;
	return rc;
}

static int
announce_page(struct store_tx *tx, void *arg, struct err *err)
{
	struct refilling *f = arg;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < f->n; i++)
		rc = announce_one(f, tx, &f->list[i], err);
	if (!rc)
		rc = committed_refilled(f->e, tx, f->page, err);
	return rc ? rc : decisions_read_again(tx, err);
}

static int
read_page(struct refilling *f, struct err *err)
{
	size_t i;

	f->list = calloc(f->page->n_items + 1, sizeof(*f->list));
	if (!f->list)
		return err_set(err, ERR_LOCAL, 0, "no memory for a page");
	for (i = 0; i < f->page->n_items; i++) {
		struct wanted *w = &f->list[f->n];

		w->rank = f->n;
		w->item = f->page->items[i];
		w->entry = message_read(&sync__ledger_entry__descriptor, w->item->entry.data,
					w->item->entry.len, NULL);
		(void)message_digest(w->pack, &w->item->pack);
		f->n += w->entry != NULL;
	}
	return 0;
}

static void
drop_page(struct refilling *f)
{
	size_t i;

	for (i = 0; i < f->n; i++)
		message_free(f->list[i].entry);
	free(f->list);
	message_free(f->page);
	f->list = NULL;
	f->page = NULL;
	f->n = 0;
}

/* --- bytes --- */

struct arrival {
	struct refilling *f;
	struct wanted *w;
	struct store_spool *spool;
	bool came;
	struct canon *canon; /* encapsulated: where its frames lie (DESIGN 4) */
	const struct object_info *info;
};

/* Only where the manifest does not tell all that the record of the header holds. */
static int
scan_begin(struct arrival *a, struct err *err)
{
	struct canon_config config = {.form = CANON_FILE};

	return a->w->entry->encapsulated ? canon_new(&a->canon, &config, err) : 0;
}

static int
arrive(struct arrival *a, const void *p, size_t n, struct err *err)
{
	int rc = store_spool_add(a->spool, p, n, err);

	return rc || !a->canon ? rc : canon_feed(a->canon, p, n, err);
}

static void
arrival_fini(struct arrival *a)
{
	canon_free(a->canon);
	store_spool_close(a->spool);
}

int
refill_enter(struct store_tx *tx, const struct refill_arrival *a, struct edge *e, bool *came,
	     struct err *err)
{
	struct buf entry = BUF_INIT, side = BUF_INIT;
	struct index_sets sets = {.series = set_of(&a->entry->series_attributes),
				  .instance = set_of(&a->entry->instance_attributes)};
	struct tags dropped;
	struct id128 epoch;
	struct version v;
	uint64_t seq;
	int rc = store_version(tx, a->oid, &v, err);

	*came = false;
	if (rc || v.state == VERSION_HERE)
		return rc;
	rc = known_study(tx, e, &v, err);
	buf_put(&side, a->entry->side.data, a->entry->side.len);
	v.origin = (enum version_origin)a->origin;
	ledger_corrected(&dropped, a->entry);
	sets.dropped = &dropped;
	ledger_instance(&entry, &v, &sets, &side, store_time(e->store) - v.first_ms,
			clock_wall(e->clock));
	if (!rc)
		rc = ledger_append(tx, &entry, &seq, err);
	if (!rc)
		rc = store_set_seq(tx, v.oid, seq, err);
	if (!rc)
		rc = sync_id(tx, "epoch", &epoch, err);
	if (!rc && id128_same(&epoch, &a->epoch)) /* R7: held at central: not owed */
		rc = store_set_receipt(tx, v.oid, &epoch, err);
	else if (!rc) /* given by a central that is another's memory by now */
		rc = outbox_add(tx, OUTBOX_CENTRAL, seq, &v, LANE_BACKFILL, err);
	if (!rc)
		rc = store_set_spool(tx, v.oid, a->spool, a->info, err);
	if (!rc) /* R3: what was decided waited for it */
		rc = decisions_settle(tx, v.sop_instance, err);
	buf_fini(&side);
	buf_fini(&entry);
	*came = !rc;
	return rc;
}

static int
enter(struct store_tx *tx, void *arg, struct err *err)
{
	struct arrival *a = arg;
	struct refill_arrival one = {.entry = a->w->entry,
				     .oid = a->w->oid,
				     .origin = (int)origin(a->f),
				     .epoch = a->f->epoch,
				     .spool = a->spool,
				     .info = a->info};

	return refill_enter(tx, &one, a->f->e, &a->came, err);
}

static int
take(struct refilling *f, struct arrival *a, const unsigned char *digest, struct err *err)
{
	unsigned char want[SHA256_SIZE];
	int rc;

	if (!message_digest(want, &a->w->entry->digest) || memcmp(want, digest, sizeof(want)) != 0)
		return err_set(err, ERR_CORRUPT, 0, "central gave other bytes than it should");
	if (a->canon && canon_end(a->canon, &a->info, err))
		return ERR_LOCAL;
	rc = store_commit_bytes(f->e->store, enter, a, store_spool_left(a->spool), err);
	if (!rc && a->came) {
		f->out->came++;
		f->out->bytes += a->w->size;
	}
	return rc;
}

static void show_progress(struct refilling *f);

/* What the hour leaves of the link. With a server it waits for another hour, and says what would
 * end that; without one it holds the lock, and does not. */
static int
wait_turn(struct refilling *f, struct err *err)
{
	int64_t waited = 0, when;
	char until[THROTTLE_WHEN], line[240];
	bool said = false;

	while ((when = throttle_when(f->e)) > clock_mono(f->e->clock)) {
		if (atomic_load(&f->e->stopping) || ctl_stopping(f->r) ||
		    (!f->e->replicate && (when == INT64_MAX || waited >= f->patience_ms)))
			return err_set(err, ERR_AGAIN, 0,
				       "central's table (`site bandwidth`) leaves nothing for it "
				       "in this hour");
		if (when == INT64_MAX && !said) {
			(void)throttle_until(f->e, until);
			said = true;
			(void)snprintf(line, sizeof(line),
				       "waits until %s: central's table (`site bandwidth %.64s` "
				       "there) leaves nothing in this hour\n",
				       until[0] ? until : "it is changed", f->e->site);
			(void)ctl_progress(f->r, line);
		}
		show_progress(f);
		clock_sleep(f->e->clock, PAUSE_MS / 4);
		waited += PAUSE_MS / 4;
	}
	return 0;
}

static int
get_range(struct refilling *f, const char *of, const void *what, uint64_t offset, size_t n,
	  struct http_done *done, struct err *err)
{
	struct http_call call = {.method = "GET", .ranged = true, .body = BUF_INIT};
	char hex[2 * SHA256_SIZE + 1];
	int rc;

	hex_of(what, SHA256_SIZE, hex);
	(void)snprintf(call.path, sizeof(call.path), "/sync/v1/%s/%s", of, hex);
	call.range_first = offset;
	call.range_n = n;
	rc = wait_turn(f, err);
	if (rc)
		return rc;
	rc = ask(f, &call, PARTIAL, done, err);
	throttle_fetched(f->e, rc ? 0 : done->body.len);
	if (rc && !atomic_load(&f->e->stopping) &&
	    (done->status == NO_SUCH_PACK || done->status == NO_SUCH_RANGE ||
	     done->status == CANNOT_READ)) { /* no reason not to have the others */
		err_clear(err);
		return err_set(err, ERR_PEER, 0, "central cannot give a range of %s/%s", of, hex);
	}
	if (!rc && done->body.len < n) {
		buf_fini(&done->body);
		rc = err_set(err, ERR_PEER, 0, "central gave fewer bytes than were asked for");
	}
	return rc;
}

/* Of one image; by its digest where its pack cannot be given (its manifest is damaged). */
static int
get_part(struct refilling *f, const struct wanted *w, uint64_t at, size_t n, struct http_done *done,
	 struct err *err)
{
	int rc = get_range(f, "packs", w->pack, w->item->offset + at, n, done, err);

	if (rc != ERR_PEER || w->entry->digest.len != SHA256_SIZE)
		return rc;
	err_clear(err);
	return get_range(f, "objects", w->entry->digest.data, at, n, done, err);
}

/* A member that is larger than one range. */
static int
fetch_large(struct refilling *f, struct wanted *w, struct err *err)
{
	struct arrival a = {.f = f, .w = w};
	struct http_done done = {.body = BUF_INIT};
	unsigned char digest[SHA256_SIZE];
	struct sha256 *sha = NULL;
	uint64_t at = 0;
	size_t n;
	int rc = store_spool_open(&a.spool, f->e->store, err);

	if (!rc)
		rc = scan_begin(&a, err);
	if (!rc)
		rc = sha256_new(&sha, err);
	while (!rc && at < w->size) {
		n = (size_t)(w->size - at < f->range ? w->size - at : f->range);
		rc = get_part(f, w, at, n, &done, err);
		if (rc)
			break;
		sha256_add(sha, done.body.data, n);
		rc = arrive(&a, done.body.data, n, err);
		buf_fini(&done.body);
		at += n;
	}
	if (!rc) {
		sha256_end(sha, digest);
		rc = take(f, &a, digest, err);
	}
	sha256_free(sha);
	arrival_fini(&a);
	return rc;
}

static int
take_member(struct refilling *f, struct wanted *w, const unsigned char *bytes, struct err *err)
{
	struct arrival a = {.f = f, .w = w};
	unsigned char digest[SHA256_SIZE];
	int rc = store_spool_open(&a.spool, f->e->store, err);

	sha256_of(bytes, (size_t)w->size, digest);
	if (!rc)
		rc = scan_begin(&a, err);
	if (!rc)
		rc = arrive(&a, bytes, (size_t)w->size, err);
	if (!rc)
		rc = take(f, &a, digest, err);
	arrival_fini(&a);
	return rc;
}

/* Not this one now: central's verify finds and says it. Anything else ends the refill. */
static int
leave_out(struct refilling *f, int rc, struct err *err)
{
	if (rc != ERR_CORRUPT && rc != ERR_PEER)
		return rc;
	log_err(LOG_ERROR, "refill.left_out", err);
	err_clear(err);
	f->out->failed++;
	return 0;
}

static int
fetch_one(struct refilling *f, struct wanted *w, struct err *err)
{
	struct http_done done = {.body = BUF_INIT};
	int rc;

	if (!w->size) /* cannot be: a canonical file has a header */
		rc = err_set(err, ERR_PEER, 0, "an instance without bytes");
	else if (w->size > f->range)
		rc = fetch_large(f, w, err);
	else
		rc = get_part(f, w, 0, (size_t)w->size, &done, err);
	if (!rc && w->size <= f->range)
		rc = take_member(f, w, done.body.data, err);
	buf_fini(&done.body);
	return leave_out(f, rc, err);
}

/* list[from .. from + n) lie near each other in one pack: one request, if that can be had. */
static int
fetch_group(struct refilling *f, struct wanted *from, size_t n, struct err *err)
{
	uint64_t first = from->item->offset, end = from[n - 1].item->offset + from[n - 1].size;
	struct http_done done = {.body = BUF_INIT};
	size_t i;
	int rc;

	if (n == 1)
		return fetch_one(f, from, err);
	rc = get_range(f, "packs", from->pack, first, (size_t)(end - first), &done, err);
	if (rc == ERR_PEER) {
		err_clear(err);
		for (i = 0, rc = 0; !rc && i < n; i++)
			rc = fetch_one(f, &from[i], err);
		return rc;
	}
	for (i = 0; !rc && i < n; i++)
		rc = leave_out(f,
			       take_member(f, &from[i],
					   done.body.data + (from[i].item->offset - first), err),
			       err);
	buf_fini(&done.body);
	return rc;
}

static int
by_place(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;
	int c = memcmp(x->pack, y->pack, SHA256_SIZE);

	return c ? c : (x->item->offset > y->item->offset) - (x->item->offset < y->item->offset);
}

static int
by_rank(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;
	int c = (x->rank > y->rank) - (x->rank < y->rank);

	return c ? c : by_place(a, b);
}

/* Pack by pack, so that a request asks for many; the one with the newest image first (R28). */
static void
put_in_order(struct wanted *list, size_t n)
{
	size_t i, k, end;

	qsort(list, n, sizeof(*list), by_place);
	for (i = 0; i < n; i = end) {
		size_t first = list[i].rank;

		for (end = i + 1; end < n && memcmp(list[end].pack, list[i].pack, SHA256_SIZE) == 0;
		     end++)
			first = list[end].rank < first ? list[end].rank : first;
		for (k = i; k < end; k++)
			list[k].rank = first;
	}
	qsort(list, n, sizeof(*list), by_rank);
}

/* Behind `last` in the request that begins with `first`: none reaches into another, whatever the
 * sizes that somebody announced. */
static bool
joins(const struct refilling *f, const struct wanted *first, const struct wanted *last,
      const struct wanted *next)
{
	return memcmp(next->pack, first->pack, SHA256_SIZE) == 0 && last->size && next->size &&
	       last->size <= f->range && next->size <= f->range &&
	       next->item->offset >= last->item->offset + last->size &&
	       next->item->offset <= last->item->offset + last->size + GAP &&
	       next->item->offset + next->size - first->item->offset <= f->range;
}

static bool
is_here(struct refilling *f, const struct wanted *w)
{
	struct store_tx *tx;
	struct version v = {.state = VERSION_HERE};

	if (store_begin_read(&tx, f->e->store, NULL))
		return false;
	if (store_version(tx, w->oid, &v, NULL))
		v.state = VERSION_HERE;
	store_end_read(tx);
	return v.state == VERSION_HERE;
}

/* R12: refill is admitted up to 70 % of the quota, or of what the disk leaves of it. */
static bool
enough(struct refilling *f)
{
	struct store_space s;

	store_space(f->e->store, &s);
	f->out->stopped = f->out->stopped || (f->c->bytes && f->out->bytes >= f->c->bytes) ||
			  (s.limit && s.used >= s.limit / 100 * QUOTA_PERCENT);
	return f->out->stopped;
}

static void
show_progress(struct refilling *f)
{
	uint64_t done = f->out->came + f->out->here, all = f->total ? f->total : 1;
	char line[120], bar[] = "                    ";
	unsigned filled = (unsigned)(done * (sizeof(bar) - 1) / (all > done ? all : done));

	memset(bar, '#', filled);
	(void)snprintf(line, sizeof(line), "[%s] %llu of %llu images, %llu MiB", bar,
		       (unsigned long long)done, (unsigned long long)f->total,
		       (unsigned long long)(f->out->bytes >> 20));
	(void)ctl_draw(f->r, line);
}

static int
fetch_page(struct refilling *f, struct err *err)
{
	size_t i, k = 0, n;
	int rc = 0;

	for (i = 0; i < f->n; i++) { /* those that are to be fetched, to the front */
		struct wanted w = f->list[i];

		if (w.item->pack.len != SHA256_SIZE || is_here(f, &w))
			continue;
		f->list[i] = f->list[k];
		f->list[k++] = w;
	}
	put_in_order(f->list, k);
	for (i = 0; !rc && i < k && !enough(f) && !ctl_stopping(f->r); i += n) {
		const struct wanted *w = &f->list[i];

		f->range = throttle_part(f->e, RANGE);
		for (n = 1; i + n < k; n++)
			if (!joins(f, w, &f->list[i + n - 1], &f->list[i + n]))
				break;
		rc = fetch_group(f, &f->list[i], n, err);
	}
	show_progress(f);
	return rc;
}

static void
count_page(struct refilling *f)
{
	size_t i;

	for (i = 0; i < f->n; i++) {
		f->out->known++;
		if (is_here(f, &f->list[i]))
			f->out->here++;
		else if (f->list[i].item->pack.len != SHA256_SIZE)
			f->out->absent++;
		else
			f->total++;
	}
}

/* R26: did central leave out what others delivered? Of the site's own list that is an image
 * which it announced and another site brought. */
static void
note_left_out(struct refilling *f)
{
	bool of_others = f->c->group || f->c->study || f->out->absent;

	if (f->page->own_only == SYNC__OWN_ONLY__OWN_ONLY_POLICY)
		f->out->by_policy = of_others;
	if (f->page->own_only == SYNC__OWN_ONLY__OWN_ONLY_DOUBT)
		f->out->doubted = of_others;
}

/* Where is the page behind this one? false: there is none. */
static bool
go_on(struct place *at, const Sync__RefillAnswer *page)
{
	buf_clear(&at->cursor);
	buf_put(&at->cursor, page->cursor.data, page->cursor.len);
	at->before = page->cursor.len ? 0 : page->next;
	return at->cursor.len || at->before;
}

/* Twice over the list: first all of it is known, then the bytes come. */
static int
pass(struct refilling *f, bool bytes, struct err *err)
{
	struct place at = {BUF_INIT, 0};
	bool more;
	int rc;

	buf_put_u8(&at.cursor, 0); /* R28: newest first, by the first arrival at any node */
	do {
		rc = buf_failed(&at.cursor) ? err_set(err, ERR_LOCAL, 0, "no memory for a page")
					    : next_page(f, &at, err);
		if (!rc)
			rc = read_page(f, err);
		if (!rc)
			rc = store_commit(f->e->store, announce_page, f, err);
		if (!rc && !bytes)
			count_page(f);
		if (!rc)
			note_left_out(f);
		if (!rc && bytes)
			rc = fetch_page(f, err);
		more = !rc && go_on(&at, f->page);
		drop_page(f);
	} while (more && !ctl_stopping(f->r) && !(bytes && enough(f)));
	buf_fini(&at.cursor);
	return rc;
}

int
refill_list(struct edge *e, struct link *link, struct err *err)
{
	static const struct refill_config all;
	struct refill_result found = {.known = 0};
	struct refilling f = {.e = e, .c = &all, .out = &found, .link = link};

	return pass(&f, false, err);
}

int
refill_run(struct edge *e, const struct refill_config *c, struct ctl_reply *r,
	   struct refill_result *out, struct err *err)
{
	struct refilling f = {.e = e,
			      .c = c,
			      .r = r,
			      .out = out,
			      .patience_ms = e->replicate ? PATIENCE_MS : ALONE_MS};
	int rc;

	memset(out, 0, sizeof(*out));
	rc = reach_central(e, r, err);
	if (!rc)
		rc = e->make_link(&f.link, e, err);
	if (rc)
		return rc;
	rc = pass(&f, false, err);
	f.total += out->here;
	if (!rc)
		rc = pass(&f, true, err);
	link_close(f.link);
	replicate_hello(e->replicate); /* and reads central's decisions about what came (R3) */
	return rc;
}
