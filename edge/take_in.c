#include "edge/take_in.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/uid.h"
#include "common/dicom/canon.h"
#include "common/dicom/keys.h"
#include "common/dicom/note.h"
#include "common/dimse/audit.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "edge/damage.h"
#include "edge/edge.h"
#include "edge/keep.h"
#include "edge/outbox.h"
#include "edge/reject.h"
#include "edge/stat.h"
#include "proto/ledger.h"
#include "proto/withdrawn.h"

/* More than its bytes: heads of chunks, whole pages, rows of the index. */
enum { MARGIN = 1024, MARGIN_MIN = 16384 };

struct taking { /* one object on its way in */
	struct edge *edge;
	const struct dimse_caller *who;
	struct message rq;
	struct canon *canon;
	struct store_spool *spool;
	struct err e;	  /* the first thing that went wrong */
	struct buf study; /* study attributes with the issuer (R33) */
	struct buf side;  /* of the object, and who sent it (R1)    */
	struct store_object o;
	struct store_verdict verdict;
	bool drains;		 /* it is refused (R8)          */
	bool kept;		 /* it was here before (R13)    */
	uint32_t hidden;	 /* enum version_hidden: by decisions and notes (R15) */
	struct note *note;	 /* NULL: it is of another class */
	enum note_reason reason; /* of a rejection note that counts */
	uint64_t rejects;	 /* images that it has just hidden   */
	int64_t waiting_since;	 /* for room; 0: it never had to */
};

static int
to_spool(void *arg, const void *p, size_t n, struct err *e)
{
	struct taking *t = arg;
	struct err full = ERR_INIT;
	const unsigned char *at = p;
	uint64_t before;
	size_t took;
	int rc;

	if (!t->spool)
		return err_set(e, ERR_FULL, 0, "the cache was full");
	/* A full cache: up to 10 s, while anything can be released. */
	for (;;) {
		before = store_spool_size(t->spool);
		rc = store_spool_add(t->spool, at, n, &full);
		if (rc != ERR_FULL)
			break;
		took = (size_t)(store_spool_size(t->spool) - before);
		at += took;
		n -= took;
		if (!t->edge->keep ||
		    !keep_wait(t->edge->keep, n + n / MARGIN + MARGIN_MIN, &t->waiting_since))
			break;
		err_clear(&full);
	}
	if (!rc)
		return 0;
	/* R12: what will be refused makes room now, not when its sender has sent it all. */
	store_spool_close(t->spool);
	t->spool = NULL;
	return err_set(e, full.code, full.sys, "%s", full.what);
}

static void
abandon(void *sink)
{
	struct taking *t = sink;

	store_spool_close(t->spool);
	canon_free(t->canon);
	note_free(t->note);
	buf_fini(&t->study);
	buf_fini(&t->side);
	free(t);
}

static int
open_taking(struct edge *edge, const struct dimse_caller *who, struct canon_config c, void **sink,
	    struct err *e)
{
	struct taking *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_set(e, ERR_LOCAL, 0, "no memory for an object");
	t->edge = edge;
	t->who = who;
	c.sink = to_spool;
	c.sink_arg = t;
	rc = store_spool_open(&t->spool, t->edge->store, e);
	if (!rc)
		rc = canon_new(&t->canon, &c, e);
	if (rc) {
		abandon(t);
		return rc;
	}
	*sink = t;
	return 0;
}

static int
begin(void *node, const struct dimse_caller *who, const struct message *rq, const char *syntax,
      void **sink, struct err *e)
{
	struct canon_config c = {.form = CANON_DATASET, .syntax = syntax};
	int rc = open_taking(node, who, c, sink, e);
	struct taking *t;

	if (rc)
		return rc;
	t = *sink;
	t->rq = *rq;
	t->drains = atomic_load(&t->edge->drains);
	if (strcmp(rq->sop_class, NOTE_CLASS) == 0)
		rc = note_new(&t->note, syntax, e);
	if (rc) {
		*sink = NULL;
		abandon(t);
		return rc;
	}
	if (t->drains) /* R8: what it takes in, the site's other copy would not have */
		(void)err_set(&t->e, ERR_FULL, 0, "another copy of this edge is the site's");
	return 0;
}

