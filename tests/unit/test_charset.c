/* Character sets of PS3.3 C.12.1.1.2, to UTF-8 and back; names of PS3.5 annexes H to K. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/dicom/charset.h"

struct row {
	const char *terms, *bytes, *utf8;
};

/* Golden: what must be written, and is read. */
static const struct row names[] = {
	{"ISO_IR 100", "Buc^J\xe9r\xf4me", "Buc^J\xc3\xa9r\xc3\xb4me"},
	{"ISO_IR 101",
	 "Wa\xb3\xea"
	 "sa",
	 "Wa\xc5\x82\xc4\x99sa"},
	{"ISO_IR 109", "\xb1\xa9^\xf8", "\xc4\xa7\xc4\xb0^\xc4\x9d"},
	{"ISO_IR 110", "\xb1\xb3", "\xc4\x85\xc5\x97"},
	{"ISO_IR 126", "\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2",
	 "\xce\x94\xce\xb9\xce\xbf\xce\xbd\xcf\x85\xcf\x83\xce\xb9\xce\xbf\xcf\x82"},
	{"ISO_IR 127", "\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1",
	 "\xd9\x82\xd8\xa8\xd8\xa7\xd9\x86\xd9\x8a^\xd9\x84\xd9\x86\xd8\xb2\xd8\xa7\xd8\xb1"},
	{"ISO_IR 138", "\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4",
	 "\xd7\xa9\xd7\xa8\xd7\x95\xd7\x9f^\xd7\x93\xd7\x91\xd7\x95\xd7\xa8\xd7\x94"},
	{"ISO_IR 144", "\xbb\xee\xda^\xb6", "\xd0\x9b\xd1\x8e\xd0\xba^\xd0\x96"},
	{"ISO_IR 148", "\xc7\xf0\xfd", "\xc3\x87\xc4\x9f\xc4\xb1"},
	{"ISO_IR 166", "\xb9\xd2\xc1", "\xe0\xb8\x99\xe0\xb8\xb2\xe0\xb8\xa1"},
	{"ISO_IR 203", "\xa4^\xbd", "\xe2\x82\xac^\xc5\x93"},
	{"ISO_IR 13", "\xd4\xcf\xc0\xde^\xc0\xdb\xb3",
	 "\xef\xbe\x94\xef\xbe\x8f\xef\xbe\x80\xef\xbe\x9e^\xef\xbe\x80\xef\xbe\x9b\xef\xbd\xb3"},
	{"\\ISO 2022 IR 87", /* annex H.3.1 */
	 "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
	 "Yamada^Tarou=\xe5\xb1\xb1\xe7\x94\xb0^\xe5\xa4\xaa\xe9\x83\x8e="
	 "\xe3\x82\x84\xe3\x81\xbe\xe3\x81\xa0^\xe3\x81\x9f\xe3\x82\x8d\xe3\x81\x86"},
	{"\\ISO 2022 IR 159", "\x1b$(D0!\x1b(B", "\xe4\xb8\x82"},
	{"ISO 2022 IR 13\\ISO 2022 IR 87", /* annex H.3.2 */
	 "\xd4\xcf\xc0\xde=\x1b$B;3ED\x1b(B",
	 "\xef\xbe\x94\xef\xbe\x8f\xef\xbe\x80\xef\xbe\x9e="
	 "\xe5\xb1\xb1\xe7\x94\xb0"},
	{"\\ISO 2022 IR 149", /* annex I */
	 "Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5"
	 "\xbf",
	 "Hong^Gildong=\xe6\xb4\xaa^\xe5\x90\x89\xe6\xb4\x9e=\xed\x99\x8d^"
	 "\xea\xb8\xb8\xeb\x8f\x99"},
	{"\\ISO 2022 IR 58", "Wang=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1",
	 "Wang=\xe7\x8e\x8b^\xe5\xb0\x8f"},
	{"ISO 2022 IR 100\\ISO 2022 IR 144", "J\xe9r\x1b-L\xbb\x1b-A^\xe9",
	 "J\xc3\xa9r\xd0\x9b^\xc3\xa9"},
	{"ISO_IR 192", "\xe5\xb1\xb1^\xc3\xa9\xe2\x82\xac", "\xe5\xb1\xb1^\xc3\xa9\xe2\x82\xac"},
	{"GB18030", "Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", /* annex J */
	 "Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe4\xb8\x9c"},
	{"GB18030", "\x81\x30\x86\x30", "\xc2\xb8"},
	{"GBK", "\xcd\xf5^\xd0\xa1\xb6\xab", "\xe7\x8e\x8b^\xe5\xb0\x8f\xe4\xb8\x9c"},
};

