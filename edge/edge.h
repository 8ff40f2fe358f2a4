/*
 * edge.h - one running edge: everything hangs from struct edge.
 *
 * Threads: fields are set once by edge_start before threads start; what they
 * point to says its own rules.
 */
#ifndef SALAMANDER_EDGE_EDGE_H
#define SALAMANDER_EDGE_EDGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/dimse/find.h"
#include "common/dimse/retrieve.h"
#include "common/dimse/service.h"

struct audit;
struct clock;
struct conf;
struct err;
struct peers;
struct store;

enum { EDGE_LIST_MAX = 32 };

struct edge {
	struct conf *conf;
	const char *conf_path;
	struct clock *clock;
	int lock;
	struct store *store;
	struct audit *audit;
	struct peers *peers; /* main's thread only */
	struct dimse *dimse;
	struct find_config find;
	struct retrieve_config retrieve;
	const char *titles[EDGE_LIST_MAX], *listen[EDGE_LIST_MAX];
	struct dimse_config dimse_config;
};

/* The edge's own tables in the store's environment. */
const char *const *edge_tables(unsigned *n);
/* Opens the data folder: lock, store. Also for commands that work without a server. */
int edge_open(struct edge *e, const char *conf_path, struct err *err);
void edge_close(struct edge *e);
/* `serve`: returns when told to stop. */
int edge_serve(struct edge *e, struct err *err);

#endif
