/*
 * packing.h - packs under way from this edge: chosen, made, receipted, dissolved.
 *
 * A pack's manifest is committed before its first byte is sent; it pins the
 * members until the pack is receipted or dissolved (R14).
 * Threads: replicate's.
 */
#ifndef SALAMANDER_EDGE_PACKING_H
#define SALAMANDER_EDGE_PACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "proto/lanes.h"

struct edge;
struct err;
struct pack;
struct store_reader;
struct store_tx;

struct packing {	   /* one slot */
	struct pack *pack; /* NULL: empty */
	unsigned char id[SHA256_SIZE];
	struct buf manifest;
	struct store_reader *reader; /* of the member read last */
	size_t reading;
	bool compressed;	/* that member is, by its transfer syntax */
	uint64_t bad_seq;	/* packing_read found it damaged */
	size_t read_compressed; /* of the bytes read last: those of compressed members */
	struct buf piece; /* memory for the next one, whatever the pack; the rest is per pack */
};

struct packing_wish {
	enum lane lane;
	uint64_t above, announced; /* of what waits above, and is announced up to (R7) */
	uint64_t bytes;		   /* it closes there */
	bool oldest;		   /* from the oldest end */
	bool small;		   /* nothing that is larger than a pack */
};
/* None: pack stays NULL. */
int packing_make(struct packing *p, struct edge *e, const struct packing_wish *wish,
		 struct err *err);
/* The highest seq in it; 0: empty. */
uint64_t packing_last(const struct packing *p);
/* The lane that its first member is owed in; none is any more: back-fill. */
enum lane packing_lane(const struct packing *p, struct store_tx *tx);
/* Takes up a manifest of before a restart. ERR_PEER: it cannot be read. */
int packing_open(struct packing *p, const void *manifest, size_t n, struct err *err);
/* n bytes of the pack from offset on, appended; ERR_CORRUPT: bad_seq says whose. */
int packing_read(struct packing *p, struct edge *e, uint64_t offset, size_t n, struct buf *out,
		 struct err *err);
/* Central's receipt: what it names is owed no more (R5). ERR_PEER: it does not count. */
int packing_receipt(struct packing *p, struct edge *e, const void *receipt, size_t n,
		    struct err *err);
/*
 * Given up: the members of `bad` are read again; one whose own digest fails is entered
 * as damaged, the others wait longer each time; the rest is packed anew. blamed: not for their
 * own sake, central failed with everything.
 */
int packing_dissolve(struct packing *p, struct edge *e, const uint64_t *bad, size_t n, bool blamed,
		     struct err *err);
/* All packs but those of the slots are no more: their members are packed anew. */
int packing_drop_others(const struct packing *slots, size_t n, struct edge *e, struct err *err);
/* In a transaction: all of them, whose slots the caller empties. */
int packing_drop_all(struct store_tx *tx, struct err *err);
void packing_fini(struct packing *p); /* leaves it empty, but for the memory */
void packing_free_memory(struct packing *p);

#endif
