#include "common/store/differences.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/dicom/canon.h"
#include "common/dicom/keys.h"
#include "common/store/decided.h"
#include "common/store/persons.h"
#include "common/store/store.h"

enum { PAGE = 256, NAMES_MAX = 64 };

struct instance {
	struct instance *next;
	uint64_t oid;
	char uid[UID_SIZE];
	unsigned char digest[SHA256_SIZE];
	bool open, unconfirmed; /* decided.h, of its UID */
};

struct group {
	struct group *next;
	char study[UID_SIZE];
	struct version_source source;
	enum version_relation relation;
	uint64_t n, open, unconfirmed;
	uint32_t tags[NAMES_MAX];
	size_t n_tags;
	bool unknown; /* the bytes of one of the two are not here, or cannot be read */
	struct instance *instances;
};

struct person { /* R33 */
	struct person *next;
	struct persons_pair pair;
};

struct collecting {
	struct store *s;
	struct store_tx *tx;
	struct person *persons, **last_person;
	struct group *groups, **last;
	uint64_t from;
	unsigned scanned;
};

static const char *
kind_of(enum version_relation r)
{
	switch (r) {
	case VERSION_FIRST:
		break;
	case VERSION_VARIANT:
		return "variant";
	case VERSION_REVISION:
		return "revision";
	case VERSION_TRANSCODED:
		return "transcoded";
	case VERSION_CONFLICT:
		return "conflict";
	}
	return "first";
}

static struct group *
group_of(struct collecting *c, const struct version *v)
{
	struct group *g;

	for (g = c->groups; g; g = g->next)
		if (g->relation == v->relation && strcmp(g->study, v->study) == 0 &&
		    memcmp(&g->source, &v->source, sizeof(v->source)) == 0)
			return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	strcpy(g->study, v->study);
	g->source = v->source;
	g->relation = v->relation;
	*c->last = g;
	c->last = &g->next;
	return g;
}

static int
collect(void *arg, const struct version *v, struct err *e)
{
	struct collecting *c = arg;
	struct instance *i;
	struct group *g;

	c->from = v->oid + 1;
	if (v->relation != VERSION_FIRST) {
		g = group_of(c, v);
		i = calloc(1, sizeof(*i));
		if (!g || !i) {
			free(i);
			return err_set(e, ERR_LOCAL, 0, "no memory for a list");
		}
		i->oid = v->oid;
		strcpy(i->uid, v->sop_instance);
		memcpy(i->digest, v->digest, SHA256_SIZE);
		i->open =
			v->relation == VERSION_CONFLICT && decided_is_open(c->tx, v->sop_instance);
		i->unconfirmed = decided_is_undecided(c->tx, v->sop_instance);
		g->open += i->open;
		g->unconfirmed += i->unconfirmed;
		i->next = g->instances;
		g->instances = i;
		g->n++;
	}
	return ++c->scanned % PAGE == 0 ? ERR_AGAIN : 0;
}

static int
collect_all(struct collecting *c, struct err *e)
{
	int rc;

	do { /* a page per read transaction (TRAPS 3) */
		rc = store_begin_read(&c->tx, c->s, e);
		if (rc)
			return rc;
		rc = store_versions(c->tx, c->from, collect, c, e);
		store_end_read(c->tx);
	} while (rc == ERR_AGAIN);
	return rc;
}

static int
collect_person(void *arg, const struct persons_pair *pair, struct err *e)
{
	struct collecting *c = arg;
	struct person *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, ERR_LOCAL, 0, "no memory for a list");
	p->pair = *pair;
	*c->last_person = p;
	c->last_person = &p->next;
	return 0;
}

/* --- what differs --- */

struct outline {
	struct outline_item *items; /* by tag */
	size_t n;
};

/* From `at` on. */
static int
feed_from(struct canon *c, struct store *s, uint64_t oid, uint64_t at)
{
	struct store_reader *r;
	const void *p;
	size_t n;
	int rc = store_read_open(&r, s, oid, NULL);

	if (rc)
		return rc;
	while (!rc && at < store_read_version(r)->size) {
		rc = store_read_some(r, at, &p, &n, NULL);
		if (!rc)
			rc = canon_feed(c, p, n, NULL);
		at += rc ? 0 : n;
	}
	store_read_close(r);
	return rc;
}

