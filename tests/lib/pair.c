#include "tests/lib/pair.h"

#include <arpa/inet.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "central/catalogue.h"
#include "central/figures.h"
#include "central/intake.h"
#include "central/upload.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/http/server.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "edge/keep.h"
#include "edge/chores.h"
#include "edge/mend.h"
#include "edge/orders.h"
#include "edge/outbox.h"
#include "edge/replicate.h"
#include "proto/ledger.h"
#include "proto/link.h"
#include "tests/gen/gen.h"
#include "tests/lib/send.h"

static void
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* The first site's disk is edge, another's edge-<site>. */
static void
write_edge_conf(const struct pair *p)
{
	bool first = strcmp(p->site, "north") == 0;
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "[site]\nname = %s\nissuer = NORTH\n[data]\ndir = %s/edge%s%s\nquota = %s\n"
		       "[log]\nlevel = error\n[central]\nurl = http://127.0.0.1:1\ncompress = %s\n",
		       p->site, p->dir, first ? "" : "-", first ? "" : p->site, p->quota,
		       p->stored_only ? "off" : "auto");
	write_text(p->edge_conf, text);
}

void
pair_prepare(struct pair *p, const char *quota)
{
	char text[512];

	memset(p, 0, sizeof(*p));
	log_set_level(LOG_ERROR);
	strcpy(p->dir, "/tmp/test_pair.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	clock_manual_init(&p->clock, 1000000, clock_wall(clock_real()));
	(void)snprintf(p->edge_conf, sizeof(p->edge_conf), "%s/edge.conf", p->dir);
	(void)snprintf(p->central_conf, sizeof(p->central_conf), "%s/central.conf", p->dir);
	strcpy(p->quota, quota);
	p->site = "north";
	write_edge_conf(p);
	(void)snprintf(text, sizeof(text),
		       "[data]\ndir = %s/central\ncatalogue = 1GiB\n[log]\nlevel = error\n",
		       p->dir);
	write_text(p->central_conf, text);
}

void
pair_init(struct pair *p, const char *quota)
{
	pair_prepare(p, quota);
	pair_open_central(p);
	pair_open_edge(p);
}

static void
drop(const struct pair *p, const char *below)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "rm -rf %s%s", p->dir, below);
	assert_int_equal(system(command), 0);
}

void
pair_fini(struct pair *p)
{
	pair_close_edge(p);
	pair_close_central(p);
	drop(p, "");
}

static bool
cut(void *arg, const struct http_call *call, bool answer)
{
	struct pair *p = arg;

	p->messages++;
	if (p->on_message)
		p->on_message(p, call->method, call->path, answer);
	if (p->on_request && !answer)
		p->on_request(p, (struct http_call *)(uintptr_t)call);
	if (!p->central_open)
		return true;
	if (p->cut_method && strcmp(p->cut_method, call->method) == 0)
		return true;
	return p->cut_at && p->messages == p->cut_at;
}

static int
make_link(struct link **out, struct edge *e, struct err *err)
{
	struct pair *p = (struct pair *)((char *)e - offsetof(struct pair, edge));
	struct link_loop_config c = {.to = {.node = &p->central, .site = p->site},
				     .cut = cut,
				     .arg = p,
				     .rate = p->link_rate};

	c.to.routes = p->routes;
	c.to.n_routes = p->n_routes;
	if (!p->routes)
		c.to.routes = intake_routes(&c.to.n_routes);
	return link_loop(out, &c, err);
}

void
pair_open_edge(struct pair *p)
{
	struct err e = ERR_INIT;
	struct link *link;

	if (edge_open(&p->edge, p->edge_conf, EDGE_SERVE, &e))
		fail_msg("edge: %s", e.what);
	if (p->edge_speaks.newest)
		p->edge.speaks = p->edge_speaks;
	p->edge.clock = p->edge_clock ? p->edge_clock : p->real_time ? clock_real() : &p->clock.c;
	p->edge.make_link = make_link;
	assert_int_equal(keep_start(&p->edge.keep, &p->edge, &e), 0);
	assert_int_equal(mend_new(&p->edge.mend, &p->edge, &e), 0);
	p->edge_open = true;
	assert_int_equal(make_link(&link, &p->edge, &e), 0);
	assert_int_equal(replicate_new(&p->r, &p->edge, link, &e), 0);
	assert_int_equal(make_link(&link, &p->edge, &e), 0);
	assert_int_equal(orders_new(&p->o, &p->edge, link, &e), 0);
	p->edge.orders = p->o;
	assert_int_equal(chores_new(&p->edge.chores, &p->edge, &e), 0);
}

