#include "edge/old_store.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dimse/commitments.h"
#include "common/dimse/kept.h"
#include "common/dimse/pledges.h"
#include "common/dimse/verdicts.h"
#include "common/os/daemon.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/committed.h"
#include "edge/edge.h"
#include "edge/obey.h"
#include "edge/outbox.h"
#include "edge/reject.h"
#include "proto/ledger.h"
#include "proto/message.h"
#include "proto/rejected.h"
#include "proto/sync.pb-c.h"
#include "proto/withdrawn.h"

/* Frames from the child: kind u8, length u32, bytes. */
enum frame {
	FRAME_LIVE = 1,	 /* object id u64                                         */
	FRAME_KNOWN = 2, /* length of the study's row u32, the row, a ledger entry */
	FRAME_HOLD = 3,
	FRAME_END = 4,
	FRAME_PIN = 5,	     /* until when u64, study                                  */
	FRAME_DECISION = 6,  /* an Order: retract, restore, rejected                   */
	FRAME_COMMITTED = 7, /* here only u8, digest 32, UID                          */
	FRAME_REQUEST = 8,   /* enum kept u8, length of a key u32, the key, its row    */
	FRAME_REJECTED = 9   /* a Rejection: of one image, for one reason             */
};

/* Tables of storage commitment. */
enum kept { KEPT_COMMITMENTS, KEPT_PLEDGES, KEPT };
static const char *const kept_tables[KEPT] = {
	[KEPT_COMMITMENTS] = COMMITMENTS_TABLE, [KEPT_PLEDGES] = PLEDGES_TABLE};

enum { PAGE = 500, FRAME_MAX = 16 << 20, CHILD_SECONDS = 600, REQUESTS_PAGE = 1 << 20 };

/* --- the child --- */

struct telling {
	FILE *to;
	struct store_tx *tx;
	bool live; /* else: known, and hold */
	uint64_t from;
	unsigned left;
	unsigned char kept; /* the table at hand */
};

static int
tell(struct telling *t, enum frame kind, const void *p, size_t n)
{
	unsigned char head[5];

	head[0] = (unsigned char)kind;
	buf_set_u32(head + 1, (uint32_t)n);
	return fwrite(head, sizeof(head), 1, t->to) != 1 || (n && fwrite(p, n, 1, t->to) != 1)
		       ? ERR_LOCAL
		       : 0;
}

static int
tell_known(struct telling *t, const struct version *v, struct err *e)
{
	struct attrs row = {NULL, 0};
	struct buf b = BUF_INIT;
	const void *entry;
	size_t n;
	int rc = v->seq ? ledger_get(t->tx, v->seq, &entry, &n, e) : ERR_ABSENT;

	if (rc) /* known by a refill only: the next one tells it again */
		return rc == ERR_ABSENT ? 0 : rc;
	if (v->study[0] && index_study_row(t->tx, v->study, &row, NULL))
		row.n = 0;
	buf_put_u32(&b, (uint32_t)row.n);
	buf_put(&b, row.p, row.n);
	buf_put(&b, entry, n);
	rc = buf_failed(&b) ? ERR_LOCAL : tell(t, FRAME_KNOWN, b.data, b.len);
	buf_fini(&b);
	return rc;
}

static int
tell_version(void *arg, const struct version *v, struct err *e)
{
	struct telling *t = arg;
	unsigned char id[8];
	bool here = v->state == VERSION_HERE && v->location == VERSION_CHUNKS;
	int rc = 0;

	if (t->left-- == 0)
		return ERR_AGAIN;
	t->from = v->oid + 1;
	buf_set_u64(id, v->bytes);
	if (!t->live) /* what turns out to be torn is known still */
		rc = tell_known(t, v, e);
	else if (here)
		rc = tell(t, FRAME_LIVE, id, sizeof(id));
	return rc;
}

static int
tell_pin(void *arg, const char *study, int64_t until_wall_ms, struct err *e)
{
	unsigned char pin[8 + UID_SIZE];
	size_t n = strlen(study);

	(void)e;
	buf_set_u64(pin, (uint64_t)until_wall_ms);
	memcpy(pin + 8, study, n);
	return tell(arg, FRAME_PIN, pin, 8 + n);
}

static int
tell_decision(void *arg, const struct withdrawn_row *row, struct err *e)
{
	(void)e;
	return tell(arg, FRAME_DECISION, row->bytes, row->n);
}

