#include "edge/edge_settings.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/dimse/node.h"
#include "common/dimse/peers.h"
#include "common/dimse/service.h"
#include "common/http/server.h"
#include "edge/edge.h"
#include "edge/stat.h"
#include "edge/throttle.h"

enum { SITE_NAME_MAX = 64 };

#define MIB INT64_C(1048576)
#define TIB (MIB * 1048576)

static const struct conf_row own[] = {
	{"site", "name", CONF_STRING, NULL, 0, 0, NULL, "The site's name at central."},
	{"site", "issuer", CONF_STRING, NULL, 0, 0, NULL,
	 "Issuer of patient IDs and accession numbers that come without one (R33)."},
	{"data", "dir", CONF_STRING, NULL, 0, 0, NULL, "The data folder, on a local disk."},
	{"data", "quota", CONF_SIZE, "64GiB", 64 * MIB, 64 * TIB, NULL,
	 "How much the cache may hold."},
	{"data", "ahead", CONF_SIZE, "256MiB", 0, TIB, NULL,
	 "How much of the cache's file is made ready ahead while nothing else happens; at most a "
	 "32nd of the quota. From 80 % of the quota in use on: all of the file."},
	{"data", "journal", CONF_SIZE, "16MiB", 0, 1024 * MIB, NULL,
	 "File in which images are durable after one flush, beside the quota; at most a 32nd of "
	 "it. "
	 "0: none."},
	{"central", "url", CONF_LIST, "", 0, 0, NULL,
	 "https://host:port of central, several in turn; http on loopback only. Empty: the one it "
	 "joined at."},
	{"central", "connect_timeout", CONF_DURATION, "5s", 100, 120000, NULL,
	 "How long a connection to central may take."},
	{"central", "compress", CONF_CHOICE, "auto", 0, 0, "auto off",
	 "Compress what travels to central, where that is faster than the link."},
	{"central", "ceiling", CONF_STRING, "none", 0, 0, NULL,
	 "So much of the link at most, each way, whatever central's table says (`site bandwidth` "
	 "there): 20Mbit, 500kbit. Ledger, hello and stat are never held."},
	{"cache", "keep_days", CONF_NUMBER, "30", 0, 36500, NULL,
	 "Own studies younger than this go last (R11)."},
	{"cache", "retract_days", CONF_NUMBER, "30", 1, 36500, NULL,
	 "For so long after it was retracted an image is not evicted, whatever central says "
	 "(R27)."},
	{"cache", "dark", CONF_CHOICE, "free", 0, 0, "free keep",
	 "When central is silent and the cache is full: free what it had confirmed, or keep all "
	 "(R10)."},
	{"log", "level", CONF_CHOICE, "info", 0, 0, "error warn info debug", "How much is logged."},
};

const struct conf_row *
edge_settings_rows(size_t *n)
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
	rows = peers_rows(&more);
	conf_add_rows(all, n, rows, more);
	rows = stat_rows(&more);
	conf_add_rows(all, n, rows, more);
	return all;
}

/* An address of this machine, and not a name that begins like one. */
static bool
is_loopback(const char *url)
{
	static const char plain[] = "http://127.";
	size_t n = sizeof(plain) - 1;

	if (strchr(url, '@')) /* the host stands behind it */
		return false;
	if (strncmp(url, plain, n) == 0)
		return strchr(":/", url[n + strspn(url + n, "0123456789.")]) != NULL;
	return strncmp(url, "http://[::1]", 12) == 0 || strncmp(url, "http://localhost:", 17) == 0;
}

/* R24: plain http is for loopback, on a node without certificates. */
static int
check_url(const char *url, bool tls, struct err *e)
{
	if (strncmp(url, "https://", 8) == 0 || (!tls && is_loopback(url)))
		return 0;
	return err_set(e, ERR_LOCAL, 0,
		       "[central] url: https; plain http on loopback only, without [tls]");
}

static int
check_urls(const struct conf *c, struct err *e)
{
	bool tls = conf_string(c, "tls", NULL, "cert")[0] != '\0';
	const char *url;
	size_t i;
	int rc = 0;

	for (i = 0; !rc && (url = conf_list(c, "central", NULL, "url", i)) != NULL; i++)
		rc = i < EDGE_URLS
			     ? check_url(url, tls, e)
			     : err_set(e, ERR_LOCAL, 0, "[central] url: at most %d", EDGE_URLS);
	return rc;
}

static int
check(const struct conf *c, struct err *e)
{
	int rc = 0;

	if (strlen(conf_string(c, "site", NULL, "name")) > SITE_NAME_MAX)
		rc = err_set(e, ERR_LOCAL, 0, "[site] name: at most %d bytes", SITE_NAME_MAX);
	if (!rc)
		rc = check_urls(c, e);
	if (!rc)
		rc = stat_check(c, e);
	if (!rc)
		rc = throttle_check(c, e);
	if (!rc)
		rc = http_check_settings(c, e);
	return rc ? rc : dimse_check_settings(c, e);
}

int
edge_settings_load(struct conf **out, const char *path, struct err *e)
{
	size_t n;
	const struct conf_row *rows = edge_settings_rows(&n);

	return conf_load_checked(out, path, rows, n, check, e);
}
