/*
 * vault.h - packs on a file system: uploads that resume, packs that stay (DESIGN 4).
 *
 * Owns <dir>/packs/<year>/<month>/<day>/<pack id>.tar and <dir>/tmp. An upload is
 * <dir>/tmp/<pack id>.part beside <pack id>.manifest; nothing unfinished ends in
 * .tar. vault_adopt returns when the pack has its name and all folders to it
 * survive power loss: after that the catalogue, then the receipt. A pack is never
 * changed.
 *
 * What counts as durable of an upload is what vault_sync was asked for and said 0
 * to, never the file's length (R14): the catalogue keeps that offset.
 *
 * Errors: ERR_FULL, ERR_ABSENT, ERR_CONFLICT, ERR_LOCAL. Threads: a vault is
 * shared; an upload has one owner.
 */
#ifndef SALAMANDER_CENTRAL_VAULT_H
#define SALAMANDER_CENTRAL_VAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"

struct buf;
struct err;
struct upload; /* opaque */
struct vault;  /* opaque */

enum { VAULT_PLACE_SIZE = 96 }; /* "2026/11/24/<64 hex>.tar" */

/* Makes packs and tmp where they are missing. */
int vault_open(struct vault **out, const char *dir, struct err *e);
void vault_close(struct vault *v); /* NULL is fine */

/* Begins an upload, or takes up one that is there. It outlives a restart from vault_keep on:
 * one that comes whole in a request is adopted without it. */
int vault_begin(struct upload **out, struct vault *v, const unsigned char id[SHA256_SIZE],
		struct err *e);
/* Its manifest and its name are durable; its bytes are by vault_sync. */
int vault_keep(struct upload *u, const void *manifest, size_t n, struct err *e);
/* Takes up an upload after a restart; *manifest is filled. ERR_ABSENT: none was kept. */
int vault_resume(struct upload **out, struct vault *v, const unsigned char id[SHA256_SIZE],
		 struct buf *manifest, struct err *e);
void vault_end(struct upload *u); /* frees; the files stay. NULL is fine */
int vault_write(struct upload *u, uint64_t offset, const void *p, size_t n, struct err *e);
int vault_sync(struct upload *u, struct err *e);
int vault_read_back(struct upload *u, uint64_t offset, void *p, size_t n, size_t *got,
		    struct err *e);
/* Every unfinished upload's id; one may come twice. */
int vault_uploads(struct vault *v,
		  int (*fn)(void *arg, const unsigned char id[SHA256_SIZE], struct err *e),
		  void *arg, struct err *e);
/* Gives up: both files go. */
int vault_drop(struct vault *v, const unsigned char id[SHA256_SIZE], struct err *e);

/*
 * The upload is whole and checked: it becomes a pack of `size` bytes under the day
 * of wall_ms. One that a death left with its name already is fine: its place is
 * given. known: where the catalogue says that this pack lies (NULL: nowhere); what is
 * there is damaged or gone, and the checked bytes take its place.
 */
int vault_adopt(struct upload *u, uint64_t size, int64_t wall_ms, const char *known,
		char place[VAULT_PLACE_SIZE], struct err *e);

/* A pack that was found there survives power loss as it is, with all folders to it: who put it
 * there may have died before that, or may have been a person with a disk (R15). */
int vault_secure(struct vault *v, const char *place, struct err *e);
/* Bytes of a pack; *got < n only at its end. */
int vault_read(struct vault *v, const char *place, uint64_t offset, void *p, size_t n, size_t *got,
	       struct err *e);
/* Every pack: its place and id; unfinished uploads are none (R23: both ways at the start). */
int vault_list(struct vault *v,
	       int (*fn)(void *arg, const char *place, const unsigned char id[SHA256_SIZE],
			 struct err *e),
	       void *arg, struct err *e);

#endif
