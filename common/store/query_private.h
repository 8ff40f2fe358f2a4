/*
 * query_private.h - a query from within: query.c goes through its candidates,
 * query_choose.c says where they come from, query_rows.c which of them match.
 *
 * Threads: a struct query belongs to one.
 */
#ifndef SALAMANDER_COMMON_STORE_QUERY_PRIVATE_H
#define SALAMANDER_COMMON_STORE_QUERY_PRIVATE_H

#include "common/base/buf.h"
#include "common/dicom/keys.h"
#include "common/kv/kv.h"
#include "common/store/name_filter.h"
#include "common/store/order.h"
#include "common/store/persons.h"
#include "common/store/query.h"

struct store_tx;

/* The first page is short: a viewer sees the first answers at once. */
enum { FIRST_PAGE = 8, PAGE_MATCHES = 64, PAGE_LOOKS = 512 };
/* More candidates than this are not sorted: all studies are gone through, newest first. */
enum { ORDER_MAX = 16384 };

/* Where candidates come from: lists of study UIDs, or a range of one table. */
enum source { FROM_UIDS, FROM_ORDER, FROM_LOOKUP, FROM_NEWEST };

struct match { /* offsets into q->bytes */
	size_t study, study_n, series, series_n, instance, instance_n;
	uint64_t oid, studies, series_count, instances;
	enum query_availability availability;
	bool moves;
	int minutes;
};

struct query {
	struct store *s;
	struct query_config c;
	struct buf keys;
	enum source source;
	bool exhausted, wants_availability, wants_related, collecting;
	bool wants_modalities, wants_classes;
	bool zoned; /* the keys name their zone: minutes east of Greenwich, */
	int zone;
	bool moves;		    /* the study that is looked at is in a known one, too   */
	bool row_zoned;		    /* it is in a known one,                                */
	int row_zone;		    /* this                                                 */
	struct order order;	    /* FROM_ORDER */
	struct name_filter filter;  /* collecting names */
	struct buf low, high;	    /* of the lookup range: low <= key < high */
	size_t value_at;	    /* lookup keys: the study UID lies behind this many NULs */
	struct buf last;	    /* the last key looked at */
	size_t uid_at;		    /* FROM_UIDS: where in the list */
	char inner_study[UID_SIZE]; /* SERIES, IMAGE: the study being walked */
	struct buf inner;	    /* and its last row's key                */
	struct persons persons;	    /* PATIENT: of the ID being walked, */
	struct buf id;		    /* which this is (a key's value)    */
	const struct persons_one *giving; /* those of them still to be given  */
	struct match page[PAGE_MATCHES];
	unsigned n_page, at, page_most;
	unsigned looks;		/* rows and versions that this read transaction has seen */
	struct buf seen;	/* see_rejected: a study's row as this query sees it, */
	char seen_of[UID_SIZE]; /* of this study, in this read transaction            */
	struct buf bytes;
};

/* A key that is asked for and not universal. */
bool query_key(const struct query *q, uint32_t tag, struct attr *out);
/* This study's rows are looked at from now on: in which zone are they? */
void query_enter(struct query *q, struct attrs study);
/* Sets the source; before the first page. */
void query_choose(struct query *q);
/* Relational: the studies of the series or instances that are named; after query_choose. */
int query_gather(struct query *q, struct err *e);
/* This study is to be looked at, in its order. */
int query_candidate(struct query *q, struct store_tx *tx, const char *study, struct err *e);
/* What this query sees of a row's instances (a study's or a series'), and of a study's series. */
uint64_t query_instances(const struct query *q, struct attrs row, enum key_level level);
uint64_t query_series(const struct query *q, struct attrs study);
/* Does it see this instance at all? */
bool query_sees(const struct query *q, struct attrs instance);
/* A study's row becomes what this query sees of it: what is rejected for quality counts, or not.
 * Valid until the next call. */
int query_seen_study(struct query *q, struct store_tx *tx, const char *study, struct attrs *row,
		     struct err *e);
/* Goes through the rows of `table` whose keys begin with prefix, until one is wanted. */
int query_any_row(struct query *q, struct store_tx *tx, const char *table, const struct buf *prefix,
		  int (*wanted)(struct query *q, struct store_tx *tx, struct kv_slice k,
				struct kv_slice v, bool *yes, struct err *e),
		  bool *yes, struct err *e);
/* STUDY: what there is of its patient (R33). */
int query_count_related(struct query *q, struct store_tx *tx, const char *study, struct match *m,
			struct err *e);
/* The keys of these levels against a row of theirs. */
bool query_row_matches(const struct query *q, struct attrs row, enum key_level from,
		       enum key_level to);
/* Is something asked for at these levels? */
bool query_asks_at(const struct query *q, enum key_level from, enum key_level to);
/* Relational: has the study, or this series of it, something that matches the keys below?
 * Not relational: yes. */
int query_below_matches(struct query *q, struct store_tx *tx, const char *study, const char *series,
			bool *yes, struct err *e);

#endif
