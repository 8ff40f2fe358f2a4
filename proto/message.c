#include "proto/message.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

void
message_pack(struct buf *out, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	unsigned char *to = buf_reserve(out, n + 1);

	if (to)
		out->len += protobuf_c_message_pack(m, to);
}

/*
 * R24: a field of two bytes becomes a struct of up to a hundred. What others make may not take
 * more memory than honest messages do: these are mostly bytes, which are copied once.
 */
enum { TIMES = 4, AT_LEAST = 256 << 10 };

struct purse {
	size_t left;
};

static void *
spend(void *arg, size_t n)
{
	struct purse *p = arg;

	if (n > p->left)
		return NULL;
	p->left -= n;
	return malloc(n);
}

static void
give_back(void *arg, void *p)
{
	(void)arg;
	free(p);
}

void *
message_read(const ProtobufCMessageDescriptor *type, const void *p, size_t n, struct err *e)
{
	struct purse purse = {AT_LEAST + TIMES * n};
	ProtobufCAllocator own = {spend, give_back, &purse};
	ProtobufCMessage *m = protobuf_c_message_unpack(type, &own, n, p);

	if (!m)
		(void)err_set(e, ERR_PEER, 0, "these bytes are no %s", type->short_name);
	return m;
}

void
message_free(void *m)
{
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
}

ProtobufCBinaryData
message_bytes(const void *p, size_t n)
{
	ProtobufCBinaryData b;

	b.len = n;
	b.data = (uint8_t *)(uintptr_t)p;
	return b;
}

char *
message_text(const char *s)
{
	return (char *)(uintptr_t)s;
}

bool
message_id(struct id128 *out, const ProtobufCBinaryData *b)
{
	memset(out, 0, sizeof(*out));
	if (b->len != sizeof(out->b))
		return false;
	memcpy(out->b, b->data, sizeof(out->b));
	return true;
}

bool
message_digest(unsigned char out[SHA256_SIZE], const ProtobufCBinaryData *b)
{
	memset(out, 0, SHA256_SIZE);
	if (b->len != SHA256_SIZE)
		return false;
	memcpy(out, b->data, SHA256_SIZE);
	return true;
}

bool
id128_same(const struct id128 *a, const struct id128 *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool
id128_none(const struct id128 *a)
{
	static const struct id128 none;

	return id128_same(a, &none);
}
