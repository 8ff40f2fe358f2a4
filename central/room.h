/*
 * room.h - what central takes when its disk fills (R12): back-fill stops first, then what was asked
 * for again, then all bytes; the ledger never.
 *
 * Edges are told in each hello which lanes are closed, and keep to it; bytes are refused before
 * any of them is acknowledged.
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
/* Before bytes are taken. ERR_FULL: none are. */
int room_check(const struct central *c, struct err *e);
/* The thresholds follow the order of the lanes. */
int room_check_settings(const struct conf *conf, struct err *e);

#endif
