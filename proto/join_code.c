#include "proto/join_code.h"

#include <stddef.h>
#include <string.h>

enum { GROUP = 8, BITS = 5, BYTES = JOIN_SECRET + JOIN_PRINT };

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

void
join_code_write(const struct join_code *c, char out[JOIN_CODE_SIZE])
{
	unsigned char all[BYTES];
	unsigned held = 0, have = 0;
	size_t i, n = 0, at = 0;

	memcpy(all, c->secret, JOIN_SECRET);
	memcpy(all + JOIN_SECRET, c->print, JOIN_PRINT);
	for (i = 0; i < BYTES || have; i++) {
		held = held << 8 | (i < BYTES ? all[i] : 0u);
		have += 8;
		while (have >= BITS) {
			if (n && n % GROUP == 0)
				out[at++] = '-';
			have -= BITS;
			out[at++] = alphabet[held >> have & 31];
			n++;
			held &= (1u << have) - 1;
			if (i >= BYTES) /* the last one, filled up with zero bits */
				have = 0;
		}
	}
	out[at] = '\0';
}

static int
value_of(char c)
{
	const char *at;

	if (c >= 'A' && c <= 'Z')
		c = (char)(c - 'A' + 'a');
	at = c ? strchr(alphabet, c) : NULL;
	return at ? (int)(at - alphabet) : -1;
}

bool
join_code_read(struct join_code *out, const char *text)
{
	unsigned char all[BYTES];
	unsigned held = 0, have = 0;
	size_t n = 0;

	for (; *text; text++) {
		int v;

		if (strchr("- \t\r\n", *text))
			continue;
		v = value_of(*text);
		if (v < 0 || n == BYTES)
			return false;
		held = held << BITS | (unsigned)v;
		have += BITS;
		if (have >= 8) {
			have -= 8;
			all[n++] = (unsigned char)(held >> have);
		}
		held &= (1u << have) - 1;
	}
	/* What was left over is the last character's filling: zero, or it was mistyped. */
	if (n != BYTES || held)
		return false;
	memcpy(out->secret, all, JOIN_SECRET);
	memcpy(out->print, all + JOIN_SECRET, JOIN_PRINT);
	return true;
}
