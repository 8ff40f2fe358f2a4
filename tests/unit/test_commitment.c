/* Storage commitment as SCP, over real associations on loopback, with a clock of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dimse/commitment.h"
#include "common/dimse/commitments.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"
#include "common/os/file.h"
#include "common/store/index.h"
#include "common/store/store.h"
#include "tests/lib/modality.h"
#include "tests/lib/stored.h"

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

struct scene {
	struct stored stored;
	struct modality m;
	struct peers *peers;
	struct commitment *c;
	struct dimse *dimse;
	struct dimse_config config;
	unsigned port;
	char listen[32];
	_Atomic bool at_central;
	_Atomic bool log_is_broken;
	_Atomic unsigned noted, noted_here_only, foretold;
};

/* --- the node --- */

static bool
safe(void *arg, struct store_tx *tx, const struct version *v)
{
	(void)tx;
	(void)v;
	return ((struct scene *)arg)->at_central;
}

/* A closure may run twice: here it does not. */
static int
note(void *arg, struct store_tx *tx, const struct verdict_mark *marks, size_t n, struct err *e)
{
	struct scene *s = arg;
	size_t i;

	(void)tx;
	(void)e;
	for (i = 0; i < n; i++)
		s->noted_here_only += marks[i].here_only;
	s->noted += (unsigned)n;
	assert_true(s->noted <= s->foretold);
	return 0;
}

/* All that is noted was foretold. */
static int
foretell(void *arg, const struct verdict_mark *marks, size_t n, struct err *e)
{
	struct scene *s = arg;

	(void)marks;
	if (s->log_is_broken)
		return err_set(e, ERR_LOCAL, 0, "the log is broken");
	s->foretold += (unsigned)n;
	return 0;
}

static int
action(void *node, const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	return commitment_action(((struct scene *)node)->c, who, rq, e);
}

static int
answered(void *node, const struct dimse_caller *who, const struct message *rsp, struct err *e)
{
	return commitment_answered(((struct scene *)node)->c, who, rsp, e);
}

static void
ended(void *node, const struct dimse_caller *who)
{
	commitment_ended(((struct scene *)node)->c, who);
}

