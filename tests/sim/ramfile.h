/*
 * ramfile.h - what the files of a disk in memory are made of; for ramdisk.c and ramfile.c.
 *
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_RAMFILE_H
#define SALAMANDER_TESTS_SIM_RAMFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ram_env;

struct ram_write { /* not durable yet */
	bool cut;  /* the file was cut to offset */
	uint64_t offset, old_size;
	size_t n;
	unsigned char *old, *new;
};

struct inode {
	unsigned refs, links;
	bool dir;
	unsigned char *data;
	size_t n, cap;
	struct ram_write *writes;
	size_t n_writes;
	struct ram_env *env; /* of a data.mdb */
};

enum ram_op_kind { RAM_ADD, RAM_DELETE, RAM_MOVE };
struct ram_op { /* a name that is not durable yet */
	enum ram_op_kind kind;
	char *path, *to;
	struct inode *i, *replaced;
};

struct ram_name {
	char *path;
	struct inode *i;
};

struct ramdisk {
	char *root;
	uint64_t capacity, used, others, steps, die_at;
	const char *die_behind; /* the end of a name; NULL: none */
	bool dead;
	unsigned failing;
	int sys;
	struct ram_name *names; /* sorted */
	size_t n_names;
	struct ram_op *ops;
	size_t n_ops;
	/* what is not mounted */
	char *hidden_below;
	struct ram_name *hidden;
	size_t n_hidden;
};

struct ramdisk *ramdisk_of(const char *path);
void *ram_room(void *before, size_t n);
char *ram_text(const char *text);

struct inode *inode_new(bool dir);
void inode_drop(struct inode *i); /* NULL is fine */
void inode_set_size(struct ramdisk *d, struct inode *i, uint64_t n);
void inode_forget_writes(struct inode *i);

struct inode *names_get(const struct ramdisk *d, const char *path);
void names_set(struct ramdisk *d, const char *path, struct inode *i);
void names_unset(struct ramdisk *d, const char *path);
/* Where the names below a folder begin. */
size_t names_below(const struct ramdisk *d, const char *dir);
void names_note(struct ramdisk *d, enum ram_op_kind kind, const char *path, const char *to,
		struct inode *i, struct inode *replaced);
void names_durable(struct ramdisk *d, const char *dir);
/* All of them are. */
void names_forget(struct ramdisk *d);
struct ram_env *ramdisk_env_new(struct ramdisk *d, const char *dir);

#endif