static void
charset__every_defined_one_is_read_and_written(void **state)
{
	struct buf b = BUF_INIT;
	struct charset *c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct row *r = &names[i];

		assert_int_equal(charset_new(&c, r->terms, strlen(r->terms), NULL), 0);
		buf_clear(&b);
		assert_true(charset_to_utf8(c, CHARSET_NAME, r->bytes, strlen(r->bytes), &b));
		assert_int_equal(b.len, strlen(r->utf8));
		assert_memory_equal(b.data, r->utf8, b.len);
		buf_clear(&b);
		assert_true(charset_from_utf8(c, CHARSET_NAME, r->utf8, strlen(r->utf8), &b));
		assert_int_equal(b.len, strlen(r->bytes));
		assert_memory_equal(b.data, r->bytes, b.len);
		charset_free(c);
	}
	buf_fini(&b);
}

static void
charset_from_utf8__says_what_it_cannot_say(void **state)
{
	static const struct row rows[] = {
		{"ISO_IR 100", "", "\xd0\x9b"},
		{"ISO_IR 6", "", "\xc3\xa9"},
		{"", "", "\xc3\xa9"},
		{"ISO_IR 13", "", "\xe5\xb1\xb1"},
		{"\\ISO 2022 IR 87", "", "\xed\x99\x8d"},
		{"GBK", "", "\xf0\x9f\x98\x80"},
		{"ISO_IR 100", "", "\xc2\x85"},
		{"NONSENSE", "", "\xc3\xa9"},
	};
	struct buf b = BUF_INIT;
	struct charset *c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(charset_new(&c, rows[i].terms, strlen(rows[i].terms), NULL), 0);
		assert_false(charset_from_utf8(c, CHARSET_VALUES, rows[i].utf8,
					       strlen(rows[i].utf8), &b));
		charset_free(c);
	}
	buf_fini(&b);
}

/* JIS X 0201 stands in for ASCII where the first value is ISO 2022 IR 13. */
static void
charset_to_utf8__romaji_is_text(void **state)
{
	static const char bytes[] = "\x1b$B;3ED\x1b(J 12*\\\x1b(JYAMADA~ \x5c";
	struct buf b = BUF_INIT;
	struct charset *c;

	(void)state;
	assert_int_equal(charset_new(&c, "ISO 2022 IR 13\\ISO 2022 IR 87", 29, NULL), 0);
	assert_true(charset_to_utf8(c, CHARSET_VALUES, bytes, sizeof(bytes) - 1, &b));
	buf_put_u8(&b, 0);
	assert_string_equal((const char *)b.data,
			    "\xe5\xb1\xb1\xe7\x94\xb0 12*\\YAMADA\xe2\x80\xbe \\");
	charset_free(c);
	buf_fini(&b);
}

/* Whatever characters: what is written is read again as it was. */
static void
charset_from_utf8__is_read_back_whatever_it_says(void **state)
{
	static const char *const terms[] = {
		"ISO_IR 100",
		"\\ISO 2022 IR 87\\ISO 2022 IR 159",
		"ISO_IR 13",
		"ISO 2022 IR 13\\ISO 2022 IR 87",
		"\\ISO 2022 IR 149",
		"\\ISO 2022 IR 58",
		"GB18030",
		"ISO 2022 IR 100\\ISO 2022 IR 101\\ISO 2022 IR 126\\ISO 2022 IR 87",
		"GBK",
	};
	unsigned said = 0, code, i;

	(void)state;
	for (i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
		struct charset *c;

		assert_int_equal(charset_new(&c, terms[i], strlen(terms[i]), NULL), 0);
		for (code = 0xa0; code < 0xfffd; code += code < 0x600 ? 1 : 7) {
			struct buf u = BUF_INIT, b = BUF_INIT, back = BUF_INIT;

			if (code >= 0xd800 && code < 0xe000)
				continue;
			buf_puts(&u, "a\xc3\xa9"); /* in most of them; alone where it is not */
			if (!charset_from_utf8(c, CHARSET_NAME, (const char *)u.data, u.len, &b))
				buf_clear(&u);
			buf_clear(&b);
			if (code >= 0x800)
				buf_put_u8(&u, 0xe0 | code >> 12);
			buf_put_u8(&u,
				   code >= 0x800 ? 0x80 | (code >> 6 & 0x3f) : 0xc0 | code >> 6);
			buf_put_u8(&u, 0x80 | (code & 0x3f));
			buf_puts(&u, "^b");
			if (charset_from_utf8(c, CHARSET_NAME, (const char *)u.data, u.len, &b)) {
				said++;
				assert_true(charset_to_utf8(c, CHARSET_NAME, (const char *)b.data,
							    b.len, &back));
				assert_int_equal(back.len, u.len);
				assert_memory_equal(back.data, u.data, u.len);
			}
			buf_fini(&u);
			buf_fini(&b);
			buf_fini(&back);
		}
		charset_free(c);
	}
	assert_true(said > 10000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(charset__every_defined_one_is_read_and_written),
		cmocka_unit_test(charset_from_utf8__says_what_it_cannot_say),
		cmocka_unit_test(charset_to_utf8__romaji_is_text),
		cmocka_unit_test(charset_from_utf8__is_read_back_whatever_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
