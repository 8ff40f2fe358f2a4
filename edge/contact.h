/*
 * contact.h - what answers of central tell of it, for those who ask the edge (edge.h).
 *
 * Threads: replicate's; the contact is changed under the edge's mu.
 */
#ifndef SALAMANDER_EDGE_CONTACT_H
#define SALAMANDER_EDGE_CONTACT_H

#include <stdbool.h>
#include <stdint.h>

struct edge;
struct err;
struct http_done;
struct id128;
struct packing;
struct sender;
struct sender_event;
struct sender_slot;

/* What others see of central, after each step of the sender. compared: entries, of the ledger that
 * is being compared. */
void contact_show(struct edge *e, const struct sender *s, uint64_t compared, bool answered_hello);
/* Why central was not reached; the first time since it answered, in the log. */
void contact_note_why(struct edge *e, const struct http_done *done, bool hello, bool ours);
/* The epoch of a hello: do two alternate (R22)? */
void contact_note_epoch(struct edge *e, const struct id128 *epoch);
/* What the answer to a piece of this slot tells of the pace, and of why the others wait; before the
 * sender hears of it. */
void contact_note_piece(const struct sender_event *ev, const struct sender_slot *slot,
			const struct packing *p, struct edge *e);
/* R8: another copy is the site's, or is no more. Durable: also where central does not answer. */
int contact_note_drains(struct edge *e, bool drains, struct err *err);
/* R17: another version of central may take what the last one refused. */
int contact_note_software(struct edge *e, const char *software, struct err *err);

#endif
