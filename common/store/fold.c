/* index_fold of index.h: how names are compared. */
#include <stdint.h>

#include "common/base/buf.h"
#include "common/store/index.h"

/* U+00C0 to U+017F without accents, a letter each; ' ' where there is no plain letter. */
static const char plain[] = "aaaaaaaceeeeiiiidnooooo ouuuuy saaaaaaaceeeeiiiidnooooo ouuuuy y"
			    "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllllll"
			    "lnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

static size_t
decode(const unsigned char *p, size_t n, uint32_t *c)
{
	*c = *p;
	if (*p >= 0xc2 && *p < 0xe0 && n >= 2) {
		*c = (uint32_t)(*p & 0x1f) << 6 | (p[1] & 0x3fu);
		return 2;
	}
	return 1;
}

void
index_fold(struct buf *out, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;

	while (n > 0) {
		uint32_t c;
		size_t used = decode(p, n, &c);

		if (used == 1 && c >= 'A' && c <= 'Z')
			buf_put_u8(out, c + 32);
		else if (used == 2 && c >= 0xc0 && c - 0xc0 < sizeof(plain) - 1 &&
			 plain[c - 0xc0] != ' ')
			buf_put_u8(out, (unsigned char)plain[c - 0xc0]);
		else if (used == 2 && ((c >= 0x391 && c <= 0x3a9) || (c >= 0x410 && c <= 0x42f))) {
			c += 32; /* Greek and Cyrillic capitals */
			buf_put_u8(out, 0xc0 | c >> 6);
			buf_put_u8(out, 0x80 | (c & 0x3f));
		} else {
			buf_put(out, p, used);
		}
		p += used;
		n -= used;
	}
}
