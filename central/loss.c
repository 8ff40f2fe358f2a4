#include "central/loss.h"

#include <stdlib.h>
#include <string.h>

#include "central/committed.h"
#include "central/tally.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/uid.h"
#include "common/dicom/keys.h"
#include "common/store/index.h"

enum { BUCKETS = 8192 };

struct item {
	bool damaged;	/* a copy here failed its check */
	bool committed; /* who sent it was told not to keep it */
	char uid[UID_SIZE];
	unsigned char digest[SHA256_SIZE];
	uint64_t seq;
	struct item *next;
};

struct study {
	struct study *next, *same; /* in order of discovery; with the same hash */
	char uid[UID_SIZE], site[SITE_SIZE];
	enum tally_state state;
	char holder[SITE_SIZE];
	uint64_t instances, committed;
	struct item *items;
	struct buf row; /* the study record (R6) */
};

struct losing {
	struct store_tx *tx;
	bool instances;
	struct study *studies, **last, *by_hash[BUCKETS];
	uint64_t known, of[TALLY_STATES]; /* distinct (UID, digest) of the site, or of all */
};

static struct study *
study_of(struct losing *l, const struct tally_item *i)
{
	struct study *s,
		**bucket = &l->by_hash[xxh64_of(i->v->study, strlen(i->v->study)) % BUCKETS];
	struct attrs row;

	for (s = *bucket; s; s = s->same)
		if (s->state == i->state && strcmp(s->uid, i->v->study) == 0 &&
		    strcmp(s->site, i->site->site) == 0)
			return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	strcpy(s->uid, i->v->study);
	strcpy(s->site, i->site->site);
	strcpy(s->holder, i->holder);
	s->state = i->state;
	if (s->uid[0] && index_study_row(l->tx, s->uid, &row, NULL) == 0)
		buf_put(&s->row, row.p, row.n);
	s->same = *bucket;
	*bucket = s;
	*l->last = s;
	l->last = &s->next;
	return s;
}

static int
collect(void *arg, const struct tally_item *i, struct err *e)
{
	struct losing *l = arg;
	struct item *item;
	struct study *s;
	int rc;

	l->known++;
	l->of[i->state]++;
	if (i->state != TALLY_LOST && i->state != TALLY_OWED)
		return 0;
	s = study_of(l, i);
	item = calloc(1, sizeof(*item));
	if (!s || !item) {
		free(item);
		return err_set(e, ERR_LOCAL, 0, "no memory for a list");
	}
	strcpy(item->uid, i->v->sop_instance);
	memcpy(item->digest, i->v->digest, SHA256_SIZE);
	item->seq = i->seq;
	item->damaged = i->v->state == VERSION_DAMAGED;
	rc = committed_get(l->tx, i->v->digest, &item->committed, e);
	item->next = s->items;
	s->items = item;
	s->instances++;
	s->committed += item->committed;
	return rc;
}

static void
losing_fini(struct losing *l)
{
	struct study *s;
	struct item *i;

	while ((s = l->studies)) {
		l->studies = s->next;
		while ((i = s->items)) {
			s->items = i->next;
			free(i);
		}
		buf_fini(&s->row);
		free(s);
	}
}

/* --- the columns, in all three forms --- */

static const struct column {
	const char *name;
	uint32_t tag;
} columns[] = {{"patient_name", TAG_PATIENT_NAME},
	       {"patient_id", TAG_PATIENT_ID},
	       {"issuer", TAG_PATIENT_ISSUER},
	       {"birth_date", TAG_BIRTH_DATE},
	       {"sex", TAG_SEX},
	       {"accession", TAG_ACCESSION},
	       {"accession_issuer", TAG_ACCESSION_ISSUER},
	       {"study_date", TAG_STUDY_DATE},
	       {"study_time", TAG_STUDY_TIME},
	       {"modalities", TAG_MODALITIES},
	       {"description", TAG_STUDY_DESCRIPTION},
	       {"body_part", TAG_BODY_PART},
	       {"station", TAG_STATION},
	       {"institution", TAG_INSTITUTION},
	       {"referring_physician", TAG_REFERRING}};
enum { N_COLUMNS = sizeof(columns) / sizeof(columns[0]) };

static const char *
why_of(const struct study *s, const struct item *i)
{
	if (i && i->damaged)
		return s->state == TALLY_LOST ? "the copy here is damaged, and nobody says that "
						"it has another"
					      : "the copy here is damaged: to be sent again";
	return s->state == TALLY_LOST ? "nobody says that it has the bytes" : "still to be sent";
}

