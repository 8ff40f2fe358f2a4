/*
 * file.h - every file call of the product, with counted flushes and fault points.
 *
 * Promise: 0 (or a descriptor) means done; anything else means the caller must
 * undo what it had begun. A flush that failed is never tried again: the file is
 * to be discarded (TRAPS 4). Errors: ERR_FULL for no room, ERR_ABSENT for a
 * missing name, ERR_CONFLICT for a name that is taken, ERR_LOCAL else.
 * Every step that changes the disk passes a fault point "file.<step>".
 * Threads: any; a descriptor belongs to one thread at a time.
 */
#ifndef SALAMANDER_COMMON_OS_FILE_H
#define SALAMANDER_COMMON_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct buf;

/* A new file, open for reading and writing; the name must be free. */
int file_create(const char *path, struct err *e);
/* An existing file. */
int file_open(const char *path, bool writable, struct err *e);
/* Opened for appending, made if absent. */
int file_open_append(const char *path, struct err *e);
void file_close(int fd);
int file_write(int fd, const void *p, size_t n, struct err *e);
int file_write_at(int fd, const void *p, size_t n, uint64_t offset, struct err *e);
/* n zeros, as room for small writes to come: in pieces, so that those stay cheap. */
int file_zeros(int fd, uint64_t n, uint64_t offset, struct err *e);
/* *got < n only at the end of the file. */
int file_read_at(int fd, void *p, size_t n, uint64_t offset, size_t *got, struct err *e);
int file_size(int fd, uint64_t *out, struct err *e);
/* How many names it has. */
int file_links(int fd, unsigned *out, struct err *e);
int file_truncate(int fd, uint64_t size, struct err *e);
/* fdatasync, counted. */
int file_sync(int fd, struct err *e);
/* What is flushed of it leaves the system's memory, for what is written next. A hint. */
void file_uncache(int fd);
/* fsync of a folder, counted: makes names in it durable. */
int file_sync_dir(const char *path, struct err *e);
/* The folder that holds path: makes path's own name durable. */
int file_sync_parent(const char *path, struct err *e);
/* Gives an existing file a second name; ERR_CONFLICT if that is taken. */
int file_link(const char *from, const char *to, struct err *e);
/* Replaces `to` in one step. */
int file_rename(const char *from, const char *to, struct err *e);
int file_remove(const char *path, struct err *e);
/* Makes a folder (0700); one that is there already is fine and leaves *made false. */
int file_mkdir(const char *path, bool *made, struct err *e);
/* Makes root/below with all its parents below root; each new one's parent is flushed. */
int file_mkdirs(const char *root, const char *below, struct err *e);
bool file_exists(const char *path);
/* true only when the system says that there is no such name: an error is no absence. */
bool file_missing(const char *path);
/* Two names of one file. */
bool file_same(const char *a, const char *b);
/* Calls fn for each name but . and .., in unspecified order, until it says other than 0. */
int file_list(const char *path, int (*fn)(void *arg, const char *name, struct err *e), void *arg,
	      struct err *e);
/* The whole file; ERR_CORRUPT when it is larger than max. */
int file_slurp(const char *path, size_t max, struct buf *out, struct err *e);
/* Small files: temporary name, flush, rename over, flush of the folder. Durable on 0.
 * p NULL: n zeros (file_zeros). */
int file_replace(const char *dir, const char *name, const void *p, size_t n, struct err *e);

/* Flushes of files and folders since the start. */
uint64_t file_sync_count(void);

/* Free (for us) and total bytes of the file system that holds path. */
int file_space(const char *path, uint64_t *free_bytes, uint64_t *total, struct err *e);
/* ERR_LOCAL on NFS, CIFS and other network file systems: they hold no store (TRAPS 3). */
int file_refuse_network(const char *path, struct err *e);

#endif
