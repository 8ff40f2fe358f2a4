/*
 * match_name.h - does a person's name match a key (PS3.4 C.2.2.2.1, C.2.2.2.4)?
 *
 * Names are compared folded (index_fold): lower case, without accents; trailing carets
 * say nothing. A key without component groups may match any one of them, never across two.
 * A key without carets may part the components by blanks or commas: "DUPONT Marie" and
 * "Dupont, Marie" find "DUPONT^MARIE".
 * Threads: none of its own.
 */
#ifndef SALAMANDER_COMMON_STORE_MATCH_NAME_H
#define SALAMANDER_COMMON_STORE_MATCH_NAME_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

struct name_rules {
	/* Negotiated: each word of the key begins a word of the name, in any order. */
	bool fuzzy;
	/* "Mueller" is "Muller" is a name with an umlaut: ae, oe, ue, ss count as a, o, u, s. */
	bool umlauts;
};

/* rules NULL: neither. The key is not universal. */
bool match_name(const struct name_rules *rules, const char *key, size_t key_n, const char *name,
		size_t n);
/* May blanks part the components of this key? */
bool match_name_spaced(const char *key, size_t n);
/* How many bytes of the key begin every folded name that it matches by these rules. */
size_t match_name_prefix(const struct name_rules *rules, const char *key, size_t n);

#endif
