#include "common/store/patient.h"

#include <stdbool.h>
#include <string.h>

#include "common/dicom/keys.h"

/* said: repeated { tag u32, first arrival u64, length u16, value }, in ascending tags. */
enum { HEAD = 14 };

struct said {
	struct attr a;
	int64_t first;
};

static bool
next_said(const struct buf *said, size_t *pos, struct said *out)
{
	const unsigned char *p = said->data + *pos;

	if (*pos + HEAD > said->len)
		return false;
	out->a.tag = buf_get_u32(p);
	out->first = (int64_t)buf_get_u64(p + 4);
	out->a.n = buf_get_u16(p + 12);
	out->a.value = (const char *)p + HEAD;
	*pos += HEAD + out->a.n;
	return true;
}

static bool
next_of_patient(struct attrs row, size_t *pos, struct attr *out)
{
	const struct key *k;

	while (attrs_next(row, pos, out)) {
		k = key_find(out->tag);
		if (out->n > 0 && k && (k->level == KEY_PATIENT || out->tag == TAG_STUDY_UID))
			return true;
	}
	return false;
}

static void
put_said(struct buf *out, const struct attr *a, int64_t first)
{
	buf_put_u32(out, a->tag);
	buf_put_u64(out, (uint64_t)first);
	buf_put_u16(out, (unsigned)a->n);
	buf_put(out, a->value, a->n);
}

void
patient_add(struct buf *said, struct attrs row, int64_t first)
{
	struct buf both = BUF_INIT;
	struct said old;
	struct attr now;
	size_t at = 0, pos = 0;
	bool has_old = next_said(said, &at, &old), has_now = next_of_patient(row, &pos, &now);

	while (has_old || has_now) {
		bool same = has_old && has_now && old.a.tag == now.tag;
		bool take_old = has_old &&
				(!has_now || old.a.tag < now.tag || (same && old.first >= first));

		if (take_old)
			put_said(&both, &old.a, old.first);
		else
			put_said(&both, &now, first);
		if (same || take_old)
			has_old = next_said(said, &at, &old);
		if (same || !take_old)
			has_now = next_of_patient(row, &pos, &now);
	}
	both.failed = buf_failed(&both) || buf_failed(said);
	buf_fini(said);
	*said = both;
}

void
patient_row(struct buf *out, const struct buf *said)
{
	struct said s;
	size_t at = 0;

	while (next_said(said, &at, &s))
		attrs_put(out, s.a.tag, s.a.value, s.a.n);
	out->failed = out->failed || buf_failed(said);
}
