/* What associations agree upon, beyond what a usual client asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/related.h"
#include "common/dimse/negotiate.h"
#include "tests/lib/request.h"
#include "tests/lib/viewer.h"

#define STORAGE "1.2.840.10008.4.2"
#define WORKLIST "1.2.840.10008.4.6" /* no storage, whatever it is */
#define PRIVATE "1.3.12.2.1107.5.9.1"
/* Lies in a family of others, and nobody knows it. */
#define UNHEARD_OF "1.2.840.10008.5.1.4.34.6.9"
#define MWL "1.2.840.10008.5.1.4.31"

enum { COMMON_EXTENDED = 0x57, ASYNCHRONOUS = 0x53, MAXIMUM = 0x51 };
enum { ACCEPTED = 2, TAKEN = 0, NO_SUCH_CLASS = 3 };

/* DCMTK 3.6.7 forgets its lists of a request that it cannot parse: 32 bytes each. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:LST_Create\n";
}

/* --- common extended negotiation --- */

static void
put_sized(struct buf *out, const char *s)
{
	buf_put_u8(out, 0);
	buf_put_u8(out, (unsigned char)strlen(s));
	buf_puts(out, s);
}

/* general: NULL: the list has length 0; absent: it is not even there. */
static void
say(struct buf *out, const char *sop_class, const char *service, const char *general, bool absent)
{
	put_sized(out, sop_class);
	put_sized(out, service);
	if (absent)
		return;
	buf_put_u8(out, 0);
	buf_put_u8(out, (unsigned char)(general ? strlen(general) + 2 : 0));
	if (general)
		put_sized(out, general);
}

/* The answer to the one context that was proposed (PS3.8 9.3.3.2). */
static int
result_of(const unsigned char *p, size_t n)
{
	size_t at;

	for (at = 74; at + 8 <= n; at += 4 + ((size_t)p[at + 2] << 8 | p[at + 3]))
		if (p[at] == 0x21)
			return p[at + 6];
	return -1;
}

static int
answer_to(struct visit *t, const char *sop_class, const char *service, const char *general)
{
	struct buf more = BUF_INIT, rq = BUF_INIT;
	unsigned char out[1024];
	size_t n;

	say(&more, sop_class, service, general, false);
	request_build(&rq, "VIEWER", sop_class, 1, COMMON_EXTENDED, &more);
	n = request_send(&t->n, &rq, out);
	buf_fini(&more);
	buf_fini(&rq);
	assert_int_equal(out[0], ACCEPTED);
	return result_of(out, n);
}

static void
negotiate__a_class_that_is_said_to_be_stored_is_storage(void **state)
{
	struct visit *t = *state;

	assert_int_equal(answer_to(t, PRIVATE, STORAGE, NULL), TAKEN);
	assert_int_equal(answer_to(t, UNHEARD_OF, STORAGE, NULL), TAKEN);
	assert_int_equal(answer_to(t, UNHEARD_OF, STORAGE, CT), TAKEN);
	assert_int_equal(answer_to(t, UNHEARD_OF, "1.3.12.2.1107.5.9", CT), TAKEN);
	assert_int_equal(answer_to(t, UNHEARD_OF, "", CT), TAKEN);
	/* A general class that is none of the standard proves nothing. */
	assert_int_equal(answer_to(t, UNHEARD_OF, "", PRIVATE), NO_SUCH_CLASS);
}

static void
negotiate__a_class_of_another_service_is_not_storage(void **state)
{
	struct visit *t = *state;

	assert_int_equal(answer_to(t, PRIVATE, WORKLIST, NULL), NO_SUCH_CLASS);
	assert_int_equal(answer_to(t, PRIVATE, WORKLIST, MWL), NO_SUCH_CLASS);
	assert_int_equal(answer_to(t, PRIVATE, "", NULL), TAKEN); /* unsaid */
	/* What the standard says of its own classes stands. */
	assert_int_equal(answer_to(t, CT, WORKLIST, NULL), TAKEN);
	assert_int_equal(answer_to(t, FIND, STORAGE, NULL), TAKEN);
}