static int
feed(void *sink, const void *p, size_t n, struct err *e)
{
	struct taking *t = sink;
	int rc = t->drains ? t->e.code : canon_feed(t->canon, p, n, &t->e);

	if (!rc && t->note)
		note_feed(t->note, p, n);
	return rc ? err_set(e, (enum err_code)rc, 0, "%s", t->e.what) : 0;
}

/* (0010,1002), each "id" or "id^^^issuer": foreign ones belong to their own namespace. */
static void
qualify_ids(struct buf *out, struct attr a, const char *issuer, bool foreign)
{
	while (a.n > 0) {
		const char *bar = memchr(a.value, '\\', a.n);
		size_t n = bar ? (size_t)(bar - a.value) : a.n;
		const char *mark = memmem(a.value, n, "^^^", 3);
		size_t keep = mark && foreign ? (size_t)(mark - a.value) : n;

		buf_put(out, a.value, keep);
		if (!mark || foreign)
			buf_printf(out, "^^^%s", issuer);
		if (bar)
			buf_puts(out, "\\");
		a.value += bar ? n + 1 : n;
		a.n -= bar ? n + 1 : n;
	}
}

/* R33: who gave the patient IDs and the accession number, where the object does not say. */
static void
add_issuer(struct taking *t, const struct object_info *info)
{
	static const uint32_t issuers[] = {TAG_PATIENT_ISSUER, TAG_ACCESSION_ISSUER};
	const struct peer *peer = t->who->peer;
	const char *issuer =
		peer->issuer[0] ? peer->issuer : conf_string(t->edge->conf, "site", NULL, "issuer");
	struct buf with = BUF_INIT, ids = BUF_INIT;
	char own[128];
	struct attr a;
	size_t i;

	if (peer->foreign) { /* a namespace of its own, whatever the object says */
		(void)snprintf(own, sizeof(own), "foreign:%s", peer->name);
		issuer = own;
	}
	buf_put(&t->study, info->study_attrs.data, info->study_attrs.len);
	for (i = 0; i < sizeof(issuers) / sizeof(issuers[0]); i++) {
		if (attrs_get(attrs_of(&t->study), issuers[i], &a) && a.n > 0 && !peer->foreign)
			continue;
		buf_clear(&with);
		attrs_replace(&with, attrs_of(&t->study), issuers[i], issuer, strlen(issuer));
		buf_clear(&t->study);
		buf_put(&t->study, with.data, with.len);
	}
	if (attrs_get(attrs_of(&t->study), TAG_OTHER_IDS, &a) && a.n > 0) {
		qualify_ids(&ids, a, issuer, peer->foreign);
		buf_clear(&with);
		attrs_replace(&with, attrs_of(&t->study), TAG_OTHER_IDS, (const char *)ids.data,
			      ids.len);
		buf_clear(&t->study);
		buf_put(&t->study, with.data, with.len);
	}
	t->study.failed = t->study.failed || buf_failed(&with) || buf_failed(&ids);
	buf_fini(&with);
	buf_fini(&ids);
}

/* R1: what is outside the digest travels in the pack's manifest. */
static void
add_side(struct taking *t, const struct object_info *info)
{
	const struct version_source *from = &t->o.source;

	buf_put(&t->side, info->side.data, info->side.len);
	if (from->calling_aet[0])
		canon_side_put(&t->side, CANON_SIDE_AET, from->calling_aet,
			       strlen(from->calling_aet));
	if (from->peer[0])
		canon_side_put(&t->side, CANON_SIDE_PEER, from->peer, strlen(from->peer));
}

/* R6: before the first instance of a study, and when the record changes. A note that counts is
 * hidden: what it adds to its study's modalities is not told. */
