#include "tests/lib/by_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/dicom/assoc.h"
#include "common/dicom/tls.h"

void
by_tls(struct assoc_target *to, const char *files)
{
	char *all = strdup(files), *rest = NULL;
	const char *cert = all ? strtok_r(all, ":", &rest) : NULL;
	const char *key = cert ? strtok_r(NULL, ":", &rest) : NULL;
	const char *ca = key ? strtok_r(NULL, ":", &rest) : NULL;
	struct err e = ERR_INIT;

	if (!ca || tls_load(&to->tls, cert, key, ca, &e)) {
		fprintf(stderr, "-t CERT:KEY:CA: %s\n", e.what);
		exit(2);
	}
	free(all);
}
