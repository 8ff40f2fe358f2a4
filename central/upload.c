#include "central/upload.h"

#include <stdlib.h>
#include <string.h>

#include "central/adopt.h"
#include "central/catalogue.h"
#include "central/central.h"
#include "central/returns.h"
#include "central/room.h"
#include "central/uploads.h"
#include "central/vault.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/file.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "proto/pack.h"
#include "proto/receiver.h"
#include "proto/sync.pb-c.h"

enum { HASH_STEP = 1 << 20 };

/* --- the manifest --- */

/* R7: a pack's members were announced, by this site, with these digests. */
static int
check_announced(struct store_tx *tx, const struct pack *p, const char *site, struct err *e)
{
	unsigned char digest[SHA256_SIZE];
	struct site_row row;
	size_t i;
	int rc = site_get(tx, pack_incarnation(p), &row, e);

	if (rc == ERR_ABSENT ||
	    (!rc && (strcmp(row.site, site) != 0 || strcmp(pack_site(p), site) != 0)))
		return err_set(e, ERR_CONFLICT, 0, "no such incarnation of this site");
	for (i = 0; !rc && i < pack_count(p); i++) {
		const struct pack_member *m = pack_member(p, i);
		Sync__LedgerEntry *entry;
		const void *bytes;
		size_t n;

		rc = announced_get(tx, pack_incarnation(p), m->seq, &bytes, &n, e);
		if (rc)
			break;
		entry = message_read(&sync__ledger_entry__descriptor, bytes, n, NULL);
		if (!entry || !ledger_says_has((int)entry->kind) ||
		    !message_digest(digest, &entry->digest) ||
		    memcmp(digest, m->digest, sizeof(digest)) != 0 || entry->size != m->size)
			rc = ERR_ABSENT;
		message_free(entry);
	}
	return rc == ERR_ABSENT ? err_set(e, ERR_CONFLICT, 0, "members that were not announced")
				: rc;
}

static int
take_manifest(struct central *c, struct open_upload *o, const char *site, const void *manifest,
	      size_t n, struct err *e)
{
	unsigned char id[SHA256_SIZE];
	struct store_tx *tx;
	int rc = pack_open(&o->pack, manifest, n, e);

	if (rc)
		return rc;
	pack_id(o->pack, id);
	if (memcmp(id, o->id, sizeof(id)) != 0)
		return err_set(e, ERR_PEER, 0, "a manifest of another pack");
	rc = store_begin_read(&tx, c->store, e);
	if (rc)
		return rc;
	rc = check_announced(tx, o->pack, site, e);
	store_end_read(tx);
	return rc ? rc : pack_check_new(&o->check, o->pack, e);
}

struct saving {
	const struct open_upload *o;
	uint64_t offset;
};

static int
save_offset(struct store_tx *tx, void *arg, struct err *e)
{
	const struct saving *s = arg;

	return upload_put(tx, s->o->id, s->offset, e);
}

/* After a restart: what was durable is hashed from the file (R14). */
static int
hash_prefix(struct open_upload *o, uint64_t durable, struct err *e)
{
	unsigned char *part = malloc(HASH_STEP);
	uint64_t at = 0;
	size_t want, got = 1;
	int rc = part ? 0 : err_set(e, ERR_LOCAL, 0, "no memory for an upload");

	while (!rc && at < durable && got) {
		want = durable - at < HASH_STEP ? (size_t)(durable - at) : HASH_STEP;
		rc = vault_read_back(o->file, at, part, want, &got, e);
		if (!rc)
			rc = pack_check_add(o->check, part, got, e);
		at += got;
	}
	if (!rc && at < durable)
		rc = err_set(e, ERR_CORRUPT, 0, "an upload is shorter than it was");
	free(part);
	return rc;
}

/* ERR_ABSENT: there is none; ERR_CORRUPT: it cannot be gone on with. */
static int
resume(struct central *c, struct open_upload *o, const char *site, struct err *e)
{
	struct buf manifest = BUF_INIT;
	struct store_tx *tx;
	uint64_t durable = 0;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = upload_get(tx, o->id, &durable, e);
	store_end_read(tx);
	if (!rc)
		rc = vault_resume(&o->file, c->vault, o->id, &manifest, e);
	if (!rc)
		rc = take_manifest(c, o, site, manifest.data, manifest.len, e);
	if (!rc)
		rc = hash_prefix(o, durable, e);
	if (!rc)
		receiver_init(&o->r, pack_size(o->pack), durable);
	else
		uploads_close(o);
	buf_fini(&manifest);
	return rc;
}

