#include "common/dimse/find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "common/dimse/audit.h"
#include "common/dimse/header_keys.h"
#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/dimse/negotiate.h"
#include "common/dimse/peers.h"
#include "common/dimse/regions.h"
#include "common/dimse/service.h"
#include "common/store/datetime.h"
#include "common/store/match.h"
#include "common/store/query.h"
#include "common/store/query_keys.h"
#include "common/store/zone.h"

enum { IDENTIFIER_SECONDS = 60, COUNT_MOST = 1000000, LOOK_AT = 4 };

struct finding {
	const struct find_config *c;
	const struct dimse_caller *who;
	const struct message *rq;
	struct identifier id;
	struct buf indexed;	   /* its keys, as far as an index goes */
	struct header_keys header; /* keys that no index keeps */
	uint64_t headers;	   /* objects that were looked at for them */
	struct regions regions;	   /* of a study */
	struct query_config q;
	const char *syntax;
	bool patient_only;  /* nothing below STUDY level */
	bool unsupported;   /* a key that we cannot answer: FF01 */
	uint32_t offending; /* A900: the attribute that is wrong */
	bool cancelled;
	int lost; /* the association is, as was seen between two pages */
	uint64_t answers;
};

static bool
level_of(struct attrs keys, enum query_level *out)
{
	static const char *const names[] = {"PATIENT", "STUDY", "SERIES", "IMAGE"};
	char text[16];
	unsigned i;

	(void)attrs_copy(keys, TAG_QUERY_LEVEL, text, sizeof(text));
	for (i = 0; i < 4; i++)
		if (strcmp(text, names[i]) == 0) {
			*out = (enum query_level)i;
			return true;
		}
	return false;
}

/* Can a row of this level, or above it, answer and match the key? */
static bool
supported(const struct finding *f, uint32_t tag)
{
	static const enum key_level lowest[] = {KEY_PATIENT, KEY_STUDY, KEY_SERIES, KEY_INSTANCE};
	const struct key *k = key_find(tag);

	if (strcmp(identifier_vr(tag), "UN") == 0)
		return false;
	if (f->q.level == QUERY_PATIENT && (tag == TAG_STUDY_SERIES || tag == TAG_STUDY_INSTANCES ||
					    tag == TAG_MODALITIES || tag == TAG_CLASSES))
		return false;
	if (tag == TAG_REGIONS)
		return f->q.level == QUERY_STUDY;
	if (tag == TAG_SERIES_INSTANCES)
		return f->q.level >= QUERY_SERIES;
	/* No image here is another one's other encoding (PS3.4 C.6.1.1.5.1): there are no items. */
	if (tag == TAG_AVAILABLE_SYNTAX || tag == TAG_ALTERNATES)
		return f->q.level == QUERY_IMAGE;
	if (tag == TAG_PATIENT_STUDIES || tag == TAG_PATIENT_SERIES || tag == TAG_PATIENT_INSTANCES)
		return f->q.level <= QUERY_STUDY; /* PS3.4 tables C.6-1, C.6-5 */
	return !k || k->level <= lowest[f->q.level];
}

/* What the node itself says of a match: answered, and compared with nothing. */
static bool
computed(uint32_t tag)
{
	return !key_find(tag) && strcmp(identifier_vr(tag), "UN") != 0 && tag != TAG_CHARSET &&
	       tag != TAG_QUERY_LEVEL && tag != TAG_MODALITIES && tag != TAG_CLASSES &&
	       tag != TAG_REGIONS;
}

/* Relational queries match what lies below the level, and answer it empty. */
static bool
matched(const struct finding *f, const struct attr *a)
{
	uint32_t tag = a->tag;
	const struct key *k = key_find(tag);

	if (computed(tag) && !match_universal(a->value, a->n))
		return false;
	return tag == TAG_TIMEZONE || header_keys_can(f->q.level, tag) || supported(f, tag) ||
	       (f->q.relational && k) ||
	       (f->q.relational && (tag == TAG_MODALITIES || tag == TAG_CLASSES));
}