/* What the record of an image leaves out: the pixel element, by the digest of its pixels. */
static void
add_pixels(struct outline *o, const struct store_header *h)
{
	const unsigned char *p = h->bytes.data + h->version.header_length;
	bool big = p[0] == 0x7f;
	size_t at = o->n++;

	while (at > 0 && o->items[at - 1].tag >= TAG_FLOAT_DATA) {
		o->items[at] = o->items[at - 1];
		at--;
	}
	o->items[at].tag = big ? buf_get_be32(p) : TAG_PIXEL_DATA - 0x10 + buf_get_u16(p + 2);
	memcpy(o->items[at].hash, h->version.pixels, XXH128_SIZE);
}

/* Is it enough to read what lies before and behind the pixels? */
static bool
by_header(const struct store_header *h)
{
	const struct version *v = &h->version;

	return h->recorded && h->behind && !(v->flags & (OBJECT_OPAQUE | OBJECT_LIMIT)) &&
	       v->header_length + 4 <= h->bytes.len;
}

/* Reads a version again; false when its bytes are not here. */
static bool
scan(struct outline *o, struct store *s, uint64_t oid)
{
	struct canon_config config = {.form = CANON_FILE, .outline = true};
	const struct object_info *info;
	struct store_header h;
	struct canon *c = NULL;
	bool part;
	int rc;

	memset(o, 0, sizeof(*o));
	if (store_header(&h, s, oid, NULL))
		return false;
	part = by_header(&h);
	rc = canon_new(&c, &config, NULL);
	if (!rc && part)
		rc = canon_feed(c, h.bytes.data, (size_t)h.version.header_length, NULL);
	if (!rc)
		rc = feed_from(c, s, oid, part ? h.behind : 0);
	if (!rc)
		rc = canon_end(c, &info, NULL);
	if (!rc)
		o->items = calloc(info->n_outline + 1, sizeof(*o->items));
	if (o->items) {
		o->n = info->n_outline;
		if (o->n)
			memcpy(o->items, info->outline, o->n * sizeof(*o->items));
		if (part)
			add_pixels(o, &h);
	}
	canon_free(c);
	store_header_fini(&h);
	return o->items != NULL;
}

static void
add_tag(struct group *g, uint32_t tag)
{
	size_t i;

	for (i = 0; i < g->n_tags; i++)
		if (g->tags[i] == tag)
			return;
	if (g->n_tags < NAMES_MAX)
		g->tags[g->n_tags++] = tag;
}

/* Two outlines, both by tag: what one has and the other has not, or has otherwise. */
static void
compare(struct group *g, const struct outline *a, const struct outline *b)
{
	size_t i = 0, j = 0;

	while (i < a->n || j < b->n) {
		const struct outline_item *x = i < a->n ? &a->items[i] : NULL;
		const struct outline_item *y = j < b->n ? &b->items[j] : NULL;

		if (x && y && x->tag == y->tag) {
			if (memcmp(x->hash, y->hash, sizeof(x->hash)) != 0)
				add_tag(g, x->tag);
			i++;
			j++;
		} else if (x && (!y || x->tag < y->tag)) {
			add_tag(g, x->tag);
			i++;
		} else {
			add_tag(g, y->tag);
			j++;
		}
	}
}

static int
first_of(void *arg, const struct version *v, struct err *e)
{
	(void)e;
	*(uint64_t *)arg = v->oid;
	return ERR_AGAIN; /* versions come oldest first: this one is enough */
}

/* One instance stands for its group: they come from one source in one way. */
static void
find_difference(struct store *s, struct group *g)
{
	struct outline a = {NULL, 0}, b = {NULL, 0};
	struct store_tx *tx;
	uint64_t first = 0;

	g->unknown = true;
	if (store_begin_read(&tx, s, NULL))
		return;
	(void)store_versions_of(tx, g->instances->uid, first_of, &first, NULL);
	store_end_read(tx);
	if (first && scan(&a, s, first) && scan(&b, s, g->instances->oid)) {
		compare(g, &a, &b);
		g->unknown = false;
	}
	free(a.items);
	free(b.items);
}