/* more: further lines of the modality's section. */
static struct peers *
load_peers(struct scene *s, const char *more)
{
	const struct conf_row *rows;
	char text[512], path[128];
	struct peers *peers;
	struct conf *c;
	size_t n;

	rows = peers_rows(&n);
	(void)snprintf(text, sizeof(text), "[peer CT1]\naet = MODALITY\nfrom = 127.0.0.1\n%s\n",
		       more);
	assert_int_equal(file_replace(s->stored.dir, "p.conf", text, strlen(text), NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/p.conf", s->stored.dir);
	assert_int_equal(conf_load(&c, path, rows, n, NULL), 0);
	assert_int_equal(peers_load(&peers, c, NULL, true, NULL), 0);
	conf_free(c);
	return peers;
}

static void
settings(struct scene *s, const char *more)
{
	struct peers *old = s->peers;
	char text[256];

	(void)snprintf(text, sizeof(text), "host = 127.0.0.1\nport = %u\nmay = store, commit\n%s",
		       s->m.port, more);
	s->peers = load_peers(s, text);
	dimse_reload(s->dimse, s->peers);
	commitment_peers(s->c, s->peers);
	peers_unref(old);
}

static void
open_node(struct scene *s)
{
	static const char *const titles[] = {"NODE", "OTHER", NULL};
	const char *listens[] = {s->listen, NULL};
	struct commitment_config cc = {.verdicts = {s->stored.s, safe, note, s, foretell},
				       .seconds = MODALITY_SECONDS,
				       .max_pdu = ASSOC_PDU_MAX};

	s->config = (struct dimse_config){.titles = titles,
					  .listen = listens,
					  .max_associations = 20,
					  .max_per_address = 20,
					  .max_pdu = ASSOC_PDU_MAX,
					  .association_seconds = MODALITY_SECONDS,
					  .idle_seconds = MODALITY_SECONDS};
	s->config.handlers.node = s;
	s->config.handlers.action = action;
	s->config.handlers.answered = answered;
	s->config.handlers.ended = ended;
	assert_int_equal(commitment_start(&s->c, &cc, s->peers, NULL), 0);
	assert_int_equal(dimse_start(&s->dimse, &s->config, s->peers, NULL), 0);
}

static void
close_node(struct scene *s)
{
	dimse_stop(s->dimse);
	commitment_stop(s->c);
}

static int
begin(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	struct modality other;

	assert_non_null(s);
	log_set_level(LOG_ERROR);
	stored_init(&s->stored, 0);
	modality_init(&s->m);
	modality_on(&s->m);
	modality_init(&other); /* for the port that is free */
	s->port = other.port;
	modality_fini(&other);
	(void)snprintf(s->listen, sizeof(s->listen), "127.0.0.1:%u", s->port);
	s->peers = load_peers(s, "");
	open_node(s);
	settings(s, "");
	*state = s;
	return 0;
}

static int
end(void **state)
{
	struct scene *s = *state;

	modality_hang_up(&s->m);
	close_node(s);
	modality_fini(&s->m);
	peers_unref(s->peers);
	stored_fini(&s->stored);
	free(s);
	return 0;
}

/* The node dies, and is started again. */
static void
restart(struct scene *s)
{
	close_node(s);
	store_close(s->stored.s);
	assert_int_equal(stored_open(&s->stored, NULL), 0);
	open_node(s);
}

static uint64_t
store_image(struct scene *s, const char *uid, unsigned char pixel)
{
	struct recipe r = {"1.2.3", uid, NULL, "c", pixel, 64};
	struct store_verdict verdict;
	struct made m;

	made_init(&m, &r);
	assert_int_equal(stored_put(s->stored.s, &m, "10.0.0.1", &verdict, NULL), 0);
	made_fini(&m);
	return verdict.oid;
}

static void
pass(struct scene *s, int64_t ms)
{
	clock_manual_advance(&s->stored.clock, ms);
	commitment_wake(s->c);
}

static void
call(struct scene *s)
{
	modality_call(&s->m, s->port, "NODE");
}

static void
ask(struct scene *s, const char *transaction, const char *const *uids)
{
	call(s);
	assert_int_equal(modality_ask(&s->m, transaction, uids), STATUS_SUCCESS);
}

/* Asks, and leaves at once: the result must come on another association. */
static void
ask_and_go(struct scene *s, const char *transaction, const char *const *uids)
{
	ask(s, transaction, uids);
	modality_hang_up(&s->m);
}

static uint64_t
waiting(struct scene *s)
{
	struct store_tx *tx;
	uint64_t n;

	assert_int_equal(store_begin_read(&tx, s->stored.s, NULL), 0);
	assert_int_equal(commitments_count(tx, &n, NULL), 0);
	store_end_read(tx);
	return n;
}

/* Until all results were taken but so many. */
static bool
all_settled_but(struct scene *s, uint64_t n)
{
	struct timespec moment = {0, 5000000};
	int i;

	for (i = 0; i < 4000 && waiting(s) != n; i++)
		(void)nanosleep(&moment, NULL);
	return waiting(s) == n;
}

static bool
all_settled(struct scene *s)
{
	return all_settled_but(s, 0);
}

static unsigned
reason_of(const struct references *r, const char *uid)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		if (strcmp(r->all[i].sop_instance, uid) == 0)
			return r->all[i].reason;
	fail_msg("%s is not listed", uid);
	return 0;
}

static int
note_row(void *arg, const struct commitment_row *row, struct err *e)
{
	(void)e;
	*(struct commitment_row *)arg = *row;
	return 0;
}

/* The last request that waits. */
static struct commitment_row
last_row(struct scene *s)
{
	struct commitment_row row = {.number = 0};
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, s->stored.s, NULL), 0);
	assert_int_equal(commitments_each(tx, 0, note_row, &row, NULL), 0);
	store_end_read(tx);
	assert_int_not_equal(row.number, 0);
	return row;
}

/* Nothing more can be said of it now. */
static void
still_waits(struct scene *s)
{
	struct verdicts v = {s->stored.s, safe, note, s, foretell};
	bool ready = true;

	assert_int_equal(verdicts_progress(&v, peers_named(s->peers, "CT1"), last_row(s).number,
					   &ready, NULL),
			 0);
	assert_false(ready);
}

