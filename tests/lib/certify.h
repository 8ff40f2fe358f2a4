/*
 * certify.h - CAs and certificates of a test, made on the spot, in its folder (folder.h).
 *
 * Each step asserts that it worked. Threads: the test's own.
 */
#ifndef SALAMANDER_TESTS_LIB_CERTIFY_H
#define SALAMANDER_TESTS_LIB_CERTIFY_H

#include "common/base/buf.h"
#include "common/http/pki.h"

struct ca {
	struct buf key, pem;
};

void ca_make(struct ca *ca, const char *name, int64_t at_ms, unsigned days);
void ca_fini(struct ca *ca);
/* <stem>.key, and <stem>.pem: the certificate and what is sent behind it (NULL: nothing). Of `what`
 * the CA's certificate and key are filled in. */
void ca_certify(const struct ca *ca, const char *stem, struct pki_issue what,
		const struct buf *behind);

#endif
