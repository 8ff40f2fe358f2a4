/*
 * pack.h - packs: POSIX ustar files that follow from their manifest alone (R14).
 *
 * Layout 1: member "manifest" (the manifest's bytes), then each instance as
 * "<SOP Instance UID>_<12 hex of the digest>.dcm" (UID only if valid), all with
 * mode 0644, owner 0, time 0; a member of 8 GiB or more has a pax header with its
 * size before it; two zero blocks end the file. So any byte range can be made
 * again from the manifest and the members' bytes, an upload resumes at an offset,
 * and `tar xf` gives DICOM files.
 *
 * Errors: ERR_PEER for a manifest that cannot be (it came from outside),
 * ERR_CORRUPT for bytes that are not those of the manifest.
 * Threads: a layout is read-only and shared; a check has one owner.
 */
#ifndef SALAMANDER_PROTO_PACK_H
#define SALAMANDER_PROTO_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/rng.h"

struct buf;
struct err;
struct pack;	   /* opaque: a manifest and where its parts lie */
struct pack_check; /* opaque: bytes on their way in              */

/* DESIGN 6: a pack closes at 1,000 objects; what others may send is bounded a little wider. */
enum { PACK_MEMBERS = 1000, PACK_MEMBERS_MAX = 4096, PACK_MANIFEST_MAX = 4 << 20 };

struct pack_member {
	uint64_t seq;
	const char *sop_instance;
	unsigned char digest[SHA256_SIZE];
	uint64_t size;
	const void *side; /* side record, may be NULL */
	size_t side_n;
	uint64_t offset; /* of its bytes in the pack: filled by pack_open */
};

/* Writes a manifest. */
int pack_manifest(struct buf *out, const char *site, const struct id128 *incarnation,
		  const struct pack_member *members, size_t n, struct err *e);

/* Reads a manifest; the bytes are copied. */
int pack_open(struct pack **out, const void *manifest, size_t n, struct err *e);
void pack_close(struct pack *p); /* NULL is fine */
void pack_id(const struct pack *p, unsigned char id[SHA256_SIZE]);
const char *pack_site(const struct pack *p);
const struct id128 *pack_incarnation(const struct pack *p);
size_t pack_count(const struct pack *p);
const struct pack_member *pack_member(const struct pack *p, size_t i);
uint64_t pack_size(const struct pack *p);

/* Gives n bytes of member i from offset on; exactly n, or an error. */
typedef int pack_read(void *arg, size_t i, uint64_t offset, void *to, size_t n, struct err *e);
/* Any range of the pack; offset + n within its size. */
int pack_make(const struct pack *p, uint64_t offset, void *to, size_t n, pack_read *read, void *arg,
	      struct err *e);

/* Takes the pack's bytes in order and tells what is wrong with them. Borrows p. */
int pack_check_new(struct pack_check **out, const struct pack *p, struct err *e);
void pack_check_free(struct pack_check *c); /* NULL is fine */
/* ERR_CORRUPT: what lies between members is not as the manifest says. */
int pack_check_add(struct pack_check *c, const void *bytes, size_t n, struct err *e);
uint64_t pack_check_offset(const struct pack_check *c);
/* All bytes are in: *n_bad members fail their digest; false while bytes are missing. */
bool pack_check_end(const struct pack_check *c, const size_t **bad, size_t *n_bad);

#endif
