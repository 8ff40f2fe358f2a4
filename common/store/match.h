/*
 * match.h - does a value match a key (PS3.4 C.2.2.2)?
 *
 * Keys and values are UTF-8. Wildcards are case sensitive but for PN, which is
 * compared folded (index_fold): lower case, without accents. Dates and times
 * match independently; ranges are inclusive. Of several values one is enough.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_COMMON_STORE_MATCH_H
#define SALAMANDER_COMMON_STORE_MATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/dicom/attrs.h"

struct buf;

/* key: as queried, not empty (empty and "*" are universal: never asked here). */
bool match_value(const char vr[2], const char *key, size_t key_n, struct attr value);
/* The same for (0010,1002): both "id^^^issuer"; what of the key is empty matches all (R33). */
bool match_ids(const char *key, size_t key_n, struct attr value);
/* A sequence key (items.h): all that it asks is in one item (PS3.4 C.2.2.2.6). */
bool match_items(const char *key, size_t key_n, struct attr value);
/* Of "id^^^issuer": bytes of the ID alone. */
size_t match_id_length(const char *s, size_t n);
bool match_universal(const char *key, size_t n);
/* A folded key against a folded name. */
bool match_wild(const struct buf *key, const char *name, size_t n);
bool match_has_wildcard(const char *key, size_t n);
/* The inclusive bounds of a DA key; false when it is no date or range of dates. */
bool match_date_range(const char *key, size_t n, char from[9], char to[9]);

#endif
