/*
 * match.h - does a value match a key (PS3.4 C.2.2.2)?
 *
 * Keys and values are UTF-8. Wildcards are case sensitive but for PN (match_name.h).
 * Dates and times match independently, or together (match_moment); ranges are inclusive.
 * Of several values one is enough.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_COMMON_STORE_MATCH_H
#define SALAMANDER_COMMON_STORE_MATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/dicom/attrs.h"

struct buf;
struct name_rules;

/* key: as queried, not empty (empty and "*" are universal: never asked here). */
bool match_value(const char vr[2], const char *key, size_t key_n, struct attr value);
/* PN by these rules (NULL: as match_value). */
bool match_value_by(const struct name_rules *rules, const char vr[2], const char *key, size_t key_n,
		    struct attr value);
/*
 * Combined date-time matching (PS3.4 C.2.2.2.5.3): is the moment of this DA and this TM in the
 * range from the earlier date and time of the two keys to the later ones? A value without a
 * time is the whole day.
 */
bool match_moment(struct attr date_key, struct attr time_key, struct attr date, struct attr time);
/* The same for (0010,1002): both "id^^^issuer"; what of the key is empty matches all (R33). */
bool match_ids(const char *key, size_t key_n, struct attr value);
/* A sequence key (items.h): all that it asks is in one item (PS3.4 C.2.2.2.6). */
bool match_items(const char *key, size_t key_n, struct attr value);
/* The VRs of what stands in items where no table says them; "" if nobody knows. */
struct match_vrs {
	const char *(*of)(const void *arg, uint32_t tag);
	const void *arg;
};
bool match_items_by(const struct match_vrs *vrs, const char *key, size_t key_n, struct attr value);
/* Asks for nothing in particular? */
bool match_items_universal(const char *key, size_t key_n);
/* What is answered (PS3.4 C.2.2.2.6): the items that match, of each what was asked for; a key
 * without attributes asks for all. */
void match_items_answer(const char *key, size_t key_n, struct attr value, struct buf *out);
void match_items_answer_by(const struct match_vrs *vrs, const char *key, size_t key_n,
			   struct attr value, struct buf *out);
/* Of "id^^^issuer": bytes of the ID alone. */
size_t match_id_length(const char *s, size_t n);
bool match_universal(const char *key, size_t n);
/* A folded key against a folded name. */
bool match_wild(const struct buf *key, const char *name, size_t n);
bool match_has_wildcard(const char *key, size_t n);
/* The inclusive bounds of a DA key; false when it is no date or range of dates. */
bool match_date_range(const char *key, size_t n, char from[9], char to[9]);

#endif
