/*
 * ramdisk.h - the disks of simulated nodes: files and LMDB environments in memory, with cut points.
 *
 * Stands in the place of common/os/file, common/os/daemon and common/kv: a program that is linked
 * with this folder does not touch a real disk. A path belongs to the disk whose root it begins
 * with.
 *
 * The model of files is that of tests/lib/disk.h: what a flush covers is durable; every other
 * write and name is kept or dropped, each by itself. A commit of an environment happened whole or
 * not at all, and is durable when it has returned.
 *
 * From its death on a disk takes no change: the node that goes on for a few calls more, as a
 * ghost, can neither store nor answer anything.
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_RAMDISK_H
#define SALAMANDER_TESTS_SIM_RAMDISK_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/tree.h"

struct ramdisk; /* opaque */
struct ramdisk_image;
struct rng;

struct ramdisk *ramdisk_new(const char *root, uint64_t capacity);
void ramdisk_free(struct ramdisk *d);

/* Steps that change something, so far: files, names, flushes; a commit is two. */
uint64_t ramdisk_steps(const struct ramdisk *d);
/* The step with this number is not taken any more, nor any behind it. 0: none. */
void ramdisk_die_at(struct ramdisk *d, uint64_t step);
/* The last step that is taken gives a file a name that ends so. NULL: none does. */
void ramdisk_die_behind(struct ramdisk *d, const char *suffix);
bool ramdisk_dead(const struct ramdisk *d);
/* After a death: the node is closed, and its disk is there again. power: what was not durable is
 * kept or dropped, by r; else all of it is there. */
void ramdisk_revive(struct ramdisk *d, bool power, struct rng *r);
/* The next `n` steps fail with this errno. */
void ramdisk_fail(struct ramdisk *d, unsigned n, int sys);
/* Others have so much of it, too. */
void ramdisk_use(struct ramdisk *d, unsigned percent);

/* Everything is gone. Nothing may be open. */
void ramdisk_wipe(struct ramdisk *d);
/* All that is below this folder. */
void ramdisk_wipe_below(struct ramdisk *d, const char *dir);
/* What is below this folder is on another disk, which is not mounted; until it is again. */
void ramdisk_hide(struct ramdisk *d, const char *dir);
void ramdisk_show(struct ramdisk *d);
/* A copy of all that is there, and the way back to it, also on a disk with another root. */
struct ramdisk_image *ramdisk_copy(const struct ramdisk *d);
void ramdisk_restore(struct ramdisk *d, const struct ramdisk_image *i);
/* Files of the copy whose names end so and are free: they lie there again. How many. */
unsigned ramdisk_import(struct ramdisk *d, const struct ramdisk_image *i, const char *suffix);
void ramdisk_image_free(struct ramdisk_image *i); /* NULL is fine */
/* One bit of a file whose name ends so, or of a value of this table of an environment, the last
 * one or any. false: there is none. */
bool ramdisk_rot(struct ramdisk *d, const char *suffix, struct rng *r);
bool ramdisk_rot_value(struct ramdisk *d, const char *table, bool last, struct rng *r);

/* A power cut now would leave this file as it is. */
bool ramdisk_durable(const struct ramdisk *d, const char *path);

unsigned ramdisk_open_files(const struct ramdisk *d);

/* How much larger the bytes of objects count than they are: small ones fill a quota. What is kept
 * of them beside counts as it is, or a ledger would fill the reserve (R12). */
void ramdisk_scale(unsigned times);

/* --- for kv --- */
enum { RAM_TABLES = 64 };
struct kv_txn;

struct ram_env {
	char *dir;
	unsigned n_tables;
	char *names[RAM_TABLES];
	struct tree tables[RAM_TABLES];
	bool objects[RAM_TABLES]; /* the bytes of objects lie in it */
	bool writing;		  /* a write transaction is under way */
	struct kv_txn *borrowers; /* that read these tables as they are */
	uint64_t largest;	  /* it has ever been                 */
	struct ramdisk *disk;
};
/* The environment of this folder, made where it is missing. */
struct ram_env *ramdisk_env(const char *dir);
/* The position of a table, made where it is missing. */
unsigned ramdisk_table(struct ram_env *v, const char *name);
/* 0, or the errno with which this step fails. */
int ramdisk_step(struct ramdisk *d);
uint64_t ramdisk_times(void);

#endif
