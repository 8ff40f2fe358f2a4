#include "common/dicom/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* What a half of the code table (G0: below 0x80, G1: above) can stand for. */
struct set {
	const char *term;    /* without "ISO_IR " or "ISO 2022 IR "      */
	const char *escape;  /* behind ESC; "" where there is none       */
	const char *iconv;   /* encoding of the bytes as prepared below  */
	bool g1;	     /* which half it takes                       */
	unsigned char bytes; /* per character                            */
	unsigned char lead;  /* put before each character: EUC-JP's SS2, SS3 */
};

/* The romaji of JIS X 0201 come with its katakana: no term names them (PS3.3 C.12.1.1.2). */
#define ROMAJI "14"

static const struct set sets[] = {
	{"6", "(B", "ASCII", false, 1, 0},	  {"100", "-A", "ISO-8859-1", true, 1, 0},
	{"101", "-B", "ISO-8859-2", true, 1, 0},  {"109", "-C", "ISO-8859-3", true, 1, 0},
	{"110", "-D", "ISO-8859-4", true, 1, 0},  {"144", "-L", "ISO-8859-5", true, 1, 0},
	{"127", "-G", "ISO-8859-6", true, 1, 0},  {"126", "-F", "ISO-8859-7", true, 1, 0},
	{"138", "-H", "ISO-8859-8", true, 1, 0},  {"148", "-M", "ISO-8859-9", true, 1, 0},
	{"203", "-b", "ISO-8859-15", true, 1, 0}, {"166", "-T", "TIS-620", true, 1, 0},
	{"13", ")I", "EUC-JP", true, 1, 0x8e},	  {ROMAJI, "(J", "SHIFT_JIS", false, 1, 0},
	{"87", "$B", "EUC-JP", false, 2, 0},	  {"159", "$(D", "EUC-JP", false, 2, 0x8f},
	{"149", "$)C", "EUC-KR", true, 2, 0},	  {"58", "$)A", "GB2312", true, 2, 0},
};
enum { N_SETS = sizeof(sets) / sizeof(sets[0]), SET_ASCII = 0, SET_LATIN_1 = 1 };

/* Those without code extensions: as plain_term writes them; as the standard does, if it does. */
static const struct {
	const char *term, *iconv, *defined;
} wholes[] = {{"ISO IR 192", "UTF-8", "ISO_IR 192"},
	      {"UTF 8", "UTF-8", ""},
	      {"GB18030", "GB18030", "GB18030"},
	      {"GBK", "GBK", "GBK"}};
enum { N_WHOLES = sizeof(wholes) / sizeof(wholes[0]) };

bool
charset_known(size_t i, char alone[CHARSET_TERM_SIZE], char extended[CHARSET_TERM_SIZE])
{
	alone[0] = extended[0] = '\0';
	if (i >= N_SETS && i < N_SETS + N_WHOLES)
		(void)snprintf(alone, CHARSET_TERM_SIZE, "%s", wholes[i - N_SETS].defined);
	if (i < N_SETS && strcmp(sets[i].term, ROMAJI) != 0) {
		(void)snprintf(extended, CHARSET_TERM_SIZE, "ISO 2022 IR %s", sets[i].term);
		if (i != SET_ASCII && sets[i].bytes == 1) /* of ASCII nothing is said */
			(void)snprintf(alone, CHARSET_TERM_SIZE, "ISO_IR %s", sets[i].term);
	}
	return i < N_SETS + N_WHOLES;
}

struct charset {
	const char *whole; /* iconv name where no code extension applies: UTF-8, GB18030, GBK */
	const struct set *g0, *g1; /* at the start and after each delimiter */
	const struct set
		*missing;   /* what bytes above 0x7f are taken for that no set is called for */
	const char *cached; /* what cd converts from                */
	iconv_t cd;
	bool declared[N_SETS], extends; /* may be called for, by escape sequences */
	iconv_t into[N_SETS + 1];	/* from UTF-8; [N_SETS]: into whole; opened at need */
};

static const struct set *
set_by_term(const char *s, size_t n)
{
	size_t i;

	for (i = 0; i < N_SETS; i++)
		if (strlen(sets[i].term) == n && memcmp(sets[i].term, s, n) == 0)
			return &sets[i];
	return NULL;
}