/* --- printing: names of attributes only, never values --- */

/* "(0010,0010) PatientName"; of what is not indexed the number alone. */
static void
put_name(struct buf *out, uint32_t tag)
{
	const struct key *k = key_find(tag);
	const char *name = k			    ? k->name
			   : tag == TAG_PIXEL_DATA  ? "PixelData"
			   : tag == TAG_FLOAT_DATA  ? "FloatPixelData"
			   : tag == TAG_DOUBLE_DATA ? "DoubleFloatPixelData"
						    : "";

	buf_printf(out, "(%04x,%04x)%s%s", tag >> 16, tag & 0xffff, name[0] ? " " : "", name);
}

static void
print_names(const struct group *g, struct buf *out)
{
	size_t t;

	for (t = 0; t < g->n_tags; t++) {
		buf_puts(out, t ? ", " : " ");
		put_name(out, g->tags[t]);
	}
	if (g->n_tags == NAMES_MAX)
		buf_puts(out, ", ...");
	else if (g->unknown)
		buf_puts(out, " what cannot be said: one of the two is not here to be read");
	else if (g->n_tags == 0)
		buf_puts(out, " the encoding only");
	buf_puts(out, "\n");
}

/* R3: what a person chooses from. */
struct choice {
	const char *first, *shown; /* digests in hex; "": none */
	char text[2][2 * SHA256_SIZE + 1];
};

static int
note_choice(void *arg, const struct version *v, struct err *e)
{
	struct choice *c = arg;

	(void)e;
	if (!c->first[0]) {
		hex_of(v->digest, SHA256_SIZE, c->text[0]);
		c->first = c->text[0];
	}
	if (v->current) {
		hex_of(v->digest, SHA256_SIZE, c->text[1]);
		c->shown = c->text[1];
	}
	return 0;
}

static void
find_choice(struct store *s, const char *uid, struct choice *c)
{
	struct store_tx *tx;

	c->first = c->shown = "";
	if (store_begin_read(&tx, s, NULL))
		return;
	(void)store_versions_of(tx, uid, note_choice, c, NULL);
	store_end_read(tx);
}

static void
print_text(struct store *s, const struct group *g, bool instances, struct buf *out)
{
	char hex[2 * SHA256_SIZE + 1];
	const struct instance *i;
	struct choice c;

	buf_printf(out, "%s: study %s, %llu instances from %s at %s, site %s", kind_of(g->relation),
		   g->study[0] ? g->study : "without a UID", (unsigned long long)g->n,
		   g->source.calling_aet, g->source.peer, g->source.site);
	if (g->relation == VERSION_CONFLICT && !g->open)
		buf_puts(out, ", decided");
	if (g->unconfirmed)
		buf_printf(out, ", %llu unconfirmed", (unsigned long long)g->unconfirmed);
	buf_puts(out, ", differs in");
	print_names(g, out);
	for (i = instances ? g->instances : NULL; i; i = i->next) {
		hex_of(i->digest, SHA256_SIZE, hex);
		find_choice(s, i->uid, &c);
		buf_printf(out, "    %s sha256 %s%s\n", i->uid, hex,
			   i->unconfirmed ? " unconfirmed" : "");
		buf_printf(out, "        first sha256 %s\n        shown sha256 %s\n", c.first,
			   c.shown);
	}
}

static void
print_person(const struct persons_pair *p, struct buf *out)
{
	size_t t;

	buf_printf(out, "person: studies %s and %s have one patient ID and issuer, but differ in",
		   p->study, p->other);
	for (t = 0; t < p->n_tags; t++) {
		buf_puts(out, t ? ", " : " ");
		put_name(out, p->tags[t]);
	}
	buf_puts(out, "\n");
}

