#include "central/upload.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "central/adopt.h"
#include "central/catalogue.h"
#include "central/central.h"
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

enum { KEPT_OPEN = 64, HASH_STEP = 1 << 20 };

struct open_upload {
	struct open_upload *next;
	unsigned char id[SHA256_SIZE];
	pthread_mutex_t mu; /* one writer; taken before uploads.mu */
	/* guarded by uploads.mu */
	unsigned users;
	bool dead; /* adopted or dropped: look again */
	/* guarded by mu */
	struct upload *file;
	struct pack *pack;
	struct pack_check *check;
	uint64_t durable;
};

struct uploads {
	pthread_mutex_t mu;
	/* guarded by mu */
	struct open_upload *all; /* the one used last first */
};

int
uploads_new(struct uploads **out, struct err *e)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return err_set(e, ERR_LOCAL, 0, "no memory for uploads");
	(void)pthread_mutex_init(&(*out)->mu, NULL);
	return 0;
}

static void
close_state(struct open_upload *o)
{
	pack_check_free(o->check);
	pack_close(o->pack);
	vault_end(o->file);
	o->check = NULL;
	o->pack = NULL;
	o->file = NULL;
}

static void
open_free(struct open_upload *o)
{
	close_state(o);
	(void)pthread_mutex_destroy(&o->mu);
	free(o);
}

void
uploads_free(struct uploads *u)
{
	struct open_upload *o;

	if (!u)
		return;
	while ((o = u->all)) {
		u->all = o->next;
		open_free(o);
	}
	(void)pthread_mutex_destroy(&u->mu);
	free(u);
}

/* Those that nobody uses, behind the first KEPT_OPEN, are closed; their files stay. */
static void
trim(struct uploads *u)
{
	struct open_upload **at = &u->all, *o;
	unsigned n = 0;

	while ((o = *at)) {
		if (o->users == 0 && (n >= KEPT_OPEN || o->dead)) {
			*at = o->next;
			open_free(o);
			continue;
		}
		n++;
		at = &o->next;
	}
}

static struct open_upload *
find_or_make(struct uploads *u, const unsigned char id[SHA256_SIZE])
{
	struct open_upload *o;

	(void)pthread_mutex_lock(&u->mu);
	for (o = u->all; o; o = o->next)
		if (!o->dead && memcmp(o->id, id, SHA256_SIZE) == 0)
			break;
	if (!o) {
		o = calloc(1, sizeof(*o));
		if (o) {
			memcpy(o->id, id, SHA256_SIZE);
			(void)pthread_mutex_init(&o->mu, NULL);
			o->next = u->all;
			u->all = o;
		}
	}
	if (o)
		o->users++;
	(void)pthread_mutex_unlock(&u->mu);
	return o;
}

static void
leave(struct uploads *u, struct open_upload *o, bool dead)
{
	(void)pthread_mutex_lock(&u->mu);
	o->users--;
	o->dead = o->dead || dead;
	(void)pthread_mutex_unlock(&o->mu);
	trim(u);
	(void)pthread_mutex_unlock(&u->mu);
}

/* Its lock held: a later request waits for the earlier one (one writer). NULL: no memory. */
static struct open_upload *
enter(struct uploads *u, const unsigned char id[SHA256_SIZE])
{
	struct open_upload *o;
	bool dead;

	for (;;) {
		o = find_or_make(u, id);
		if (!o)
			return NULL;
		(void)pthread_mutex_lock(&o->mu);
		(void)pthread_mutex_lock(&u->mu);
		dead = o->dead;
		(void)pthread_mutex_unlock(&u->mu);
		if (!dead)
			return o;
		leave(u, o, true); /* the one before ended it: look again */
	}
}

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

static int
save_offset(struct store_tx *tx, void *arg, struct err *e)
{
	const struct open_upload *o = arg;

	return upload_put(tx, o->id, o->durable, e);
}

/* After a restart: what was durable is hashed from the file (R14). */
static int
hash_prefix(struct open_upload *o, struct err *e)
{
	unsigned char *part = malloc(HASH_STEP);
	uint64_t at = 0;
	size_t want, got = 1;
	int rc = part ? 0 : err_set(e, ERR_LOCAL, 0, "no memory for an upload");

	while (!rc && at < o->durable && got) {
		want = o->durable - at < HASH_STEP ? (size_t)(o->durable - at) : HASH_STEP;
		rc = vault_read_back(o->file, at, part, want, &got, e);
		if (!rc)
			rc = pack_check_add(o->check, part, got, e);
		at += got;
	}
	if (!rc && at < o->durable)
		rc = err_set(e, ERR_CORRUPT, 0, "an upload is shorter than it was");
	free(part);
	return rc;
}