/* R34: FF01 where a key is neither answered nor matched. */
static void
note_unsupported(struct finding *f)
{
	struct attr a;
	size_t pos = 0;

	f->unsupported = f->unsupported || f->id.unknown_items || f->regions.beyond;
	while (attrs_next(attrs_of(&f->id.keys), &pos, &a))
		if (!matched(f, &a) || (tags_has(&f->id.beyond, a.tag) &&
					!header_keys_tell(&f->id, f->q.level, a.tag)))
			f->unsupported = true;
}

static void
put_number(struct buf *out, uint32_t tag, uint64_t n)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	attrs_put(out, tag, text, strlen(text));
}

static bool
put_computed(const struct finding *f, struct buf *out, uint32_t tag, const struct query_match *m)
{
	static const char *const availabilities[] = {"ONLINE", "NEARLINE", "UNAVAILABLE"};
	static const char *const levels[] = {"PATIENT", "STUDY", "SERIES", "IMAGE"};
	const char *s = NULL;

	if (tag == TAG_QUERY_LEVEL)
		s = levels[f->q.level];
	else if (tag == TAG_RETRIEVE_AET)
		s = f->who->called;
	else if (tag == TAG_AVAILABILITY)
		s = availabilities[m->availability];
	if (s) {
		attrs_put(out, tag, s, strlen(s));
		return true;
	}
	if (f->q.level > QUERY_STUDY || (tag != TAG_PATIENT_STUDIES && tag != TAG_PATIENT_SERIES &&
					 tag != TAG_PATIENT_INSTANCES))
		return false;
	if (m->studies == 0) /* too many to count: empty is not zero (PS3.4 C.3.4) */
		attrs_put(out, tag, "", 0);
	else
		put_number(out, tag,
			   tag == TAG_PATIENT_STUDIES  ? m->studies
			   : tag == TAG_PATIENT_SERIES ? m->series_count
						       : m->instances);
	return true;
}

/* The row of the level that this key belongs to. */
static struct attrs
row_of(const struct query_match *m, uint32_t tag)
{
	const struct key *k = key_find(tag);
	enum key_level level = k ? k->level : KEY_STUDY;

	if (tag == TAG_SERIES_INSTANCES)
		level = KEY_SERIES;
	if (tag == TAG_AVAILABLE_SYNTAX)
		level = KEY_INSTANCE;
	return level == KEY_INSTANCE ? m->instance : level == KEY_SERIES ? m->series : m->study;
}

/* PS3.4 C.2.2.2.1.3: in the zone that was asked for, where that of the row is known. */
static void
put_moved(const struct query_match *m, struct attr value, struct buf *out)
{
	const struct zone_pair *p = zone_pair_of(value.tag);
	const struct key *k = key_find(value.tag);
	struct attr date, time;
	struct zone_room room;
	char zone[ZONE_TEXT_SIZE];
	struct attr theirs;

	if (m->moves && p && p->moves) {
		date = (struct attr){p->date, "", 0};
		time = (struct attr){p->time, "", 0};
		(void)attrs_get(row_of(m, p->date), p->date, &date);
		(void)attrs_get(row_of(m, p->time), p->time, &time);
		if (zone_move(&date, &time, m->minutes, &room))
			value = p->date == value.tag ? date : time;
	} else if (m->moves && k && strcmp(k->vr, "DT") == 0 && value.n > 0 &&
		   !datetime_zoned(value.value, value.n) &&
		   attrs_get(m->study, TAG_TIMEZONE, &theirs) && theirs.n + 1 == sizeof(zone)) {
		struct buf with = BUF_INIT; /* what says no zone says its own */

		buf_put(&with, value.value, value.n);
		buf_put(&with, theirs.value, theirs.n);
		attrs_put(out, value.tag, (const char *)with.data, with.len);
		out->failed = out->failed || buf_failed(&with);
		buf_fini(&with);
		return;
	}
	attrs_put(out, value.tag, value.value, value.n);
}

/* The zone that dates and times of the answer are in; else nothing (PS3.4 C.4.1.1.3.2). */
static void
put_zone(const struct finding *f, const struct query_match *m, struct buf *out)
{
	struct attr a = {TAG_TIMEZONE, "", 0};

	if (f->q.level != QUERY_PATIENT)
		(void)attrs_get(m->moves ? attrs_of(&f->id.keys) : m->study, TAG_TIMEZONE, &a);
	if (a.n > 0)
		attrs_put(out, TAG_TIMEZONE, a.value, a.n);
}

