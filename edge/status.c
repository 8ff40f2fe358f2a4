#include "edge/status.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "edge/edge.h"
#include "edge/settings.h"
#include "proto/ledger.h"

enum { EXIT_PERSON = 3 };

struct status {
	struct store_counts counts;
	struct store_space space;
	struct ledger_head ledger;
};

static int
read_status(const struct conf *c, struct status *out, struct err *e)
{
	struct store_config sc;
	struct store_tx *tx;
	struct store *s;
	char dir[PATH_MAX], file[PATH_MAX];
	int rc;

	memset(out, 0, sizeof(*out));
	out->space.quota = (uint64_t)conf_number(c, "data", NULL, "quota");
	(void)snprintf(dir, sizeof(dir), "%s/store", conf_string(c, "data", NULL, "dir"));
	if (snprintf(file, sizeof(file), "%s/data.mdb", dir) < PATH_MAX && !file_exists(file))
		return 0; /* nothing was ever taken in */
	memset(&sc, 0, sizeof(sc));
	sc.dir = dir;
	sc.quota = out->space.quota;
	sc.clock = clock_real();
	sc.read_only = true;
	sc.extra_tables = edge_tables(&sc.n_extra_tables);
	rc = store_open(&s, &sc, e);
	if (rc)
		return rc;
	store_space(s, &out->space);
	rc = store_begin_read(&tx, s, e);
	if (!rc) {
		rc = store_counts(tx, &out->counts, e);
		if (!rc)
			rc = ledger_head(tx, &out->ledger, e);
		store_end_read(tx);
	}
	store_close(s);
	return rc;
}

static void
json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putchar('\\');
		if ((unsigned char)*s >= ' ')
			putchar(*s);
	}
	putchar('"');
}

static void
print_json(const struct conf *c, const struct status *s)
{
	printf("{\"role\":\"edge\",\"site\":");
	json_string(conf_string(c, "site", NULL, "name"));
	printf(",\"ledger\":{\"last_seq\":%" PRIu64 "}", s->ledger.seq);
	printf(",\"cache\":{\"instances\":%" PRIu64 ",\"studies\":%" PRIu64 ",\"bytes\":%" PRIu64
	       ",\"quota_bytes\":%" PRIu64 ",\"used_bytes\":%" PRIu64 "}",
	       s->counts.instances, s->counts.studies, s->counts.bytes, s->space.quota,
	       s->space.used);
	printf(",\"variants\":%" PRIu64 ",\"revisions\":%" PRIu64 ",\"conflicts\":%" PRIu64 "}\n",
	       s->counts.variants, s->counts.revisions, s->counts.conflicts);
}

static void
print_text(const struct conf *c, const struct status *s)
{
	printf("edge %s\n", conf_string(c, "site", NULL, "name"));
	printf("  holds      %" PRIu64 " instances in %" PRIu64 " studies, %" PRIu64 " MiB\n",
	       s->counts.instances, s->counts.studies, s->counts.bytes >> 20);
	printf("  cache      %" PRIu64 " of %" PRIu64 " MiB in use\n", s->space.used >> 20,
	       s->space.quota >> 20);
	printf("  ledger     %" PRIu64 " entries\n", s->ledger.seq);
	printf("  versions   %" PRIu64 " variants, %" PRIu64 " revisions, %" PRIu64 " conflicts\n",
	       s->counts.variants, s->counts.revisions, s->counts.conflicts);
}

int
status_print(const char *conf_path, bool json)
{
	struct err e = ERR_INIT;
	struct status s;
	struct conf *c;

	if (edge_settings_load(&c, conf_path, &e)) {
		fprintf(stderr, "salamander-edge: %s\n", e.what);
		return EXIT_FAILURE;
	}
	if (read_status(c, &s, &e)) {
		fprintf(stderr, "salamander-edge: %s\n", e.what);
		conf_free(c);
		return EXIT_FAILURE;
	}
	if (json)
		print_json(c, &s);
	else
		print_text(c, &s);
	conf_free(c);
	return s.counts.conflicts ? EXIT_PERSON : EXIT_SUCCESS; /* R3: a person decides */
}