void
pair_close_edge(struct pair *p)
{
	if (!p->edge_open)
		return;
	chores_stop(p->edge.chores);
	p->edge.chores = NULL;
	p->edge.orders = NULL;
	orders_stop(p->o);
	p->o = NULL;
	replicate_free(p->r);
	p->r = NULL;
	mend_stop(p->edge.mend);
	p->edge.mend = NULL;
	keep_stop(p->edge.keep);
	edge_close(&p->edge);
	p->edge_open = false;
}

void
pair_site(struct pair *p, const char *site)
{
	pair_close_edge(p);
	p->site = site;
	write_edge_conf(p);
	pair_open_edge(p);
}

void
pair_open_central(struct pair *p)
{
	struct err e = ERR_INIT;

	if (central_open(&p->central, p->central_conf, CENTRAL_SERVE, &e))
		fail_msg("central: %s", e.what);
	if (p->central_speaks.newest)
		p->central.speaks = p->central_speaks;
	p->central.clock = p->real_time ? clock_real() : &p->clock.c;
	assert_int_equal(uploads_new(&p->central.uploads, &e), 0);
	p->central_open = true;
}

static void
same_row(const struct tally_row *a, const struct tally_row *b)
{
	assert_int_equal(a->leader, b->leader);
	assert_int_equal(a->site_known, b->site_known);
	assert_memory_equal(a->site_of, b->site_of, sizeof(a->site_of));
	assert_int_equal(a->site_exposure.instances, b->site_exposure.instances);
	assert_int_equal(a->site_exposure.bytes, b->site_exposure.bytes);
	assert_int_equal(a->site_owed_bytes, b->site_owed_bytes);
	/* One is counted a moment after the other. */
	assert_true(b->site_exposure.oldest_seconds - a->site_exposure.oldest_seconds <= 1);
	assert_true(b->site_owed_seconds - a->site_owed_seconds <= 1);
}

void
pair_check_figures(struct pair *p)
{
	struct tally counted, running;
	struct store_tx *tx;
	size_t i;

	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(tally_make(&counted, tx, NULL), 0);
	assert_int_equal(figures_tally(&running, tx, NULL), 0);
	store_end_read(tx);
	assert_int_equal(counted.n, running.n);
	assert_int_equal(counted.damaged, running.damaged);
	for (i = 0; i < counted.n; i++)
		same_row(&counted.rows[i], &running.rows[i]);
	tally_free(&counted);
	tally_free(&running);
}

void
pair_close_central(struct pair *p)
{
	if (!p->central_open)
		return;
	if (p->central.store)
		pair_check_figures(p);
	uploads_free(p->central.uploads);
	p->central.uploads = NULL;
	central_close(&p->central);
	p->central_open = false;
}

void
pair_shell(struct pair *p, const char *what)
{
	char line[400];

	pair_close_central(p);
	(void)snprintf(line, sizeof(line), "cd %s && %s", p->dir, what);
	assert_int_equal(system(line), 0);
	pair_open_central(p);
}

void
pair_burn_edge(struct pair *p)
{
	pair_close_edge(p);
	drop(p, "/edge");
}

void
pair_burn_central(struct pair *p)
{
	pair_close_central(p);
	drop(p, "/central");
}

unsigned
pair_free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	assert_int_equal(close(fd), 0);
	return ntohs(a.sin_port);
}

/* --- images --- */

static void
recipe(const struct pair *p, struct gen *g, unsigned number)
{
	gen_init(g);
	g->study = 1 + number / 4;
	g->instance = 1 + number;
	g->rows = g->columns = p->rows ? p->rows : 16;
	g->seed = number;
	if (p->change)
		p->change(g);
}

void
pair_image(const struct pair *p, struct buf *out, unsigned number)
{
	struct gen g;

	recipe(p, &g, number);
	gen_file(out, &g);
}

int
pair_send(struct pair *p, unsigned number)
{
	struct gen g;
	unsigned status;

	recipe(p, &g, number);
	status = send_image(&p->edge, &g);
	(void)store_settle(p->edge.store, NULL); /* the test looks at once */
	return status ? -1 : 0;
}