/* What is longer than the values of an index. */
static void
put_whole(struct buf *out, uint32_t tag, const void *p, size_t n)
{
	buf_put_u32(out, tag);
	buf_put_u16(out, (unsigned)n);
	buf_put(out, p, n);
}

/* Below STUDY level none are told. */
static void
put_regions(const struct finding *f, struct buf *out)
{
	struct buf items = BUF_INIT;

	if (f->regions.asked)
		regions_answer(&f->regions, &items);
	put_whole(out, TAG_REGIONS, items.data, items.len);
	out->failed = out->failed || buf_failed(&items);
	buf_fini(&items);
}

/* A key that was asked for. */
static void
put_answer(const struct finding *f, const struct query_match *m, const struct attr *key,
	   struct buf *out)
{
	struct attr value = {key->tag, "", 0}, asked = *key;
	const struct key *k = key_find(key->tag);
	struct buf items = BUF_INIT;
	bool told; /* by an object's own header */

	if (key->tag == TAG_REGIONS) {
		put_regions(f, out);
		return;
	}
	if (key->tag == TAG_TIMEZONE)
		put_zone(f, m, out);
	if (key->tag == TAG_TIMEZONE || key->tag == TAG_CHARSET ||
	    put_computed(f, out, key->tag, m))
		return;
	told = f->header.n > 0 && header_keys_tell(&f->id, f->q.level, key->tag) &&
	       attrs_get(attrs_of(&f->header.set), key->tag, &value);
	if (!told && supported(f, key->tag)) {
		(void)attrs_get(row_of(m, key->tag), key->tag, &value);
		(void)attrs_get(f->q.keys, key->tag, &asked);
	}
	if (told && value.n > 0 && value.value[0] == ITEMS_BEGIN) {
		header_keys_answer(&f->header, *key, value, &items);
		put_whole(out, key->tag, items.data, items.len);
		out->failed = out->failed || buf_failed(&items);
		buf_fini(&items);
	} else if (!k && value.n > ATTRS_VALUE_MAX) {
		put_whole(out, key->tag, value.value, value.n);
	} else if (k && k->kind == KEY_ITEMS) {
		match_items_answer(asked.value, asked.n, value, &items);
		attrs_put(out, key->tag, (const char *)items.data, items.len);
		out->failed = out->failed || buf_failed(&items);
		buf_fini(&items);
	} else {
		put_moved(m, value, out);
	}
}

/* Does the answer hold dates or times that are in a zone? */
static bool
tells_times(const struct finding *f)
{
	const struct zone_pair *p;
	const struct key *k;
	struct attr a;
	size_t pos = 0;

	while (attrs_next(attrs_of(&f->id.keys), &pos, &a)) {
		p = zone_pair_of(a.tag);
		k = key_find(a.tag);
		if (supported(f, a.tag) && ((p && p->moves) || (k && strcmp(k->vr, "DT") == 0)))
			return true;
	}
	return false;
}

/* Every key that was asked for; level and title always (PS3.4 C.4.1.1.3.2). */
static void
build_answer(const struct finding *f, const struct query_match *m, struct buf *out)
{
	struct attr always[] = {{TAG_QUERY_LEVEL, "", 0},
				{TAG_RETRIEVE_AET, "", 0},
				{TAG_TIMEZONE, "", 0},
				{UINT32_MAX, "", 0}};
	struct attr key;
	size_t pos = 0, i = 0;
	bool more;

	if (!tells_times(f))
		always[2].tag = UINT32_MAX;
	do {
		more = attrs_next(attrs_of(&f->id.keys), &pos, &key);
		for (; always[i].tag != UINT32_MAX && (!more || always[i].tag <= key.tag); i++)
			if (!more || always[i].tag != key.tag)
				put_answer(f, m, &always[i], out);
		if (more)
			put_answer(f, m, &key, out);
	} while (more);
}

