#include "common/dimse/pledge_say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/prom.h"
#include "common/dimse/message.h"
#include "common/store/store.h"

enum { REASON_TEXT = 96 };

static const char *const words[PLEDGE_STATES] = {[PLEDGE_OPEN] = "open",
						 [PLEDGE_COMMITTED] = "committed",
						 [PLEDGE_REFUSED] = "refused",
						 [PLEDGE_RAN_OUT] = "ran out",
						 [PLEDGE_NOT_SENT] = "not sent"};
static const char *const keys[PLEDGE_STATES] = {[PLEDGE_OPEN] = "open",
						[PLEDGE_COMMITTED] = "committed",
						[PLEDGE_REFUSED] = "refused",
						[PLEDGE_RAN_OUT] = "ran_out",
						[PLEDGE_NOT_SENT] = "not_sent"};

bool
pledge_failed(const struct pledge *p)
{
	return p->state != PLEDGE_OPEN && p->state != PLEDGE_COMMITTED;
}

/* PS3.3 C.14.1; of a whole request: PS3.7 annex C. */
static void
name_reason(unsigned reason, char out[REASON_TEXT])
{
	static const struct {
		unsigned reason;
		const char *text;
	} all[] = {{REASON_PROCESSING_FAILURE, "processing failure"},
		   {REASON_NO_SUCH_INSTANCE, "the archive has no such image"},
		   {REASON_CLASS_INSTANCE_CONFLICT, "it has this UID in another class"},
		   {STATUS_CLASS_NOT_SUPPORTED, "the class, or storage commitment, is not for it"},
		   {STATUS_REFUSED_NOT_AUTHORIZED, "it does not let us ask"},
		   {REASON_DUPLICATE_TRANSACTION, "the transaction is known already"},
		   {STATUS_RESOURCE_LIMITATION, "it has no resources for it"}};
	size_t i = 0, n = sizeof(all) / sizeof(all[0]);

	while (i < n && all[i].reason != reason)
		i++;
	out[0] = '\0';
	if (reason)
		(void)snprintf(out, REASON_TEXT, "%04X%s%s", reason, i < n ? " " : "",
			       i < n ? all[i].text : "");
}

void
pledge_text(struct buf *out, const struct pledge *p)
{
	char reason[REASON_TEXT];

	name_reason(p->reason, reason);
	buf_printf(out, "  %s %s%s%s%s\n", p->sop_instance, words[p->state], reason[0] ? ": " : "",
		   reason, p->seen ? " (seen)" : "");
}

void
pledge_json(struct json *j, const struct pledge *p)
{
	char reason[REASON_TEXT], code[8];

	name_reason(p->reason, reason);
	(void)snprintf(code, sizeof(code), "%04X", p->reason & 0xffff);
	json_open(j, NULL, '{');
	json_text(j, "sop_instance", p->sop_instance);
	json_text(j, "state", keys[p->state]);
	if (p->reason)
		json_text(j, "reason", code);
	else
		json_null(j, "reason");
	json_text(j, "why", reason);
	json_bool(j, "seen", p->seen);
	json_close(j, '}');
}

/* --- archives --- */

struct saying {
	const char *archive; /* NULL: all */
	struct buf *out;
	struct json *j;
	uint64_t unseen;
	struct pledge_counts *all; /* for Prometheus */
	size_t n;
};

static bool
meant(const struct saying *s, const struct pledge_counts *c)
{
	return !s->archive || strcmp(s->archive, c->archive) == 0;
}

static int
add_unseen(void *arg, const struct pledge_counts *c, struct err *e)
{
	(void)e;
	*(uint64_t *)arg += c->unseen;
	return 0;
}

int
pledges_unseen(struct store_tx *tx, uint64_t *out, struct err *e)
{
	*out = 0;
	return pledges_counts(tx, add_unseen, out, e);
}

static int
say_text(void *arg, const struct pledge_counts *c, struct err *e)
{
	struct saying *s = arg;
	size_t i;

	(void)e;
	if (!meant(s, c))
		return 0;
	buf_printf(s->out, "archive %s:", c->archive);
	for (i = 0; i < PLEDGE_STATES; i++)
		buf_printf(s->out, "%s %llu %s", i ? "," : "", (unsigned long long)c->of[i],
			   words[i]);
	if (c->unseen)
		buf_printf(s->out, "; %llu NOT LOOKED AT: see `commit %s`",
			   (unsigned long long)c->unseen, c->archive);
	buf_puts(s->out, "\n");
	return 0;
}

int
pledges_text(struct store_tx *tx, const char *archive, struct buf *out, struct err *e)
{
	struct saying s = {.archive = archive, .out = out};

	return pledges_counts(tx, say_text, &s, e);
}

static int
say_json(void *arg, const struct pledge_counts *c, struct err *e)
{
	struct saying *s = arg;
	size_t i;

	(void)e;
	if (!meant(s, c))
		return 0;
	json_open(s->j, NULL, '{');
	json_text(s->j, "archive", c->archive);
	for (i = 0; i < PLEDGE_STATES; i++)
		json_count(s->j, keys[i], c->of[i]);
	json_count(s->j, "not_looked_at", c->unseen);
	json_close(s->j, '}');
	return 0;
}

int
pledges_json(struct store_tx *tx, const char *archive, struct json *j, const char *key,
	     struct err *e)
{
	struct saying s = {.archive = archive, .j = j};
	int rc;

	json_open(j, key, '[');
	rc = pledges_counts(tx, say_json, &s, e);
	json_close(j, ']');
	return rc;
}

int
pledges_said(struct store *s, struct buf *text, struct json *j, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, s, e);

	if (rc)
		return rc;
	rc = j ? pledges_json(tx, NULL, j, "archives", e) : pledges_text(tx, NULL, text, e);
	store_end_read(tx);
	return rc;
}

static int
keep(void *arg, const struct pledge_counts *c, struct err *e)
{
	struct saying *s = arg;
	struct pledge_counts *more = realloc(s->all, (s->n + 1) * sizeof(*more));

	if (!more)
		return err_set(e, ERR_LOCAL, 0, "no memory for figures");
	s->all = more;
	s->all[s->n++] = *c;
	return 0;
}

int
pledges_metrics(struct store *store, struct prom *p, struct err *e)
{
	struct saying s = {.archive = NULL};
	struct store_tx *tx;
	size_t i, k;
	int rc = store_begin_read(&tx, store, e);

	if (rc)
		return rc;
	rc = pledges_counts(tx, keep, &s, e);
	store_end_read(tx);
	if (!rc && s.n) {
		prom_family(p, PROM_GAUGE, "archive_images",
			    "Images that an archive was asked to commit to, by what came of it.");
		for (i = 0; i < s.n; i++)
			for (k = 0; k < PLEDGE_STATES; k++) {
				const struct prom_label labels[] = {{"archive", s.all[i].archive},
								    {"state", keys[k]}};

				prom_count_of(p, labels, 2, s.all[i].of[k]);
			}
		prom_family(p, PROM_GAUGE, "archive_images_not_looked_at",
			    "Of those it did not commit to, what no person has seen: a person.");
		for (i = 0; i < s.n; i++)
			prom_count(p, "archive", s.all[i].archive, s.all[i].unseen);
	}
	free(s.all);
	return rc;
}
