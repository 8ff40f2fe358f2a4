/*
 * recode.h - objects in another transfer syntax, by worker processes (worker.h).
 *
 * A worker is started when one is wanted and none is idle, up to `most` at once; who comes
 * later waits. One that crashes, hangs or takes too long ends with its job, and nothing else
 * does. What goes to it and comes back lies in files without a name in `dir`, gone with
 * whoever holds them (R35).
 * Threads: recode_run from any; recode_free when none runs.
 */
#ifndef SALAMANDER_COMMON_DIMSE_RECODE_H
#define SALAMANDER_COMMON_DIMSE_RECODE_H

#include <stdint.h>

struct err;
struct recode; /* opaque */
struct store_reader;

struct recode_config {
	const char *worker; /* the program                                    */
	const char *dir;    /* for objects on their way                       */
	unsigned most;	    /* workers at once                                */
	unsigned seconds;   /* for an object                                  */
	uint64_t memory;    /* of a worker, in bytes of address space         */
	uint64_t output;    /* bytes that may come of an object               */
};

/* Strings are copied. Nothing is started yet. */
int recode_new(struct recode **out, const struct recode_config *c, struct err *e);
void recode_free(struct recode *r); /* ends the workers; NULL is fine */

/*
 * The data set of this version in `syntax`: *fd (the caller's to close), *size bytes.
 * ERR_PEER: it cannot be had in this syntax, e says at which step. meanwhile (NULL: nobody) is
 * asked each second; what it says other than 0 ends the job and is returned.
 */
int recode_run(struct recode *r, struct store_reader *from, const char *syntax,
	       int (*meanwhile)(void *arg, struct err *e), void *arg, int *fd, uint64_t *size,
	       struct err *e);

#endif