/* It was offered n times in vain. */
static void
offered(struct scene *s, unsigned n)
{
	struct timespec moment = {0, 5000000};
	int i;

	for (i = 0; i < 4000 && last_row(s).tries < n; i++)
		(void)nanosleep(&moment, NULL);
	assert_int_equal(last_row(s).tries, n);
}

/* --- where the result goes --- */

static const char *const two[] = {"1.2.3.1", "1.2.3.2", NULL};
static const char *const one[] = {"1.2.3.1", NULL};

static void
commitment__what_is_ready_is_told_on_the_same_association(void **state)
{
	struct scene *s = *state;
	struct references r;

	store_image(s, "1.2.3.1", 1);
	store_image(s, "1.2.3.2", 1);
	s->at_central = true;
	ask(s, "1.9.1", two);
	assert_int_equal(modality_listen(&s->m, &r), 1);
	assert_string_equal(r.transaction, "1.9.1");
	assert_int_equal(r.n, 2); /* the complete set */
	assert_int_equal(reason_of(&r, "1.2.3.1"), 0);
	references_fini(&r);
	assert_true(all_settled(s));
	assert_int_equal(s->m.heard.n, 0);
	assert_int_equal(s->noted, 2);
	assert_int_equal(s->noted_here_only, 0);
	/* The association goes on. */
	assert_int_equal(modality_ask(&s->m, "1.9.2", one), STATUS_SUCCESS);
	assert_int_equal(modality_listen(&s->m, &r), 1);
	references_fini(&r);
	assert_true(all_settled(s));
}

static void
commitment__a_later_result_calls_the_peer_as_SCP_by_the_called_title(void **state)
{
	struct scene *s = *state;

	store_image(s, "1.2.3.1", 1);
	modality_call(&s->m, s->port, "OTHER");
	assert_int_equal(modality_ask(&s->m, "1.9.1", one), STATUS_SUCCESS);
	modality_hang_up(&s->m);
	still_waits(s);
	s->at_central = true;
	commitment_wake(s->c);
	assert_true(modality_await(&s->m, 1));
	assert_string_equal(s->m.heard.calling, "OTHER");
	assert_string_equal(s->m.heard.called, "MODALITY");
	assert_int_equal(s->m.heard.role, ASSOC_ROLE_SCP);
	assert_int_equal(s->m.heard.type, 1);
	assert_string_equal(s->m.heard.list.transaction, "1.9.1");
	assert_true(all_settled(s));
}

static void
commitment__a_peer_that_says_something_else_is_called(void **state)
{
	struct scene *s = *state;
	struct references r;

	store_image(s, "1.2.3.1", 1);
	ask(s, "1.9.1", one);
	assert_int_equal(modality_ask(&s->m, "1.9.2", one), STATUS_SUCCESS);
	s->at_central = true;
	commitment_wake(s->c);
	assert_int_equal(modality_listen(&s->m, &r), 1);
	assert_string_equal(r.transaction, "1.9.2");
	references_fini(&r);
	assert_true(modality_await(&s->m, 1));
	assert_string_equal(s->m.heard.list.transaction, "1.9.1");
	assert_true(all_settled(s));
}

static void
commitment__a_result_that_nobody_answered_goes_out_again(void **state)
{
	struct scene *s = *state;
	struct references r;

	store_image(s, "1.2.3.1", 1);
	s->at_central = true;
	ask(s, "1.9.1", one);
	s->m.hangs_up = true;
	assert_int_equal(modality_listen(&s->m, &r), 1);
	references_fini(&r);
	s->m.hangs_up = false;
	assoc_abort(s->m.a);
	assoc_free(s->m.a);
	s->m.a = NULL;
	assert_true(modality_await(&s->m, 1));
	assert_true(all_settled(s));
}

/* --- who may, and what is asked --- */

