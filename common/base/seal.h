/*
 * seal.h - bytes under a passphrase: AES-256-GCM, the key by scrypt (R25's recovery kit).
 *
 * As PEM: "-----BEGIN <label>-----", base64 of: "SLK1", log2 of scrypt's N (u8), r (u8),
 * p (u8), 0 (u8), salt (16), nonce (12), the sealed bytes, tag (16). What stands before the
 * sealed bytes is authenticated with them. Whoever has the passphrase needs no Salamander
 * to open it.
 * Threads: none of its own. One call takes 64 MiB and some tenths of a second.
 */
#ifndef SALAMANDER_COMMON_BASE_SEAL_H
#define SALAMANDER_COMMON_BASE_SEAL_H

#include <stddef.h>

struct buf;
struct err;

int seal_write(struct buf *pem, const char *label, const char *passphrase, const void *p, size_t n,
	       struct err *e);
/* ERR_CORRUPT: no such thing, or damaged, or another passphrase. Appends to out. */
int seal_open(struct buf *out, const char *label, const char *passphrase, const void *pem, size_t n,
	      struct err *e);

#endif
