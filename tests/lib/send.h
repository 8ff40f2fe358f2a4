/*
 * send.h - a modality's C-STORE into an edge, without a network.
 *
 * Threads: the caller's.
 */
#ifndef SALAMANDER_TESTS_LIB_SEND_H
#define SALAMANDER_TESTS_LIB_SEND_H

struct buf;
struct edge;
struct gen;
struct peer;

/* The status that the modality gets: 0x0000 when the edge acknowledged it. */
unsigned send_image(struct edge *e, const struct gen *g);
/* An object of this class and UID, from this peer. */
unsigned send_from(struct edge *e, const struct peer *peer, const char *sop_class,
		   const char *sop_instance, const struct buf *data, const char *syntax);
/* Its data set in another transfer syntax. */
unsigned send_data_set(struct edge *e, const struct gen *g, const struct buf *data,
		       const char *syntax);

#endif