static void
negotiate__what_is_said_of_another_class_does_not_count(void **state)
{
	struct visit *t = *state;
	struct buf more = BUF_INIT, rq = BUF_INIT;
	unsigned char out[1024];
	size_t n;

	say(&more, CT, STORAGE, NULL, false);
	request_build(&rq, "VIEWER", UNHEARD_OF, 1, COMMON_EXTENDED, &more);
	n = request_send(&t->n, &rq, out);
	assert_int_equal(result_of(out, n), NO_SUCH_CLASS);
	buf_fini(&more);
	buf_fini(&rq);
}

static void
related_next__reads_what_is_there_and_nothing_beyond(void **state)
{
	struct buf one = BUF_INIT, two = BUF_INIT, rq = BUF_INIT;
	struct related r;
	struct related_class c;
	char uid[ASSOC_UID_SIZE];
	size_t n;

	(void)state;
	say(&one, PRIVATE, STORAGE, CT, false);
	request_build(&rq, "VIEWER", PRIVATE, 1, COMMON_EXTENDED, &one);
	r = related_of(rq.data, rq.len);
	assert_true(related_next(&r, &c));
	assert_string_equal(c.sop_class, PRIVATE);
	assert_string_equal(c.service_class, STORAGE);
	assert_true(related_general(&c, uid));
	assert_string_equal(uid, CT);
	assert_false(related_general(&c, uid));
	assert_false(related_next(&r, &c));
	for (n = 0; n < rq.len; n++) { /* cut anywhere: ASan looks */
		unsigned char *copy = malloc(n ? n : 1);

		assert_non_null(copy);
		memcpy(copy, rq.data, n);
		r = related_of(copy, n);
		while (related_next(&r, &c))
			while (related_general(&c, uid))
				;
		free(copy);
	}
	buf_clear(&rq);
	say(&two, "1.2.3 ", "", NULL, true);
	request_build(&rq, "VIEWER", PRIVATE, 1, COMMON_EXTENDED, &two);
	r = related_of(rq.data, rq.len);
	assert_true(related_next(&r, &c));
	assert_string_equal(c.sop_class, "1.2.3");
	assert_string_equal(c.service_class, "");
	assert_false(related_general(&c, uid));
	buf_fini(&one);
	buf_fini(&two);
	buf_fini(&rq);
}

/* --- the rest --- */

/* A sub-item of the user information in an A-ASSOCIATE-AC; NULL: there is none. */
static const unsigned char *
user_item(const unsigned char *p, size_t n, unsigned char type)
{
	size_t at, in;

	for (at = 74; at + 4 <= n; at += 4 + ((size_t)p[at + 2] << 8 | p[at + 3]))
		for (in = at + 4; p[at] == 0x50 && in + 4 <= n;
		     in += 4 + ((size_t)p[in + 2] << 8 | p[in + 3]))
			if (p[in] == type)
				return p + in;
	return NULL;
}

static void
negotiate__no_asynchronous_window_is_agreed_upon(void **state)
{
	struct visit *t = *state;
	struct buf more = BUF_INIT, rq = BUF_INIT;
	unsigned char out[1024];
	size_t n;

	buf_put(&more, "\0\10\0\10", 4);
	request_build(&rq, "VIEWER", FIND, 1, ASYNCHRONOUS, &more);
	n = request_send(&t->n, &rq, out);
	assert_int_equal(out[0], ACCEPTED);
	assert_non_null(user_item(out, n, MAXIMUM));
	assert_null(user_item(out, n, ASYNCHRONOUS)); /* PS3.7 D.3.3.3: so 1 and 1 */
	buf_fini(&more);
	buf_fini(&rq);
}

