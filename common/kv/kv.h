/*
 * kv.h - ordered tables of small keys behind one table of calls.
 *
 * A commit that returned 0 survives power loss: no NOSYNC, NOMETASYNC or
 * WRITEMAP; one environment per folder and process; read transactions are short.
 *
 * Errors: ERR_ABSENT for a missing key, ERR_CONFLICT from kv_put_new, ERR_FULL
 * when the map is full, ERR_LOCAL else. Absence does not fill the struct err.
 * Threads: one write transaction at a time (kv_begin waits); a transaction
 * belongs to one thread. Values read are borrowed until the transaction ends
 * or writes.
 */
#ifndef SALAMANDER_COMMON_KV_KV_H
#define SALAMANDER_COMMON_KV_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

struct err;
struct kv;
struct kv_txn;
struct kv_cursor;

enum { KV_KEY_MAX = 511 }; /* LMDB's limit; longer keys are refused */

struct kv_slice {
	const void *p;
	size_t n;
};

enum kv_mode { KV_READ, KV_WRITE };

struct kv_config {
	const char *dir; /* exists; holds nothing but this environment */
	uint64_t map_bytes;
	const char *const *tables; /* names; a table is known by its position */
	unsigned n_tables;
	unsigned max_readers;
	bool read_only; /* beside a process that writes; makes no tables */
};

int kv_open_lmdb(struct kv **out, const struct kv_config *c, struct err *e);
void kv_close(struct kv *kv); /* NULL is fine */

int kv_begin(struct kv_txn **out, struct kv *kv, enum kv_mode mode, struct err *e);
int kv_commit(struct kv_txn *txn_taken, struct err *e);
void kv_abort(struct kv_txn *txn_taken); /* NULL is fine */

int kv_get(struct kv_txn *t, unsigned table, struct kv_slice key, struct kv_slice *value,
	   struct err *e);
/* Brings all of a value into memory at once, not page by page; later: begins, does not wait. */
void kv_load(struct kv_slice value, bool later);
int kv_put(struct kv_txn *t, unsigned table, struct kv_slice key, struct kv_slice value,
	   struct err *e);
int kv_put_new(struct kv_txn *t, unsigned table, struct kv_slice key, struct kv_slice value,
	       struct err *e);
/* Room for n value bytes, to be filled before the next call on this transaction. */
int kv_reserve(struct kv_txn *t, unsigned table, struct kv_slice key, size_t n, void **room,
	       struct err *e);
int kv_del(struct kv_txn *t, unsigned table, struct kv_slice key, struct err *e);

/* From now on this write transaction notes which keys it changes. */
void kv_note(struct kv_txn *t);
/* value NULL: the key is no more. */
typedef int kv_change_fn(void *arg, unsigned table, struct kv_slice key,
			 const struct kv_slice *value, struct err *e);
/* Each key that changed since the last call, once, with what it holds now. */
int kv_changes(struct kv_txn *t, kv_change_fn *fn, void *arg, struct err *e);

int kv_count(struct kv_txn *t, unsigned table, uint64_t *out, struct err *e);

int kv_cursor_open(struct kv_cursor **out, struct kv_txn *t, unsigned table, struct err *e);
void kv_cursor_close(struct kv_cursor *c); /* NULL is fine; before its transaction ends */
/* The first entry whose key is >= key (an empty key: the first of all). */
int kv_cursor_seek(struct kv_cursor *c, struct kv_slice key, struct kv_slice *k, struct kv_slice *v,
		   struct err *e);
int kv_cursor_next(struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e);
int kv_cursor_prev(struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e);
int kv_cursor_last(struct kv_cursor *c, struct kv_slice *k, struct kv_slice *v, struct err *e);
/* Deletes the entry it stands on; kv_cursor_next then gives the one behind it. */
int kv_cursor_del(struct kv_cursor *c, struct err *e);

/* Bytes of all pages that tables use now; cheap. Free pages and the free list are not in it. */
int kv_used(struct kv_txn *t, uint64_t *bytes, struct err *e);
/* Bytes of the file: pages in use, pages to be used again, and what kv_grow made ready. */
uint64_t kv_file_bytes(struct kv *kv);
/*
 * Writes zeros behind what the file has been used for, `step` bytes of them at most, until it has
 * `ahead` bytes ready, but not beyond `limit`: what is written there later allocates nothing.
 * *more: it is not the end. Only for who begins the write transactions, between two of them.
 */
int kv_grow(struct kv *kv, uint64_t ahead, uint64_t limit, size_t step, bool *more, struct err *e);
/* Frees the slots of readers that died. */
int kv_check_readers(struct kv *kv, struct err *e);

static inline struct kv_slice
kv_slice(const void *p, size_t n)
{
	struct kv_slice s = {p, n};

	return s;
}

/* The key of a row that has a number: big endian, so that rows lie in their order. */
static inline struct kv_slice
kv_number(unsigned char key[8], uint64_t n)
{
	buf_set_be64(key, n);
	return kv_slice(key, 8);
}

static inline int
kv_get_number(struct kv_txn *t, unsigned table, uint64_t n, struct kv_slice *value, struct err *e)
{
	unsigned char key[8];

	return kv_get(t, table, kv_number(key, n), value, e);
}

#endif
