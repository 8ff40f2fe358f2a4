/* Does a value match a key (PS3.4 C.2.2.2)? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/dicom/keys.h"
#include "common/store/match.h"

static void
assert_matches(bool want, const char *vr, const char *key, const char *value)
{
	struct attr a = {0, value, strlen(value)};

	if (match_value(vr, key, strlen(key), a) != want)
		fail_msg("%s '%s' on '%s'", vr, key, value);
}

static void
match_value__follows_ps3_4_c_2_2_2(void **state)
{
	(void)state;
	assert_matches(true, "LO", "ab*", "abc");
	assert_matches(false, "LO", "AB*", "abc"); /* case counts but for names */
	assert_matches(true, "LO", "?b?", "abc");
	assert_matches(true, "LO", "*c*c", "abcc");
	assert_matches(false, "LO", "a", "abc");
	assert_matches(true, "LO", "b", "a\\b");
	assert_matches(true, "LO", "?", "\xc3\xbc"); /* a character, not a byte */
	assert_matches(true, "DA", "20260101-20260131", "20260131");
	assert_matches(false, "DA", "20260101-20260131", "20260201");
	assert_matches(true, "DA", "-20260131", "19991231");
	assert_matches(true, "DA", "20260101", "2026.01.01");
	assert_matches(true, "TM", "10-12", "115959.5");
	assert_matches(true, "TM", "1000-1200", "120059");
	assert_matches(false, "TM", "10-12", "130000");
	assert_matches(true, "UI", "1.2\\1.3", "1.3");
	assert_matches(false, "UI", "1.2", "1.2.3");
	assert_matches(true, "PN", "m\xc3\xbcller*", "MULLER^JORG");
	assert_matches(true, "PN", "doe^jane", "DOE^JANE^^^");
	assert_matches(true, "DA", "-", "20260101");
}

static void
match_value__moments_are_compared_as_such(void **state)
{
	(void)state;
	assert_matches(true, "DT", "20260101-20260131", "20260131235959.9");
	assert_matches(false, "DT", "20260101-20260131", "20260201");
	assert_matches(true, "DT", "2024", "20240229120000");
	assert_matches(true, "DT", "2024-202402", "20240229235959.999999");
	assert_matches(false, "DT", "2024-202402", "20240301");
	assert_matches(true, "DT", "20260115103000", "20260115103000.000");
	assert_matches(false, "DT", "20260115103000.5", "20260115103000.6");
	assert_matches(true, "DT", "20260115-", "20260115");
	assert_matches(false, "DT", "-20260114", "20260115");
	assert_matches(true, "DT", "-", "2026");
	assert_matches(true, "DT", "2025-2026", "2026"); /* no offset of -2026 */
	/* 23:30 at -0500 is 04:30 UTC on the next day. */
	assert_matches(true, "DT", "20260116+0000", "20260115233000-0500");
	assert_matches(false, "DT", "20260115+0000", "20260115233000-0500");
	assert_matches(true, "DT", "20260115-0500", "20260116043000+0000");
	assert_matches(true, "DT", "20260115-0500-20260115-0500", "20260116043000+0000");
	assert_matches(true, "DT", "20260115-0500-", "20260301+0100");
	assert_matches(false, "DT", "20260117+0000-20260118+0000", "20260115233000-0500");
	assert_matches(true, "DT", "20260101000000+0000-", "20251231190000-0500"); /* over a year */
	/* One without an offset: by the clock on the wall. */
	assert_matches(true, "DT", "20260115", "20260115233000-0500");
	assert_matches(true, "DT", "20260115+0900", "20260115");
	assert_matches(false, "DT", "yesterday", "20260115");
	assert_matches(false, "DT", "20260115", "yesterday");
	assert_matches(false, "DT", "20260115", "");
	assert_matches(false, "DT", "20260230", "20260115");
}

/* PS3.5 6.2.1: a name in up to three writings. */
static void
match_value__component_groups_match_in_their_places(void **state)
{
	static const char name[] = "Yamada^Tarou=\xe5\xb1\xb1\xe7\x94\xb0^\xe5\xa4\xaa"
				   "\xe9\x83\x8e=\xe3\x82\x84\xe3\x81\xbe";

	(void)state;
	assert_matches(true, "PN", "yamada^tarou", name);
	assert_matches(true, "PN", "\xe5\xb1\xb1*", name);
	assert_matches(true, "PN", "=\xe5\xb1\xb1*", name);
	assert_matches(true, "PN", "yamada*=\xe5\xb1\xb1*", name);
	assert_matches(true, "PN", "Yamada^Tarou=", name);
	assert_matches(true, "PN", "*==\xe3\x82\x84*", name);
	assert_matches(false, "PN", "=yamada*", name);
	assert_matches(false, "PN", "doe*=\xe5\xb1\xb1*", name);
	assert_matches(false, "PN", "yamada*=\xe3\x82\x84*", name);
	assert_matches(false, "PN", "yamada*=\xe5\xb1\xb1*", "Yamada^Tarou");
	assert_matches(false, "PN", "yamada*=*tarou*", name);
}

static void
match_items__all_that_is_asked_is_in_one_item(void **state)
{
	static const char has[] = "\x1e"
				  "00400009S1\x1f"
				  "00401001R1\x1f"
				  "\x1e"
				  "00400009S2\x1f"
				  "00401001R2\x1f";
	static const struct {
		const char *key;
		bool matches;
	} cases[] = {{"", true},
		     {"\x1e", true},
		     {"\x1e"
		      "00400009S1\x1f",
		      true},
		     {"\x1e"
		      "00400009S?\x1f"
		      "00401001R2\x1f",
		      true},
		     {"\x1e"
		      "00400009S1\x1f"
		      "00401001R2\x1f",
		      false},
		     {"\x1e"
		      "00400009S\x1f",
		      false},
		     {"\x1e"
		      "00400009*\x1f",
		      true},
		     {"\x1e"
		      "00400009\x1f",
		      true},
		     {"\x1e"
		      "00400007S1\x1f",
		      false},
		     {"\x1e"
		      "0040zzzzS1\x1f",
		      true}}; /* no key: it asks nothing */
	struct attr value = {TAG_REQUEST, has, sizeof(has) - 1}, none = {TAG_REQUEST, "", 0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (match_items(cases[i].key, strlen(cases[i].key), value) != cases[i].matches)
			fail_msg("case %zu", i);
	assert_false(match_items(cases[2].key, strlen(cases[2].key), none));
	assert_true(match_items(cases[6].key, strlen(cases[6].key), none));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(match_value__follows_ps3_4_c_2_2_2),
		cmocka_unit_test(match_value__moments_are_compared_as_such),
		cmocka_unit_test(match_value__component_groups_match_in_their_places),
		cmocka_unit_test(match_items__all_that_is_asked_is_in_one_item),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