static void
csv_value(struct buf *out, const char *p, size_t n)
{
	size_t i;

	/* RFC 4180; a leading sign would make a formula of a name in a spreadsheet. */
	buf_puts(out, n && strchr("=+-@\t\r", p[0]) ? "\"'" : "\"");
	for (i = 0; i < n; i++) {
		if (p[i] == '"')
			buf_put_u8(out, '"');
		buf_put_u8(out, (unsigned char)p[i]);
	}
	buf_put_u8(out, '"');
}

/* One that is not valid may hold anything (TRAPS 2). */
static void
csv_uid(struct buf *out, const char *uid)
{
	size_t n = strlen(uid);

	if (uid_valid(uid, n))
		buf_puts(out, uid);
	else if (n)
		csv_value(out, uid, n);
}

static void
csv_row(struct buf *out, const struct study *s, const struct item *i)
{
	struct attr a;
	char hex[2 * SHA256_SIZE + 1];
	size_t c;

	buf_printf(out, "%s,", tally_name(s->state));
	csv_value(out, s->site, strlen(s->site));
	for (c = 0; c < N_COLUMNS; c++) {
		buf_put_u8(out, ',');
		if (attrs_get(attrs_of(&s->row), columns[c].tag, &a))
			csv_value(out, a.value, a.n);
	}
	buf_printf(out, ",%llu,%llu,", (unsigned long long)s->instances,
		   (unsigned long long)(i ? i->committed : s->committed));
	csv_uid(out, s->uid);
	if (i) {
		hex_of(i->digest, SHA256_SIZE, hex);
		buf_puts(out, ",");
		csv_uid(out, i->uid);
		buf_printf(out, ",%s,%s", hex, why_of(s, i));
	}
	buf_puts(out, "\r\n");
}

static void
print_csv(const struct losing *l, struct buf *out)
{
	const struct study *s;
	const struct item *i;
	size_t c;

	buf_puts(out, "state,site");
	for (c = 0; c < N_COLUMNS; c++)
		buf_printf(out, ",%s", columns[c].name);
	buf_puts(out, ",instances,committed,study_uid");
	buf_puts(out, l->instances ? ",sop_instance_uid,sha256,why\r\n" : "\r\n");
	for (s = l->studies; s; s = s->next) {
		if (!l->instances)
			csv_row(out, s, NULL);
		for (i = l->instances ? s->items : NULL; i; i = i->next)
			csv_row(out, s, i);
	}
}

static void
json_study(struct json *j, const struct study *s)
{
	char hex[2 * SHA256_SIZE + 1];
	const struct item *i;
	struct attr a;
	size_t c;

	json_open(j, NULL, '{');
	json_text(j, "state", tally_name(s->state));
	json_text(j, "site", s->site);
	json_text(j, "study_uid", s->uid);
	for (c = 0; c < N_COLUMNS; c++)
		if (attrs_get(attrs_of(&s->row), columns[c].tag, &a))
			json_text_n(j, columns[c].name, a.value, a.n);
		else
			json_text(j, columns[c].name, "");
	json_count(j, "instances", s->instances);
	json_count(j, "committed", s->committed);
	json_text(j, "why", why_of(s, NULL));
	if (s->state == TALLY_OWED)
		json_text(j, "holder", s->holder);
	json_open(j, "list", '[');
	for (i = s->items; i; i = i->next) {
		hex_of(i->digest, SHA256_SIZE, hex);
		json_open(j, NULL, '{');
		json_text(j, "sop_instance_uid", i->uid);
		json_text(j, "sha256", hex);
		json_count(j, "seq", i->seq);
		json_bool(j, "committed", i->committed);
		json_text(j, "why", why_of(s, i));
		json_close(j, '}');
	}
	json_close(j, ']');
	json_close(j, '}');
}

