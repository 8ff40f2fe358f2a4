/*
 * asker.h - a node that has an archive commit to its images, and that archive, on loopback, with a
 * clock of the test.
 *
 * Threads: one owner; what is atomic is read by the archive's as well.
 */
#ifndef SALAMANDER_TESTS_LIB_ASKER_H
#define SALAMANDER_TESTS_LIB_ASKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dicom/assoc.h"
#include "common/dimse/message.h"
#include "common/dimse/pledges.h"
#include "common/dimse/references.h"
#include "common/dimse/service.h"
#include "tests/lib/stored.h"

#define HOUR INT64_C(3600000)

struct peers;
struct pledging;

struct asker {
	struct stored stored;
	struct peers *peers;
	struct pledging *p;
	struct dimse *dimse;
	struct dimse_config config;
	unsigned port;
	char listen[32];
	/* the archive */
	struct dimse *archive;
	struct dimse_config archive_config;
	struct peers *archive_peers;
	unsigned archive_port;
	char archive_listen[32];
	_Atomic unsigned status; /* that it answers requests with, ... */
	_Atomic unsigned only;	 /* ... those of so many images; 0: all */
	_Atomic bool at_once;	 /* its result comes on the same association */
	_Atomic bool early;	 /* ... before its answer */
	_Atomic unsigned asked;
	_Atomic unsigned refuse;      /* C-STORE: what it answers image 1.2.3.1 with, ... */
	_Atomic bool hangs_up;	      /* ... or so */
	_Atomic unsigned taken, kept; /* the status of this one; how many with 0000 */
	pthread_mutex_t mu;
	struct references list; /* guarded by mu: of the last request */
};

/* Set-up and tear-down of a test. */
int asker_begin(void **state);
int asker_end(void **state);
/* The node stops, and is there again. */
void asker_restart(struct asker *s);
/* The archive is there, or off. */
void asker_on(struct asker *s);
void asker_off(struct asker *s);
/* Images 1.2.3.1 ... of study 1.2.3. */
void asker_images(struct asker *s, unsigned n);
/* The archive is to be asked for all of this; the number of the first request. */
uint64_t asker_wish(struct asker *s, const char *uid, size_t most);
/* send: it gets first what it lacks. */
uint64_t asker_order(struct asker *s, const char *uid, size_t most, bool send);
struct pledge_row asker_row(struct asker *s, uint64_t number);
void asker_moment(void);
struct pledge_row asker_await(struct asker *s, uint64_t number, enum pledge_phase phase);
void asker_await_tries(struct asker *s, uint64_t number, unsigned tries);
/* Time passes at the node. */
void asker_pass(struct asker *s, int64_t ms);
struct pledge asker_standing(struct asker *s, const char *uid);
void asker_counts_are(struct asker *s, unsigned open, unsigned committed, unsigned refused,
		      unsigned ran_out, unsigned unseen);

/* The list of the last request, to be answered. */
struct references asker_asked(struct asker *s);
struct message asker_event(unsigned char context, unsigned type);
/* A result on an association of its own; the answer's status. 0xffff: not accepted. */
unsigned asker_report(struct asker *s, const struct references *list);
unsigned asker_report_as(struct asker *s, const char *title, const struct message *m,
			 const struct references *list);
unsigned asker_report_in_role(struct asker *s, const char *title, enum assoc_role role,
			      const struct message *m, const struct references *list);

#endif
