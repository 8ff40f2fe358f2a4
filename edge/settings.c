#include "edge/settings.h"

#include <string.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"

enum { ROWS_MAX = 64 };

#define MIB INT64_C(1048576)
#define TIB (MIB * 1048576)

static const struct conf_row own[] = {
	{"site", "name", CONF_STRING, NULL, 0, 0, NULL, "The site's name at central."},
	{"site", "issuer", CONF_STRING, NULL, 0, 0, NULL,
	 "Issuer of patient IDs and accession numbers that come without one (R33)."},
	{"data", "dir", CONF_STRING, NULL, 0, 0, NULL, "The data folder, on a local disk."},
	{"data", "quota", CONF_SIZE, "64GiB", 64 * MIB, 256 * TIB, NULL,
	 "How much the cache may hold."},
	{"log", "level", CONF_CHOICE, "info", 0, 0, "error warn info debug", "How much is logged."},
};

const struct conf_row *
edge_settings_rows(size_t *n)
{
	static struct conf_row all[ROWS_MAX]; /* filled once, before threads start */
	const struct conf_row *rows;
	size_t more;

	*n = sizeof(own) / sizeof(own[0]);
	memcpy(all, own, sizeof(own));
	rows = dimse_rows(&more);
	memcpy(all + *n, rows, more * sizeof(*rows));
	*n += more;
	rows = peers_rows(&more);
	memcpy(all + *n, rows, more * sizeof(*rows));
	*n += more;
	return all;
}

int
edge_settings_load(struct conf **out, const char *path, struct err *e)
{
	const struct conf_row *rows;
	const char *name;
	size_t n;
	int rc;

	rows = edge_settings_rows(&n);
	rc = conf_load(out, path, rows, n, e);
	if (rc)
		return rc;
	name = conf_string(*out, "site", NULL, "name");
	if (!name[0] || strlen(name) > 64 || !conf_string(*out, "site", NULL, "issuer")[0]) {
		conf_free(*out);
		return err_set(e, ERR_PEER, 0, "%s: [site] name (1 to 64 characters) and issuer",
			       path);
	}
	return 0;
}