/* How much there is of its patient was asked for, and is not told. */
static bool
uncounted(const struct finding *f, const struct query_match *m)
{
	struct attrs keys = attrs_of(&f->id.keys);
	struct attr a;

	return f->q.level == QUERY_STUDY && m->studies == 0 &&
	       (attrs_get(keys, TAG_PATIENT_STUDIES, &a) ||
		attrs_get(keys, TAG_PATIENT_SERIES, &a) ||
		attrs_get(keys, TAG_PATIENT_INSTANCES, &a));
}

static int
send_answer(struct finding *f, const struct query_match *m, struct err *e)
{
	struct buf set = BUF_INIT, identifier = BUF_INIT;
	struct attr charset = {TAG_CHARSET, "", 0};
	struct message rsp;
	int rc;

	build_answer(f, m, &set);
	(void)attrs_get(attrs_of(&f->id.keys), TAG_CHARSET, &charset);
	identifier_build_in(&identifier, f->syntax, attrs_of(&set), charset, f->header.keys,
			    f->header.n + f->header.n_inner);
	message_answer(&rsp, f->rq,
		       f->unsupported || f->header.unknown || uncounted(f, m) ||
				       (f->regions.asked && !f->regions.known)
			       ? STATUS_PENDING_KEYS
			       : STATUS_PENDING);
	rc = buf_failed(&set) || buf_failed(&identifier)
		     ? err_set(e, ERR_LOCAL, 0, "no memory for an answer")
		     : message_send_with(f->who->assoc, &rsp, &identifier, e);
	buf_fini(&set);
	buf_fini(&identifier);
	f->answers++;
	return rc;
}

static int
finish(struct finding *f, unsigned status, const char *comment, struct err *e)
{
	struct message rsp;

	message_answer(&rsp, f->rq, status);
	rsp.offending = f->offending;
	(void)snprintf(rsp.comment, sizeof(rsp.comment), "%s", comment);
	return message_send(f->who->assoc, &rsp, e);
}

/* R34: a cancel is seen within one page, also while nothing matches. */
static bool
interrupted(void *arg)
{
	struct finding *f = arg;

	f->lost = message_cancelled(f->who->assoc, f->rq->id, &f->cancelled, NULL);
	return f->cancelled || f->lost;
}

/* What query_next says, or that nobody listens any more. */
static int
outcome(const struct finding *f, int rc, struct err *e)
{
	if (rc == ERR_AGAIN && f->lost) {
		err_clear(e);
		return err_set(e, (enum err_code)f->lost, 0, "the association ended meanwhile");
	}
	return rc;
}

/* R34: the first max_answers were sent; how many there are, and what to do. */
static int
finish_limited(struct finding *f, struct query *q, struct err *e)
{
	char comment[MESSAGE_COMMENT_SIZE];
	uint64_t rest;
	int rc = query_count_rest(q, COUNT_MOST, &rest, e);

	if (rc && f->cancelled)
		return finish(f, STATUS_CANCELED, "", e);
	if (rc)
		return outcome(f, rc, e);
	if (rest == 0 || f->who->peer->success_on_limit)
		return finish(f, STATUS_SUCCESS, "", e);
	(void)snprintf(comment, sizeof(comment), "first %llu of %s%llu; narrow the query",
		       (unsigned long long)f->answers, rest >= COUNT_MOST ? "over " : "",
		       (unsigned long long)(f->answers + rest));
	return finish(f, STATUS_OUT_OF_RESOURCES, comment, e);
}

/* The images of a study or a series that this peer sees. */
static int
images_of(struct query **out, struct finding *f, const struct query_match *m, struct err *e)
{
	struct query_config c = {.level = QUERY_IMAGE,
				 .relational = true,
				 .see_rejected = f->q.see_rejected,
				 .interrupted = interrupted,
				 .arg = f};
	struct buf keys = BUF_INIT;
	struct attr uid;
	int rc;

	if (attrs_get(m->study, TAG_STUDY_UID, &uid))
		attrs_put(&keys, uid.tag, uid.value, uid.n);
	if (f->q.level == QUERY_SERIES && attrs_get(m->series, TAG_SERIES_UID, &uid))
		attrs_put(&keys, uid.tag, uid.value, uid.n);
	c.keys = attrs_of(&keys);
	rc = buf_failed(&keys) ? err_set(e, ERR_LOCAL, 0, "no memory for a query")
			       : query_open(out, f->c->store, &c, e);
	buf_fini(&keys);
	return rc;
}