static int
tell_rejected(void *arg, const char *uid, const struct rejected *r, struct err *e)
{
	Sync__Rejection m = SYNC__REJECTION__INIT;
	char *one = message_text(uid);
	struct buf b = BUF_INIT;
	unsigned i;
	int rc = 0;

	(void)e;
	m.study = message_text(r->study);
	m.instances = &one;
	m.n_instances = 1;
	for (i = 0; !rc && i < 2 * NOTE_REASONS; i++) {
		m.on = i % 2 == 0;
		m.reason = i / 2;
		m.rank = m.on ? r->on[m.reason] : r->off[m.reason];
		buf_clear(&b);
		message_pack(&b, &m.base);
		if (m.rank)
			rc = buf_failed(&b) ? ERR_LOCAL : tell(arg, FRAME_REJECTED, b.data, b.len);
	}
	buf_fini(&b);
	return rc;
}

static int
tell_committed(void *arg, const struct verdict_mark *mark, struct err *e)
{
	unsigned char b[1 + SHA256_SIZE + UID_SIZE];
	size_t n = strlen(mark->sop_instance);

	(void)e;
	b[0] = mark->here_only;
	memcpy(b + 1, mark->digest, SHA256_SIZE);
	memcpy(b + 1 + SHA256_SIZE, mark->sop_instance, n);
	return tell(arg, FRAME_COMMITTED, b, 1 + SHA256_SIZE + n);
}

static int
tell_request(void *arg, const void *key, size_t n, const void *value, size_t value_n, struct err *e)
{
	struct telling *t = arg;
	struct buf b = BUF_INIT;
	int rc;

	(void)e;
	buf_put_u8(&b, t->kept);
	buf_put_u32(&b, (uint32_t)n);
	buf_put(&b, key, n);
	buf_put(&b, value, value_n);
	rc = buf_failed(&b) ? ERR_LOCAL : tell(t, FRAME_REQUEST, b.data, b.len);
	buf_fini(&b);
	return rc;
}

static int
tell_all(struct telling *t, struct store *s)
{
	uint64_t hold = 0;
	int rc = ERR_AGAIN;

	while (rc == ERR_AGAIN) { /* a page per transaction */
		t->left = PAGE;
		rc = store_begin_read(&t->tx, s, NULL);
		if (rc)
			break;
		rc = store_versions(t->tx, t->from, tell_version, t, NULL);
		if (!rc && !t->live)
			rc = sync_number(t->tx, "hold", &hold, NULL);
		if (!rc && !t->live)
			rc = store_pins(t->tx, tell_pin, t, NULL);
		if (!rc && !t->live)
			rc = withdrawn_rows(t->tx, "", tell_decision, t, NULL);
		if (!rc && !t->live)
			rc = standing_rows(t->tx, tell_decision, t, NULL);
		if (!rc && !t->live)
			rc = rejections_rows(t->tx, tell_decision, t, NULL);
		if (!rc && !t->live)
			rc = rejected_each(t->tx, "", tell_rejected, t, NULL);
		if (!rc && !t->live)
			rc = committed_each(t->tx, tell_committed, t, NULL);
		for (t->kept = 0; !rc && !t->live && t->kept < KEPT; t->kept++)
			rc = kept_rows(t->tx, kept_tables[t->kept], tell_request, t, NULL);
		store_end_read(t->tx);
	}
	if (!rc && hold)
		rc = tell(t, FRAME_HOLD, NULL, 0);
	if (!rc && t->live && store_journal_torn(s)) /* what it alone held is not told here */
		return ERR_CORRUPT;
	return rc ? rc : tell(t, FRAME_END, NULL, 0);
}

static void __attribute__((noreturn))
child(const struct edge *e, const char *path, int to, bool live)
{
	struct telling t = {.to = fdopen(to, "w"), .live = live};
	struct store_config c;
	struct store *s;

	(void)alarm(CHILD_SECONDS); /* in a tree that leads in circles */
	memset(&c, 0, sizeof(c));
	c.dir = path;
	c.quota = (uint64_t)conf_number(e->conf, "data", NULL, "quota");
	c.clock = e->clock;
	c.extra_tables = edge_tables(&c.n_extra_tables);
	c.read_only = true;
	if (!t.to || store_open(&s, &c, NULL))
		_exit(1);
	if (tell_all(&t, s) || fflush(t.to))
		_exit(1);
	_exit(0); /* without destructors: this is a copy of a running edge */
}

/* --- who listens --- */

struct hearing {
	pid_t child;
	FILE *from;
	struct buf frame;
};

