/* libFuzzer: any bytes as a file and as data sets; canon(canon(x)) = canon(x) (R1). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/dicom/attrs.h"
#include "common/dicom/canon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
once(enum canon_form form, const char *syntax, const uint8_t *data, size_t size)
{
	struct canon_config config = {.form = form, .syntax = syntax};
	const struct object_info *info, *again;
	struct buf bytes = BUF_INIT;
	struct canon *c, *c2;

	if (canon_bytes(&c, &config, data, size, &bytes, &info, NULL))
		abort();
	config.form = CANON_FILE;
	if (canon_bytes(&c2, &config, bytes.data, bytes.len, NULL, &again, NULL))
		abort();
	if (memcmp(info->digest, again->digest, sizeof(info->digest)) != 0 ||
	    !attrs_valid(attrs_of(&info->study_attrs)) ||
	    !attrs_valid(attrs_of(&info->series_attrs)) ||
	    !attrs_valid(attrs_of(&info->instance_attrs)))
		abort();
	canon_free(c);
	canon_free(c2);
	buf_fini(&bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const syntaxes[] = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1",
					       "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"};

	once(CANON_FILE, NULL, data, size);
	if (size > 0)
		once(CANON_DATASET, syntaxes[data[0] % 4], data + 1, size - 1);
	return 0;
}