/* The pack that holds an image at central, open; *v: the version there. */
static int
open_pack(struct pair *p, unsigned number, unsigned char digest[SHA256_SIZE], struct version *v)
{
	char path[PATH_MAX];
	struct buf image = BUF_INIT;
	struct pack_row row;
	struct store_tx *tx;
	uint64_t oid;
	int fd;

	pair_image(p, &image, number);
	sha256_of(image.data, image.len, digest);
	buf_fini(&image);
	assert_int_equal(store_begin_read(&tx, p->central.store, NULL), 0);
	assert_int_equal(store_by_digest(tx, digest, &oid, NULL), 0);
	assert_int_equal(store_version(tx, oid, v, NULL), 0);
	assert_int_equal(pack_row_get(tx, v->pack, &row, NULL), 0);
	store_end_read(tx);
	(void)snprintf(path, sizeof(path), "%s/central/vault/packs/%s", p->dir, row.place);
	fd = file_open(path, true, NULL);
	assert_true(fd >= 0);
	return fd;
}

void
pair_spoil(struct pair *p, unsigned number)
{
	unsigned char digest[SHA256_SIZE];
	struct version v;
	int fd = open_pack(p, number, digest, &v);

	assert_int_equal(file_write_at(fd, "~", 1, v.offset + v.size - 10, NULL), 0);
	file_close(fd);
}

void
pair_spoil_manifest(struct pair *p, unsigned number)
{
	unsigned char digest[SHA256_SIZE], head[8192], *at;
	struct version v;
	size_t got;
	int fd = open_pack(p, number, digest, &v);

	assert_int_equal(file_read_at(fd, head, sizeof(head), 0, &got, NULL), 0);
	at = memmem(head, got, digest, SHA256_SIZE);
	assert_non_null(at);
	at[2] ^= 0x40;
	assert_int_equal(file_write_at(fd, at, SHA256_SIZE, (uint64_t)(at - head), NULL), 0);
	file_close(fd);
}

void
pair_turn(struct pair *p)
{
	int64_t due = replicate_due(p->r), now = clock_mono(&p->clock.c);

	if (due > now)
		clock_manual_advance(&p->clock, due - now);
	replicate_turn(p->r, 0);
}

void
pair_orders(struct pair *p)
{
	unsigned turns, idle;

	/* Each answer with orders is followed by a question for the next ones; beside the poll
	 * one more call may be under way. */
	for (turns = idle = 0; turns < 100 && idle < 2; turns++) {
		idle = orders_due(p->o) <= clock_mono(&p->clock.c) ? 0 : idle + 1;
		orders_turn(p->o, 0);
	}
}

void
pair_chores(struct pair *p)
{
	bool ran = true;
	unsigned n;

	for (n = 0; n < 100 && ran; n++)
		chores_turn(p->edge.chores, &ran);
}

static bool
settled(struct pair *p)
{
	struct outbox_counts counts;
	struct ledger_head head;
	struct contact contact;
	struct store_tx *tx;

	assert_int_equal(store_begin_read(&tx, p->edge.store, NULL), 0);
	assert_int_equal(outbox_counts(tx, &counts, NULL), 0);
	assert_int_equal(ledger_head(tx, &head, NULL), 0);
	store_end_read(tx);
	edge_contact(&p->edge, &contact);
	return counts.owed == 0 && counts.packed == 0 && contact.reachable && !contact.comparing &&
	       contact.announced == head.seq;
}

bool
pair_settle(struct pair *p, unsigned most)
{
	while (most--) {
		pair_turn(p);
		if (settled(p))
			return true;
	}
	return false;
}

static bool
has(const struct pair *p, struct store *s, unsigned number)
{
	unsigned char digest[SHA256_SIZE];
	struct buf file = BUF_INIT;
	struct store_tx *tx;
	uint64_t oid;
	int rc;

	pair_image(p, &file, number);
	sha256_of(file.data, file.len, digest);
	buf_fini(&file);
	assert_int_equal(store_begin_read(&tx, s, NULL), 0);
	rc = store_by_digest(tx, digest, &oid, NULL);
	store_end_read(tx);
	return !rc && store_check(s, oid, NULL) == 0;
}

bool
pair_edge_has(struct pair *p, unsigned number)
{
	return has(p, p->edge.store, number);
}

bool
pair_central_has(struct pair *p, unsigned number)
{
	return has(p, p->central.store, number);
}

void
pair_ask_to_stop(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)raise(SIGTERM);
}

void
pair_stop_heard(void)
{
	sigset_t set;
	int sig;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigwait(&set, &sig);
}
