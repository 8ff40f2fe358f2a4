/*
 * adopt.h - a pack becomes part of the archive (R15): one function, whether it came
 * over the WAN, on a disk, or was found in the vault at the start.
 *
 * Its members have just been checked against their digests. What the catalogue
 * does not know of (no ledger told) is scanned and indexed from its own bytes.
 * One catalogue commit: members, holdings, pack, and the receipt's number. R17: what
 * cannot be parsed is taken like any other.
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_ADOPT_H
#define SALAMANDER_CENTRAL_ADOPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct central;
struct err;
struct id128;
struct pack;

/* receipt: filled for an incarnation that is known (NULL: none is wanted). */
int adopt_pack(struct central *c, const struct pack *p, const char *place, struct buf *receipt,
	       struct err *e);
/* The same for a pack of which some members (their numbers) are damaged: the others. */
int adopt_rest(struct central *c, const struct pack *p, const char *place, const size_t *bad,
	       size_t n_bad, struct err *e);
/* A receipt for a pack whose members are all held (again, or already). */
int adopt_receipt(struct central *c, const struct pack *p, struct buf *receipt, struct err *e);
struct version;
/* It was verified within [data] trust_days (R4, R9). */
bool adopt_is_trusted(const struct central *c, const struct version *v);
/* Every member is held and trusted (R4). */
int adopt_is_held(struct central *c, const struct pack *p, bool *held, struct err *e);
/* Checks the seal of a receipt of ours, and that it was given to this site and incarnation:
 * false when it was not (R22). */
bool adopt_receipt_valid(const struct central *c, const void *receipt, size_t n, const char *site,
			 const struct id128 *incarnation, uint64_t *number, struct id128 *epoch);
/* The pack that lies in the vault, by its manifest alone. */
struct vault;
int adopt_manifest(struct vault *v, const char *place, struct pack **out, struct err *e);
/* Reads a pack in the vault from end to end: 0, or ERR_CORRUPT with the bad members.
 * *out: the pack, NULL when not even the manifest can be read; the caller closes it. */
int adopt_examine(struct vault *v, const char *place, struct pack **out, size_t **bad,
		  size_t *n_bad, struct err *e);

#endif
