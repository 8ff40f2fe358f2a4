#include "central/central_settings.h"

#include <stdint.h>
#include <string.h>

#include "central/join.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dimse/node.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"
#include "common/http/server.h"

enum { ROWS_MAX = 64 };

#define GIB (INT64_C(1) << 30)

static const struct conf_row own[] = {
	{"data", "dir", CONF_STRING, NULL, 0, 0, NULL,
	 "The data folder, on a local disk: vault, log, catalogue."},
	{"data", "catalogue", CONF_SIZE, "64GiB", GIB / 16, 16384 * GIB, NULL,
	 "Address space of the catalogue; its file grows only as it fills."},
	{"data", "full", CONF_NUMBER, "97", 50, 100, NULL,
	 "Per cent of the disk at which bytes are refused, the ledger never (R12)."},
	{"data", "trust_days", CONF_NUMBER, "30", 0, 3650, NULL,
	 "Days for which a verified copy counts as such; an older one is read first (R4, R9)."},
	{"log", "level", CONF_CHOICE, "info", 0, 0, "error warn info debug", "How much is logged."},
};

static void
add(struct conf_row *all, size_t *n, const struct conf_row *rows, size_t more)
{
	memcpy(all + *n, rows, more * sizeof(*rows));
	*n += more;
}

const struct conf_row *
central_settings_rows(size_t *n)
{
	static struct conf_row all[ROWS_MAX]; /* filled once, before threads start */
	const struct conf_row *rows;
	size_t more;

	*n = 0;
	add(all, n, own, sizeof(own) / sizeof(own[0]));
	rows = dimse_rows(&more);
	add(all, n, rows, more);
	rows = http_rows(&more);
	add(all, n, rows, more);
	rows = join_rows(&more);
	add(all, n, rows, more);
	rows = peers_rows(&more);
	add(all, n, rows, more);
	return all;
}

int
central_settings_load(struct conf **out, const char *path, struct err *e)
{
	const struct conf_row *rows;
	struct err why = ERR_INIT;
	size_t n;
	int rc;

	rows = central_settings_rows(&n);
	rc = conf_load(out, path, rows, n, e);
	if (rc)
		return rc;
	rc = http_check_settings(*out, &why);
	if (!rc)
		rc = dimse_check_settings(*out, &why);
	if (!rc)
		return 0;
	conf_free(*out);
	return err_set(e, why.code, why.sys, "%s: %.250s", path, why.what);
}
