/*
 * kit.h - the recovery kit: what must not burn with central (R25).
 *
 * A file under a passphrase (common/base/seal.h, "SALAMANDER RECOVERY KIT"). Inside, lines
 * "name hex": archive (its id), receipt_key, and with a CA of our own ca_key and ca (PEM).
 * Whoever has both is the archive: they are kept apart, outside the building.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_CENTRAL_KIT_H
#define SALAMANDER_CENTRAL_KIT_H

#include "common/base/buf.h"
#include "common/os/identity.h"

struct err;

enum { KIT_PASSPHRASE = 256 };

struct kit {
	struct id128 archive;
	unsigned char receipt_key[IDENTITY_KEY];
	struct buf ca_key, ca; /* empty: the operator's own certificates */
};

void kit_fini(struct kit *k);
/* A new file, durable on 0; ERR_CONFLICT when the name is taken: a kit is never overwritten. */
int kit_write(const char *path, const struct kit *k, const char *passphrase, struct err *e);
int kit_read(struct kit *out, const char *path, const char *passphrase, struct err *e);

/* The first line of a file; file NULL: a new one, of 128 random bits. */
int kit_passphrase(char out[KIT_PASSPHRASE], const char *file, struct err *e);

#endif