static void
print_json(const struct losing *l, const struct tally *sites, const char *site, struct buf *out)
{
	const struct study *s;
	struct json j;
	size_t i;

	json_init(&j, out);
	json_open(&j, NULL, '{');
	json_count(&j, "known", l->known);
	for (i = 0; i < TALLY_STATES; i++)
		json_count(&j, tally_name((enum tally_state)i), l->of[i]);
	json_open(&j, "studies", '[');
	for (s = l->studies; s; s = s->next)
		json_study(&j, s); /* to the UID (R18) */
	json_close(&j, ']');
	json_open(&j, "horizon", '[');
	for (i = 0; i < sites->n; i++) {
		const struct site_row *r = &sites->rows[i].site;

		if (site && strcmp(site, r->site) != 0)
			continue;
		json_open(&j, NULL, '{');
		json_text(&j, "site", r->site);
		json_id(&j, "incarnation", &r->incarnation);
		json_bool(&j, "closed", r->closed);
		json_count(&j, "ledger_seq", r->head.seq);
		json_time(&j, "announced", r->announced_ms);
		json_time(&j, "silent_since", r->contact_ms);
		json_text(&j, "ask", r->titles);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_close(&j, '}');
	buf_puts(out, "\n");
}

static void
text_value(struct buf *out, const struct study *s, uint32_t tag, const char *before)
{
	struct attr a;

	if (attrs_get(attrs_of(&s->row), tag, &a) && a.n)
		buf_printf(out, "%s%.*s", before, (int)a.n, a.value);
}

static void
text_study(struct buf *out, const struct losing *l, const struct study *s)
{
	char hex[2 * SHA256_SIZE + 1];
	const struct item *i;

	buf_printf(out, "%s %llu of %s:", tally_name(s->state), (unsigned long long)s->instances,
		   s->site);
	text_value(out, s, TAG_PATIENT_NAME, " ");
	text_value(out, s, TAG_BIRTH_DATE, ", born ");
	text_value(out, s, TAG_PATIENT_ID, ", ID ");
	text_value(out, s, TAG_PATIENT_ISSUER, " of ");
	text_value(out, s, TAG_ACCESSION, ", accession ");
	text_value(out, s, TAG_STUDY_DATE, ", ");
	text_value(out, s, TAG_MODALITIES, " ");
	text_value(out, s, TAG_STUDY_DESCRIPTION, " ");
	text_value(out, s, TAG_REFERRING, ", referred by ");
	buf_printf(out, ", study %s", s->uid[0] ? s->uid : "without a UID");
	if (s->state == TALLY_OWED)
		buf_printf(out, " (%s has it)", s->holder);
	if (s->committed)
		buf_printf(out, "; %llu committed: who sent them may have no copy",
			   (unsigned long long)s->committed);
	buf_puts(out, "\n");
	for (i = l->instances ? s->items : NULL; i; i = i->next) {
		hex_of(i->digest, SHA256_SIZE, hex);
		buf_printf(out, "    %s sha256 %s seq %llu: %s%s\n", i->uid, hex,
			   (unsigned long long)i->seq, why_of(s, i),
			   i->committed ? "; committed" : "");
	}
}

/* R18: how far this list can know. */
static void
text_horizon(struct buf *out, const struct site_row *r)
{
	char announced[CLOCK_RFC3339_SIZE], silent[CLOCK_RFC3339_SIZE];

	clock_rfc3339(r->announced_ms, announced);
	clock_rfc3339(r->contact_ms, silent);
	buf_printf(out,
		   "%s%s: complete up to seq %llu, announced %s; silent since %s; images taken "
		   "later are in no list: ask %s\n",
		   r->site, r->closed ? " (closed)" : "", (unsigned long long)r->head.seq,
		   announced[0] ? announced : "never", silent[0] ? silent : "ever",
		   r->titles[0] ? r->titles : "the site");
}

static void
print_text(const struct losing *l, const struct tally *sites, const char *site, struct buf *out)
{
	static const enum tally_state order[] = {TALLY_LOST, TALLY_OWED};
	const struct study *s;
	size_t i;

	buf_printf(out, "%llu images lost, %llu owed; of %llu known %llu held, %llu withdrawn\n",
		   (unsigned long long)l->of[TALLY_LOST], (unsigned long long)l->of[TALLY_OWED],
		   (unsigned long long)l->known, (unsigned long long)l->of[TALLY_HELD],
		   (unsigned long long)l->of[TALLY_WITHDRAWN]);
	for (i = 0; i < 2; i++)
		for (s = l->studies; s; s = s->next)
			if (s->state == order[i])
				text_study(out, l, s);
	for (i = 0; i < sites->n; i++)
		if (!site || strcmp(site, sites->rows[i].site.site) == 0)
			text_horizon(out, &sites->rows[i].site);
}

int
loss_print(struct store *store, const char *site, enum loss_form form, bool instances,
	   struct buf *out, unsigned long long *lost, struct err *e)
{
	struct losing l = {.instances = instances};
	struct tally sites = {.rows = NULL};
	int rc = store_begin_read(&l.tx, store, e);

	if (rc)
		return rc;
	l.last = &l.studies;
	rc = tally_each(l.tx, site, collect, &l, e);
	if (!rc)
		rc = tally_sites(&sites, l.tx, e);
	store_end_read(l.tx);
	if (!rc) {
		switch (form) {
		case LOSS_TEXT:
			print_text(&l, &sites, site, out);
			break;
		case LOSS_CSV:
			print_csv(&l, out);
			break;
		case LOSS_JSON:
			print_json(&l, &sites, site, out);
			break;
		}
		*lost = l.of[TALLY_LOST];
		if (buf_failed(out))
			rc = err_set(e, ERR_LOCAL, 0, "no memory for a list");
	}
	tally_free(&sites);
	losing_fini(&l);
	return rc;
}
