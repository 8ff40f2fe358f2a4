#include "common/store/match_name.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/store/index.h"
#include "common/store/match.h"

/* a, o, u and s stand for themselves and for ae, oe, ue, ss. */
static bool
doubles(char first, char second)
{
	return (second == 'e' && (first == 'a' || first == 'o' || first == 'u')) ||
	       (second == 's' && first == 's');
}

static void
fold(const struct name_rules *rules, struct buf *out, const char *s, size_t n)
{
	size_t i, kept = 0;
	char *p;

	index_fold(out, s, n);
	if (!rules || !rules->umlauts || buf_failed(out))
		return;
	p = (char *)out->data;
	for (i = 0; i < out->len; i++) {
		p[kept++] = p[i];
		if (i + 1 < out->len && doubles(p[i], p[i + 1]))
			i++;
	}
	out->len = kept;
}

static void
trim(struct buf *b, char c)
{
	while (b->len > 0 && b->data[b->len - 1] == (unsigned char)c)
		b->len--;
}

static bool
parts_words(char c)
{
	return strchr(" ^,-'", c) != NULL && c != '\0';
}

/* Carets and commas as blanks, one blank in a row, none at the ends. */
static void
space_out(struct buf *b)
{
	size_t i, kept = 0;

	for (i = 0; i < b->len; i++) {
		char c = (char)b->data[i];

		if (c == '^' || c == ',')
			c = ' ';
		if (c != ' ' || (kept > 0 && b->data[kept - 1] != ' '))
			b->data[kept++] = (unsigned char)c;
	}
	b->len = kept;
	trim(b, ' ');
}

bool
match_name_spaced(const char *key, size_t n)
{
	return !memchr(key, '^', n) && !memchr(key, '=', n) &&
	       (memchr(key, ' ', n) || memchr(key, ',', n));
}

/* The next word of s from *at on; 0: there is none. */
static size_t
next_word(const char *s, size_t n, size_t *at)
{
	size_t end;

	while (*at < n && parts_words(s[*at]))
		++*at;
	for (end = *at; end < n && !parts_words(s[end]); end++)
		;
	return end - *at;
}

static bool
begins_a_word(const char *word, size_t word_n, const char *name, size_t n)
{
	struct buf pattern = BUF_INIT;
	size_t at = 0, length;
	bool yes = false;

	buf_put(&pattern, word, word_n);
	buf_put_u8(&pattern, '*');
	for (; !yes && (length = next_word(name, n, &at)) > 0; at += length)
		yes = match_wild(&pattern, name + at, length);
	buf_fini(&pattern);
	return yes;
}

static bool
words(const char *key, size_t kn, const char *name, size_t n)
{
	size_t at = 0, length;
	bool any = false;

	for (; (length = next_word(key, kn, &at)) > 0; at += length) {
		any = true;
		if (!begins_a_word(key + at, length, name, n))
			return false;
	}
	return any;
}

/* One component group against one. */
static bool
group(const struct name_rules *rules, const char *k, size_t kn, const char *v, size_t vn)
{
	struct buf key = BUF_INIT, value = BUF_INIT;
	bool yes;

	fold(rules, &key, k, kn);
	fold(rules, &value, v, vn);
	yes = match_wild(&key, (const char *)value.data, value.len);
	trim(&key, '^');
	trim(&value, '^');
	yes = yes || match_wild(&key, (const char *)value.data, value.len);
	if (!yes && rules && rules->fuzzy)
		yes = words((const char *)key.data, key.len, (const char *)value.data, value.len);
	if (!yes && match_name_spaced(k, kn)) {
		space_out(&key);
		space_out(&value);
		yes = match_wild(&key, (const char *)value.data, value.len);
	}
	buf_fini(&key);
	buf_fini(&value);
	return yes;
}

static size_t
group_length(const char *s, size_t n)
{
	const char *next = memchr(s, '=', n);

	return next ? (size_t)(next - s) : n;
}

static void
behind(const char **s, size_t *n, size_t length)
{
	length += length < *n; /* the = */
	*s += length;
	*n -= length;
}

/*
 * A key without component groups may match any one of them, never across two. Of one
 * with groups each that says something matches the group in its place ("=YAMADA*").
 */
bool
match_name(const struct name_rules *rules, const char *k, size_t kn, const char *v, size_t vn)
{
	bool any = group_length(k, kn) == kn;

	for (;;) {
		size_t key = group_length(k, kn), value = group_length(v, vn);
		bool yes = group(rules, k, key, v, value);

		if (any && (yes || value == vn))
			return yes;
		if (!any && !yes && !match_universal(k, key))
			return false;
		if (!any && key == kn)
			return true;
		behind(&v, &vn, value);
		if (!any)
			behind(&k, &kn, key);
	}
}

size_t
match_name_prefix(const struct name_rules *rules, const char *key, size_t n)
{
	bool spaced = match_name_spaced(key, n);
	struct buf folded = BUF_INIT;
	size_t i;

	if (rules && rules->fuzzy)
		return 0;
	for (i = 0; i < n && !strchr(spaced ? "*?= ," : "*?=", key[i]); i++)
		;
	while (i > 0 && key[i - 1] == '^')
		i--;
	if (!rules || !rules->umlauts)
		return i;
	/* Up to the first letter that may stand for two, or be one of two that stand for one. */
	for (n = i, i = 0; i < n; i++) {
		buf_clear(&folded);
		index_fold(&folded, key, i + 1);
		if (folded.len > 0 && strchr("aous", (char)folded.data[folded.len - 1])) {
			i++;
			break;
		}
	}
	while (i < n && ((unsigned char)key[i] & 0xc0) == 0x80)
		i++; /* whole characters */
	buf_fini(&folded);
	return i;
}
