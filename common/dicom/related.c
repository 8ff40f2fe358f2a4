#include "common/dicom/related.h"

#include <string.h>

enum { REQUEST = 1, REQUEST_HEAD = 74, USER_INFORMATION = 0x50, COMMON_EXTENDED = 0x57 };

/* Takes n bytes off the front. */
static bool
take(struct related *from, size_t n, struct related *out)
{
	if (from->n < n)
		return false;
	*out = (struct related){from->p, n};
	from->p += n;
	from->n -= n;
	return true;
}

/* What a length of two bytes stands in front of. */
static bool
take_sized(struct related *from, struct related *out)
{
	struct related head;

	return take(from, 2, &head) && take(from, (size_t)head.p[0] << 8 | head.p[1], out);
}

/* Type, a byte, a length of two bytes, and so much. */
static bool
take_item(struct related *from, unsigned *type, struct related *out)
{
	struct related head;

	if (!take(from, 2, &head))
		return false;
	*type = head.p[0];
	return take_sized(from, out);
}

/* TRAPS 1: never padded there, and padded by some. */
static void
copy_uid(char out[ASSOC_UID_SIZE], struct related uid)
{
	while (uid.n > 0 && (uid.p[uid.n - 1] == '\0' || uid.p[uid.n - 1] == ' '))
		uid.n--;
	if (uid.n >= ASSOC_UID_SIZE || memchr(uid.p, '\0', uid.n))
		uid.n = 0;
	memcpy(out, uid.p, uid.n);
	out[uid.n] = '\0';
}

struct related
related_of(const void *pdu, size_t n)
{
	struct related r = {pdu, n}, head, item;
	const struct related none = {pdu, 0};
	unsigned type;

	if (!take(&r, REQUEST_HEAD, &head) || head.p[0] != REQUEST)
		return none;
	while (take_item(&r, &type, &item))
		if (type == USER_INFORMATION)
			return item;
	return none;
}

bool
related_next(struct related *r, struct related_class *out)
{
	struct related item, sop_class, service_class, general;
	unsigned type;

	while (take_item(r, &type, &item)) {
		if (type != COMMON_EXTENDED)
			continue;
		if (!take_sized(&item, &sop_class) || !take_sized(&item, &service_class))
			return false;
		if (!take_sized(&item, &general)) /* none: some leave out its length too */
			general = (struct related){item.p, 0};
		copy_uid(out->sop_class, sop_class);
		copy_uid(out->service_class, service_class);
		out->general = general;
		return true;
	}
	return false;
}

bool
related_general(struct related_class *c, char uid[ASSOC_UID_SIZE])
{
	struct related one;

	if (!take_sized(&c->general, &one))
		return false;
	copy_uid(uid, one);
	return true;
}
