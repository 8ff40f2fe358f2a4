/*
 * version.h - one version of one SOP instance, as the store remembers it.
 *
 * A version is bytes with one digest (DESIGN 2, R3); its record is found by a
 * local number (oid) that is never used again. The record outlives the bytes:
 * what was evicted, or is known from another node only, stays listed (R20).
 * Threads: plain data.
 */
#ifndef SALAMANDER_COMMON_STORE_VERSION_H
#define SALAMANDER_COMMON_STORE_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"
#include "common/base/uid.h"

struct buf;
struct err;
struct object_info;

enum { SITE_SIZE = 65, AET_SIZE = 17, PEER_SIZE = 64 };

/* On disk: never renumber. */
enum version_state {
	VERSION_HERE = 1,      /* the bytes are here                             */
	VERSION_ELSEWHERE = 2, /* known; bytes evicted, or never were here (R20) */
	VERSION_DAMAGED = 3    /* the bytes here failed their check              */
};

/* R3, to what was there when it came. On disk: never renumber. */
enum version_relation {
	VERSION_FIRST = 1,
	VERSION_VARIANT = 2,	/* same content, other encoding                   */
	VERSION_REVISION = 3,	/* same pixels, other attributes                  */
	VERSION_TRANSCODED = 4, /* same attributes, pixels encoded otherwise      */
	VERSION_CONFLICT = 5	/* other pixels under the same UID                */
};

/* Ascending: what is more ours ranks higher (R11). On disk: never renumber. */
enum version_origin {
	VERSION_PREFETCHED = 1,
	VERSION_FETCHED = 2,
	VERSION_REFILLED = 3,
	VERSION_TAKEN_IN = 4 /* from a modality or another DICOM or DICOMweb peer */
};

/* On disk: never renumber. */
enum version_location {
	VERSION_NOWHERE = 0,
	VERSION_CHUNKS = 1, /* in this environment, under `bytes`           */
	VERSION_PACK = 2    /* in the pack `pack`, from byte `offset` on    */
};

enum version_hidden {
	VERSION_WITHDRAWN = 1, /* a retract decision                    */
	VERSION_REJECTED = 2,  /* a rejection note: hidden from all     */
	VERSION_KEPT_ONLY = 4, /* refused with Cxxx, bytes kept (R32)   */
	VERSION_POOR = 8       /* a rejection note, for quality: hidden but to `see_rejected` */
};

struct version_source { /* R3: site, calling AE, peer address */
	char site[SITE_SIZE], calling_aet[AET_SIZE], peer[PEER_SIZE];
};

struct version {
	uint64_t oid;
	char sop_class[UID_SIZE], sop_instance[UID_SIZE]; /* "" = none usable */
	char study[UID_SIZE], series[UID_SIZE], syntax[UID_SIZE];
	unsigned char digest[SHA256_SIZE];
	unsigned char content[XXH128_SIZE], pixels[XXH128_SIZE], attributes[XXH128_SIZE];
	uint64_t size;	/* of the canonical file */
	uint32_t flags; /* enum object_flag      */
	bool has_pixels, encapsulated;
	uint64_t header_length, pixel_offset, pixel_length;

	enum version_state state;
	enum version_relation relation;
	bool current;	 /* what a viewer gets of this UID */
	uint32_t hidden; /* enum version_hidden            */
	enum version_origin origin;
	struct version_source source;

	uint64_t arrival;	  /* counts up with every version                            */
	int64_t first_ms;	  /* store_time of its first arrival at any node: "newest" (R28) */
	int64_t arrived_wall_ms;  /* for display only (R28)                                  */
	uint64_t seq;		  /* of the node's own ledger entry that announced it, or 0  */
	struct id128 receipt;	  /* epoch of the last receipt; all zero: none (R9: history) */
	int64_t verified_wall_ms; /* central: when its copy was last read and found right    */

	enum version_location location;
	uint64_t bytes; /* chunks: their object id (R13), and payload of each but the last */
	uint32_t chunk_payload;
	unsigned char pack[SHA256_SIZE]; /* pack: id, and where the member's bytes begin */
	uint64_t offset;
};

/* Fills what the object itself tells; the rest is zero. */
void version_of_object(struct version *v, const struct object_info *info);
bool version_same_source(const struct version *a, const struct version *b);
/* Its bytes failed their check and are kept all the same (store_set_aside). */
bool version_aside(const struct version *v);
/* It has rows in the index; who may see what was rejected for quality sees it. */
bool version_indexed(const struct version *v);
/* Is it shown to whoever may (may not) see what was rejected for quality? */
bool version_seen(const struct version *v, bool see_rejected);
bool version_receipted(const struct version *v, const struct id128 *epoch);

/* The record (see README), without the oid, which is its key. */
void version_encode(struct buf *out, const struct version *v);
/* ERR_CORRUPT when the record is not whole. */
int version_decode(struct version *v, uint64_t oid, const void *p, size_t n, struct err *e);

#endif
