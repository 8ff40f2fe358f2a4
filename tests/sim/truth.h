/*
 * truth.h - what the simulator knows, and the promises that it holds the nodes to.
 *
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_TRUTH_H
#define SALAMANDER_TESTS_SIM_TRUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/uid.h"
#include "tests/sim/world.h"

struct buf;
struct sim_edge;
struct store;

/* MAYBE: the decision may have gone with a disk of central. */
enum sim_withdrawn { SIM_SHOWN, SIM_WITHDRAWN, SIM_MAYBE };

struct sim_image {
	unsigned char digest[SHA256_SIZE];
	unsigned study, number;
	unsigned instance; /* of its UID; several images may have one */
	bool described;	   /* what only its attributes tell apart */
	uint64_t pixels;   /* seed of them */
	unsigned side;
	unsigned edge;	/* where it was acknowledged first */
	uint32_t sites; /* where it was acknowledged, on the disk that is there now */
	bool acknowledged;
	bool gone;		      /* an injected fault destroyed the last copy */
	bool known;		      /* its entry was at a central that no fire has taken since */
	enum sim_withdrawn withdrawn; /* at rest */
	uint32_t hidden_at;	      /* edges that did not show it, since it was retracted */
	bool magnetic;		      /* of the modality that goes first */
	bool rotten;		      /* a bit of central's copy turned, once */
	bool there, listed;	      /* at rest: at central, intact; in its list */
	uint32_t counted;	      /* at rest: by which sites' lists */
	uint32_t promised;	      /* by which edges: it need not be kept */
	uint32_t said; /* which sites say that they have it, as far as central has heard */
};

/* store_check of it; ERR_ABSENT: no such here. */
int truth_check(struct store *s, const unsigned char *digest);
struct sim_image *truth_image(struct world *w, const unsigned char *digest);
void truth_uid(const struct sim_image *m, char out[UID_SIZE]);
void truth_study(const struct sim_image *m, char out[UID_SIZE]);
/* A modality sends an image to this edge: a new one, or (again) an old one. */
void truth_send(struct sim_edge *e, bool again);
/* A site is about to burn: what central knows now, it will know. */
void truth_before_fire(struct world *w);
/* The newest image comes to this edge, too. */
void truth_send_newest(struct sim_edge *e);
/* The modalities of a site send all that they ever sent: a person asked them to. */
void truth_send_all_again(struct sim_edge *e);
/* It stands on an older copy of its disk. */
void truth_set_back(struct sim_edge *e);
/* The last seq of its ledger, and of what central has of that incarnation. */
uint64_t truth_head(struct sim_edge *e);
uint64_t truth_announced(struct sim_edge *e);
/* Central's ledgers: what was once accepted as a seq of an incarnation stays that (R5). */
void truth_look_at_heads(struct world *w);
void truth_forget_heads(struct world *w);
/* Its disk is gone. */
void truth_lost_site(struct sim_edge *e);
/* After a disk was lost or changed: whose last copy was that? */
void truth_after_damage(struct world *w, const char *what);
/* A bit of central's packs turned: whose? */
void truth_rot_at_central(struct world *w);
/* New entries of an edge's ledger: seqs and hashes (R5), evictions (R9, R10). */
void truth_look_at_ledger(struct sim_edge *e);
/* Central answers an upload: a receipt only for these very bytes, durable. */
void truth_receipt(struct sim_edge *e, const struct buf *answer);
/* R8: of two copies that called, each has its own incarnation. */
void truth_incarnations(struct world *w);
/* At rest. */
void truth_final(struct world *w);

#endif