/* Nothing is durable yet: a pack that comes whole in one request needs no flush for this. */
static int
begin(struct central *c, struct open_upload *o, const char *site, const void *manifest, size_t n,
      struct err *e)
{
	int rc = take_manifest(c, o, site, manifest, n, e);

	if (!rc) /* what a death left without an offset is not ours to trust */
		rc = vault_drop(c->vault, o->id, e);
	if (!rc)
		rc = vault_begin(&o->file, c->vault, o->id, e);
	buf_put(&o->manifest, manifest, n);
	if (!rc && buf_failed(&o->manifest))
		rc = err_set(e, ERR_LOCAL, 0, "no memory for an upload");
	if (!rc)
		receiver_init(&o->r, pack_size(o->pack), 0);
	return rc;
}

/* --- bytes --- */

static int
write_frame(struct open_upload *o, const struct frame *f, const void *payload, uint64_t skip,
	    struct err *e)
{
	struct buf room = BUF_INIT;
	size_t n = (size_t)(f->plain - skip);
	const unsigned char *plain;
	int rc = frame_view(f, payload, &room, &plain, e);

	if (!rc)
		rc = vault_write(o->file, f->offset + skip, plain + skip, n, e);
	if (!rc)
		rc = pack_check_add(o->check, plain + skip, n, e);
	buf_fini(&room);
	return rc;
}

static int
bad_members(struct open_upload *o, const size_t *bad, size_t n, bool all, struct upload_result *out,
	    struct err *e)
{
	size_t i;

	out->n_bad = all ? pack_count(o->pack) : n;
	out->bad = calloc(out->n_bad + 1, sizeof(*out->bad));
	if (!out->bad)
		return err_set(e, ERR_LOCAL, 0, "no memory for an answer");
	for (i = 0; i < out->n_bad; i++)
		out->bad[i] = pack_member(o->pack, all ? i : bad[i])->seq;
	return 0;
}

static int
forget(struct store_tx *tx, void *arg, struct err *e)
{
	return upload_del(tx, arg, e);
}

/* The receipt, and the upload goes; its row first: files without one are swept at the start. */
static int
give_up(struct central *c, struct open_upload *o, struct buf *receipt, struct err *e)
{
	int rc = adopt_receipt(c, o->pack, receipt, e);

	if (!rc)
		rc = store_commit(c->store, forget, o->id, e);
	return rc ? rc : vault_drop(c->vault, o->id, e);
}

/* Where the catalogue says that this pack lies: its file is damaged, or it would not come. */
static int
known_place(struct central *c, const unsigned char id[SHA256_SIZE], char out[VAULT_PLACE_SIZE],
	    struct err *e)
{
	struct pack_row row;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	out[0] = '\0';
	if (rc)
		return rc;
	rc = pack_row_get(tx, id, &row, e);
	store_end_read(tx);
	if (!rc)
		memcpy(out, row.place, VAULT_PLACE_SIZE);
	return rc == ERR_ABSENT ? 0 : rc;
}

static int
adopt_it(struct central *c, struct open_upload *o, struct upload_result *out, struct err *e)
{
	char place[VAULT_PLACE_SIZE], known[VAULT_PLACE_SIZE];
	bool held;
	int rc = known_place(c, o->id, known, e);

	if (!rc)
		rc = returns_note(c, o->pack, false, e);
	/* R4, R15: nothing new, and what is here was verified lately: the receipt alone. */
	if (!rc)
		rc = adopt_is_held(c, o->pack, &held, e);
	if (!rc && held) {
		log_line(LOG_INFO, "pack.known", "site=%s members=%zu", pack_site(o->pack),
			 pack_count(o->pack));
		return give_up(c, o, &out->receipt, e);
	}
	if (!rc)
		rc = vault_adopt(o->file, pack_size(o->pack), clock_wall(c->clock),
				 known[0] ? known : NULL, place, e);
	if (!rc) /* then the catalogue, then the receipt */
		rc = adopt_pack(c, o->pack, place, &out->receipt, e);
	if (!rc)
		log_line(LOG_INFO, "pack.adopted", "site=%s members=%zu bytes=%llu place=%s",
			 pack_site(o->pack), pack_count(o->pack),
			 (unsigned long long)pack_size(o->pack), place);
	return rc;
}

static int
judge(struct taking *t, struct receiver_event *ev, struct err *e)
{
	const size_t *bad;
	size_t n;

	if (!pack_check_end(t->o->check, &bad, &n))
		return err_set(e, ERR_LOCAL, 0, "an upload lost count");
	if (!n)
		return 0;
	log_line(LOG_WARN, "pack.refused", "site=%s bad=%zu", pack_site(t->o->pack), n);
	ev->kind = RECEIVER_BAD;
	return bad_members(t->o, bad, n, false, t->out, e);
}