static int
hear(struct hearing *h, const struct edge *e, const char *path, bool live, struct err *err)
{
	int ends[2];

	memset(h, 0, sizeof(*h));
	buf_init(&h->frame);
	if (pipe(ends))
		return err_set(err, ERR_LOCAL, 0, "no pipe");
	h->child = fork();
	if (h->child == 0) {
		(void)close(ends[0]);
		child(e, path, ends[1], live);
	}
	(void)close(ends[1]);
	h->from = fdopen(ends[0], "r");
	if (h->from && h->child > 0)
		return 0;
	(void)close(ends[0]);
	return err_set(err, ERR_LOCAL, 0, "no process to read the old store");
}

/* false: the end, with or without FRAME_END before it. */
static bool
next(struct hearing *h, enum frame *kind)
{
	unsigned char head[5], *room;
	uint32_t n;

	if (fread(head, sizeof(head), 1, h->from) != 1)
		return false;
	*kind = (enum frame)head[0];
	n = buf_get_u32(head + 1);
	buf_clear(&h->frame);
	room = n <= FRAME_MAX ? buf_reserve(&h->frame, n + 1) : NULL;
	if (!room || (n && fread(room, n, 1, h->from) != 1))
		return false;
	h->frame.len = n;
	return true;
}

static void
end_hearing(struct hearing *h)
{
	int status;

	(void)fclose(h->from);
	(void)kill(h->child, SIGKILL); /* it has said all, or nobody wants to hear more */
	(void)waitpid(h->child, &status, 0);
	buf_fini(&h->frame);
}

static int
add_live(struct old_store *o, size_t *room, uint64_t id, struct err *err)
{
	uint64_t *more;

	if (o->n == *room) {
		more = realloc(o->live, (*room * 2 + 1024) * sizeof(*more));
		if (!more)
			return err_set(err, ERR_LOCAL, 0, "no memory for the old store");
		o->live = more;
		*room = *room * 2 + 1024;
	}
	o->live[o->n++] = id;
	return 0;
}