/* Each direction has its own (TRAPS 1, row 17); the smallest and the largest work. */
static void
negotiate__the_largest_pdu_is_a_setting(void **state)
{
	static const unsigned sizes[] = {ASSOC_PDU_MIN, 16384, ASSOC_PDU_MAX};
	struct visit *t = *state;
	struct buf rq = BUF_INIT;
	unsigned char out[1024];
	const unsigned char *item;
	size_t i, n;

	node_put(&t->n, 0, 2, 300000, NULL);
	visit_study(t);
	request_build(&rq, "VIEWER", FIND, 1, 0, NULL);
	for (i = 0; i < 3; i++) {
		dimse_stop(t->n.dimse);
		t->n.config.max_pdu = sizes[i];
		assert_int_equal(dimse_start(&t->n.dimse, &t->n.config, t->n.peers, NULL), 0);
		n = request_send(&t->n, &rq, out);
		item = user_item(out, n, MAXIMUM);
		assert_non_null(item);
		assert_int_equal(buf_get_be32(item + 4), sizes[i]);
		viewer_open(&t->v, &t->n, "NODE");
		visit_get(t);
		assert_int_equal(t->v.last.status, STATUS_SUCCESS);
		assert_int_equal(t->v.stores, 2);
		visit_move(t, "NODE"); /* to ourselves: what we send fits into what we take */
		assert_int_equal(t->v.last.status, STATUS_SUCCESS);
		assert_int_equal(t->n.received, 2 * (i + 1));
		viewer_close(&t->v);
	}
	buf_fini(&rq);
}

static void
negotiate__128_contexts_are_answered_and_each_serves(void **state)
{
	static const char *const plain[] = {EXPLICIT};
	struct visit *t = *state;
	struct assoc_proposal p[ASSOC_CONTEXTS_MAX];
	struct message echo = {.context = 255,
			       .command = MESSAGE_ECHO_RQ,
			       .id = 1,
			       .sop_class = ECHO},
		       answer;
	struct assoc *more;
	char classes[ASSOC_CONTEXTS_MAX][ASSOC_UID_SIZE];
	struct assoc_target to = {.host = "127.0.0.1",
				  .port = t->n.port,
				  .calling = "VIEWER",
				  .called = "NODE",
				  .max_pdu = ASSOC_PDU_MAX,
				  .seconds = VIEWER_SECONDS};
	unsigned i;

	for (i = 0; i < ASSOC_CONTEXTS_MAX; i++) {
		(void)snprintf(classes[i], sizeof(classes[i]), "1.3.12.2.1107.5.9.%u", i);
		p[i] = (struct assoc_proposal){i + 1 < ASSOC_CONTEXTS_MAX ? classes[i] : ECHO,
					       plain, 1, ASSOC_ROLE_DEFAULT};
	}
	assert_int_equal(assoc_request(&t->v.a, &to, p, ASSOC_CONTEXTS_MAX, NULL), 0);
	for (i = 0; i < ASSOC_CONTEXTS_MAX; i++)
		assert_non_null(assoc_accepted(t->v.a, (unsigned char)(2 * i + 1)));
	assert_int_equal(message_send(t->v.a, &echo, NULL), 0);
	assert_int_equal(message_receive(t->v.a, VIEWER_SECONDS, &answer, NULL), 0);
	assert_int_equal(answer.status, STATUS_SUCCESS);
	assert_int_equal(answer.context, 255);
	assert_int_equal(assoc_request(&more, &to, p, ASSOC_CONTEXTS_MAX + 1, NULL), ERR_LOCAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		visit_test(negotiate__a_class_that_is_said_to_be_stored_is_storage),
		visit_test(negotiate__a_class_of_another_service_is_not_storage),
		visit_test(negotiate__what_is_said_of_another_class_does_not_count),
		cmocka_unit_test(related_next__reads_what_is_there_and_nothing_beyond),
		visit_test(negotiate__no_asynchronous_window_is_agreed_upon),
		visit_test(negotiate__the_largest_pdu_is_a_setting),
		visit_test(negotiate__128_contexts_are_answered_and_each_serves),
	};

	return cmocka_run_group_tests_name("negotiation", tests, NULL, NULL);
}
