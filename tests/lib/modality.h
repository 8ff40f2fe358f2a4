/*
 * modality.h - a modality that asks a node for storage commitment, and hears the results.
 *
 * It listens on loopback as MODALITY, from a thread of its own; what it hears last is kept.
 * Threads: the test's; what it hears is read under modality_await.
 */
#ifndef SALAMANDER_TESTS_LIB_MODALITY_H
#define SALAMANDER_TESTS_LIB_MODALITY_H

#include <pthread.h>
#include <stdbool.h>

#include "common/dicom/assoc.h"
#include "common/dimse/message.h"
#include "common/dimse/references.h"

enum { MODALITY_SECONDS = 20 };

struct modality_heard {
	unsigned n; /* results, all together */
	unsigned type;
	char calling[ASSOC_AET_SIZE], called[ASSOC_AET_SIZE];
	enum assoc_role role; /* that the node proposed for itself */
	struct references list;
};

struct modality {
	unsigned port;
	int fd; /* listens; -1: it is off */
	pthread_t thread;
	_Atomic unsigned answer; /* to results: a status */
	_Atomic bool hangs_up;	 /* instead of answering */
	pthread_mutex_t mu;
	pthread_cond_t news;
	struct modality_heard heard; /* guarded by mu */
	struct assoc *a;	     /* to the node */
};

void modality_init(struct modality *m); /* a port of its own; off */
void modality_fini(struct modality *m);
void modality_on(struct modality *m);
void modality_off(struct modality *m);
/* Waits for the n-th result; false: it did not come in time. */
bool modality_await(struct modality *m, unsigned n);

/* An association to the node; its title is MODALITY. */
void modality_call(struct modality *m, unsigned port, const char *called);
void modality_hang_up(struct modality *m); /* released; not open is fine */
/* Instances `uids` (secondary captures, NULL behind the last); the answer's status. */
unsigned modality_ask(struct modality *m, const char *transaction, const char *const *uids);
/* The same with another type of action, instance and bytes (NULL: as asked for). */
struct message modality_action(struct modality *m, unsigned type, const char *instance,
			       const struct buf *bytes);
/* The result on this association: its type, and what it lists; answered with `answer`. */
unsigned modality_listen(struct modality *m, struct references *out);

#endif