static int
append_study(struct store_tx *tx, const struct version *v, const struct tags *corrected, bool note,
	     int64_t now, struct err *e)
{
	struct buf record = BUF_INIT, told = BUF_INIT, entry = BUF_INIT;
	struct tags untold = {.n = 0};
	struct attrs row = {NULL, 0};
	uint64_t seq;
	int rc = index_study_row(tx, v->study, &row, e);

	if (rc)
		return rc == ERR_ABSENT ? 0 : rc;
	if (note)
		tags_add(&untold, TAG_MODALITIES);
	ledger_record(&record, row);
	attrs_without(&told, attrs_of(&record), &untold);
	ledger_study(&entry, v->study, attrs_of(&told), corrected, v->source.calling_aet, now);
	if (buf_failed(&record) || buf_failed(&told))
		entry.failed = true;
	rc = ledger_append(tx, &entry, &seq, e);
	buf_fini(&told);
	buf_fini(&record);
	buf_fini(&entry);
	return rc;
}

static enum lane
lane_of(struct store_tx *tx, const struct taking *t, const struct version *v)
{
	struct stat_object o = {.calling = t->who->calling,
				.called = t->who->called,
				.peer = t->who->peer->name,
				.study = v->study};
	struct contact contact;
	char modality[17] = "";
	struct attr a;

	if (attrs_get(attrs_of(&t->o.info->series_attrs), TAG_MODALITY, &a))
		(void)snprintf(modality, sizeof(modality), "%.*s", (int)(a.n < 16 ? a.n : 16),
			       a.value);
	o.modality = modality;
	o.wall_ms = clock_wall(t->edge->clock);
	if (conf_name(t->edge->conf, "stat *", 0)) { /* R28: its hours are central's */
		edge_contact(t->edge, &contact);
		o.wall_ms += contact.skew_ms;
	}
	return stat_lane(tx, t->edge, &o);
}

/* Called inside store_put: the entry lies in the commit of the bytes (ack-after-disk, R5). */
static int
announce(struct store_tx *tx, void *arg, const struct version *v,
	 const struct store_verdict *verdict, uint64_t *seq, struct err *e)
{
	struct taking *t = arg;
	const struct object_info *info = t->o.info;
	struct index_sets sets = {.series = attrs_of(&info->series_attrs),
				  .instance = attrs_of(&info->instance_attrs)};
	struct buf entry = BUF_INIT;
	int64_t now = clock_wall(t->edge->clock);
	uint64_t old = v->seq; /* *seq may be v's own */
	bool was, note = t->reason != NOTE_NONE;
	int rc = 0;

	if (verdict->new_study || (verdict->study_changed && !note))
		rc = append_study(tx, v, &verdict->corrected, note, now, e);
	if (rc)
		return rc;
	if (verdict->relation == VERSION_REVISION && verdict->current)
		sets.dropped = &t->o.dropped;
	ledger_instance(&entry, v, &sets, &t->side, store_time(t->edge->store) - v->first_ms, now);
	rc = ledger_append(tx, &entry, seq, e);
	buf_fini(&entry);
	if (!rc && old) /* repaired: the entry before this one is not what is owed */
		rc = outbox_del(tx, OUTBOX_CENTRAL, old, &was, e);
	return rc ? rc : outbox_add(tx, OUTBOX_CENTRAL, *seq, v, lane_of(tx, t, v), e);
}

static int
put(struct store_tx *tx, void *arg, struct err *e)
{
	struct taking *t = arg;
	int rc = store_put(tx, &t->o, &t->verdict, e);

	if (!rc && t->verdict.stored_again) /* also in the place of what was damaged */
		rc = damage_del(tx, t->verdict.oid, e);
	t->hidden = 0;
	t->rejects = 0;
	if (!rc && t->reason)
		rc = reject_by_note(tx, t->edge, t->note, t->reason, t->o.info, &t->rejects, e);
	else if (!rc && !t->kept && !t->o.hidden)
		rc = reject_stored(tx, t->edge, t->o.info->sop_instance, e);
	if (!rc && !t->verdict.duplicate && (t->o.info->flags & OBJECT_NOTE))
		rc = reject_count(tx, REJECT_UNHEARD, e);
	if (!rc) /* R15: taken, owed, and not shown */
		rc = withdrawn_settle_new(tx, t->verdict.oid, &t->hidden, e);
	if (!rc && !t->kept && !t->reason && (t->hidden & (VERSION_REJECTED | VERSION_POOR)))
		rc = reject_count(tx, REJECT_AGAIN, e);
	return rc;
}

