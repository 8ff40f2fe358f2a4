/* Which queries may be asked at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/keys.h"
#include "common/store/query.h"
#include "common/store/query_keys.h"

/* As it comes from an identifier: attrs_put would cut it. */
static void
put_long(struct buf *set, uint32_t tag, const char *two, size_t n)
{
	size_t i;

	buf_put_u32(set, tag);
	buf_put_u16(set, (unsigned)n);
	for (i = 0; i < n; i++)
		buf_put_u8(set, (unsigned char)two[i % 2]);
}

static void
query_keys_check__a_key_longer_than_any_value_is_refused(void **state)
{
	static const struct {
		uint32_t tag;
		size_t n;
		int rc;
	} cases[] = {{TAG_PATIENT_NAME, ATTRS_VALUE_MAX, 0},
		     {TAG_PATIENT_NAME, ATTRS_VALUE_MAX + 1, ERR_PEER},
		     {TAG_STUDY_DESCRIPTION, 60000, ERR_PEER},
		     {TAG_MODALITIES, 60000, ERR_PEER},
		     {TAG_REQUEST, 60000, ERR_PEER},
		     {TAG_CLASSES, 60000, 0},
		     {TAG_STUDY_UID, 60000, 0}};
	struct query_config c = {.level = QUERY_STUDY};
	struct buf keys = BUF_INIT;
	uint32_t tag;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_clear(&keys);
		put_long(&keys, cases[i].tag, cases[i].tag == TAG_STUDY_UID ? "1." : "*a",
			 cases[i].n);
		c.keys = attrs_of(&keys);
		tag = 0;
		if (query_keys_check(&c, &tag, NULL) != cases[i].rc ||
		    tag != (cases[i].rc ? cases[i].tag : 0))
			fail_msg("case %zu", i);
	}
	buf_fini(&keys);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_keys_check__a_key_longer_than_any_value_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
