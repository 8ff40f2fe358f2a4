#include "tests/lib/other.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "central/upload.h"
#include "common/base/err.h"
#include "common/store/store.h"
#include "proto/frame.h"
#include "proto/pack.h"
#include "tests/lib/pair.h"

void
other_make(struct other *o, struct pair *p, unsigned first, size_t n, const uint64_t *seqs,
	   const char *side)
{
	struct pack_member members[8];
	struct store_tx *tx;
	struct version v;
	uint64_t oid;
	char uids[8][UID_SIZE];
	size_t i;

	memset(o, 0, sizeof(*o));
	o->p = p;
	o->first = first;
	o->n = n;
	memset(members, 0, sizeof(members));
	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	for (i = 0; i < n; i++) {
		pair_image(p, &o->images[i], first + (unsigned)i);
		sha256_of(o->images[i].data, o->images[i].len, members[i].digest);
		assert_int_equal(store_by_digest(tx, members[i].digest, &oid, NULL), 0);
		assert_int_equal(store_version(tx, oid, &v, NULL), 0);
		strcpy(uids[i], v.sop_instance);
		members[i].sop_instance = uids[i];
		members[i].seq = seqs ? seqs[i] : v.seq;
		members[i].size = o->images[i].len;
		members[i].side = side;
		members[i].side_n = strlen(side);
	}
	store_end_read(tx);
	assert_int_equal(
		pack_manifest(&o->manifest, "north", &p->edge.incarnation, members, n, NULL), 0);
	assert_int_equal(pack_open(&o->pack, o->manifest.data, o->manifest.len, NULL), 0);
	pack_id(o->pack, o->id);
}

void
other_fini(struct other *o)
{
	size_t i;

	for (i = 0; i < o->n; i++)
		buf_fini(&o->images[i]);
	buf_fini(&o->manifest);
	pack_close(o->pack);
}

static int
give(void *arg, size_t i, uint64_t offset, void *to, size_t n, struct err *e)
{
	const struct other *o = arg;

	(void)e;
	memcpy(to, o->images[i].data + offset, n);
	return 0;
}

void
other_body(struct buf *body, struct other *o, bool manifest, uint64_t from, uint64_t to,
	   size_t step)
{
	struct buf plain = BUF_INIT;

	buf_put_u32(body, manifest ? (uint32_t)o->manifest.len : 0);
	if (manifest)
		buf_put(body, o->manifest.data, o->manifest.len);
	for (; from < to; from += plain.len) {
		size_t n = to - from < step ? (size_t)(to - from) : step;

		buf_clear(&plain);
		assert_non_null(buf_reserve(&plain, n));
		assert_int_equal(pack_make(o->pack, from, plain.data, n, give, o, NULL), 0);
		plain.len = n;
		/* Coded frames are taken like stored ones. */
		assert_int_equal(frame_write(body, from % 2 ? FRAME_ZSTD : FRAME_ZLIB, from,
					     plain.data, n, NULL),
				 0);
	}
	buf_fini(&plain);
}

int
other_send(struct other *o, bool manifest, uint64_t from, uint64_t to, size_t step,
	   struct upload_result *r)
{
	struct buf body = BUF_INIT;
	struct err e = ERR_INIT;
	int rc;

	other_body(&body, o, manifest, from, to, step);
	rc = upload_patch(&o->p->central, "north", o->id, body.data, body.len, r, &e);
	buf_fini(&body);
	return rc;
}

void
other_announce(struct pair *p, unsigned first, unsigned n)
{
	unsigned i;

	p->cut_method = "PATCH";
	for (i = 0; i < n; i++)
		assert_int_equal(pair_send(p, first + i), 0);
	for (i = 0; i < 8; i++)
		pair_turn(p);
	p->cut_method = NULL;
}
