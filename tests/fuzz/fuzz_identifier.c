/*
 * libFuzzer: any bytes as the identifier of a query, from the wire to an answer: read, judged
 * (A900), matched against values that are made of the same bytes, and written as an answer in
 * each syntax.
 *
 * What is written can be read again, and has the same attributes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/dicom/keys.h"
#include "common/dimse/header_keys.h"
#include "common/dimse/identifier.h"
#include "common/dimse/regions.h"
#include "common/store/match.h"
#include "common/store/query.h"
#include "common/store/query_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const syntaxes[] = {"1.2.840.10008.1.2.1", "1.2.840.10008.1.2"};

enum { TEXT_MAX = 200 };

static void
match_all(const struct query_config *c, struct attrs keys, struct attr value)
{
	struct attr key, date = {TAG_STUDY_DATE, "20260105", 8},
			 time = {TAG_STUDY_TIME, "101500", 6};
	struct buf answer = BUF_INIT;
	char from[9], to[9];
	size_t pos = 0;

	while (attrs_next(keys, &pos, &key)) {
		const char *vr = identifier_vr(key.tag);

		if (match_universal(key.value, key.n))
			continue;
		(void)match_value_by(&c->names, vr, key.value, key.n, value);
		(void)match_value_by(&c->names, "PN", key.value, key.n, value);
		(void)match_value(vr, key.value, key.n, key); /* itself */
		(void)match_ids(key.value, key.n, value);
		(void)match_moment(key, value, date, time);
		(void)match_date_range(key.value, key.n, from, to);
		if (match_name_prefix(&c->names, key.value, key.n) > key.n)
			abort();
		(void)match_items(key.value, key.n, value);
		buf_clear(&answer);
		match_items_answer(key.value, key.n, value, &answer);
	}
	buf_fini(&answer);
}

static void
match_header(const struct identifier *id, enum query_level level)
{
	struct header_keys h;
	struct buf out = BUF_INIT;
	struct attr key;
	size_t pos = 0;

	header_keys_init(&h, id, level);
	while (attrs_next(attrs_of(&id->keys), &pos, &key)) /* an object that says what is asked */
		if (header_keys_can(level, key.tag)) {
			buf_put_u32(&h.set, key.tag);
			buf_put_u16(&h.set, (unsigned)key.n);
			buf_put(&h.set, key.value, key.n);
		}
	(void)header_keys_match(&h, id);
	for (pos = 0; attrs_next(attrs_of(&id->keys), &pos, &key);)
		header_keys_answer(&h, key, key, &out);
	buf_fini(&out);
	header_keys_fini(&h);
}

/* Of a study that has what is asked. */
static void
match_regions(const struct identifier *id, enum query_level level)
{
	struct regions r;
	struct buf out = BUF_INIT;
	struct attr key;

	regions_init(&r, id, level);
	if (r.asked && attrs_get(attrs_of(&id->keys), TAG_REGIONS, &key)) {
		r.known = true;
		buf_put(&r.items, key.value, key.n);
		(void)regions_match(&r);
		regions_answer(&r, &out);
		if (out.len > r.items.len)
			abort();
	}
	buf_fini(&out);
	regions_fini(&r);
}

/* Tags of what was written, in order; each was in what it was written from. */
static void
answer(const struct identifier *id, const char *syntax)
{
	struct attr charset = {TAG_CHARSET, "", 0}, a, was;
	struct buf out = BUF_INIT;
	struct identifier again;
	size_t pos = 0;

	(void)attrs_get(attrs_of(&id->keys), TAG_CHARSET, &charset);
	identifier_build_in(&out, syntax, attrs_of(&id->keys), charset, id->said, id->n_said);
	if (buf_failed(&out) || identifier_parse(&again, syntax, out.data, out.len, NULL))
		abort();
	while (attrs_next(attrs_of(&again.keys), &pos, &a))
		if (a.tag != TAG_CHARSET && !attrs_get(attrs_of(&id->keys), a.tag, &was))
			abort();
	identifier_fini(&again);
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct query_config c;
	struct identifier id;
	uint32_t tag;

	if (size < 2 || identifier_parse(&id, syntaxes[data[0] & 1], data + 2, size - 2, NULL))
		return 0;
	memset(&c, 0, sizeof(c));
	c.level = (enum query_level)(data[1] & 3);
	c.patient_root = data[1] & 4;
	c.relational = data[1] & 8;
	c.moments = data[1] & 16;
	c.zoned = data[1] & 32;
	c.names = (struct name_rules){data[1] & 64, data[1] & 128};
	c.keys = attrs_of(&id.keys);
	if (!query_keys_check(&c, &tag, NULL)) {
		struct attr value = {TAG_PATIENT_NAME, (const char *)data + 2,
				     size - 2 < TEXT_MAX ? size - 2 : TEXT_MAX};

		match_all(&c, c.keys, value);
		match_header(&id, c.level);
		match_regions(&id, c.level);
	}
	answer(&id, syntaxes[0]);
	answer(&id, syntaxes[1]);
	identifier_fini(&id);
	return 0;
}