/* What one of its images says, of the first few one that is here: they all say it. */
static int
look_into_one(struct finding *f, const struct query_match *m, struct err *e)
{
	struct query_match image;
	struct query *q = NULL;
	unsigned i;
	int rc;

	buf_clear(&f->header.set);
	f->header.unknown = true;
	rc = images_of(&q, f, m, e);
	for (i = 0; !rc && i < LOOK_AT && f->header.unknown; i++) {
		rc = query_next(q, &image, e);
		if (!rc)
			rc = header_keys_read(&f->header, f->c->store, image.oid, e);
	}
	if (rc == ERR_ABSENT) { /* no image of it is known, or none is here */
		err_clear(e);
		rc = 0;
	}
	query_close(q);
	return rc;
}

/* R34: as below; of a study that any region suits nothing is told then. */
static int
look_for_regions(struct finding *f, const struct query_match *m, struct err *e)
{
	struct regions *r = &f->regions;
	struct query *q = NULL;
	char text[24];
	uint64_t count;
	int rc;

	(void)attrs_copy(m->study, TAG_STUDY_INSTANCES, text, sizeof(text));
	count = strtoull(text, NULL, 10);
	r->known = false;
	if (count > REGIONS_IMAGES_MOST)
		return 0;
	if (r->images + count > f->c->max_answers)
		return r->universal ? 0 : err_set(e, ERR_FULL, 0, "enough");
	rc = images_of(&q, f, m, e);
	if (!rc)
		rc = regions_of(r, f->c->store, q, count, e);
	query_close(q);
	return rc;
}

/*
 * R34: of at most max_answers objects the header is looked at for one query.
 * ERR_FULL: of no more; *wanted: this one matches as far as it is known.
 */
static int
look_into(struct finding *f, const struct query_match *m, bool *wanted, struct err *e)
{
	int rc = 0;

	*wanted = true;
	if (f->header.n > 0) {
		if (f->headers == f->c->max_answers)
			return err_set(e, ERR_FULL, 0, "enough");
		f->headers++;
		rc = f->q.level == QUERY_IMAGE
			     ? header_keys_read(&f->header, f->c->store, m->oid, e)
			     : look_into_one(f, m, e);
		*wanted = !rc && header_keys_match(&f->header, &f->id);
	}
	if (!rc && *wanted && f->regions.asked) {
		rc = look_for_regions(f, m, e);
		*wanted = !rc && regions_match(&f->regions);
	}
	return rc;
}

static int
answer_all(struct finding *f, struct query *q, struct err *e)
{
	struct query_match m;
	bool wanted;
	int rc = 0;

	header_keys_init(&f->header, &f->id, f->q.level);
	while (f->answers < f->c->max_answers) {
		rc = query_next(q, &m, e);
		if (rc == ERR_ABSENT)
			return finish(f, STATUS_SUCCESS, "", e);
		if (!rc)
			rc = message_cancelled(f->who->assoc, f->rq->id, &f->cancelled, e);
		if (f->cancelled)
			return finish(f, STATUS_CANCELED, "", e);
		if (!rc)
			rc = look_into(f, &m, &wanted, e);
		if (f->cancelled)
			return finish(f, STATUS_CANCELED, "", e);
		if (rc == ERR_FULL) {
			err_clear(e);
			return finish(f, STATUS_OUT_OF_RESOURCES,
				      "too many images to look into; narrow the query", e);
		}
		if (!rc && wanted)
			rc = send_answer(f, &m, e);
		if (rc)
			return outcome(f, rc, e);
	}
	return finish_limited(f, q, e);
}