static int
commit(struct taking *t, struct object_info *info, bool refused, struct err *e)
{
	struct store_object *o = &t->o;
	uint64_t left = store_spool_left(t->spool);
	int rc;

	add_issuer(t, info);
	o->info = info;
	o->study = attrs_of(&t->study);
	o->origin = VERSION_TAKEN_IN;
	o->spool = t->spool;
	o->hidden = refused ? VERSION_KEPT_ONLY : 0;
	o->announce = announce;
	o->announce_arg = t;
	(void)snprintf(o->source.site, sizeof(o->source.site), "%s",
		       conf_string(t->edge->conf, "site", NULL, "name"));
	(void)snprintf(o->source.calling_aet, sizeof(o->source.calling_aet), "%s", t->who->calling);
	(void)snprintf(o->source.peer, sizeof(o->source.peer), "%s", t->who->address);
	add_side(t, info);
	if (buf_failed(&t->study) || buf_failed(&t->side))
		return err_set(e, ERR_LOCAL, 0, "no memory for an object");
	rc = store_prepare(t->edge->store, o, e);
	/* Of what came in groups the rows say whether it was put: they must be seen at once. */
	if (!rc)
		rc = left == store_spool_size(t->spool)
			     ? store_commit_quick(t->edge->store, put, t, left, e)
			     : store_commit_bytes(t->edge->store, put, t, left, e);
	if (!rc && !t->verdict.duplicate && t->edge->keep)
		keep_taken(t->edge->keep, info->size);
	return rc;
}

/* The one place that maps what happened to a C-STORE status (PS3.4 B.2.3). */
static unsigned
status_of(int rc, bool refused)
{
	if (rc == ERR_FULL)
		return STATUS_OUT_OF_RESOURCES;
	if (rc)
		return STATUS_PROCESSING_FAILURE;
	return refused ? STATUS_CANNOT_UNDERSTAND : STATUS_SUCCESS;
}

/* For the person at the modality: what is wrong with the object. */
static const char *
why_refused(uint32_t flags)
{
	if (flags & OBJECT_LIMIT)
		return "too deep or too large, or not to be inflated";
	if (flags & OBJECT_REFUSED)
		return "it cannot be identified";
	return "it is odd, and this peer strict";
}

static void
count_outcome(struct edge *e, uint64_t bytes, unsigned status)
{
	bool good = status == STATUS_SUCCESS;

	(void)pthread_mutex_lock(&e->mu);
	e->taken.objects += good;
	e->taken.bytes += good ? bytes : 0;
	e->taken.failures += !good;
	(void)pthread_mutex_unlock(&e->mu);
}

static void
log_outcome(const struct taking *t, const struct object_info *info, unsigned status)
{
	if (status != STATUS_SUCCESS)
		log_line(LOG_WARN, "store.refused",
			 "status=%04x calling=%s address=%s uid=%s flags=%u err=%s what=\"%s\"",
			 status, t->who->calling, t->who->address, uid_shown(t->rq.sop_instance),
			 info ? info->flags : 0, err_name(t->e.code), t->e.what);
	else if (t->reason)
		log_line(LOG_INFO, "rejection", "calling=%s note=%s reason=%s images=%llu",
			 t->who->calling, uid_shown(info->sop_instance),
			 note_reason_word(t->reason), (unsigned long long)t->rejects);
	else if (info->flags & OBJECT_NOTE)
		log_line(LOG_WARN, "rejection.unheard", "calling=%s address=%s note=%s",
			 t->who->calling, t->who->address, uid_shown(info->sop_instance));
	else if (t->hidden & WITHDRAWN_BITS)
		log_line(LOG_WARN, "stored.hidden", "calling=%s uid=%s bits=%u", t->who->calling,
			 uid_shown(info->sop_instance), t->hidden);
	else
		log_line(LOG_DEBUG, "stored", "uid=%s bytes=%llu relation=%d duplicate=%d flags=%u",
			 uid_shown(info->sop_instance), (unsigned long long)info->size,
			 (int)t->verdict.relation, (int)t->verdict.duplicate, info->flags);
}

