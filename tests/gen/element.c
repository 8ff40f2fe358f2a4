#include "tests/gen/element.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/buf.h"

void
element_head(struct buf *b, uint32_t tag, const char *vr, uint32_t n)
{
	bool wide = vr[0] == 'O' || strcmp(vr, "SQ") == 0;

	buf_put_u16(b, tag >> 16);
	buf_put_u16(b, tag & 0xffff);
	buf_puts(b, vr);
	if (wide)
		buf_put_u16(b, 0);
	if (wide || !vr[0])
		buf_put_u32(b, n);
	else
		buf_put_u16(b, n);
}

void
element_text(struct buf *b, uint32_t tag, const char *vr, const char *s)
{
	size_t n = strlen(s);

	element_head(b, tag, vr, (uint32_t)(n + n % 2));
	buf_put(b, s, n);
	if (n % 2)
		buf_put_u8(b, strcmp(vr, "UI") == 0 ? 0 : ' ');
}
