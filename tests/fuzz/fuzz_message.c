/* libFuzzer: any bytes as a command set, an identifier, and a list of references. */
#include <stdint.h>
#include <stddef.h>

#include "common/dimse/identifier.h"
#include "common/dimse/message.h"
#include "common/dimse/references.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *syntax = size && data[0] & 1 ? "1.2.840.10008.1.2" : "1.2.840.10008.1.2.1";
	struct identifier id;
	struct references list;
	struct message m;
	struct buf b = BUF_INIT;

	(void)message_parse(&m, data, size, NULL);
	if (size > 0 && !identifier_parse(&id, syntax, data + 1, size - 1, NULL)) {
		identifier_build(&b, "1.2.840.10008.1.2.1", attrs_of(&id.keys));
		identifier_fini(&id);
	}
	if (size > 0 && !references_parse(&list, syntax, data + 1, size - 1, NULL)) {
		references_tell(&b, syntax, &list, "AET");
		references_fini(&list);
	}
	buf_fini(&b);
	return 0;
}
