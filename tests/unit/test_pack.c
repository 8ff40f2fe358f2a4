/* Packs (R14): what tar makes of them, any range again, what is found wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/os/file.h"
#include "proto/pack.h"
#include "tests/gen/gen.h"

enum { MEMBERS = 7 };

struct sample {
	struct buf files[MEMBERS];
	struct pack_member members[MEMBERS];
	char uids[MEMBERS][65];
	struct buf manifest, bytes;
	struct pack *p;
};

static int
read_member(void *arg, size_t i, uint64_t offset, void *to, size_t n, struct err *e)
{
	struct sample *s = arg;

	(void)e;
	assert_true(offset + n <= s->files[i].len);
	memcpy(to, s->files[i].data + offset, n);
	return 0;
}

static void
sample_make(struct sample *s)
{
	struct id128 incarnation = {{1, 2, 3}};
	unsigned i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < MEMBERS; i++) {
		struct gen g;

		gen_init(&g);
		g.instance = i + 1;
		g.rows = g.columns = i * 5;
		gen_file(&s->files[i], &g);
		gen_uid(s->uids[i], 1, 1, i + 1);
		s->members[i].seq = 10 + i;
		s->members[i].sop_instance = i == 3 ? "../../etc/passwd" : s->uids[i];
		s->members[i].size = s->files[i].len;
		sha256_of(s->files[i].data, s->files[i].len, s->members[i].digest);
	}
	assert_int_equal(
		pack_manifest(&s->manifest, "north", &incarnation, s->members, MEMBERS, NULL), 0);
	assert_int_equal(pack_open(&s->p, s->manifest.data, s->manifest.len, NULL), 0);
	assert_non_null(buf_reserve(&s->bytes, (size_t)pack_size(s->p)));
	s->bytes.len = (size_t)pack_size(s->p);
	assert_int_equal(pack_make(s->p, 0, s->bytes.data, s->bytes.len, read_member, s, NULL), 0);
}

static void
sample_drop(struct sample *s)
{
	unsigned i;

	for (i = 0; i < MEMBERS; i++)
		buf_fini(&s->files[i]);
	buf_fini(&s->manifest);
	buf_fini(&s->bytes);
	pack_close(s->p);
}

static void
pack_make__R14_gnu_tar_gives_the_files_back(void **state)
{
	char dir[] = "/tmp/test_pack.XXXXXX", command[512], path[256], hex[13];
	struct sample s;
	unsigned i;

	(void)state;
	sample_make(&s);
	assert_int_equal(s.bytes.len % 512, 0);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(file_replace(dir, "p.tar", s.bytes.data, s.bytes.len, NULL), 0);
	(void)snprintf(command, sizeof(command), "cd %s && tar xf p.tar 2>err && ! test -s err",
		       dir);
	assert_int_equal(system(command), 0);
	for (i = 0; i < MEMBERS; i++) {
		struct buf got = BUF_INIT;

		hex_of(s.members[i].digest, 6, hex);
		if (i == 3) /* a UID that is none stays out of file names */
			(void)snprintf(path, sizeof(path), "%s/%s.dcm", dir, hex);
		else
			(void)snprintf(path, sizeof(path), "%s/%s_%s.dcm", dir, s.uids[i], hex);
		assert_int_equal(file_slurp(path, 1 << 20, &got, NULL), 0);
		assert_int_equal(got.len, s.files[i].len);
		assert_memory_equal(got.data, s.files[i].data, got.len);
		buf_fini(&got);
	}
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
	sample_drop(&s);
}

static void
pack_make__R14_any_range_is_the_same_again(void **state)
{
	struct rng_seeded r;
	struct sample s;
	unsigned char part[5000];
	int i;

	(void)state;
	sample_make(&s);
	rng_seeded_init(&r, 5);
	for (i = 0; i < 2000; i++) {
		uint64_t offset = rng_below(&r.r, pack_size(s.p));
		size_t n = (size_t)rng_below(&r.r, sizeof(part));

		if (n > pack_size(s.p) - offset)
			n = (size_t)(pack_size(s.p) - offset);
		assert_int_equal(pack_make(s.p, offset, part, n, read_member, &s, NULL), 0);
		assert_memory_equal(part, s.bytes.data + offset, n);
	}
	for (i = 0; i < MEMBERS; i++)
		assert_memory_equal(s.bytes.data + pack_member(s.p, (size_t)i)->offset,
				    s.files[i].data, s.files[i].len);
	sample_drop(&s);
}

static void
check_whole(struct sample *s, size_t piece, size_t want_bad)
{
	struct pack_check *c;
	const size_t *bad;
	size_t at, n_bad;

	assert_int_equal(pack_check_new(&c, s->p, NULL), 0);
	for (at = 0; at < s->bytes.len; at += piece) {
		assert_false(pack_check_end(c, &bad, &n_bad));
		assert_int_equal(
			pack_check_add(c, s->bytes.data + at,
				       s->bytes.len - at < piece ? s->bytes.len - at : piece, NULL),
			0);
	}
	assert_true(pack_check_end(c, &bad, &n_bad));
	assert_int_equal(pack_check_offset(c), s->bytes.len);
	assert_int_equal(n_bad, want_bad);
	assert_int_equal(pack_check_add(c, "x", 1, NULL), ERR_CORRUPT);
	pack_check_free(c);
}

static void
pack_check__R14_hashes_every_member(void **state)
{
	struct sample s;
	const struct pack_member *m;

	(void)state;
	sample_make(&s);
	check_whole(&s, s.bytes.len, 0);
	check_whole(&s, 1000, 0);
	check_whole(&s, 7, 0);
	m = pack_member(s.p, 4);
	s.bytes.data[m->offset + m->size - 1] ^= 1;
	check_whole(&s, 999, 1);
	sample_drop(&s);
}