static int
by_id(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int
old_store_read(struct old_store *out, const struct edge *e, const char *path, struct err *err)
{
	struct hearing h;
	enum frame kind;
	size_t room = 0;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = hear(&h, e, path, true, err);
	if (rc)
		return rc;
	while (!rc && next(&h, &kind)) {
		if (kind == FRAME_LIVE && h.frame.len == 8)
			rc = add_live(out, &room, buf_get_u64(h.frame.data), err);
		if (!rc)
			rc = daemon_go_on(err);
		out->whole = kind == FRAME_END;
	}
	end_hearing(&h);
	if (!rc && out->n)
		qsort(out->live, out->n, sizeof(*out->live), by_id);
	out->given = calloc(out->n + 1, sizeof(*out->given));
	return rc || out->given ? rc : err_set(err, ERR_LOCAL, 0, "no memory for the old store");
}

void
old_store_fini(struct old_store *o)
{
	free(o->live);
	free(o->given);
	memset(o, 0, sizeof(*o));
}

static const uint64_t *
find(const struct old_store *o, uint64_t id)
{
	return o->n ? bsearch(&id, o->live, o->n, sizeof(*o->live), by_id) : NULL;
}

bool
old_store_missed(const struct old_store *o, uint64_t id)
{
	return !o->whole || find(o, id) != NULL;
}

void
old_store_given(struct old_store *o, uint64_t id)
{
	const uint64_t *at = find(o, id);

	if (at)
		o->given[at - o->live] = true;
}

uint64_t
old_store_lacks(const struct old_store *o)
{
	uint64_t lacks = 0;
	size_t i;

	for (i = 0; i < o->n; i++)
		lacks += !o->given[i];
	return lacks;
}

/* --- what is known without bytes --- */

struct heir {
	struct edge *e;
	struct buf page;     /* frames of this page: length u32, bytes */
	struct buf pins;     /* the same; pins */
	struct buf requests; /* the same; rows of commitments and pledges */
	struct verdict_mark marks[VERDICTS_PAGE];
	size_t n_marks;
	const struct buf *frame; /* at hand */
	unsigned rows;
	bool hold;
	uint64_t known, added;
};

static struct attrs
valid(struct attrs set)
{
	struct attrs none = {NULL, 0};

	return attrs_valid(set) ? set : none;
}

static int
inherit_one(struct heir *h, struct store_tx *tx, const unsigned char *p, size_t n, struct err *err)
{
	size_t row_n = n >= 4 ? buf_get_u32(p) : 0;
	struct attrs row = {p + 4, row_n};
	struct store_verdict verdict = {.duplicate = true};
	Sync__LedgerEntry *entry;
	struct buf study = BUF_INIT;
	struct index_sets sets;
	struct tags dropped;
	struct version v;
	uint32_t hidden;
	int64_t now = clock_wall(h->e->clock);
	int rc = 0;

	if (n < 4 || row_n > n - 4)
		return 0;
	entry = message_read(&sync__ledger_entry__descriptor, p + 4 + row_n, n - 4 - row_n, NULL);
	if (entry && ledger_version(&v, entry)) {
		v.hidden &= ~(uint32_t)WITHDRAWN_BITS;
		v.arrived_wall_ms = entry->wall_ms;
		ledger_record(&study, valid(row)); /* less the counts: they are made anew */
		ledger_corrected(&dropped, entry);
		sets = (struct index_sets){attrs_of(&study),
					   valid((struct attrs){entry->series_attributes.data,
								entry->series_attributes.len}),
					   valid((struct attrs){entry->instance_attributes.data,
								entry->instance_attributes.len}),
					   &dropped};
		v.first_ms =
			store_time(h->e->store) - (now > entry->wall_ms ? now - entry->wall_ms : 0);
		rc = store_announce(tx, &v, &sets, &verdict, err);
		if (!rc)
			rc = withdrawn_settle_new(tx, verdict.oid, &hidden, err);
		buf_fini(&study);
	}
	message_free(entry);
	h->added += !rc && !verdict.duplicate;
	return rc;
}

static int
inherit_page(struct store_tx *tx, void *arg, struct err *err)
{
	struct heir *h = arg;
	size_t at, n;
	int rc = 0;

	h->added = 0;
	for (at = 0; !rc && at + 4 <= h->page.len; at += 4 + n) {
		n = buf_get_u32(h->page.data + at);
		rc = inherit_one(h, tx, h->page.data + at + 4, n, err);
	}
	if (!rc && h->hold)
		rc = sync_set_number(tx, "hold", 1, err);
	return rc;
}

/* R11: what a person wanted to stay, of what is here or known again. */
static int
inherit_pins(struct store_tx *tx, void *arg, struct err *err)
{
	const struct buf *pins = arg;
	char study[UID_SIZE];
	size_t at, n;
	int rc = 0;

	for (at = 0; !rc && at < pins->len; at += 4 + n) {
		n = buf_get_u32(pins->data + at);
		memcpy(study, pins->data + at + 12, n - 8);
		study[n - 8] = '\0';
		rc = store_pin(tx, study, (int64_t)buf_get_u64(pins->data + at + 4), NULL);
		if (rc == ERR_ABSENT)
			rc = 0;
		else if (rc)
			(void)err_set(err, (enum err_code)rc, 0, "a pin could not be kept");
	}
	return rc;
}

/* R15: what was retracted stays so, whether central can be asked or not. */
static int
inherit_decision(struct store_tx *tx, void *arg, struct err *err)
{
	static const struct id128 none; /* no central has said it in this life of the store */
	const struct buf *bytes = arg;
	Sync__Order *m = message_read(&sync__order__descriptor, bytes->data, bytes->len, err);
	uint64_t changed;
	bool newer;
	int rc = m ? withdrawn_take(tx, m, bytes->data, bytes->len, &none, &newer, err) : ERR_PEER;

	if (!rc && newer && m->kind != SYNC__ORDER_KIND__ORDER_REJECTED) /* that told its images */
		rc = withdrawn_settle_all(tx, m, &obey_node, &changed, err);
	message_free(m);
	return rc == ERR_PEER ? 0 : rc;
}

/* What notes rejected stays so, and is told in the new ledger. */
static int
inherit_rejected(struct store_tx *tx, void *arg, struct err *err)
{
	const struct heir *h = arg;
	Sync__Rejection *m =
		message_read(&sync__rejection__descriptor, h->frame->data, h->frame->len, err);
	uint64_t changed;
	int rc = m && m->rank ? reject_say(tx, h->e, m, &changed, err) : ERR_PEER;

	message_free(m);
	return rc == ERR_PEER ? 0 : rc;
}

/* R10, R18: what a modality need not keep is called so in the new ledger as well. */
static int
inherit_committed(struct store_tx *tx, void *arg, struct err *err)
{
	const struct heir *h = arg;

	return committed_note(h->e, tx, h->marks, h->n_marks, err);
}

static int
inherit_requests(struct store_tx *tx, void *arg, struct err *err)
{
	const struct buf *b = arg;
	size_t at, n, key;
	int rc = 0;

	for (at = 0; !rc && at + 9 <= b->len; at += 4 + n) {
		n = buf_get_u32(b->data + at);
		key = buf_get_u32(b->data + at + 5);
		rc = kept_row_put(tx, kept_tables[b->data[at + 4]], b->data + at + 9, key,
				  b->data + at + 9 + key, n - 5 - key, err);
	}
	return rc;
}

static int
flush_marks(struct heir *h, struct err *err)
{
	int rc = h->n_marks ? store_commit(h->e->store, inherit_committed, h, err) : 0;

	h->n_marks = 0;
	return rc;
}

static int
flush_requests(struct heir *h, struct err *err)
{
	int rc = buf_failed(&h->requests) ? err_set(err, ERR_LOCAL, 0, "no memory for a page")
		 : h->requests.len ? store_commit(h->e->store, inherit_requests, &h->requests, err)
				   : 0;

	buf_clear(&h->requests);
	return rc;
}

/* Storage commitment: what was said, and what was asked. */
static int
hear_commitment(struct heir *h, enum frame kind, const struct buf *frame, struct err *err)
{
	const size_t fixed = 1 + SHA256_SIZE;
	struct verdict_mark *m = &h->marks[h->n_marks];

	if (kind == FRAME_COMMITTED && frame->len > fixed && frame->len < fixed + UID_SIZE) {
		memset(m, 0, sizeof(*m));
		m->here_only = frame->data[0] != 0;
		memcpy(m->digest, frame->data + 1, SHA256_SIZE);
		memcpy(m->sop_instance, frame->data + fixed, frame->len - fixed);
		if (++h->n_marks == VERDICTS_PAGE)
			return flush_marks(h, err);
	} else if (kind == FRAME_REQUEST && frame->len > 5 && frame->data[0] < KEPT &&
		   buf_get_u32(frame->data + 1) <= frame->len - 5 && buf_get_u32(frame->data + 1)) {
		buf_put_u32(&h->requests, (uint32_t)frame->len);
		buf_put(&h->requests, frame->data, frame->len);
		if (h->requests.len > REQUESTS_PAGE)
			return flush_requests(h, err);
	}
	return 0;
}

static int
flush(struct heir *h, struct err *err)
{
	int rc = buf_failed(&h->page) ? err_set(err, ERR_LOCAL, 0, "no memory for a page")
				      : store_commit(h->e->store, inherit_page, h, err);

	h->known += rc ? 0 : h->added;
	h->rows = 0;
	buf_clear(&h->page);
	return rc;
}

/* One frame of what the child says. */
static int
hear_one(struct heir *h, enum frame kind, struct buf *frame, struct err *err)
{
	int rc = 0;

	h->frame = frame;
	h->hold = h->hold || kind == FRAME_HOLD;
	if (kind == FRAME_PIN && frame->len > 8 && frame->len < 8 + UID_SIZE) {
		buf_put_u32(&h->pins, (uint32_t)frame->len);
		buf_put(&h->pins, frame->data, frame->len);
	}
	if (kind == FRAME_DECISION)
		rc = store_commit(h->e->store, inherit_decision, frame, err);
	else if (kind == FRAME_REJECTED)
		rc = store_commit(h->e->store, inherit_rejected, h, err);
	else if (kind == FRAME_COMMITTED || kind == FRAME_REQUEST)
		rc = hear_commitment(h, kind, frame, err);
	if (rc || kind != FRAME_KNOWN)
		return rc;
	buf_put_u32(&h->page, (uint32_t)frame->len);
	buf_put(&h->page, frame->data, frame->len);
	return ++h->rows == PAGE ? flush(h, err) : 0;
}

static int
hear_all(struct heir *heir, const char *path, bool *whole, struct err *err)
{
	struct hearing h;
	enum frame kind;
	int rc = hear(&h, heir->e, path, false, err);

	if (rc)
		return rc;
	while (!rc && next(&h, &kind)) {
		*whole = kind == FRAME_END;
		rc = hear_one(heir, kind, &h.frame, err);
		if (!rc)
			rc = daemon_go_on(err);
	}
	end_hearing(&h);
	if (!rc)
		rc = flush(heir, err);
	if (!rc)
		rc = flush_marks(heir, err);
	if (!rc)
		rc = flush_requests(heir, err);
	if (!rc && !buf_failed(&heir->pins) && heir->pins.len)
		rc = store_commit(heir->e->store, inherit_pins, &heir->pins, err);
	return rc;
}

int
old_store_bequeath(struct edge *e, const char *path, uint64_t *known, bool *whole, struct err *err)
{
	struct heir *heir = calloc(1, sizeof(*heir));
	int rc = heir ? 0 : err_set(err, ERR_LOCAL, 0, "no memory for the old store");

	*known = 0;
	*whole = false;
	if (!rc) {
		heir->e = e;
		rc = hear_all(heir, path, whole, err);
		*known = heir->known;
		buf_fini(&heir->page);
		buf_fini(&heir->pins);
		buf_fini(&heir->requests);
	}
	free(heir);
	return rc;
}