static void
json_tags(struct json *j, const uint32_t *tags, size_t n)
{
	char text[9];
	size_t t;

	json_open(j, "attributes", '[');
	for (t = 0; t < n; t++) {
		(void)snprintf(text, sizeof(text), "%08x", tags[t]);
		json_text(j, NULL, text);
	}
	json_close(j, ']');
}

static void
person_json(struct json *j, const struct persons_pair *p)
{
	json_open(j, NULL, '{');
	json_text(j, "kind", "person");
	json_text(j, "study_uid", p->study);
	json_text(j, "other_study_uid", p->other);
	json_tags(j, p->tags, p->n_tags);
	json_close(j, '}');
}

static void
print_json(struct store *s, struct json *j, const struct group *g, bool instances)
{
	char text[2 * SHA256_SIZE + 1];
	const struct instance *i;
	struct choice c;

	json_open(j, NULL, '{');
	json_text(j, "kind", kind_of(g->relation));
	json_text(j, "study_uid", g->study);
	json_text(j, "site", g->source.site);
	json_text(j, "calling_aet", g->source.calling_aet);
	json_text(j, "address", g->source.peer);
	json_count(j, "instances", g->n);
	json_count(j, "open", g->open);
	json_count(j, "unconfirmed", g->unconfirmed);
	json_tags(j, g->tags, g->n_tags);
	json_bool(j, "compared", !g->unknown);
	if (instances) {
		json_open(j, "list", '[');
		for (i = g->instances; i; i = i->next) {
			hex_of(i->digest, SHA256_SIZE, text);
			json_open(j, NULL, '{');
			json_text(j, "sop_instance_uid", i->uid);
			json_text(j, "sha256", text);
			find_choice(s, i->uid, &c);
			json_text(j, "first_sha256", c.first);
			json_text(j, "shown_sha256", c.shown);
			json_bool(j, "open", i->open);
			json_bool(j, "unconfirmed", i->unconfirmed);
			json_close(j, '}');
		}
		json_close(j, ']');
	}
	json_close(j, '}');
}

static void
print_all(const struct collecting *c, bool instances, bool json, struct buf *out)
{
	const struct person *p;
	const struct group *g;
	struct json j;

	if (!json) {
		if (!c->groups && !c->persons)
			buf_puts(out, "no variants, revisions or conflicts\n");
		for (g = c->groups; g; g = g->next)
			print_text(c->s, g, instances, out);
		for (p = c->persons; p; p = p->next)
			print_person(&p->pair, out);
		return;
	}
	json_init(&j, out);
	json_open(&j, NULL, '[');
	for (g = c->groups; g; g = g->next)
		print_json(c->s, &j, g, instances);
	for (p = c->persons; p; p = p->next)
		person_json(&j, &p->pair);
	json_close(&j, ']');
	buf_puts(out, "\n");
}

static void
collecting_fini(struct collecting *c)
{
	struct instance *i;
	struct person *p;
	struct group *g;

	while ((g = c->groups)) {
		c->groups = g->next;
		while ((i = g->instances)) {
			g->instances = i->next;
			free(i);
		}
		free(g);
	}
	while ((p = c->persons)) {
		c->persons = p->next;
		free(p);
	}
}

int
differences_print(struct store *s, bool instances, bool json, struct buf *out, uint64_t *conflicts,
		  struct err *e)
{
	struct collecting c = {.s = s};
	struct store_counts counts;
	struct store_tx *tx;
	struct group *g;
	int rc;

	c.last = &c.groups;
	c.last_person = &c.persons;
	rc = collect_all(&c, e);
	if (!rc)
		rc = persons_contradictions(s, collect_person, &c, e);
	for (g = c.groups; !rc && g; g = g->next)
		find_difference(s, g);
	if (!rc)
		print_all(&c, instances, json, out);
	if (!rc)
		rc = store_begin_read(&tx, s, e);
	if (!rc) {
		rc = store_counts(tx, &counts, e);
		store_end_read(tx);
		*conflicts = rc ? 0 : counts.conflicts;
	}
	collecting_fini(&c);
	return rc;
}