static void
commitment__R29_only_a_peer_that_may_and_can_be_called_is_served(void **state)
{
	struct scene *s = *state;
	struct peers *old = s->peers;

	s->peers = load_peers(s, "may = store, commit"); /* no host, no port */
	dimse_reload(s->dimse, s->peers);
	peers_unref(old);
	call(s);
	assert_int_equal(modality_ask(&s->m, "1.9.1", one), STATUS_PROCESSING_FAILURE);
	modality_hang_up(&s->m);
	old = s->peers;
	s->peers = load_peers(s, "host = 127.0.0.1\nport = 104\nmay = store");
	dimse_reload(s->dimse, s->peers);
	peers_unref(old);
	call(s);
	assert_int_equal(modality_ask(&s->m, "1.9.1", one), STATUS_REFUSED_NOT_AUTHORIZED);
	assert_int_equal(waiting(s), 0);
}

static void
commitment__what_is_no_request_is_refused_by_its_status(void **state)
{
	static const unsigned char none[] = {0x08, 0, 0x99, 0x11, 'S', 'Q', 0, 0, 0, 0, 0, 0};
	struct scene *s = *state;
	struct references list = {.n = 0};
	struct buf bytes = BUF_INIT, deep = BUF_INIT;
	unsigned i;

	strcpy(list.transaction, "1.9");
	references_ask(&bytes, "1.2.840.10008.1.2.1", &list);
	call(s);
	assert_int_equal(modality_action(&s->m, 1, "1.2.3", &bytes).status,
			 STATUS_NO_SUCH_INSTANCE);
	assert_int_equal(modality_action(&s->m, 2, COMMITMENT_INSTANCE, &bytes).status,
			 STATUS_NO_SUCH_ACTION);
	/* No references; no transaction; too deep. */
	assert_int_equal(modality_action(&s->m, 1, COMMITMENT_INSTANCE, &bytes).status,
			 STATUS_INVALID_ARGUMENT);
	buf_clear(&bytes);
	buf_put(&bytes, none, sizeof(none));
	assert_int_equal(modality_action(&s->m, 1, COMMITMENT_INSTANCE, &bytes).status,
			 STATUS_INVALID_ARGUMENT);
	for (i = 0; i < 5000; i++) {
		buf_put(&deep, "\x08\x00\x99\x11SQ\0\0\xff\xff\xff\xff", 12);
		buf_put(&deep, "\xfe\xff\x00\xe0\xff\xff\xff\xff", 8);
	}
	assert_int_equal(modality_action(&s->m, 1, COMMITMENT_INSTANCE, &deep).status,
			 STATUS_INVALID_ARGUMENT);
	assert_int_equal(waiting(s), 0);
	buf_fini(&bytes);
	buf_fini(&deep);
}

static void
commitment__a_transaction_is_used_once(void **state)
{
	struct scene *s = *state;
	struct references r;

	store_image(s, "1.2.3.1", 1);
	ask_and_go(s, "1.9.1", one);
	ask_and_go(s, "1.9.1", one); /* the same, again: nothing more */
	assert_int_equal(waiting(s), 1);
	ask(s, "1.9.1", two); /* another list under its name */
	assert_int_equal(modality_listen(&s->m, &r), 2);
	assert_int_equal(reason_of(&r, "1.2.3.1"), REASON_DUPLICATE_TRANSACTION);
	assert_int_equal(reason_of(&r, "1.2.3.2"), REASON_DUPLICATE_TRANSACTION);
	references_fini(&r);
	modality_hang_up(&s->m);
	s->at_central = true;
	commitment_wake(s->c);
	assert_true(modality_await(&s->m, 1));
	assert_int_equal(s->m.heard.type, 1);
	assert_true(all_settled(s));
	assert_int_equal(s->m.heard.n, 1);
}

/* --- verdicts --- */

static void
commitment__an_image_that_never_comes_is_0112_after_15_minutes(void **state)
{
	struct scene *s = *state;

	store_image(s, "1.2.3.1", 1);
	s->at_central = true;
	ask_and_go(s, "1.9.1", two);
	pass(s, 15 * MINUTE - 1);
	still_waits(s);
	pass(s, 1);
	assert_true(modality_await(&s->m, 1));
	assert_int_equal(s->m.heard.type, 2);
	assert_int_equal(s->m.heard.list.n, 2);
	assert_int_equal(reason_of(&s->m.heard.list, "1.2.3.1"), 0);
	assert_int_equal(reason_of(&s->m.heard.list, "1.2.3.2"), REASON_NO_SUCH_INSTANCE);
	assert_int_equal(s->noted, 1);
}