static int
resume(struct central *c, struct open_upload *o, const char *site, struct err *e)
{
	struct buf manifest = BUF_INIT;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = upload_get(tx, o->id, &o->durable, e);
	store_end_read(tx);
	if (!rc)
		rc = vault_resume(&o->file, c->vault, o->id, &manifest, e);
	if (!rc)
		rc = take_manifest(c, o, site, manifest.data, manifest.len, e);
	if (!rc)
		rc = hash_prefix(o, e);
	buf_fini(&manifest);
	return rc;
}

static int
begin(struct central *c, struct open_upload *o, const char *site, const void *manifest, size_t n,
      struct err *e)
{
	int rc;

	close_state(o);
	o->durable = 0;
	rc = take_manifest(c, o, site, manifest, n, e);
	if (!rc) /* what a death left without an offset is not ours to trust */
		rc = vault_drop(c->vault, o->id, e);
	if (!rc)
		rc = vault_begin(&o->file, c->vault, o->id, manifest, n, e);
	if (!rc)
		rc = store_commit(c->store, save_offset, o, e);
	return rc;
}

/* --- bytes --- */

static int
take_frame(struct open_upload *o, const unsigned char *p, size_t n, struct buf *plain,
	   struct upload_result *out, size_t *used, struct err *e)
{
	struct frame f;
	uint64_t skip;
	int rc = n < FRAME_HEAD ? err_set(e, ERR_PEER, 0, "a frame that is cut off")
				: frame_head(&f, p, e);

