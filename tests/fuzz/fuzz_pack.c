/* libFuzzer: any bytes as a manifest, as a frame and as a pack's bytes. */
#include <stdint.h>
#include <stddef.h>
#include <string.h>

#include "common/base/buf.h"
#include "proto/frame.h"
#include "proto/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
zeros(void *arg, size_t i, uint64_t offset, void *to, size_t n, struct err *e)
{
	(void)arg;
	(void)i;
	(void)offset;
	(void)e;
	memset(to, 0, n);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char made[4096];
	struct buf plain = BUF_INIT;
	struct frame f;
	struct pack *p;

	if (!pack_open(&p, data, size, NULL)) {
		size_t n = pack_size(p) < sizeof(made) ? (size_t)pack_size(p) : sizeof(made);

		(void)pack_make(p, 0, made, n, zeros, NULL, NULL);
		(void)pack_make(p, pack_size(p) - n, made, n, zeros, NULL, NULL);
		pack_close(p);
	}
	if (size >= FRAME_HEAD && !frame_head(&f, data, NULL) && f.payload <= size - FRAME_HEAD)
		(void)frame_read(&f, data + FRAME_HEAD, &plain, NULL);
	buf_fini(&plain);
	return 0;
}