/* From the commit of an offset on the upload outlives a restart: with its manifest. */
static int
flush(struct open_upload *o, struct err *e)
{
	int rc = 0;

	if (o->manifest.len)
		rc = vault_keep(o->file, o->manifest.data, o->manifest.len, e);
	if (!rc)
		buf_fini(&o->manifest);
	return rc ? rc : vault_sync(o->file, e);
}

/* Carries one action out; *ev: what came of it. */
static int
carry_out(struct taking *t, const struct receiver_action *a, struct receiver_event *ev,
	  struct err *e)
{
	struct saving s = {t->o, a->offset};
	int rc = 0;

	memset(ev, 0, sizeof(*ev));
	ev->kind = RECEIVER_DONE;
	switch (a->what) {
	case RECEIVER_WRITE:
		rc = room_check(t->c, t->lane, e); /* R12: before any of it is acknowledged */
		if (!rc)
			rc = write_frame(t->o, t->f, t->payload, a->skip, e);
		if (rc != ERR_CORRUPT)
			return rc;
		ev->kind = RECEIVER_BAD; /* what lies between the members is not the manifest's */
		return bad_members(t->o, NULL, 0, true, t->out, e);
	case RECEIVER_FLUSH:
		return flush(t->o, e);
	case RECEIVER_COMMIT:
		return store_commit(t->c->store, save_offset, &s, e);
	case RECEIVER_JUDGE:
		return judge(t, ev, e);
	case RECEIVER_ADOPT:
		return adopt_it(t->c, t->o, t->out, e);
	case RECEIVER_READ:
	case RECEIVER_SAY:
	case RECEIVER_REFUSE:
	case RECEIVER_GIVE:
		break;
	}
	return 0;
}

static bool
is_answer(enum receiver_do what)
{
	return what == RECEIVER_SAY || what == RECEIVER_REFUSE || what == RECEIVER_GIVE;
}

int
uploads_pump(struct taking *t, struct receiver_event *ev, struct err *e)
{
	struct receiver_action a;
	int rc = 0;

	while (!rc) {
		receiver_step(&t->o->r, ev, &a);
		t->answered = is_answer(a.what);
		if (t->answered || a.what == RECEIVER_READ)
			break;
		rc = carry_out(t, &a, ev, e);
	}
	if (t->answered) {
		t->out->offset = a.offset;
		t->out->misplaced = a.misplaced;
	}
	return rc;
}

/* Answered without its bytes: what had come of them is of no use. */
static int
drop_rest(struct central *c, const unsigned char id[SHA256_SIZE], struct err *e)
{
	unsigned char own[SHA256_SIZE];
	struct store_tx *tx;
	uint64_t offset;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	memcpy(own, id, sizeof(own));
	rc = upload_get(tx, id, &offset, e);
	store_end_read(tx);
	if (!rc)
		rc = store_commit(c->store, forget, own, e);
	return rc && rc != ERR_ABSENT ? rc : vault_drop(c->vault, id, e);
}

/* Adopted before (an answer was lost), or all of it held: a receipt without a byte (R4). */
static int
already(struct central *c, const char *site, const unsigned char id[SHA256_SIZE],
	const void *manifest, size_t n, struct upload_result *out, bool *done, struct err *e)
{
	char known[VAULT_PLACE_SIZE];
	unsigned char own[SHA256_SIZE];
	struct pack *p = NULL;
	struct store_tx *tx;
	int rc = pack_open(&p, manifest, n, e);

	*done = false;
	if (rc)
		return rc;
	pack_id(p, own);
	if (memcmp(id, own, sizeof(own)) != 0)
		rc = err_set(e, ERR_PEER, 0, "a manifest of another pack");
	if (!rc)
		rc = store_begin_read(&tx, c->store, e);
	if (!rc) {
		rc = check_announced(tx, p, site, e);
		store_end_read(tx);
	}
	if (!rc)
		rc = adopt_is_held(c, p, done, e);
	if (!rc && *done)
		rc = known_place(c, id, known, e);
	if (!rc && *done && !known[0]) /* else an answer was lost: it came once */
		rc = returns_note(c, p, false, e);
	if (!rc && *done)
		rc = adopt_receipt(c, p, &out->receipt, e);
	if (!rc && *done)
		rc = drop_rest(c, id, e);
	out->offset = *done ? pack_size(p) : 0;
	pack_close(p);
	return rc;
}

