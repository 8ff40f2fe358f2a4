/*
 * pair.h - an edge and a central in one process, over link_loop, with a clock of the test.
 *
 * Messages can be dropped before they arrive or after they were answered; either
 * node can be closed and opened again between any two messages, or lose its disk.
 * Threads: the test's own.
 */
#ifndef SALAMANDER_TESTS_LIB_PAIR_H
#define SALAMANDER_TESTS_LIB_PAIR_H

#include <stdbool.h>
#include <stddef.h>

#include "central/central.h"
#include "common/base/clock.h"
#include "edge/edge.h"

struct buf;
struct gen;
struct http_call;
struct http_route;
struct orders;
struct replicate;

struct pair {
	char dir[64], edge_conf[96], central_conf[96];
	char quota[16];
	struct clock_manual clock;
	bool stored_only; /* [central] compress = off at the edge that pair_site opens */
	/* The nodes that are opened next; newest 0: as this release does. */
	struct protocol_range edge_speaks, central_speaks;
	struct clock *edge_clock; /* of the edge opened next; NULL: as the pair's */
	bool real_time;		  /* the nodes that are opened next go by the real clock */
	struct edge edge;
	struct central central;
	struct replicate *r;
	struct orders *o;
	bool edge_open, central_open;
	const char *site;	       /* of the edge that is open next */
	unsigned rows;		       /* and columns of the images; 0: 16            */
	void (*change)(struct gen *g); /* what is otherwise in images from now on */
	/* the link */
	_Atomic unsigned messages; /* requests and answers so far          */
	unsigned cut_at;	   /* 0: never; the number of one of them  */
	const char *cut_method;	   /* NULL, or what never arrives          */
	unsigned refused;	   /* answers of 412: R7 was broken        */
	uint64_t link_rate;	   /* of the edge that is open next; bytes per second, 0: fast */
	void (*on_request)(struct pair *p,
			   struct http_call *call); /* as it arrives; may change it */
	/* What central is reached by; NULL: its own routes. Of the edge that is opened next. */
	const struct http_route *routes;
	size_t n_routes;
	void (*on_message)(struct pair *p, const char *method, const char *path, bool answer);
};

void pair_init(struct pair *p, const char *quota);    /* folder, settings, both nodes open */
void pair_prepare(struct pair *p, const char *quota); /* the same, nothing open */
void pair_fini(struct pair *p);			      /* removes all */
void pair_open_edge(struct pair *p);
void pair_close_edge(struct pair *p);
/* Closes the edge and opens this site's, with a disk of its own; north is the first. */
void pair_site(struct pair *p, const char *site);
void pair_open_central(struct pair *p);
/* A SIGTERM waits to be heard by this thread, as `serve`'s main would find it; then it is heard. */
void pair_ask_to_stop(void);
void pair_stop_heard(void);
void pair_close_central(struct pair *p); /* its figures are those that a count gives */
void pair_check_figures(struct pair *p); /* R18 */
/* Central is closed while this runs in the pair's folder, and opened again. */
void pair_shell(struct pair *p, const char *what);
/* The disk is gone as well. */
void pair_burn_edge(struct pair *p);
void pair_burn_central(struct pair *p);

/* A generated image by its number; 0 when the edge acknowledged it. */
int pair_send(struct pair *p, unsigned number);
void pair_image(const struct pair *p, struct buf *out, unsigned number); /* the canonical file */
/* One turn of the edge's replication; time goes on to when it is due. */
void pair_turn(struct pair *p);
/* Turns until nothing is owed or announced; false: not within `most` turns. */
bool pair_settle(struct pair *p, unsigned most);
/* Hears of central's orders and carries them out, as far as the link goes. */
void pair_orders(struct pair *p);
/* Carries out the chores that are due. */
void pair_chores(struct pair *p);
/* One byte near the end of an image, where it lies in its pack at central. */
void pair_spoil(struct pair *p, unsigned number);
/* One bit of its digest in that pack's manifest. */
void pair_spoil_manifest(struct pair *p, unsigned number);
bool pair_edge_has(struct pair *p, unsigned number);	/* bytes, checked */
bool pair_central_has(struct pair *p, unsigned number); /* bytes, checked */

/* A TCP port of loopback that nobody holds now. */
unsigned pair_free_port(void);

#endif
