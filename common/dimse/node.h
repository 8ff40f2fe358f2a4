/*
 * node.h - the DICOM side of a node: audit log, peers, listener, find and retrieve.
 *
 * Both nodes begin it with their store and settings; an edge adds what takes in.
 * Threads: open, listen, reload and stop from one; the counts from any, between open and stop.
 */
#ifndef SALAMANDER_COMMON_DIMSE_NODE_H
#define SALAMANDER_COMMON_DIMSE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/dimse/find.h"
#include "common/dimse/retrieve.h"
#include "common/dimse/service.h"
#include "common/dimse/verdicts.h"

struct audit;
struct clock;
struct commitment;
struct conf;
struct err;
struct id128;
struct peers;
struct pledging;
struct recode;
struct resolver;
struct store;

enum { DIMSE_DIR_MAX = 3000 };

struct dimse_node {
	/* set by dimse_node_open before threads start */
	struct audit *audit;
	struct peers *peers; /* the caller's thread only */
	struct resolver *resolver;
	struct recode *recode;
	struct dimse *_Atomic dimse;	/* NULL: it does not listen */
	struct commitment *commitment;	/* NULL: none is offered */
	struct pledging *pledging;	/* asks archives; NULL: nobody serves */
	_Atomic int64_t certificate_ms; /* until when that of TLS is good; 0: there is none */
	struct find_config find;
	struct retrieve_config retrieve;
	const char *titles[DIMSE_TITLES_MAX + 1], *listen[DIMSE_LISTEN_MAX + 1],
		*tls_listen[DIMSE_LISTEN_MAX + 1];
	char dir[DIMSE_DIR_MAX];
	void *node; /* of the handlers below */
	struct dimse_handlers take_in;
	struct dimse_config config;
};

struct dimse_node_config {
	const struct conf *conf;
	const char *dir; /* the data folder: audit.log and addresses */
	struct store *store;
	struct clock *clock;
	struct dimse_handlers take_in;			 /* store_* and admit; node */
	bool (*central)(void *arg, struct id128 *epoch); /* NULL: this is central  */
	/* This copy failed its check on the way out. NULL: it is only logged. */
	void (*damaged)(void *arg, uint64_t oid);
	void *arg;
	/* Storage commitment: safe and note are the node's; safe NULL: it is not offered. */
	struct verdicts verdicts;
	bool (*commitment_turned)(void *arg);
};

/* [dicom] and [peer *] beyond what each row says for itself. */
int dimse_check_settings(const struct conf *c, struct err *e);
/* The PEM files that [dicom] names: can they be read, and do they fit each other? */
int dimse_check_files(const struct conf *c, struct err *e);
/* All but the listener: what HTTP's handlers use as well stands before them. */
int dimse_node_open(struct dimse_node *n, const struct dimse_node_config *c, struct err *e);
int dimse_node_listen(struct dimse_node *n, struct err *e);
/* Peers are read again from this configuration, and the files of TLS; no association is cut. */
int dimse_node_reload(struct dimse_node *n, const struct conf *c, struct err *e);
/* Associations and requests refused since the start, by a cap, a title or a right (R29); 0
 * while it does not listen. */
unsigned long dimse_node_refusals(const struct dimse_node *n);
/* That stand now; 0 while it does not listen. */
unsigned dimse_node_associations(const struct dimse_node *n);
/* Events that audit.log could not take since the start (R36). */
unsigned long dimse_node_unaudited(const struct dimse_node *n);
/* Wall clock until which our certificate of DICOM TLS is good: the one that is shown, or without a
 * listener the one that the settings name; 0: there is none. */
int64_t dimse_node_certificate(const struct dimse_node *n, const struct conf *c);
/* It has expired, or does within a month: `status` exits 3. */
bool dimse_expires_soon(int64_t until_ms, int64_t wall_ms);
void dimse_node_stop(struct dimse_node *n); /* an all-zero one is fine */

#endif