/* R36: which keys, never what was asked of them (R35). */
static void
audit_query(const struct finding *f)
{
	char keys[512] = "";
	struct attr a;
	size_t pos = 0, n = 0;

	while (attrs_next(attrs_of(&f->id.keys), &pos, &a))
		if (a.n > 0 && n + 10 < sizeof(keys))
			n += (size_t)snprintf(keys + n, sizeof(keys) - n, "%s%08X", n ? "," : "",
					      a.tag);
	audit_line(f->who->config->audit, "query",
		   "calling=%s called=%s address=%s keys=%s matches=%llu", f->who->calling,
		   f->who->called, f->who->address, keys, (unsigned long long)f->answers);
}

/* A900 and C000: refused, with what is wrong by its tag (R36). */
static int
refuse(struct finding *f, unsigned status, const char *comment, struct err *e)
{
	dimse_refused(f->who, "find", status);
	return finish(f, status, comment, e);
}

static int
serve_query(struct finding *f, struct err *e)
{
	struct err why = ERR_INIT;
	struct query *q;
	int rc;

	identifier_indexed(&f->id, &f->indexed);
	f->q.keys = attrs_of(&f->indexed);
	if (!f->c->central || !f->c->central(f->c->arg, &f->q.epoch))
		memset(&f->q.epoch, 0, sizeof(f->q.epoch));
	if (!level_of(f->q.keys, &f->q.level) ||
	    (f->q.level == QUERY_PATIENT && !f->q.patient_root) ||
	    (f->q.level > QUERY_STUDY && f->patient_only)) {
		f->offending = TAG_QUERY_LEVEL;
		return refuse(f, STATUS_IDENTIFIER_MISMATCH, "Query/Retrieve Level", e);
	}
	if (query_keys_check(&f->q, &f->offending, &why))
		return refuse(f, STATUS_IDENTIFIER_MISMATCH, why.what, e);
	regions_init(&f->regions, &f->id, f->q.level);
	note_unsupported(f);
	f->q.interrupted = interrupted;
	f->q.arg = f;
	rc = buf_failed(&f->indexed) || buf_failed(&f->regions.key)
		     ? err_set(&why, ERR_LOCAL, 0, "no memory for an identifier")
		     : query_open(&q, f->c->store, &f->q, &why);
	if (!rc) {
		rc = answer_all(f, q, &why);
		query_close(q);
	}
	audit_query(f);
	if (rc == ERR_PEER || rc == ERR_ABSENT || rc == ERR_AGAIN) { /* the association is over */
		*e = why;
		return rc;
	}
	if (rc) {
		log_err(LOG_ERROR, "find", &why);
		return finish(f, STATUS_PROCESSING_FAILURE, "", e);
	}
	return 0;
}

int
find_serve(const struct find_config *c, const struct dimse_caller *who, const struct message *rq,
	   struct err *e)
{
	struct finding f;
	struct buf bytes = BUF_INIT;
	const struct assoc_context *context = assoc_accepted(who->assoc, rq->context);
	const char *class = context->abstract_syntax;
	enum service_class service = service_of(class);
	struct err why = ERR_INIT;
	int rc;

	memset(&f, 0, sizeof(f));
	f.c = c;
	f.who = who;
	f.rq = rq;
	f.syntax = context->syntax;
	f.q.patient_root = service_is_patient_root(service);
	f.patient_only = service_is_patient_only(service);
	f.q.relational = negotiated(who->assoc, class, NEGOTIATED_RELATIONAL);
	f.q.see_rejected = who->peer->see_rejected;
	f.q.moments = negotiated(who->assoc, class, NEGOTIATED_MOMENTS);
	f.q.zoned = negotiated(who->assoc, class, NEGOTIATED_ZONE);
	f.q.names =
		(struct name_rules){negotiated(who->assoc, class, NEGOTIATED_FUZZY), c->umlauts};
	rc = message_receive_identifier(who->assoc, rq, IDENTIFIER_SECONDS, &bytes, e);
	if (!rc && identifier_parse(&f.id, f.syntax, bytes.data, bytes.len, &why)) {
		rc = refuse(&f, STATUS_CANNOT_UNDERSTAND, why.what, e);
	} else if (!rc) {
		rc = serve_query(&f, e);
		identifier_fini(&f.id);
		buf_fini(&f.indexed);
		header_keys_fini(&f.header);
		regions_fini(&f.regions);
	}
	buf_fini(&bytes);
	return rc;
}