static void
commitment__an_image_may_come_after_its_reference(void **state)
{
	struct scene *s = *state;

	s->at_central = true;
	ask_and_go(s, "1.9.1", one);
	pass(s, 14 * MINUTE);
	store_image(s, "1.2.3.1", 1);
	commitment_wake(s->c);
	assert_true(modality_await(&s->m, 1));
	assert_int_equal(s->m.heard.type, 1);
}

static void
commitment__R16_nothing_is_said_that_could_not_be_foretold(void **state)
{
	struct scene *s = *state;
	struct verdicts v = {s->stored.s, safe, note, s, foretell};
	bool ready = true;

	s->at_central = true;
	s->log_is_broken = true;
	ask_and_go(s, "1.9.1", one);
	store_image(s, "1.2.3.1", 1);
	assert_int_equal(verdicts_progress(&v, peers_named(s->peers, "CT1"), last_row(s).number,
					   &ready, NULL),
			 ERR_LOCAL);
	assert_int_equal(s->noted, 0);
	s->log_is_broken = false;
	pass(s, MINUTE);
	commitment_wake(s->c);
	assert_true(modality_await(&s->m, 1));
	assert_int_equal(s->m.heard.type, 1);
	assert_int_equal(s->foretold, 1);
}

static void
commitment__another_class_is_0119(void **state)
{
	struct scene *s = *state;
	struct reference ref = {.reason = 0};
	struct references list = {.all = &ref, .n = 1}, r;
	struct buf bytes = BUF_INIT;

	store_image(s, "1.2.3.1", 1);
	s->at_central = true;
	strcpy(list.transaction, "1.9.1");
	strcpy(ref.sop_class, "1.2.840.10008.5.1.4.1.1.4");
	strcpy(ref.sop_instance, "1.2.3.1");
	references_ask(&bytes, "1.2.840.10008.1.2.1", &list);
	call(s);
	assert_int_equal(modality_action(&s->m, 1, COMMITMENT_INSTANCE, &bytes).status, 0);
	assert_int_equal(modality_listen(&s->m, &r), 2);
	assert_int_equal(reason_of(&r, "1.2.3.1"), REASON_CLASS_INSTANCE_CONFLICT);
	references_fini(&r);
	buf_fini(&bytes);
	assert_int_equal(s->noted, 0);
}

static void
commitment__R3_a_UID_held_in_any_version_is_success(void **state)
{
	struct scene *s = *state;
	struct references r;

	uint64_t first = store_image(s, "1.2.3.1", 1);

	store_image(s, "1.2.3.1", 2); /* a conflict: the first stays current */
	assert_int_equal(stored_drop(s->stored.s, first, NULL), 0);
	settings(s, "commit = edge");
	ask(s, "1.9.1", one);
	assert_int_equal(modality_listen(&s->m, &r), 1);
	references_fini(&r);
}

static void
commitment__with_commit_edge_the_own_copy_will_do(void **state)
{
	struct scene *s = *state;
	struct references r;

	store_image(s, "1.2.3.1", 1);
	settings(s, "commit = edge");
	ask(s, "1.9.1", one);
	assert_int_equal(modality_listen(&s->m, &r), 1);
	references_fini(&r);
	assert_true(all_settled(s));
	assert_int_equal(s->noted_here_only, 0);
}

static void
commitment__commit_wait_ends_in_success_on_the_own_copy(void **state)
{
	struct scene *s = *state;

	store_image(s, "1.2.3.1", 1);
	ask_and_go(s, "1.9.1", one);
	pass(s, 12 * HOUR - 1);
	still_waits(s);
	pass(s, 1);
	assert_true(modality_await(&s->m, 1));
	assert_int_equal(s->m.heard.type, 1);
	assert_int_equal(s->noted_here_only, 1);
	settings(s, "commit_wait = never");
	ask_and_go(s, "1.9.2", one);
	pass(s, 30 * DAY);
	still_waits(s);
	s->at_central = true;
	commitment_wake(s->c);
	assert_true(modality_await(&s->m, 2));
	assert_int_equal(s->noted_here_only, 1);
}