	if (rc)
		return rc;
	if (f.payload > n - FRAME_HEAD)
		return err_set(e, ERR_PEER, 0, "a frame that is cut off");
	*used = FRAME_HEAD + f.payload;
	switch (receiver_piece(pack_check_offset(o->check), pack_size(o->pack), f.offset, f.plain,
			       &skip)) {
	case RECEIVER_MISPLACED:
		out->misplaced = true;
		return 0;
	case RECEIVER_HAVE:
		return 0;
	case RECEIVER_TAKE:
		break;
	}
	buf_clear(plain);
	rc = frame_read(&f, p + FRAME_HEAD, plain, e);
	if (!rc)
		rc = vault_write(o->file, f.offset + skip, plain->data + skip, plain->len - skip,
				 e);
	return rc ? rc : pack_check_add(o->check, plain->data + skip, plain->len - skip, e);
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

/* All bytes are here and durable: adopted or refused as a whole. */
static int
complete(struct central *c, struct open_upload *o, struct upload_result *out, struct err *e)
{
	char place[VAULT_PLACE_SIZE], known[VAULT_PLACE_SIZE];
	const size_t *bad;
	size_t n;
	int rc;

	if (!pack_check_end(o->check, &bad, &n))
		return err_set(e, ERR_LOCAL, 0, "an upload lost count");
	if (n) {
		log_line(LOG_WARN, "pack.refused", "site=%s bad=%zu", pack_site(o->pack), n);
		return bad_members(o, bad, n, false, out, e);
	}
	rc = known_place(c, o->id, known, e);
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

/* R12: bytes stop while log, ledger and catalogue still have room. */
static int
check_room(const struct central *c, struct err *e)
{
	struct store_space space;
	uint64_t avail, total;
	int64_t full = conf_number(c->conf, "data", NULL, "full");
	int rc = file_space(c->dir, &avail, &total, e);

	if (!rc && total && avail < total / 100 * (uint64_t)(100 - full))
		rc = err_set(e, ERR_FULL, 0, "central's disk is full");
	store_space(c->store, &space);
	if (!rc && space.used > space.map / 100 * (uint64_t)full)
		rc = err_set(e, ERR_FULL, 0, "the catalogue is full: raise [data] catalogue");
	return rc;
}

static int
take_bytes(struct central *c, struct open_upload *o, const unsigned char *p, size_t n,
	   struct upload_result *out, struct err *e)
{
	struct buf plain = BUF_INIT;
	uint64_t before = pack_check_offset(o->check);
	size_t at = 0, used = 0;
	int rc = 0;

	while (!rc && at < n && !out->misplaced) {
		rc = check_room(c, e);
		if (!rc)
			rc = take_frame(o, p + at, n - at, &plain, out, &used, e);
		at += used;
	}
	buf_fini(&plain);
	if (rc == ERR_CORRUPT) /* the sender's bytes are not those of its manifest */
		return bad_members(o, NULL, 0, true, out, e);
	if (rc)
		return rc;
	if (pack_check_offset(o->check) == pack_size(o->pack))
		return complete(c, o, out, e);
	if (pack_check_offset(o->check) > before) {
		rc = vault_sync(o->file, e);
		o->durable = pack_check_offset(o->check);
		if (!rc) /* R14: the offset after the flush, never the file's length */
			rc = store_commit(c->store, save_offset, o, e);
	}
	out->offset = o->durable;
	return rc;
}

/* Adopted before (an answer was lost), or all of it held: a receipt without a byte (R4). */
static int
already(struct central *c, const char *site, const unsigned char id[SHA256_SIZE],
	const void *manifest, size_t n, struct upload_result *out, bool *done, struct err *e)
{
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
		rc = adopt_receipt(c, p, &out->receipt, e);
	out->offset = *done ? pack_size(p) : 0;
	pack_close(p);
	return rc;
}

static int
patch(struct central *c, struct open_upload *o, const char *site, const unsigned char *manifest,
      size_t manifest_n, const unsigned char *frames, size_t n, struct upload_result *out,
      struct err *e)
{
	bool done = false;
	int rc = 0;

	if (manifest_n && !o->file) {
		rc = already(c, site, o->id, manifest, manifest_n, out, &done, e);
		if (rc || done)
			return rc;
	}
	if (!o->file) {
		rc = resume(c, o, site, e);
		if (rc) { /* none, or one that cannot be gone on with */
			struct err why = ERR_INIT;

			close_state(o);
			if (!manifest_n) {
				out->unknown = out->misplaced = true;
				return 0;
			}
			rc = begin(c, o, site, manifest, manifest_n, &why);
			if (rc)
				rc = err_set(e, why.code, why.sys, "%s", why.what);
		}
	} else if (strcmp(pack_site(o->pack), site) != 0) {
		rc = err_set(e, ERR_CONFLICT, 0, "another site's pack");
	}
	return rc ? rc : take_bytes(c, o, frames, n, out, e);
}

void
upload_result_fini(struct upload_result *r)
{
	buf_fini(&r->receipt);
	free(r->bad);
	r->bad = NULL;
}

int
upload_patch(struct central *c, const char *site, const unsigned char id[SHA256_SIZE],
	     const void *body, size_t n, struct upload_result *out, struct err *e)
{
	const unsigned char *p = body;
	struct open_upload *o;
	size_t manifest_n;
	int rc;

	memset(out, 0, sizeof(*out));
	if (n < 4 || buf_get_u32(p) > n - 4 || buf_get_u32(p) > PACK_MANIFEST_MAX)
		return err_set(e, ERR_PEER, 0, "an upload without a manifest's length");
	manifest_n = buf_get_u32(p);
	o = enter(c->uploads, id);
	if (!o)
		return err_set(e, ERR_LOCAL, 0, "no memory for an upload");
	rc = patch(c, o, site, p + 4, manifest_n, p + 4 + manifest_n, n - 4 - manifest_n, out, e);
	if (rc || out->receipt.len || out->n_bad)
		close_state(o); /* TRAPS 4: a file whose flush failed is opened anew */
	leave(c->uploads, o, rc || out->receipt.len || out->n_bad || out->unknown);
	if (rc)
		upload_result_fini(out);
	return rc;
}

static int
forget(struct store_tx *tx, void *arg, struct err *e)
{
	return upload_del(tx, arg, e);
}

int
upload_drop(struct central *c, const char *site, const unsigned char id[SHA256_SIZE], struct err *e)
{
	struct open_upload *o = enter(c->uploads, id);
	int rc = 0;

	if (!o)
		return err_set(e, ERR_LOCAL, 0, "no memory for an upload");
	if (!o->file)
		rc = resume(c, o, site, NULL);
	if (o->pack && strcmp(pack_site(o->pack), site) != 0)
		rc = err_set(e, ERR_CONFLICT, 0, "another site's pack");
	else if (!rc)
		rc = store_commit(c->store, forget, o->id, e);
	else
		rc = 0; /* there is none */
	close_state(o);
	if (!rc)
		rc = vault_drop(c->vault, id, e);
	leave(c->uploads, o, true);
	return rc;
}
