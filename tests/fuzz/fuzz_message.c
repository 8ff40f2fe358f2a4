/* libFuzzer: any bytes as a command set and as an identifier. */
#include <stdint.h>
#include <stddef.h>

#include "common/dimse/identifier.h"
#include "common/dimse/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct identifier id;
	struct message m;
	struct buf b = BUF_INIT;

	(void)message_parse(&m, data, size, NULL);
	if (size > 0 &&
	    !identifier_parse(&id, data[0] & 1 ? "1.2.840.10008.1.2" : "1.2.840.10008.1.2.1",
			      data + 1, size - 1, NULL)) {
		identifier_build(&b, "1.2.840.10008.1.2.1", attrs_of(&id.keys));
		identifier_fini(&id);
	}
	buf_fini(&b);
	return 0;
}