/* R29: a rejection note counts if its sender may reject, and if it can be read. */
static void
read_note(struct taking *t, struct object_info *info)
{
	bool unread = false;
	enum note_reason reason =
		t->note && strcmp(info->sop_class, NOTE_CLASS) == 0 && info->sop_instance[0]
			? note_end(t->note, &unread)
			: NOTE_NONE;

	if (unread)
		log_line(LOG_ERROR, "rejection.unread", "note=%s most=%d",
			 uid_shown(info->sop_instance), NOTE_MAX);
	if (reason && (t->who->peer->may & PEER_REJECT))
		t->reason = reason;
	else if (reason || unread)
		info->flags |= OBJECT_NOTE;
}

/* R36 */
static void
audit_note(const struct taking *t, const struct object_info *info)
{
	if (t->reason)
		audit_line(t->edge->dicom.audit, "reject",
			   "calling=%s address=%s note=%s reason=%s images=%llu", t->who->calling,
			   t->who->address, uid_shown(info->sop_instance),
			   note_reason_word(t->reason), (unsigned long long)t->rejects);
}

static void
end(void *sink, struct message *rsp)
{
	struct taking *t = sink;
	const struct object_info *found = NULL;
	struct object_info info = {.flags = 0};
	bool refused = false;
	int rc = t->e.code;

	if (!rc)
		rc = canon_end(t->canon, &found, &t->e);
	if (!rc) {
		info = *found;
		if (strcmp(t->rq.sop_instance, info.sop_instance) != 0)
			info.flags |= OBJECT_META_DISAGREES;
		/* R32: refused, but what came is kept; strict peers have everything odd refused. */
		refused = (info.flags & OBJECT_REFUSED) ||
			  (t->who->peer->strict && (info.flags & OBJECT_ODD));
		if (!refused)
			read_note(t, &info);
		rc = commit(t, &info, refused, &t->e);
	}
	if (!rc)
		audit_note(t, &info);
	rsp->status = status_of(rc, refused);
	if (rsp->status == STATUS_OUT_OF_RESOURCES)
		(void)snprintf(rsp->comment, sizeof(rsp->comment), "%s",
			       t->drains ? "another copy of this edge is the site's"
					 : "the cache is full");
	else if (refused)
		(void)snprintf(rsp->comment, sizeof(rsp->comment), "kept, not shown: %s",
			       why_refused(info.flags));
	log_outcome(t, rc ? NULL : &info, rsp->status);
	count_outcome(t->edge, info.size, rsp->status);
	abandon(t);
}

/* R32: only a cache that is full, and in which nothing can be released, turns senders away; or one
 * that is no more the site's (R8). */
static bool
admit(void *node)
{
	struct edge *e = node;

	return !atomic_load(&e->drains) &&
	       (store_admit(e->store, 1 << 20, NULL) == 0 || keep_can_release(e->keep));
}

void
take_in_handlers(struct dimse_handlers *h)
{
	h->store_begin = begin;
	h->store_feed = feed;
	h->store_end = end;
	h->store_abandon = abandon;
	h->admit = admit;
}

/* --- what was here before (R13) --- */

int
take_in_kept_begin(struct edge *e, void **sink, struct err *err)
{
	static const struct peer nobody = {.name = "", .aet = "", .host = "", .issuer = ""};
	static const struct dimse_caller who = {.peer = &nobody, .calling = "", .called = ""};
	struct canon_config c = {.form = CANON_FILE};
	int rc = open_taking(e, &who, c, sink, err);

	if (!rc)
		((struct taking *)*sink)->kept = true;
	return rc;
}

int
take_in_kept_feed(void *sink, const void *p, size_t n, struct err *err)
{
	return feed(sink, p, n, err);
}

int
take_in_kept_end(void *sink, bool *again, struct err *err)
{
	struct taking *t = sink;
	const struct object_info *found = NULL;
	struct object_info info;
	int rc = t->e.code ? err_set(err, t->e.code, t->e.sys, "%s", t->e.what)
			   : canon_end(t->canon, &found, err);

	if (!rc) {
		info = *found;
		rc = commit(t, &info, (info.flags & OBJECT_REFUSED) != 0, err);
	}
	*again = t->verdict.duplicate;
	abandon(t);
	return rc;
}

void
take_in_kept_drop(void *sink)
{
	abandon(sink);
}
