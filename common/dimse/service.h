/*
 * service.h - the DIMSE services of a node: listener, associations, C-ECHO,
 * C-STORE into the node's sink, and C-FIND, C-MOVE, C-GET by the node's handlers.
 *
 * A thread per connection. Caps, in total and per address, act before the first
 * byte is read. C-STORE bytes go to the sink as they come; an error is
 * remembered, the rest swallowed, then answered (TRAPS 2). Signals are the
 * caller's to block before dimse_start. dimse_stop returns within about 10 s:
 * idle associations are aborted, one under way may finish its operation.
 * Threads: start, stop and reload from one; call-backs come from the connections' threads.
 */
#ifndef SALAMANDER_COMMON_DIMSE_SERVICE_H
#define SALAMANDER_COMMON_DIMSE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dicom/assoc.h"

struct audit;
struct dimse; /* opaque */
struct dimse_slot;
struct err;
struct message;
struct peer;
struct peers;

enum { DIMSE_ADDRESS_SIZE = 64, DIMSE_TITLES_MAX = 31, DIMSE_LISTEN_MAX = 16 };

/* Who calls, and by which names: valid while the association lasts. */
struct dimse_caller {
	struct assoc *assoc;
	const struct peer *peer; /* never NULL */
	struct peers *peers;
	char address[DIMSE_ADDRESS_SIZE];
	const char *calling, *called;
	const struct dimse_config *config;
	struct dimse_slot *slot; /* its place at the listener */
};

struct dimse_handlers {
	void *node;
	/*
	 * One object: begin, feed*, then end or abandon. end answers when the object is
	 * durable; it fills status and comment of rsp. A feed that fails has the rest
	 * swallowed; end is still called and gives the status. A begin that fails ends
	 * the association. store_begin NULL: storage is refused when it is proposed.
	 */
	int (*store_begin)(void *node, const struct dimse_caller *who, const struct message *rq,
			   const char *syntax, void **sink, struct err *e);
	int (*store_feed)(void *sink, const void *p, size_t n, struct err *e);
	void (*store_end)(void *sink, struct message *rsp);
	void (*store_abandon)(void *sink);
	/* May an association that proposes only storage begin (R32)? NULL: always. */
	bool (*admit)(void *node);
	/* Each answers the whole request; an error ends the association. NULL: not offered. */
	int (*find)(void *node, const struct dimse_caller *who, const struct message *rq,
		    struct err *e);
	int (*move)(void *node, const struct dimse_caller *who, const struct message *rq,
		    struct err *e);
	int (*get)(void *node, const struct dimse_caller *who, const struct message *rq,
		   struct err *e);
	int (*action)(void *node, const struct dimse_caller *who, const struct message *rq,
		      struct err *e);
	/* What was committed to, by whom it was asked of: his right is that he was asked. */
	int (*event)(void *node, const struct dimse_caller *who, const struct message *rq,
		     struct err *e);
	/* The answer to an event that the node reported here; NULL: it reports none. */
	int (*answered)(void *node, const struct dimse_caller *who, const struct message *rsp,
			struct err *e);
	void (*ended)(void *node, const struct dimse_caller *who); /* NULL: nobody cares */
};

struct dimse_config {
	const char *const *titles;     /* NULL-terminated; "any" accepts all (R30)      */
	const char *const *listen;     /* NULL-terminated "address:port", [v6]:port     */
	const char *const *tls_listen; /* the same, under TLS; NULL: none           */
	unsigned max_associations, max_per_address;
	unsigned max_pdu;
	unsigned association_seconds; /* from connect to A-ASSOCIATE-AC              */
	unsigned idle_seconds;	      /* without a PDV                               */
	unsigned stop_seconds;	      /* for operations under way when it stops; 0: 8 */
	unsigned reader_ms;	      /* R34: who takes nothing so long; 0: 60 s      */
	struct audit *audit;
	struct dimse_handlers handlers;
};

struct conf_row;
/* The rows of [dicom] that both nodes share. */
const struct conf_row *dimse_rows(size_t *n);

/* c and what it points to stay as they are until dimse_stop. Takes a reference to peers. */
int dimse_start(struct dimse **out, const struct dimse_config *c, struct peers *peers,
		struct err *e);
void dimse_reload(struct dimse *d, struct peers *peers);
void dimse_stop(struct dimse *d); /* frees; NULL is fine */
unsigned dimse_associations(struct dimse *d);
/* R29: what was refused since the start: 0124, rejected associations, caps. */
unsigned long dimse_refusals(struct dimse *d);
/* R36: a request that this caller is refused, in the audit log. */
void dimse_refused(const struct dimse_caller *who, const char *what, unsigned status);
/* C-MOVE: a socket that ends with this association when the node stops, one of DIMSE_SUBS; -1:
 * none any more. */
enum { DIMSE_SUBS = 8 };
void dimse_sub(const struct dimse_caller *who, unsigned at, int fd);

/* Splits "address:port" or "[v6]:port"; ERR_PEER names what is wrong. */
int dimse_address(const char *s, char *host, size_t size, unsigned *port, struct err *e);

#endif
