/*
 * libFuzzer: any bytes as what a peer sends: from its first byte on, as the items of an
 * A-ASSOCIATE-RQ whose head is right, or once an association stands.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/dicom/assoc.h"
#include "common/dicom/related.h"
#include "common/dimse/message.h"
#include "common/dimse/negotiate.h"
#include "common/dimse/peers.h"

enum { MOST = 60000, SECONDS = 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* DCMTK 3.6.7 forgets its lists of a request that it cannot parse, 32 bytes each: looking for
 * them takes most of the time. `make check-asan` looks for leaks of associations. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* One context of C-FIND in Explicit VR LE, and 16 KiB a PDU. */
static const char items[] = "\x10\0\0\x15"
			    "1.2.840.10008.3.1.1.1"
			    "\x20\0\0\x3a\1\0\0\0\x30\0\0\x1b"
			    "1.2.840.10008.5.1.4.1.2.2.1"
			    "\x40\0\0\x13"
			    "1.2.840.10008.1.2.1"
			    "\x50\0\0\x08\x51\0\0\4\0\0\x40\0";

static void
put_request(struct buf *out, const void *p, size_t n)
{
	unsigned i;

	buf_put(out, "\1\0", 2);
	buf_put_be32(out, (uint32_t)(68 + n));
	buf_put(out, "\0\1\0\0NODE            FUZZER          ", 36);
	for (i = 0; i < 32; i++)
		buf_put_u8(out, 0);
	buf_put(out, p, n);
}

static void
serve(int fd)
{
	static const struct peer peer = {.name = "", .tls_name = ""};
	struct assoc *a;
	struct assoc_pdv pdv;
	struct message m;
	int rc;

	if (assoc_receive(&a, fd, NULL, ASSOC_PDU_MAX, SECONDS, NULL))
		return;
	rc = negotiate(a, &peer, true, NULL);
	if (!rc)
		rc = assoc_acknowledge(a, NULL);
	while (!rc) {
		rc = message_receive(a, SECONDS, &m, NULL);
		while (!rc && m.has_data) {
			rc = assoc_read(a, SECONDS, &pdv, NULL);
			m.has_data = !pdv.last;
		}
	}
	assoc_free(a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct related all;
	struct related_class one;
	struct buf sent = BUF_INIT;
	char uid[ASSOC_UID_SIZE];
	int fd[2];

	if (size < 1 || size > MOST)
		return 0;
	if (data[0] % 3 == 0)
		buf_put(&sent, data + 1, size - 1);
	else if (data[0] % 3 == 1)
		put_request(&sent, data + 1, size - 1);
	else {
		put_request(&sent, items, sizeof(items) - 1);
		buf_put(&sent, data + 1, size - 1);
	}
	all = related_of(sent.data, sent.len);
	while (related_next(&all, &one))
		while (related_general(&one, uid))
			;
	if (!socketpair(AF_UNIX, SOCK_STREAM, 0, fd)) {
		if (send(fd[1], sent.data, sent.len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			(void)shutdown(fd[1], SHUT_WR);
		serve(fd[0]);
		(void)close(fd[1]);
	}
	buf_fini(&sent);
	return 0;
}
