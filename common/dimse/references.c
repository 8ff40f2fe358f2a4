#include "common/dimse/references.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/dicom/scan.h"
#include "common/dimse/message.h"

#define TAG_REFERENCED_CLASS 0x00081150u
#define TAG_REFERENCED_INSTANCE 0x00081155u
#define TAG_TRANSACTION 0x00081195u
#define TAG_REASON 0x00081197u
#define TAG_FAILED 0x00081198u
#define TAG_REFERENCED 0x00081199u

enum { DEPTH = 16 };
#define ITEM 0xe000fffeu

static const char implicit_le[] = "1.2.840.10008.1.2";

/* --- reading --- */

struct reading {
	struct references *to;
	size_t cap;
	uint32_t sequence; /* the top level one that is open; 0: another */
	unsigned open;	   /* sequences, one in the other */
	char value[UID_SIZE];
	size_t n;
	bool capture, too_much, bad_uid, no_memory;
};

static void
begin_item(struct reading *r)
{
	struct references *to = r->to;
	struct reference *more;

	if (to->n == REFERENCES_MAX) {
		r->too_much = true;
		return;
	}
	if (to->n == r->cap) {
		more = realloc(to->all, (r->cap * 2 + 64) * sizeof(*more));
		if (!more) {
			r->no_memory = true;
			return;
		}
		to->all = more;
		r->cap = r->cap * 2 + 64;
	}
	memset(&to->all[to->n], 0, sizeof(*more));
	if (r->sequence == TAG_FAILED) /* whatever it says of why, or does not */
		to->all[to->n].reason = REASON_PROCESSING_FAILURE;
	to->n++;
}

static void
on_element(void *arg, const struct scan_element *el)
{
	struct reading *r = arg;

	if (el->depth == 0)
		r->sequence = el->tag == TAG_FAILED || el->tag == TAG_REFERENCED ? el->tag : 0;
	r->capture = el->depth == 0 ? el->tag == TAG_TRANSACTION
				    : el->depth == 1 && r->sequence && r->to->n &&
					      (el->tag == TAG_REFERENCED_CLASS ||
					       el->tag == TAG_REFERENCED_INSTANCE ||
					       el->tag == TAG_REASON);
	r->n = 0;
}

static void
on_value(void *arg, const struct scan_element *el, const unsigned char *p, size_t n)
{
	struct reading *r = arg;

	(void)el;
	if (!r->capture)
		return;
	if (n > sizeof(r->value) - r->n) {
		r->bad_uid = true;
		n = sizeof(r->value) - r->n;
	}
	memcpy(r->value + r->n, p, n);
	r->n += n;
}

static void
take_uid(struct reading *r, char to[UID_SIZE])
{
	size_t n = uid_trim(r->value, r->n);

	if (!uid_usable(r->value, n)) {
		r->bad_uid = true;
		return;
	}
	memcpy(to, r->value, n);
	to[n] = '\0';
}

static void
on_end(void *arg, const struct scan_element *el)
{
	struct reading *r = arg;
	struct reference *last = r->to->n ? &r->to->all[r->to->n - 1] : NULL;

	if (!r->capture)
		return;
	r->capture = false;
	if (el->depth == 0)
		take_uid(r, r->to->transaction);
	else if (el->tag == TAG_REFERENCED_CLASS)
		take_uid(r, last->sop_class);
	else if (el->tag == TAG_REFERENCED_INSTANCE)
		take_uid(r, last->sop_instance);
	else if (r->n >= 2 && r->sequence == TAG_FAILED && buf_get_u16(r->value))
		last->reason = buf_get_u16(r->value);
}

static void
on_mark(void *arg, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	struct reading *r = arg;

	(void)offset;
	(void)length;
	r->capture = false;
	if (mark == SCAN_SEQUENCE)
		r->open++;
	else if (mark == SCAN_SEQUENCE_END)
		r->open--;
	else if (mark == SCAN_ITEM && r->open == 1 && r->sequence)
		begin_item(r);
}

static int
judge(const struct reading *r, uint32_t flags, struct err *e)
{
	size_t i;

	if (r->no_memory)
		return err_set(e, ERR_LOCAL, 0, "no memory for references");
	if (flags & (SCAN_LIMITS | SCAN_TRUNCATED))
		return err_set(e, ERR_PEER, 0, "references that cannot be read");
	if (r->too_much)
		return err_set(e, ERR_PEER, 0, "more than %d references", REFERENCES_MAX);
	if (r->bad_uid || !r->to->transaction[0])
		return err_set(e, ERR_PEER, 0, "a UID is missing or none");
	for (i = 0; i < r->to->n; i++)
		if (!r->to->all[i].sop_class[0] || !r->to->all[i].sop_instance[0])
			return err_set(e, ERR_PEER, 0, "a reference without its UIDs");
	return r->to->n ? 0 : err_set(e, ERR_PEER, 0, "no references");
}

