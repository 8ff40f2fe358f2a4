#include "tests/lib/certify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/lib/folder.h"

void
ca_make(struct ca *ca, const char *name, int64_t at_ms, unsigned days)
{
	*ca = (struct ca){BUF_INIT, BUF_INIT};
	assert_int_equal(pki_key_make(&ca->key, NULL), 0);
	assert_int_equal(pki_ca_make(&ca->pem, &ca->key, name, at_ms, days, NULL), 0);
}

void
ca_fini(struct ca *ca)
{
	buf_fini(&ca->key);
	buf_fini(&ca->pem);
}

void
ca_certify(const struct ca *ca, const char *stem, struct pki_issue what, const struct buf *behind)
{
	struct buf key = BUF_INIT, der = BUF_INIT, pem = BUF_INIT;
	char file[64];

	what.ca = &ca->pem;
	what.ca_key = &ca->key;
	assert_int_equal(pki_key_make(&key, NULL), 0);
	assert_int_equal(pki_request_make(&der, &key, what.name, NULL), 0);
	assert_int_equal(pki_issue(&pem, &what, der.data, der.len, NULL), 0);
	if (behind)
		buf_put(&pem, behind->data, behind->len);
	(void)snprintf(file, sizeof(file), "%s.key", stem);
	folder_put(file, &key);
	(void)snprintf(file, sizeof(file), "%s.pem", stem);
	folder_put(file, &pem);
	buf_fini(&key);
	buf_fini(&der);
	buf_fini(&pem);
}
