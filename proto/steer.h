/*
 * steer.h - how many pieces at once, and how large each, from what came across.
 *
 * Pure. Time is cut into turns, each long enough for every connection to bring some pieces. The
 * link's rate is what all of them brought in a turn while any was under way, less central's own
 * time. A turn in which there was too little to send says only what the link can at least.
 * Where congestion control does not shy from loss (BBR), a few connections fill a link. Else
 * their number is tried upwards, later downwards too, and what brings nothing is taken back.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_PROTO_STEER_H
#define SALAMANDER_PROTO_STEER_H

#include <stdbool.h>
#include <stdint.h>

enum {
	STEER_FEW = 4, /* connections at the start, and where they need no steering */
	STEER_FAR = 8, /* the same where the way is long: each waits for its answers */
	STEER_FAR_MS = 40,
	STEER_SHY = 16, /* at the start, where they shy from loss and the way is not short */
	STEER_SHY_MS = 20,
	STEER_MOST = 32,
	STEER_PIECE_MS = 250,	 /* of the link: at most so long do others wait for a piece */
	STEER_ALONE_MS = 1000,	 /* where nobody waits for it */
	STEER_FLIGHT_MS = 2000,	 /* of the link: all pieces together */
	STEER_PIECE_MIN = 65536, /* bytes on the wire */
	STEER_PIECE_MAX = 8 << 20,
	STEER_FIRST = 2 << 20, /* all pieces together, while nothing is known */
	STEER_PACK_MIN = 512 << 10,
	STEER_PACK_MAX = 8 << 20,
	STEER_PACK_MS = 4000,	 /* of a connection: at least, if no more is waiting */
	STEER_ALL_MAX = 32 << 20 /* all pieces together: memory */
};

struct steer {
	unsigned connections; /* so many pieces may be on the link */
	uint64_t link;	      /* bytes per second on the wire, all together; 0: not known */
	/* the turn at hand */
	unsigned under_way, begun;
	unsigned abreast; /* the most that were under way */
	int64_t seen_ms;  /* the last look at the clock */
	int64_t busy_ms;  /* some piece was under way   */
	uint64_t bytes, took_ms, theirs_ms;
	unsigned pieces, full;
	unsigned rtt_ms;
	bool steady;
	/* the experiment */
	uint64_t base; /* what `base_connections` brought */
	unsigned base_connections;
	unsigned rest, next_rest; /* turns until the next one */
	bool trying, downwards;
	bool settling; /* what more of them began is still under way */
};

struct steer_piece {
	uint64_t sent;	    /* on the wire; 0: it failed                      */
	uint64_t ms;	    /* from its first byte to its answer              */
	uint64_t theirs_ms; /* of these, for what central's disks did         */
	bool full;	    /* there was enough to fill it                    */
	bool steady;	    /* its connection does not shy from loss          */
	unsigned rtt_ms;    /* 0: not known                                   */
};

void steer_init(struct steer *s);
/* What another request (hello) saw of the line: with how many connections to begin. */
void steer_line(struct steer *s, unsigned rtt_ms, bool steady);
/* A piece sets out: how large, on the wire. packs: so many have something to send, this one and
 * those that are on their way among them. */
uint64_t steer_begin(struct steer *s, int64_t now_ms, unsigned packs);
void steer_end(struct steer *s, int64_t now_ms, const struct steer_piece *p);
/* Bytes on the wire of a piece while so many packs have something to send. */
uint64_t steer_size(const struct steer *s, unsigned packs);
/* Bytes at which a pack closes while so many wait for one: the last of them shall keep all
 * connections at work. */
uint64_t steer_pack(const struct steer *s, uint64_t waiting);

#endif
