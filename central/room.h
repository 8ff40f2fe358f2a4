/*
 * room.h - what central takes when its disk fills (R12): back-fill stops first, then what was asked
 * for again, then all bytes; the ledger never.
 *
 * Edges are told in each hello which lanes are closed; whoever sends bytes of one nevertheless is
 * refused before any of them is acknowledged. An edge that names no lane has what `full` leaves.
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_ROOM_H
#define SALAMANDER_CENTRAL_ROOM_H

#include <stdint.h>

struct central;
struct conf;
struct err;

/* Lanes (proto/lanes.h, bit 1 << lane) whose bytes are not taken now. */
uint32_t room_closed(const struct central *c);
/* Of a disk, or of the catalogue, of which so many per cent are in use. */
uint32_t room_closed_at(const struct conf *conf, unsigned percent);
/* As `status` shows it. */
struct room {
	unsigned disk, catalogue; /* per cent in use */
	uint32_t closed;
};
void room_look(const struct central *c, struct room *out);
/* Before bytes of this lane are taken (0: an edge that does not say which it is). ERR_FULL: they
 * are not. */
int room_check(const struct central *c, unsigned lane, struct err *e);
/* The thresholds follow the order of the lanes. */
int room_check_settings(const struct conf *conf, struct err *e);

#endif
