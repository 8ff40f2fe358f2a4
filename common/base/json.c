#include "common/base/json.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/digest.h"

void
json_init(struct json *j, struct buf *out)
{
	j->out = out;
	j->more = false;
}

/* Length of the UTF-8 sequence at s, 0 if it is none (RFC 3629: no surrogates, no overlong). */
static size_t
sequence(const unsigned char *s, size_t n)
{
	static const unsigned char low[] = {0, 0, 0xC2, 0xE0, 0xF0},
				   high[] = {0, 0, 0xDF, 0xEF, 0xF4};
	size_t len, i;

	for (len = 2; len <= 4; len++)
		if (s[0] >= low[len] && s[0] <= high[len])
			break;
	if (len > 4 || len > n)
		return 0;
	for (i = 1; i < len; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
	    (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
		return 0;
	return len;
}

static void
quoted(struct buf *out, const char *text, size_t n)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i, len;

	buf_put_u8(out, '"');
	for (i = 0; i < n; i += len) {
		len = 1;
		if (s[i] == '"' || s[i] == '\\') {
			buf_printf(out, "\\%c", s[i]);
		} else if (s[i] < 0x20 || s[i] == 0x7F) {
			buf_printf(out, "\\u%04x", s[i]);
		} else if (s[i] < 0x80) {
			buf_put_u8(out, s[i]);
		} else {
			len = sequence(s + i, n - i);
			if (len)
				buf_put(out, s + i, len);
			else
				buf_puts(out, "\xEF\xBF\xBD");
			len = len ? len : 1;
		}
	}
	buf_put_u8(out, '"');
}

static void
begin(struct json *j, const char *key)
{
	if (j->more)
		buf_put_u8(j->out, ',');
	if (key) {
		quoted(j->out, key, strlen(key));
		buf_put_u8(j->out, ':');
	}
	j->more = true;
}

void
json_open(struct json *j, const char *key, char kind)
{
	begin(j, key);
	buf_put_u8(j->out, (unsigned char)kind);
	j->more = false;
}

void
json_close(struct json *j, char kind)
{
	buf_put_u8(j->out, (unsigned char)kind);
	j->more = true;
}

void
json_text_n(struct json *j, const char *key, const char *s, size_t n)
{
	begin(j, key);
	quoted(j->out, s, n);
}

void
json_text(struct json *j, const char *key, const char *s)
{
	json_text_n(j, key, s, strlen(s));
}

void
json_number(struct json *j, const char *key, int64_t v)
{
	begin(j, key);
	buf_printf(j->out, "%" PRId64, v);
}

void
json_count(struct json *j, const char *key, uint64_t v)
{
	begin(j, key);
	buf_printf(j->out, "%" PRIu64, v);
}

void
json_decimal(struct json *j, const char *key, double v)
{
	begin(j, key);
	buf_printf(j->out, "%.1f", v);
}

void
json_bool(struct json *j, const char *key, bool v)
{
	begin(j, key);
	buf_puts(j->out, v ? "true" : "false");
}

void
json_null(struct json *j, const char *key)
{
	begin(j, key);
	buf_puts(j->out, "null");
}

void
json_id(struct json *j, const char *key, const struct id128 *id)
{
	static const struct id128 none;
	char hex[ID128_HEX];

	if (memcmp(id, &none, sizeof(none)) == 0) {
		json_null(j, key);
		return;
	}
	hex_of(id->b, sizeof(id->b), hex);
	json_text(j, key, hex);
}

void
json_time(struct json *j, const char *key, int64_t wall_ms)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_rfc3339(wall_ms, text);
	if (text[0])
		json_text(j, key, text);
	else
		json_null(j, key);
}
