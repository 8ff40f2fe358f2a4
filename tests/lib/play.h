/*
 * play.h - a sender (proto/sender.h) as its edge plays with it: events in, actions out.
 *
 * Each step asserts that it is bounded. Threads: the test's own.
 */
#ifndef SALAMANDER_TESTS_LIB_PLAY_H
#define SALAMANDER_TESTS_LIB_PLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/sender.h"

struct play {
	struct sender s;
	struct sender_actions out;
	int64_t now;
	uint64_t head, work;
	enum lane lane; /* that it is in */
};

extern const struct id128 play_epoch; /* of the central that answers */

void play_begin(struct play *p);
/* The last step brought it. */
bool play_did(const struct play *p, enum sender_action_kind kind);
void play_step(struct play *p, struct sender_event *ev);
void play_tick(struct play *p); /* nothing but time */
/* An answer of play_epoch's central. */
void play_answer(struct play *p, enum sender_request rq, unsigned slot, int status,
		 uint64_t number);
void play_hello(struct play *p, const struct id128 *epoch, uint64_t losses);
void play_applied(struct play *p);
/* In contact, all compared, nothing to send. */
void play_settle(struct play *p, uint64_t head);
/* Something waits until this slot packs; then that is packed. */
void play_pack(struct play *p, unsigned slot, uint64_t size, uint64_t last);

#endif
