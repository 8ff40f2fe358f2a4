/*
 * viewer.h - a DICOM node over a store of its own, and a viewer that asks it,
 * through real associations on loopback.
 */
#ifndef SALAMANDER_TESTS_LIB_VIEWER_H
#define SALAMANDER_TESTS_LIB_VIEWER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/rng.h"
#include "common/dimse/find.h"
#include "common/dimse/message.h"
#include "common/dimse/retrieve.h"
#include "common/dimse/service.h"
#include "tests/lib/stored.h"

#define FIND "1.2.840.10008.5.1.4.1.2.2.1"
#define MOVE "1.2.840.10008.5.1.4.1.2.2.2"
#define GET "1.2.840.10008.5.1.4.1.2.2.3"
#define FIND_PATIENT "1.2.840.10008.5.1.4.1.2.1.1"
#define FIND_PATIENT_ONLY "1.2.840.10008.5.1.4.1.2.3.1"
#define MOVE_PATIENT "1.2.840.10008.5.1.4.1.2.1.2"
#define ECHO "1.2.840.10008.1.1"
#define CT "1.2.840.10008.5.1.4.1.1.2"
#define SC "1.2.840.10008.5.1.4.1.1.7"
#define EXPLICIT "1.2.840.10008.1.2.1"

struct audit;
struct peers;
struct tls;

enum { VIEWER_SECONDS = 20 };
/* Contexts of viewer_open. */
enum {
	ON_FIND = 1,
	ON_MOVE = 3,
	ON_GET = 5,
	ON_CT = 7,
	ON_FIND_PATIENT = 11,
	ON_MOVE_PATIENT = 13,
	ON_ECHO = 15,
	ON_FIND_PATIENT_ONLY = 17
};

/* A node that finds and gives, and takes what it is sent into a count. */
struct node {
	struct stored stored;
	struct find_config find;
	struct retrieve_config retrieve;
	struct dimse_config config;
	struct peers *peers;
	struct dimse *dimse;
	char listen[32], audit_path[160];
	const char *titles[3], *listens[2];
	unsigned port, tls_port;
	char tls_listen[32];
	const char *tls_listens[2], *cert, *key, *ca; /* cert "": no TLS */
	_Atomic unsigned received, called_other;
	_Atomic uint64_t damaged_oid; /* the last one that a retrieve told of */
	_Atomic int no_delay;	      /* of the acceptor's socket when a query came */
	int send_buffer; /* of the acceptor's socket for the answers of a query; 0: as it is */
	struct assoc *_Atomic asking; /* C-FIND: whose */
	_Atomic bool hold;	   /* C-FIND: waits with its answers until something more comes */
	struct id128 epoch;	   /* of the central that answers; all zero: none does */
	_Atomic unsigned break_at; /* C-STORE to us: hangs up at this one; 0: never */
	_Atomic unsigned breaks;   /* so often; 0: ever again                       */
	_Atomic unsigned refuse;   /* the next ones are answered refuse_with  */
	_Atomic unsigned turned_away; /* C-STORE to us: waits for so many refusals; 0: none */
	unsigned refuse_with, meet;   /* meet: waits until so many came in at once; 0: no */
	unsigned move_associations;   /* to us: node_reload after a change */
	_Atomic unsigned inside, most_inside;
	_Atomic unsigned
		wait_at; /* C-STORE to us: waits at this one until a viewer cancelled; 0: never */
};

/* VIEWER may find, get, move; NODE is this node as a destination. */
void node_start(struct node *n);
/* more: further settings of VIEWER, then further sections. */
void node_reload(struct node *n, const char *more);
/* Listens for TLS too, at tls_port; ports are new. The paths are read at each node_reload. */
void node_secure(struct node *n, const char *cert, const char *key, const char *ca);
void node_stop(struct node *n);
/* Instances 1.2.3.9.<first> ... of study 1.2.3, `bytes` of pixels each. */
void node_put(struct node *n, unsigned first, unsigned count, size_t bytes, uint64_t *oids);

/* Is it in the audit log? _soon: the line of an association is written when it stands, which the
 * peer may know sooner. */
bool node_audited(const struct node *n, const char *what);
bool node_audited_soon(const struct node *n, const char *what);
/* No association is left, within seconds. */
bool node_alone_in_time(struct node *n);

struct viewer {
	struct assoc *a;
	unsigned stores, pendings, pending_keys;
	struct message last;
	struct buf identifier; /* of the last answer that had one */
	unsigned cancel_after; /* answers or stores; 0: never */
	unsigned char context;
};

void viewer_open(struct viewer *v, const struct node *n, const char *called);
/* The same, with what it proposes beyond the baseline of the classes. */
void viewer_open_extended(struct viewer *v, const struct node *n, const struct assoc_extended *x,
			  unsigned n_x);
/* By TLS, with a node whose certificate bears this name. */
void viewer_open_securely(struct viewer *v, const struct node *n, struct tls *tls,
			  const char *name);
void viewer_close(struct viewer *v); /* released; not open is fine */
void viewer_drop(struct viewer *v);  /* hangs up                       */
void viewer_ask(struct viewer *v, unsigned char context, unsigned command, const char *sop_class,
		const struct buf *keys, const char *destination);
void viewer_cancel(struct viewer *v);
/* Takes what comes until the final answer. */
void viewer_listen(struct viewer *v);
/* All ask by the keys (C-FIND) before any listens; each has one answer, and is closed then. */
void viewer_ask_together(struct viewer *all, unsigned n, const struct buf *keys);
/* A value of the last identifier. */
void viewer_answer(struct viewer *v, uint32_t tag, char *out, size_t size);
bool viewer_has(struct viewer *v, uint32_t tag);
unsigned viewer_failed_uids(struct viewer *v);

/* A node, a viewer (the test opens it) and the keys that it asks by: *state of each visit_test. */
struct visit {
	struct node n;
	struct viewer v;
	struct buf keys;
};
#define visit_test(f) cmocka_unit_test_setup_teardown(f, visit_start, visit_end)
int visit_start(void **state);
int visit_end(void **state);
void visit_study(struct visit *t);  /* keys: study 1.2.3                   */
void visit_counts(struct visit *t); /* the same, its availability and size */
/* Asks by the keys (Study Root), and takes what comes until the final answer. */
void visit_find(struct visit *t);
void visit_get(struct visit *t);
void visit_move(struct visit *t, const char *destination);

#endif