int
uploads_open(struct taking *t, const char *site, const unsigned char *manifest, size_t n,
	     bool *done, struct err *e)
{
	struct open_upload *o = t->o;
	struct err why = ERR_INIT;
	int rc = 0;

	*done = false;
	if (o->file)
		return strcmp(pack_site(o->pack), site) == 0
			       ? 0
			       : err_set(e, ERR_CONFLICT, 0, "another site's pack");
	if (n)
		rc = already(t->c, site, o->id, manifest, n, t->out, done, e);
	if (rc || *done)
		return rc;
	rc = resume(t->c, o, site, &why);
	/* The offset never decreases: only what is not there, or is torn, begins anew. */
	if (rc && rc != ERR_ABSENT && rc != ERR_CORRUPT)
		return err_set(e, why.code, why.sys, "%s", why.what);
	if (!rc)
		return 0;
	if (n)
		return begin(t->c, o, site, manifest, n, e);
	t->out->unknown = t->out->misplaced = *done = true;
	return 0;
}

void
upload_result_fini(struct upload_result *r)
{
	buf_fini(&r->receipt);
	free(r->bad);
	r->bad = NULL;
}

/* Adopted, of this site, and still what is served. */
static int
is_adopted(struct central *c, const char *site, const unsigned char id[SHA256_SIZE], bool *yes,
	   struct err *e)
{
	struct pack_row row;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	*yes = false;
	if (rc)
		return rc;
	rc = pack_row_get(tx, id, &row, e);
	store_end_read(tx);
	*yes = !rc && strcmp(row.site, site) == 0;
	return rc == ERR_ABSENT ? 0 : rc;
}

/*
 * Frames of a request that this one ends, and whose connection nobody has heard of since: they
 * are here, and are not sent again.
 */
static int
keep_what_came(struct central *c, struct open_upload *o, struct upload_place *out, struct err *e)
{
	struct receiver_event go = {.kind = RECEIVER_GO}, end = {.kind = RECEIVER_END};
	struct upload_result result = {.offset = 0};
	struct taking t = {.c = c, .o = o, .out = &result};
	int rc = uploads_pump(&t, &go, e);

	if (!rc)
		rc = uploads_pump(&t, &end, e);
	out->whole = !rc && result.receipt.len > 0; /* that was all of it */
	out->offset = o->r.durable; /* bad members: found again by the PATCH that goes on */
	if (rc || out->whole || result.n_bad)
		uploads_close(o);
	upload_result_fini(&result);
	return rc;
}

int
upload_head(struct central *c, const char *site, const unsigned char id[SHA256_SIZE],
	    struct upload_place *out, struct err *e)
{
	struct err why = ERR_INIT;
	struct open_upload *o;
	int rc = is_adopted(c, site, id, &out->whole, e);

	out->offset = 0;
	out->known = out->whole;
	if (rc || out->whole)
		return rc;
	o = uploads_enter(c->uploads, id, uploads_number(c->uploads));
	if (!o)
		return err_set(e, ERR_LOCAL, 0, "no memory for an upload");
	if (!o->file)
		rc = resume(c, o, site, &why);
	/* Another site's, or none: the same answer (only who made it may know of it). */
	out->known = !rc && strcmp(pack_site(o->pack), site) == 0;
	if (out->known)
		rc = keep_what_came(c, o, out, &why);
	if (rc == ERR_ABSENT || rc == ERR_CORRUPT || rc == ERR_CONFLICT)
		rc = 0;
	uploads_leave(c->uploads, o, !o->file);
	return rc ? err_set(e, why.code, why.sys, "%s", why.what) : 0;
}

int
upload_drop(struct central *c, const char *site, const unsigned char id[SHA256_SIZE], struct err *e)
{
	struct err why = ERR_INIT;
	struct open_upload *o;
	int rc = 0;

	o = uploads_enter(c->uploads, id, uploads_number(c->uploads));
	if (!o)
		return err_set(e, ERR_LOCAL, 0, "no memory for an upload");
	if (!o->file)
		rc = resume(c, o, site, &why);
	if (rc == ERR_CONFLICT || (!rc && strcmp(pack_site(o->pack), site) != 0))
		rc = err_set(e, ERR_CONFLICT, 0, "another site's pack");
	else /* none, or one that cannot be gone on with: out with it all the same */
		rc = store_commit(c->store, forget, o->id, e);
	uploads_close(o);
	if (!rc)
		rc = vault_drop(c->vault, id, e);
	uploads_leave(c->uploads, o, true);
	return rc;
}
