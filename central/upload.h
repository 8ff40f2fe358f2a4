/*
 * upload.h - packs on their way in (R14): one writer each, resumed at the durable offset.
 *
 * proto/receiver decides, this carries out; frames are taken as they come (upload_stream.c).
 * A later HEAD, PATCH or DELETE for an upload ends the earlier request. Bytes are hashed as
 * they come, flushed, then the offset is committed; after a restart the prefix is hashed from
 * the file. A whole pack is adopted at once. Idle uploads are closed in memory, never on disk.
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_UPLOAD_H
#define SALAMANDER_CENTRAL_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"

struct central;
struct err;
struct uploads; /* opaque */

int uploads_new(struct uploads **out, struct err *e);
void uploads_free(struct uploads *u); /* NULL is fine */
/* Bytes that came although they were here already. */
uint64_t uploads_repeats(struct uploads *u);

struct upload_result {
	uint64_t offset;
	bool misplaced; /* the true offset is `offset`: 409     */
	bool unknown;	/* the manifest is wanted first: 409    */
	struct buf receipt;
	uint64_t *bad; /* seqs; the caller frees               */
	size_t n_bad;
};
void upload_result_fini(struct upload_result *r);

/*
 * A request as its bytes come: u32 LE length of a manifest (0: none), the manifest, then frames
 * (PROTOCOL.md). Each frame is written when it is whole, whatever becomes of the request; no lock
 * is held between two calls. lane: of its bytes, 0: not said (R12). What fails, or is decided
 * early, is said at the end.
 */
struct upload_stream; /* opaque */
int upload_begin(struct upload_stream **out, struct central *c, const char *site,
		 const unsigned char id[SHA256_SIZE], unsigned lane, struct err *e);
void upload_more(struct upload_stream *s, const void *data, size_t n);
/* ERR_CONFLICT: members that were not announced; ERR_FULL; ERR_PEER. */
int upload_end(struct upload_stream *s, struct upload_result *out, struct err *e);
/* Without an end: it broke off, and what came of it is made durable. NULL is fine. */
void upload_close(struct upload_stream *s);
/* All of it in one call, of no lane that is named. */
int upload_patch(struct central *c, const char *site, const unsigned char id[SHA256_SIZE],
		 const void *body, size_t n, struct upload_result *out, struct err *e);
/* What central has of a pack; the site that made it alone is told (R14). */
struct upload_place {
	bool known, whole; /* whole: adopted                 */
	uint64_t offset;   /* durable                        */
};
int upload_head(struct central *c, const char *site, const unsigned char id[SHA256_SIZE],
		struct upload_place *out, struct err *e);
/* The sender gives the pack up. */
int upload_drop(struct central *c, const char *site, const unsigned char id[SHA256_SIZE],
		struct err *e);

#endif
