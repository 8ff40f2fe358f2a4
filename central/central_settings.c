#include "central/central_settings.h"

#include <stdint.h>

#include "central/join.h"
#include "central/room.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dimse/node.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"
#include "common/http/server.h"

#define GIB (INT64_C(1) << 30)

static const struct conf_row own[] = {
	{"data", "dir", CONF_STRING, NULL, 0, 0, NULL,
	 "The data folder, on a local disk: vault, log, catalogue."},
	{"data", "catalogue", CONF_SIZE, "64GiB", GIB / 16, 16384 * GIB, NULL,
	 "Address space of the catalogue; its file grows only as it fills."},
	{"data", "full_backfill", CONF_NUMBER, "90", 0, 100, NULL,
	 "Per cent of the disk, or of the catalogue, at which edges stop to send what was at a "
	 "central once (R12). 0: it is never taken."},
	{"data", "full_resend", CONF_NUMBER, "95", 0, 100, NULL,
	 "The same for what was found whole again, or asked for; not below full_backfill."},
	{"data", "full", CONF_NUMBER, "97", 50, 100, NULL,
	 "Per cent at which all bytes are refused, the ledger never; not below full_resend."},
	{"data", "trust_days", CONF_NUMBER, "30", 0, 3650, NULL,
	 "Days for which a verified copy counts as such; an older one is read first (R4, R9)."},
	{"log", "level", CONF_CHOICE, "info", 0, 0, "error warn info debug", "How much is logged."},
};

const struct conf_row *
central_settings_rows(size_t *n)
{
	static struct conf_row all[CONF_ROWS_MAX]; /* filled once, before threads start */
	const struct conf_row *rows;
	size_t more;

	*n = 0;
	conf_add_rows(all, n, own, sizeof(own) / sizeof(own[0]));
	rows = dimse_rows(&more);
	conf_add_rows(all, n, rows, more);
	rows = http_rows(&more);
	conf_add_rows(all, n, rows, more);
	rows = join_rows(&more);
	conf_add_rows(all, n, rows, more);
	rows = peers_rows(&more);
	conf_add_rows(all, n, rows, more);
	return all;
}

static int
check(const struct conf *c, struct err *e)
{
	int rc = http_check_settings(c, e);

	if (!rc)
		rc = room_check_settings(c, e);
	return rc ? rc : dimse_check_settings(c, e);
}

int
central_settings_load(struct conf **out, const char *path, struct err *e)
{
	size_t n;
	const struct conf_row *rows = central_settings_rows(&n);

	return conf_load_checked(out, path, rows, n, check, e);
}
