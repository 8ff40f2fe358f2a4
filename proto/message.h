/*
 * message.h - protobuf messages to and from buffers, and the small types in them.
 *
 * Threads: none of its own.
 */
#ifndef SALAMANDER_PROTO_MESSAGE_H
#define SALAMANDER_PROTO_MESSAGE_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/digest.h"
#include "common/base/rng.h"

struct buf;
struct err;

/* Memory that runs out shows as buf_failed. */
void message_pack(struct buf *out, const ProtobufCMessage *m);
/* NULL and ERR_PEER unless the bytes are such a message, and take no more than four times their
 * number of memory, and 256 KiB (R24). */
void *message_read(const ProtobufCMessageDescriptor *type, const void *p, size_t n, struct err *e);
void message_free(void *m); /* NULL is fine */

/* Borrowed views; protobuf-c only reads them. */
ProtobufCBinaryData message_bytes(const void *p, size_t n);
char *message_text(const char *s);
/* false unless it has the size of the id or digest; *out is zero then. */
bool message_id(struct id128 *out, const ProtobufCBinaryData *b);
bool message_digest(unsigned char out[SHA256_SIZE], const ProtobufCBinaryData *b);
bool id128_same(const struct id128 *a, const struct id128 *b);
bool id128_none(const struct id128 *a);

#endif