static void
commitment__R18_what_is_known_and_not_here_waits_for_14_days(void **state)
{
	struct scene *s = *state;
	uint64_t oid = store_image(s, "1.2.3.1", 1);

	assert_int_equal(stored_drop(s->stored.s, oid, NULL), 0);
	ask_and_go(s, "1.9.1", one);
	pass(s, 13 * DAY);
	still_waits(s);
	pass(s, DAY);
	assert_true(modality_await(&s->m, 1));
	assert_int_equal(reason_of(&s->m.heard.list, "1.2.3.1"), STATUS_PROCESSING_FAILURE);
}

/* --- a peer that is off --- */

static void
commitment__a_result_is_offered_again_across_restarts(void **state)
{
	struct scene *s = *state;

	store_image(s, "1.2.3.1", 1);
	modality_off(&s->m);
	ask_and_go(s, "1.9.1", one);
	s->at_central = true;
	commitment_wake(s->c);
	offered(s, 1);
	restart(s);
	assert_int_equal(waiting(s), 1);
	modality_on(&s->m);
	pass(s, DAY);
	assert_true(modality_await(&s->m, 1));
	assert_string_equal(s->m.heard.calling, "NODE");
	assert_true(all_settled(s));
}

/* A transaction that it has forgotten, say. */
static void
commitment__a_result_that_is_refused_holds_up_no_other(void **state)
{
	struct scene *s = *state;

	store_image(s, "1.2.3.1", 1);
	s->at_central = true;
	s->m.answer = STATUS_PROCESSING_FAILURE;
	ask_and_go(s, "1.9.1", one);
	assert_true(modality_await(&s->m, 1));
	offered(s, 1);
	s->m.answer = STATUS_SUCCESS;
	ask_and_go(s, "1.9.2", one);
	assert_true(modality_await(&s->m, 2));
	assert_string_equal(s->m.heard.list.transaction, "1.9.2");
	assert_true(all_settled_but(s, 1));
	assert_string_equal(last_row(s).transaction, "1.9.1");
}

static void
commitment__a_result_that_is_not_taken_is_given_up_after_14_days(void **state)
{
	struct scene *s = *state;

	store_image(s, "1.2.3.1", 1);
	s->at_central = true;
	s->m.answer = STATUS_PROCESSING_FAILURE;
	ask_and_go(s, "1.9.1", one);
	assert_true(modality_await(&s->m, 1));
	offered(s, 1);
	pass(s, 14 * DAY - HOUR);
	assert_true(modality_await(&s->m, 2));
	offered(s, 2);
	pass(s, 2 * HOUR);
	assert_true(modality_await(&s->m, 3));
	assert_true(all_settled(s));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define scene_test(f) cmocka_unit_test_setup_teardown(f, begin, end)
		scene_test(commitment__what_is_ready_is_told_on_the_same_association),
		scene_test(commitment__a_later_result_calls_the_peer_as_SCP_by_the_called_title),
		scene_test(commitment__a_peer_that_says_something_else_is_called),
		scene_test(commitment__a_result_that_nobody_answered_goes_out_again),
		scene_test(commitment__R29_only_a_peer_that_may_and_can_be_called_is_served),
		scene_test(commitment__what_is_no_request_is_refused_by_its_status),
		scene_test(commitment__a_transaction_is_used_once),
		scene_test(commitment__an_image_that_never_comes_is_0112_after_15_minutes),
		scene_test(commitment__an_image_may_come_after_its_reference),
		scene_test(commitment__another_class_is_0119),
		scene_test(commitment__R16_nothing_is_said_that_could_not_be_foretold),
		scene_test(commitment__R3_a_UID_held_in_any_version_is_success),
		scene_test(commitment__with_commit_edge_the_own_copy_will_do),
		scene_test(commitment__commit_wait_ends_in_success_on_the_own_copy),
		scene_test(commitment__R18_what_is_known_and_not_here_waits_for_14_days),
		scene_test(commitment__a_result_is_offered_again_across_restarts),
		scene_test(commitment__a_result_that_is_refused_holds_up_no_other),
		scene_test(commitment__a_result_that_is_not_taken_is_given_up_after_14_days),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
