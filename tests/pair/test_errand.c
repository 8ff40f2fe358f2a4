/* Errands of the replicator: by themselves, and several at once beside a disk that is busy. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "edge/errand.h"
#include "edge/outbox.h"
#include "edge/packing.h"
#include "proto/frame.h"
#include "proto/ledger.h"
#include "proto/pack.h"
#include "tests/lib/pair.h"

enum { IMAGES = 5 };

static uint64_t
with_images(struct pair *p)
{
	struct ledger_head head;
	struct store_tx *tx;
	unsigned i;

	pair_init(p, "64MiB");
	for (i = 0; i < IMAGES; i++)
		assert_int_equal(pair_send(p, i), 0);
	assert_int_equal(store_settle(p->edge.store, NULL), 0);
	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(ledger_head(tx, &head, NULL), 0);
	store_end_read(tx);
	return head.seq;
}

static void
fini(struct pair *p, struct packing *slot)
{
	packing_fini(slot);
	packing_free_memory(slot);
	pair_fini(p);
}

static struct errand *
errand(struct packing *slot, enum sender_action_kind kind, uint64_t count, uint64_t announced)
{
	struct errand *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->action.kind = kind;
	x->action.lane = LANE_FRESH;
	x->action.count = count;
	x->action.first = true;
	x->slot = slot;
	x->announced = announced;
	return x;
}

static void
errand_run__R7_R14_packs_what_is_announced_and_reads_it(void **state)
{
	struct packing slot = {.pack = NULL};
	struct errand *x;
	struct frame f;
	struct pair p;
	uint64_t head;

	(void)state;
	head = with_images(&p);
	x = errand(&slot, SENDER_MAKE_PACK, STEER_PACK_MAX, 0);
	errand_run(x, &p.edge);
	assert_int_equal(x->rc, 0);
	assert_true(x->tells && x->event.kind == SENDER_PACKED);
	assert_int_equal(x->event.size, 0); /* nothing is announced */
	errand_free(x);
	x = errand(&slot, SENDER_MAKE_PACK, STEER_PACK_MAX, head);
	errand_run(x, &p.edge);
	assert_int_equal(x->rc, 0);
	assert_int_equal(pack_count(slot.pack), IMAGES);
	assert_int_equal(x->event.size, pack_size(slot.pack));
	assert_true(x->event.last <= head);
	errand_free(x);
	x = errand(&slot, SENDER_SEND_PIECE, pack_size(slot.pack), head);
	errand_run(x, &p.edge);
	assert_int_equal(x->rc, 0);
	assert_int_equal(x->request, SENDER_PIECE);
	assert_int_equal(buf_get_u32(x->call.body.data), slot.manifest.len);
	assert_int_equal(frame_head(&f, x->call.body.data + 4 + slot.manifest.len, NULL), 0);
	assert_int_equal(f.plain, pack_size(slot.pack));
	assert_int_equal(x->call.body.len, 4 + slot.manifest.len + FRAME_HEAD + f.plain);
	errand_free(x);
	fini(&p, &slot);
}

struct block { /* the committer stands still, as with a slow disk */
	struct store *store;
	sem_t reached, go;
};

static int
stand_still(struct store_tx *tx, void *arg, struct err *e)
{
	struct block *b = arg;

	(void)tx;
	(void)e;
	(void)sem_post(&b->reached);
	(void)sem_wait(&b->go);
	return 0;
}

static void *
block(void *arg)
{
	struct block *b = arg;

	return store_commit(b->store, stand_still, b, NULL) ? arg : NULL;
}

static void
count(void *arg)
{
	(void)sem_post(arg);
}

/* A pack that waits for its commit holds no piece up. */
static void
errands_give__one_that_waits_for_the_disk_holds_no_other_up(void **state)
{
	struct packing slots[2] = {{.pack = NULL}, {.pack = NULL}};
	struct errands *s;
	struct errand *x;
	struct block b;
	pthread_t thread;
	struct pair p;
	uint64_t head;
	sem_t ended;
	void *failed;

	(void)state;
	head = with_images(&p);
	x = errand(&slots[0], SENDER_MAKE_PACK, STEER_PACK_MAX,
		   head - 1); /* one image stays for the other */
	errand_run(x, &p.edge);
	assert_int_equal(x->rc, 0);
	errand_free(x);
	(void)sem_init(&ended, 0, 0);
	(void)sem_init(&b.reached, 0, 0);
	(void)sem_init(&b.go, 0, 0);
	b.store = p.edge.store;
	assert_int_equal(errands_start(&s, &p.edge, count, &ended, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, block, &b), 0);
	(void)sem_wait(&b.reached);
	errands_give(s, errand(&slots[1], SENDER_MAKE_PACK, STEER_PACK_MAX, head));
	errands_give(s, errand(&slots[0], SENDER_SEND_PIECE, pack_size(slots[0].pack), head));
	(void)sem_wait(&ended);
	x = errands_take(s);
	assert_non_null(x);
	assert_int_equal(x->request, SENDER_PIECE);
	errand_free(x);
	assert_null(errands_take(s));
	(void)sem_post(&b.go);
	(void)sem_wait(&ended);
	x = errands_take(s);
	assert_non_null(x);
	assert_int_equal(x->event.kind, SENDER_PACKED);
	assert_int_equal(pack_count(slots[1].pack), 1);
	errand_free(x);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	errands_stop(s);
	(void)sem_destroy(&ended);
	(void)sem_destroy(&b.reached);
	(void)sem_destroy(&b.go);
	packing_fini(&slots[1]);
	packing_free_memory(&slots[1]);
	fini(&p, &slots[0]);
}

/* --- packs of before a restart --- */

static int
rot(struct store_tx *tx, void *arg, struct err *e)
{
	const struct packing *p = arg;
	struct buf manifest = BUF_INIT;
	int rc;

	buf_put(&manifest, p->manifest.data, p->manifest.len);
	manifest.data[manifest.len / 2] ^= 1;
	rc = packing_put(tx, p->id, &manifest, e);
	buf_fini(&manifest);
	return rc;
}

/* More packs than there are slots, and one whose manifest rotted: their images travel anew. */
static void
replicate_new__R14_what_no_slot_takes_up_is_packed_anew(void **state)
{
	const struct packing_wish all = {
		.lane = LANE_FRESH, .announced = UINT64_MAX, .bytes = STEER_PACK_MAX};
	struct packing slots[SENDER_SLOTS + 2];
	struct pair p;
	unsigned i;

	(void)state;
	memset(slots, 0, sizeof(slots));
	pair_init(&p, "64MiB");
	for (i = 0; i < SENDER_SLOTS + 2; i++) {
		assert_int_equal(pair_send(&p, i), 0);
		assert_int_equal(packing_make(&slots[i], &p.edge, &all, NULL), 0);
		assert_int_equal(pack_count(slots[i].pack), 1);
	}
	assert_int_equal(store_commit(p.edge.store, rot, &slots[0], NULL), 0);
	for (i = 0; i < SENDER_SLOTS + 2; i++)
		packing_fini(&slots[i]);
	pair_close_edge(&p);
	pair_open_edge(&p);
	assert_true(pair_settle(&p, 400));
	for (i = 0; i < SENDER_SLOTS + 2; i++)
		assert_true(pair_central_has(&p, i));
	pair_fini(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errand_run__R7_R14_packs_what_is_announced_and_reads_it),
		cmocka_unit_test(errands_give__one_that_waits_for_the_disk_holds_no_other_up),
		cmocka_unit_test(replicate_new__R14_what_no_slot_takes_up_is_packed_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