int
references_parse(struct references *out, const char *syntax, const void *p, size_t n, struct err *e)
{
	struct reading r = {.to = out};
	struct scan_config c;
	struct scan *s;
	int rc;

	memset(out, 0, sizeof(*out));
	scan_config_default(&c);
	c.syntax = strcmp(syntax, implicit_le) == 0 ? SCAN_IMPLICIT : SCAN_EXPLICIT;
	c.max_depth = DEPTH;
	c.handler = (struct scan_handler){on_element, on_value, on_end, on_mark, &r};
	rc = scan_new(&s, &c, e);
	if (rc)
		return rc;
	scan_feed(s, p, n);
	scan_end(s);
	rc = judge(&r, scan_flags(s), e);
	scan_free(s);
	if (rc)
		references_fini(out);
	return rc;
}

void
references_fini(struct references *r)
{
	free(r->all);
	memset(r, 0, sizeof(*r));
}

/* --- writing --- */

static void
put(struct buf *out, bool implicit, uint32_t tag, const char *vr, const void *p, size_t n)
{
	buf_put_u16(out, tag >> 16);
	buf_put_u16(out, tag & 0xffff);
	if (!implicit)
		buf_put(out, vr, 2);
	if (implicit)
		buf_put_u32(out, (uint32_t)(n + n % 2));
	else
		buf_put_u16(out, (unsigned)(n + n % 2));
	buf_put(out, p, n);
	if (n % 2)
		buf_put_u8(out, vr[0] == 'U' ? '\0' : ' ');
}

static void
put_text(struct buf *out, bool implicit, uint32_t tag, const char *vr, const char *s)
{
	put(out, implicit, tag, vr, s, strlen(s));
}

/* Those that failed, or those that did not; nothing where there are none. */
static void
put_sequence(struct buf *out, bool implicit, uint32_t tag, const struct references *r, bool failed)
{
	struct buf items = BUF_INIT, item = BUF_INIT;
	unsigned char reason[2];
	size_t i;

	for (i = 0; i < r->n; i++) {
		const struct reference *one = &r->all[i];

		if ((one->reason != 0) != failed)
			continue;
		buf_clear(&item);
		put_text(&item, implicit, TAG_REFERENCED_CLASS, "UI", one->sop_class);
		put_text(&item, implicit, TAG_REFERENCED_INSTANCE, "UI", one->sop_instance);
		buf_set_u16(reason, one->reason);
		if (failed)
			put(&item, implicit, TAG_REASON, "US", reason, sizeof(reason));
		buf_put_u32(&items, ITEM);
		buf_put_u32(&items, (uint32_t)item.len);
		buf_put(&items, item.data, item.len);
	}
	if (items.len) {
		buf_put_u16(out, tag >> 16);
		buf_put_u16(out, tag & 0xffff);
		if (!implicit)
			buf_put(out, "SQ\0", 4);
		buf_put_u32(out, (uint32_t)items.len);
		buf_put(out, items.data, items.len);
	}
	out->failed = out->failed || buf_failed(&items) || buf_failed(&item);
	buf_fini(&item);
	buf_fini(&items);
}

void
references_ask(struct buf *out, const char *syntax, const struct references *r)
{
	bool implicit = strcmp(syntax, implicit_le) == 0;

	put_text(out, implicit, TAG_TRANSACTION, "UI", r->transaction);
	put_sequence(out, implicit, TAG_REFERENCED, r, false);
}

/* PS3.4 J.3.3.1: all that was asked for, in one list or the other. */
void
references_tell(struct buf *out, const char *syntax, const struct references *r, const char *aet)
{
	bool implicit = strcmp(syntax, implicit_le) == 0;

	if (aet[0])
		put_text(out, implicit, TAG_RETRIEVE_AET, "AE", aet);
	put_text(out, implicit, TAG_TRANSACTION, "UI", r->transaction);
	put_sequence(out, implicit, TAG_FAILED, r, true);
	put_sequence(out, implicit, TAG_REFERENCED, r, false);
}