static bool
starts(const char *s, size_t n, const char *with)
{
	return n >= strlen(with) && memcmp(s, with, strlen(with)) == 0;
}

/* "iso-ir 100" and "ISO_IR_100" are not the defined term, and mean it. */
static size_t
plain_term(const char *s, size_t n, char out[CHARSET_TERM_SIZE])
{
	size_t i, m = 0;

	for (i = 0; i < n && m + 1 < CHARSET_TERM_SIZE; i++) {
		char c = s[i] == '_' || s[i] == '-' ? ' ' : s[i];

		if (c == ' ' && (m == 0 || out[m - 1] == ' '))
			continue;
		out[m++] = (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
	}
	while (m > 0 && out[m - 1] == ' ')
		m--;
	out[m] = '\0';
	return m;
}

static const struct set *
declare(struct charset *c, const struct set *set)
{
	if (set)
		c->declared[set - sets] = true;
	return set;
}

static const struct set *
set_of_term(struct charset *c, const char *s, size_t n)
{
	char term[CHARSET_TERM_SIZE];
	size_t m = plain_term(s, n, term), i;

	for (i = 0; i < N_WHOLES; i++)
		if (starts(term, m, wholes[i].term)) {
			c->whole = wholes[i].iconv;
			return NULL;
		}
	if (starts(term, m, "ISO IR "))
		return declare(c, set_by_term(term + 7, m - 7));
	if (starts(term, m, "ISO 2022 IR ")) {
		c->extends = true;
		return declare(c, set_by_term(term + 12, m - 12));
	}
	return NULL;
}

/* The first value says how a text begins, the others what may be called for in it. */
static void
take_terms(struct charset *c, const char *s, size_t n)
{
	bool first = true;

	for (;;) {
		const char *bar = n ? memchr(s, '\\', n) : NULL;
		size_t part = bar ? (size_t)(bar - s) : n;
		const char *whole = c->whole;
		const struct set *set = set_of_term(c, s, part);

		if (!first) /* these cannot be called for */
			c->whole = whole;
		if (set && set->g1 && set->bytes > 1 && !c->missing)
			c->missing = set; /* multi-byte sets are only ever called by an escape */
		else if (first && set && set->g1 && set->bytes == 1)
			c->g1 = set;
		if (!bar)
			return;
		s += part + 1;
		n -= part + 1;
		first = false;
	}
}

int
charset_new(struct charset **out, const char *value, size_t n, struct err *e)
{
	struct charset *c = calloc(1, sizeof(*c));
	size_t i;

	if (!c)
		return err_set(e, ERR_LOCAL, 0, "no memory for a character set");
	for (i = 0; i <= N_SETS; i++)
		c->into[i] = (iconv_t)-1;
	while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\0'))
		n--;
	c->g0 = &sets[SET_ASCII];
	c->cd = (iconv_t)-1;
	take_terms(c, value, n);
	if (!c->missing)
		c->missing = &sets[SET_LATIN_1];
	*out = c;
	return 0;
}

void
charset_free(struct charset *c)
{
	size_t i;

	if (!c)
		return;
	if (c->cd != (iconv_t)-1)
		(void)iconv_close(c->cd);
	for (i = 0; i <= N_SETS; i++)
		if (c->into[i] != (iconv_t)-1)
			(void)iconv_close(c->into[i]);
	free(c);
}

static void
replacement(struct buf *out)
{
	buf_puts(out, "\xef\xbf\xbd"); /* U+FFFD */
}

static bool
use(struct charset *c, const char *from)
{
	if (c->cached == from)
		return true;
	if (c->cd != (iconv_t)-1)
		(void)iconv_close(c->cd);
	c->cached = NULL;
	c->cd = iconv_open("UTF-8", from);
	if (c->cd == (iconv_t)-1)
		return false;
	c->cached = from;
	return true;
}

/* Bytes of one encoding; each that does not fit becomes U+FFFD. */
static bool
convert(struct charset *c, const char *from, const char *s, size_t n, struct buf *out)
{
	bool whole = true;

	if (!use(c, from)) {
		replacement(out);
		return false;
	}
	while (n > 0) {
		char *in = (char *)(uintptr_t)s, *to, *start;
		size_t in_left = n, room = n * 4 + 16;

		start = to = (char *)buf_reserve(out, room);
		if (!to)
			return false;
		if (iconv(c->cd, &in, &in_left, &to, &room) != (size_t)-1)
			in_left = 0;
		out->len += (size_t)(to - start);
		s += n - in_left;
		n = in_left;
		if (n > 0) {
			whole = false;
			replacement(out);
			s++;
			n--;
			(void)iconv(c->cd, NULL, NULL, NULL, NULL);
		}
	}
	return whole;
}

static const struct set *
escape_at(const char *s, size_t n, size_t *length)
{
	size_t i;

	for (i = 0; i < N_SETS; i++)
		if (starts(s + 1, n - 1, sets[i].escape)) {
			*length = 1 + strlen(sets[i].escape);
			return &sets[i];
		}
	return NULL;
}

static bool
delimits(enum charset_text kind, char ch)
{
	if (ch == '\r' || ch == '\n' || ch == '\t' || ch == '\f')
		return true;
	if (kind != CHARSET_TEXT && ch == '\\')
		return true;
	return kind == CHARSET_NAME && (ch == '^' || ch == '=');
}

/* One character of one or two bytes in the set; returns the bytes used. */
static size_t
character(struct charset *c, const struct set *set, const char *s, size_t n, struct buf *out,
	  bool *whole)
{
	char bytes[4];
	size_t used = set->bytes <= n ? set->bytes : n, m = 0, i;

	if (set->lead)
		bytes[m++] = (char)set->lead;
	for (i = 0; i < used; i++)
		bytes[m++] = set->bytes > 1 || set->g1 ? (char)(s[i] | 0x80) : s[i];
	if (!convert(c, set->iconv, bytes, m, out))
		*whole = false;
	return used;
}

static bool
extended(struct charset *c, enum charset_text kind, const char *s, size_t n, struct buf *out)
{
	const struct set *g0 = c->g0, *g1 = c->g1, *set;
	bool whole = true;
	size_t used;

	while (n > 0) {
		bool high = (unsigned char)*s >= 0x80;

		if (*s == '\033' && n > 1 && (set = escape_at(s, n, &used)) != NULL) {
			if (set->g1)
				g1 = set;
			else
				g0 = set;
		} else if (!high && (g0->bytes == 1 || (unsigned char)*s <= ' ')) {
			if (delimits(kind, *s)) {
				g0 = c->g0;
				g1 = c->g1;
			}
			used = 1;
			if (g0 == c->g0)
				buf_put(out, s, 1);
			else
				used = character(c, g0, s, n, out, &whole);
		} else if (!high) {
			used = character(c, g0, s, n, out, &whole);
		} else {
			used = character(c, g1 ? g1 : c->missing, s, n, out, &whole);
			whole = whole && g1;
		}
		s += used;
		n -= used;
	}
	return whole;
}

/* Nobody says what bytes above 0x7f are: are they UTF-8? */
static bool
silent_utf8(struct charset *c, const char *s, size_t n, struct buf *out)
{
	size_t before = out->len;

	if (c->g1 || c->missing->bytes > 1 || memchr(s, '\033', n))
		return false;
	if (convert(c, "UTF-8", s, n, out))
		return true;
	out->len = before;
	return false;
}

bool
charset_to_utf8(struct charset *c, enum charset_text kind, const char *s, size_t n, struct buf *out)
{
	size_t i;

	for (i = 0; i < n; i++)
		if ((unsigned char)s[i] >= 0x80 || s[i] == '\033')
			break;
	if (i == n) {
		buf_put(out, s, n);
		return true;
	}
	if (c->whole)
		return convert(c, c->whole, s, n, out);
	if (silent_utf8(c, s, n, out))
		return false;
	return extended(c, kind, s, n, out);
}

/* --- from UTF-8 --- */

/* Some characters are written as what looks like them: that is not what was to be said. */
static bool
is_read_back(struct charset *c, const char *name, const char *bytes, size_t m, const char *s,
	     size_t n)
{
	struct buf back = BUF_INIT;
	bool same =
		convert(c, name, bytes, m, &back) && back.len == n && memcmp(back.data, s, n) == 0;

	buf_fini(&back);
	return same;
}

/* The bytes of one character there; 0: it has none. */
static size_t
bytes_in(struct charset *c, size_t at, const char *name, const char *s, size_t n, char out[8])
{
	char *in = (char *)(uintptr_t)s, *to = out;
	size_t room = 8, left = n;

	if (c->into[at] == (iconv_t)-1)
		c->into[at] = iconv_open(name, "UTF-8");
	if (c->into[at] == (iconv_t)-1)
		return 0;
	(void)iconv(c->into[at], NULL, NULL, NULL, NULL);
	if (iconv(c->into[at], &in, &left, &to, &room) != 0) /* an error, or something like it */
		return 0;
	return is_read_back(c, name, out, (size_t)(to - out), s, n) ? (size_t)(to - out) : 0;
}

/* The character as this half of the code table has it. */
static bool
encode(struct charset *c, const struct set *set, const char *s, size_t n, struct buf *out)
{
	char b[8];
	size_t m = bytes_in(c, (size_t)(set - sets), set->iconv, s, n, b), i, lead;

	lead = set->lead ? 1 : 0;
	if (m != lead + set->bytes || (lead && (unsigned char)b[0] != set->lead))
		return false;
	for (i = lead; i < m; i++) {
		unsigned char byte = (unsigned char)b[i];

		if (set->bytes > 1 || set->g1 ? byte < 0xa0 : byte >= 0x80 || byte == '\\')
			return false; /* a yen sign would part values */
	}
	for (i = lead; i < m; i++)
		buf_put_u8(out, set->g1 ? (unsigned char)b[i] : (unsigned char)b[i] & 0x7f);
	return true;
}

struct state {
	const struct set *g0, *g1;
};

static void
call_for(const struct set *set, struct buf *out)
{
	buf_puts(out, "\033");
	buf_puts(out, set->escape);
}

/* ASCII is what is written now; before a delimiter all is as at the start (PS3.5 6.1.2.5.3). */
static void
settle(const struct charset *c, struct state *at, bool all, struct buf *out)
{
	if (at->g0 != c->g0)
		call_for(c->g0, out);
	at->g0 = c->g0;
	if (!all || at->g1 == c->g1)
		return;
	if (c->g1)
		call_for(c->g1, out);
	at->g1 = c->g1;
}

static bool
put_character(struct charset *c, struct state *at, const char *s, size_t n, struct buf *out)
{
	struct buf one = BUF_INIT;
	bool done = false;
	size_t i;

	if (at->g1 && encode(c, at->g1, s, n, out))
		return true;
	if (at->g0 != c->g0 && encode(c, at->g0, s, n, out))
		return true;
	for (i = 0; c->extends && !done && i < N_SETS; i++) {
		if (!c->declared[i] || i == SET_ASCII || !encode(c, &sets[i], s, n, &one))
			continue;
		call_for(&sets[i], out);
		*(sets[i].g1 ? &at->g1 : &at->g0) = &sets[i];
		buf_put(out, one.data, one.len);
		done = true;
	}
	out->failed = out->failed || buf_failed(&one);
	buf_fini(&one);
	return done;
}

static size_t
utf8_bytes(const char *s, size_t n)
{
	size_t used = 1;

	while (used < n && ((unsigned char)s[used] & 0xc0) == 0x80)
		used++;
	return used;
}

static bool
whole_from_utf8(struct charset *c, const char *s, size_t n, struct buf *out)
{
	char b[8];
	size_t used, m;

	for (; n > 0; s += used, n -= used) {
		used = utf8_bytes(s, n);
		m = bytes_in(c, N_SETS, c->whole, s, used, b);
		if (m == 0)
			return false;
		buf_put(out, b, m);
	}
	return true;
}

bool
charset_from_utf8(struct charset *c, enum charset_text kind, const char *s, size_t n,
		  struct buf *out)
{
	struct state at = {c->g0, c->g1};
	size_t used;

	if (c->whole && strcmp(c->whole, "UTF-8") == 0) {
		buf_put(out, s, n);
		return true;
	}
	if (c->whole)
		return whole_from_utf8(c, s, n, out);
	for (; n > 0; s += used, n -= used) {
		used = utf8_bytes(s, n);
		if ((unsigned char)*s >= 0x80) {
			if (!put_character(c, &at, s, used, out))
				return false;
			continue;
		}
		settle(c, &at, delimits(kind, *s), out);
		buf_put(out, s, 1);
	}
	settle(c, &at, false, out);
	return true;
}
