/*
 * world.h - a central and up to 16 edges in one process, under a clock of their own.
 *
 * The nodes are the daemons' own code, turned by hand; their disks, clocks and links are
 * simulated. Everything follows from the seed.
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_WORLD_H
#define SALAMANDER_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "central/central.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/rng.h"
#include "edge/edge.h"
#include "tests/sim/ramdisk.h"
#include "tests/sim/seen.h"

struct link;
struct orders;
struct replicate;
struct sim_image;
struct sim_said;
struct world;

enum {
	SITES_MAX = 16,
	TWINS_MAX = 4,
	EDGES_MAX = SITES_MAX + TWINS_MAX,
	SIM_PATH = 128,
	SIM_RATE = 10000000,
	SIM_SECOND = 1000,
	SIM_MINUTE = 60 * SIM_SECOND,
	SIM_HOUR = 60 * SIM_MINUTE
};

struct sim_clock {
	struct clock c; /* first */
	struct world *w;
	int64_t boot, skew; /* of the monotonic clock; of the wall clock */
};

struct sim_line {		  /* an edge's way to central */
	bool cut, cut_back;	  /* requests, answers */
	unsigned loss, twice;	  /* of 1000 messages */
	unsigned late, half;	  /* likewise: overtaken by others; broken at the edge's end */
	bool drip;		  /* whatever travels takes many seconds */
	int64_t latency_ms, rate; /* bytes per second */
};

struct sim_head {
	struct id128 incarnation;
	uint64_t seq;
	unsigned char hash[SHA256_SIZE];
};

struct sim_edge {
	struct world *w;
	unsigned number;
	char name[16], conf[SIM_PATH], dir[SIM_PATH]; /* name: of its site */
	struct ramdisk *disk;
	struct ramdisk_image *copy; /* of its disk, of some day */
	struct sim_clock clock;
	struct sim_line line;
	bool up, power;	  /* power: its death was a power cut */
	bool by_init;	  /* it has an identity, and speaks TLS */
	bool to_init;	  /* its disk is empty, and somebody knows */
	bool old;	  /* it is of the version before */
	bool twin;	  /* or has one: another node says that it is this one */
	int64_t mount_at; /* 0: its disk is mounted */
	int64_t restart_at, keep_at;
	int64_t due; /* while time passes: as found last; 0: look again */
	struct edge edge;
	struct replicate *r;
	struct link *link; /* of r */
	struct orders *orders;
	struct link *orders_link;
	/* What the truth has seen of its ledger. */
	uint64_t seen, looked_at; /* at these steps of its disk; UINT64_MAX: look again */
	unsigned char seen_hash[SHA256_SIZE];
	struct id128 seen_of;
	unsigned did;	/* orders of central that it carried out */
	bool dark_keep; /* in the dark it frees nothing: so central said (R10) */
	uint64_t hold;	/* was it told to free nothing, when it was looked at last? */
};

struct world {
	uint64_t seed;
	struct rng_seeded rng;
	int64_t now;
	struct rng_seeded ids; /* of the nodes: what rng_real gives */
	char conf[SIM_PATH];
	struct ramdisk *disk;
	struct ramdisk_image *copy; /* of central's disk, of some day */
	struct sim_clock clock;
	struct central central;
	bool up, power;
	bool by_init, old;
	bool kit;		  /* what burns is made again by its recovery kit */
	struct identity identity; /* of by_init */
	enum central_mode mode;	  /* how somebody starts it the next time */
	int64_t mount_at, restart_at;
	struct id128 epoch; /* as seen last */
	int64_t burnt_at;   /* the last fire at central; 0: none */
	struct sim_edge edges[EDGES_MAX];
	unsigned n_edges, sites; /* twins stand behind the sites */
	char folder[SIM_PATH - 32];
	struct sim_image *images;
	unsigned n_images;
	struct sim_said *said; /* what people decided */
	unsigned n_said;
	int64_t full_until;	/* central's disk is used by others, too; 0: it is not */
	struct sim_head *heads; /* of central's ledgers, as seen last */
	unsigned n_heads;
	bool calm;	   /* no more faults */
	bool certified;	   /* edges show certificates (removed.h) */
	bool forgot;	   /* and central knows no more who was removed: */
	uint32_t removed;  /* by number */
	const char *wrong; /* NULL, or what promise was broken first */
	char text[400];
	unsigned messages, deaths, fires, refused, evicted, dark;
	unsigned seen[SEEN_KINDS];
	bool loud; /* says what it does */
};

void world_open(struct world *w, uint64_t seed, unsigned edges, const char *folder);
void world_close(struct world *w);
/* Time goes on, and whoever has something to do does it. */
void world_run(struct world *w, int64_t ms);
/* Until nothing is owed or announced by anyone; false: not within that time. */
bool world_settle(struct world *w, int64_t ms);
uint64_t world_below(struct world *w, uint64_t n);
bool world_chance(struct world *w, unsigned of_1000);

/* A node's code runs next: its clock is the one that there is. */
void world_enter(struct world *w, struct sim_clock *c);
void world_open_edge(struct sim_edge *e);
void world_close_edge(struct sim_edge *e);
void world_open_central(struct world *w);
void world_close_central(struct world *w);
/* After each call into a node: one that died is closed, and will be started again. */
void world_look_after_central(struct world *w);
void world_look_after_edge(struct sim_edge *e);
/* Another node begins with a copy of this one's disk, and its name. NULL: there are enough. */
struct sim_edge *world_clone(struct sim_edge *e);
/* It has packs under way. */
bool world_uploading(struct sim_edge *e);
/* Every disk is mounted and every node up; false: one did not start. */
bool world_all_up(struct world *w);
/* What promise was broken; the first counts. */
void world_wrong(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_say(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- births.c --- */
/* On an empty disk, on which nothing fails. */
void births_central(struct world *w);
void births_edge(struct sim_edge *e);

/* --- simlink.c --- */
int simlink_open(struct link **out, struct sim_edge *e, struct err *err);
/* World time at which something comes of this edge's calls; INT64_MAX: never. */
int64_t simlink_due(const struct link *l);

#endif