static void
pack_check__R14_what_lies_between_members_counts_too(void **state)
{
	struct pack_check *c;
	struct sample s;

	(void)state;
	sample_make(&s);
	s.bytes.data[pack_member(s.p, 2)->offset - 300] ^= 1; /* in a tar header */
	assert_int_equal(pack_check_new(&c, s.p, NULL), 0);
	assert_int_equal(pack_check_add(c, s.bytes.data, s.bytes.len, NULL), ERR_CORRUPT);
	pack_check_free(c);
	sample_drop(&s);
}

static void
pack_open__R14_a_member_over_8_gib_has_a_pax_size(void **state)
{
	struct id128 incarnation = {{0}};
	struct pack_member m = {.seq = 1, .sop_instance = "1.2.3", .size = UINT64_C(9) << 30};
	struct buf manifest = BUF_INIT;
	unsigned char head[4096];
	struct pack *p;

	(void)state;
	assert_int_equal(pack_manifest(&manifest, "s", &incarnation, &m, 1, NULL), 0);
	assert_int_equal(pack_open(&p, manifest.data, manifest.len, NULL), 0);
	assert_int_equal(pack_make(p, 0, head, (size_t)pack_member(p, 0)->offset, NULL, NULL, NULL),
			 0);
	assert_int_equal(pack_member(p, 0)->offset, 5 * 512); /* manifest 2, pax 2, member 1 */
	assert_memory_equal(head + 3 * 512, "19 size=9663676416\n", 19);
	assert_int_equal(head[2 * 512 + 156], 'x');
	assert_true(pack_size(p) == 5 * 512 + (UINT64_C(9) << 30) + 1024);
	pack_close(p);
	buf_fini(&manifest);
}

static void
pack_open__R14_the_id_is_the_digest_of_the_golden_manifest(void **state)
{
	static const char golden[] =
		"080112056e6f7274681a1001020300000000000000000000000000222d080a"
		"1205312e322e331a20070707070707070707070707070707070707070707"
		"07070707070707070707072005";
	struct id128 incarnation = {{1, 2, 3}};
	struct pack_member m = {.seq = 10, .sop_instance = "1.2.3", .size = 5};
	unsigned char id[SHA256_SIZE], want[SHA256_SIZE];
	struct buf manifest = BUF_INIT;
	struct pack *p;
	char hex[512];

	(void)state;
	memset(m.digest, 7, sizeof(m.digest));
	assert_int_equal(pack_manifest(&manifest, "north", &incarnation, &m, 1, NULL), 0);
	assert_true(manifest.len < sizeof(hex) / 2);
	hex_of(manifest.data, manifest.len, hex);
	assert_string_equal(hex, golden);
	assert_int_equal(pack_open(&p, manifest.data, manifest.len, NULL), 0);
	pack_id(p, id);
	sha256_of(manifest.data, manifest.len, want);
	assert_memory_equal(id, want, sizeof(id));
	assert_string_equal(pack_site(p), "north");
	assert_int_equal(pack_incarnation(p)->b[2], 3);
	pack_close(p);
	buf_fini(&manifest);
}

static void
pack_open__refuses_what_cannot_be_and_survives_chance(void **state)
{
	struct rng_seeded r;
	struct sample s;
	struct pack *p;
	int i;

	(void)state;
	sample_make(&s);
	assert_int_equal(pack_open(&p, "", 0, NULL), ERR_PEER);
	assert_int_equal(pack_open(&p, "\x08\x02", 2, NULL), ERR_PEER);
	rng_seeded_init(&r, 8);
	for (i = 0; i < 20000; i++) {
		struct buf b = BUF_INIT;

		buf_put(&b, s.manifest.data, s.manifest.len);
		b.data[rng_below(&r.r, b.len)] = (unsigned char)rng_u64(&r.r);
		b.data[rng_below(&r.r, b.len)] = (unsigned char)rng_u64(&r.r);
		if (!pack_open(&p, b.data, (size_t)rng_below(&r.r, b.len + 1), NULL))
			pack_close(p);
		buf_fini(&b);
	}
	sample_drop(&s);
}

/* Sizes that add up to nothing must not let a pack be whole without its members. */
static void
pack_open__R14_sizes_that_cannot_be_are_refused(void **state)
{
	struct id128 incarnation = {{1}};
	struct pack_member m = {.seq = 1, .sop_instance = "1.2.3"};
	static const uint64_t sizes[] = {0, UINT64_C(1) << 48, UINT64_C(1) << 59, UINT64_MAX};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf manifest = BUF_INIT;
		struct pack *p;

		m.size = sizes[i];
		assert_int_equal(pack_manifest(&manifest, "north", &incarnation, &m, 1, NULL), 0);
		assert_int_equal(pack_open(&p, manifest.data, manifest.len, NULL), ERR_PEER);
		buf_fini(&manifest);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pack_open__R14_sizes_that_cannot_be_are_refused),
		cmocka_unit_test(pack_make__R14_gnu_tar_gives_the_files_back),
		cmocka_unit_test(pack_make__R14_any_range_is_the_same_again),
		cmocka_unit_test(pack_check__R14_hashes_every_member),
		cmocka_unit_test(pack_check__R14_what_lies_between_members_counts_too),
		cmocka_unit_test(pack_open__R14_a_member_over_8_gib_has_a_pax_size),
		cmocka_unit_test(pack_open__R14_the_id_is_the_digest_of_the_golden_manifest),
		cmocka_unit_test(pack_open__refuses_what_cannot_be_and_survives_chance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
