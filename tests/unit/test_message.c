/* What a message costs that somebody else made (R24). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "proto/message.h"
#include "proto/sync.pb-c.h"

enum { FIELD_ENTRIES = 4 << 3 | 2, FIELD_DONE = 2 << 3 | 2, FIELD_LATER = 15 << 3 };

static void
fill(struct buf *out, size_t n, unsigned char field)
{
	const unsigned char one[2] = {field, 0};

	buf_clear(out);
	while (n-- > 0)
		buf_put(out, one, sizeof(one));
}

static int
read_it(const ProtobufCMessageDescriptor *type, const struct buf *b)
{
	struct err e = ERR_INIT;
	void *m = message_read(type, b->data, b->len, &e);

	message_free(m);
	return m ? 0 : (int)e.code;
}

/* Two bytes each, and nothing in them: as structs they would be 30 to 50 times as much. */
static void
message_read__R24_few_bytes_do_not_take_much_memory(void **state)
{
	const ProtobufCMessageDescriptor *ledger = &sync__ledger_request__descriptor;
	const ProtobufCMessageDescriptor *back = &sync__orders_back__descriptor;
	struct buf b = BUF_INIT;

	(void)state;
	fill(&b, 1 << 20, FIELD_ENTRIES);
	assert_int_equal(read_it(ledger, &b), ERR_PEER);
	fill(&b, 1 << 20, FIELD_DONE);
	assert_int_equal(read_it(back, &b), ERR_PEER);
	fill(&b, 1 << 20, FIELD_LATER);
	assert_int_equal(read_it(ledger, &b), ERR_PEER);
	/* A later version may say a thousand things more. */
	fill(&b, 1000, FIELD_LATER);
	assert_int_equal(read_it(ledger, &b), 0);
	buf_fini(&b);
}

/* As many entries as central takes at once, each shorter than any is; and a whole body of large. */
static void
message_read__takes_what_edges_say(void **state)
{
	static const struct {
		size_t n, each;
	} rounds[] = {{4096, 40}, {4000, 4000}};
	static unsigned char bytes[4000];
	static ProtobufCBinaryData entries[4096];
	Sync__LedgerRequest m = SYNC__LEDGER_REQUEST__INIT, *back;
	struct buf b = BUF_INIT;
	size_t i, k;

	(void)state;
	for (k = 0; k < 2; k++) {
		for (i = 0; i < rounds[k].n; i++)
			entries[i] = message_bytes(bytes, rounds[k].each);
		m.entries = entries;
		m.n_entries = rounds[k].n;
		buf_clear(&b);
		message_pack(&b, &m.base);
		back = message_read(&sync__ledger_request__descriptor, b.data, b.len, NULL);
		assert_non_null(back);
		assert_int_equal(back->n_entries, rounds[k].n);
		message_free(back);
	}
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(message_read__R24_few_bytes_do_not_take_much_memory),
		cmocka_unit_test(message_read__takes_what_edges_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
