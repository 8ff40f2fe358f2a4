/* Lists of references: what is asked for and told in storage commitment (PS3.4 J.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dimse/references.h"

#define EXPLICIT "1.2.840.10008.1.2.1"
#define IMPLICIT "1.2.840.10008.1.2"
#define CT "1.2.840.10008.5.1.4.1.1.2"

static struct reference two[2] = {{CT, "1.2.3.1", 0}, {CT, "1.2.3.2", 0x0112}};

static void
references__what_is_told_is_read_again(void **state)
{
	static const char *const syntaxes[] = {EXPLICIT, IMPLICIT};
	struct references list = {"1.2.9", two, 2}, out;
	struct buf bytes = BUF_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		buf_clear(&bytes);
		references_tell(&bytes, syntaxes[i], &list, "NODE");
		assert_int_equal(references_parse(&out, syntaxes[i], bytes.data, bytes.len, NULL),
				 0);
		assert_string_equal(out.transaction, "1.2.9");
		assert_int_equal(out.n, 2);
		assert_string_equal(out.all[0].sop_instance, "1.2.3.2"); /* what failed is first */
		assert_int_equal(out.all[0].reason, 0x0112);
		assert_string_equal(out.all[1].sop_instance, "1.2.3.1");
		references_fini(&out);
	}
	buf_fini(&bytes);
}

/* (0008,1195) 1.2.9 and (0008,1199) with an item, of which a piece is the caller's. */
static void
request(struct buf *out, const void *more, size_t n)
{
	static const unsigned char begin[] = "\x08\0\x95\x11UI\x06\0"
					     "1.2.9\0"
					     "\x08\0\x99\x11SQ\0\0\xff\xff\xff\xff"
					     "\xfe\xff\0\xe0\xff\xff\xff\xff"
					     "\x08\0\x50\x11UI\x1a\0"
					     "1.2.840.10008.5.1.4.1.1.2\0"
					     "\x08\0\x55\x11UI\x08\0"
					     "1.2.3.1";
	static const unsigned char end[] = "\xfe\xff\x0d\xe0\0\0\0\0"
					   "\xfe\xff\xdd\xe0\0\0\0";

	buf_clear(out);
	buf_put(out, begin, sizeof(begin));
	buf_put(out, more, n);
	buf_put(out, end, sizeof(end));
}

/* A reference may hold sequences of its own: their items are no references. */
static void
references__items_further_in_are_not_asked_for(void **state)
{
	static const unsigned char inner[] = "\x09\0\x10\0LO\x04\0"
					     "MINE"
					     "\x09\0\x01\x10SQ\0\0\xff\xff\xff\xff"
					     "\xfe\xff\0\xe0\0\0\0\0"
					     "\xfe\xff\0\xe0\xff\xff\xff\xff"
					     "\x08\0\x55\x11UI\x06\0"
					     "9.9.9\0"
					     "\xfe\xff\x0d\xe0\0\0\0\0"
					     "\xfe\xff\xdd\xe0\0\0\0";
	struct buf bytes = BUF_INIT;
	struct references out;

	(void)state;
	request(&bytes, inner, sizeof(inner));
	assert_int_equal(references_parse(&out, EXPLICIT, bytes.data, bytes.len, NULL), 0);
	assert_int_equal(out.n, 1);
	assert_string_equal(out.all[0].sop_class, CT);
	assert_string_equal(out.all[0].sop_instance, "1.2.3.1");
	references_fini(&out);
	buf_fini(&bytes);
}

static void
references__what_cannot_be_read_is_refused(void **state)
{
	struct buf bytes = BUF_INIT;
	struct references out;
	size_t n;

	(void)state;
	request(&bytes, "", 0);
	assert_int_equal(references_parse(&out, EXPLICIT, bytes.data, bytes.len, NULL), 0);
	references_fini(&out);
	for (n = 0; n < bytes.len; n++) { /* cut anywhere but behind the last reference */
		bool whole = references_parse(&out, EXPLICIT, bytes.data, n, NULL) == 0;

		assert_true(!whole || n + 16 >= bytes.len);
		references_fini(&out);
	}
	buf_clear(&bytes);
	references_ask(&bytes, EXPLICIT, &(struct references){"1.2.9", two, 0});
	assert_int_equal(references_parse(&out, EXPLICIT, bytes.data, bytes.len, NULL), ERR_PEER);
	buf_clear(&bytes);
	references_ask(&bytes, EXPLICIT, &(struct references){"", two, 2});
	assert_int_equal(references_parse(&out, EXPLICIT, bytes.data, bytes.len, NULL), ERR_PEER);
	buf_fini(&bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references__what_is_told_is_read_again),
		cmocka_unit_test(references__items_further_in_are_not_asked_for),
		cmocka_unit_test(references__what_cannot_be_read_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
