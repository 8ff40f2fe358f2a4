/*
 * turn.h - of which lane the next pack is made, and whose piece goes next: a part of the sender.
 *
 * Pure, as all of it. Threads: the sender's owner.
 */
#ifndef SALAMANDER_PROTO_TURN_H
#define SALAMANDER_PROTO_TURN_H

#include "proto/sender.h"

/* One more action, all zero but its kind; borrowed. */
struct sender_action *turn_act(struct sender_actions *out, enum sender_action_kind kind);
/* Something is due then. */
void turn_wake_at(struct sender_actions *out, int64_t ms);

/* The hour's rate, as the event has it. */
void turn_limit(struct sender *s, const struct sender_event *ev, struct sender_actions *out);
/* A piece is over: what it was on the wire is what counts. sent 0: not known. */
void turn_account(struct sender *s, struct sender_slot *slot, uint64_t sent);
/* Pieces, by lane, on the connections that are free; questions about offsets. */
void turn_send(struct sender *s, const struct sender_event *ev, struct sender_actions *out);
/* A pack, where that pays and a slot is free. */
void turn_pack(struct sender *s, const struct sender_event *ev, struct sender_actions *out);

#endif
