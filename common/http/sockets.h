/*
 * sockets.h - what every connection between nodes is told: at once, bounded, not shy of loss.
 *
 * CUBIC takes each lost packet for a full line and collapses on long ones; BBR does not
 * (TRAPS 6). Which the kernel lets an unprivileged process choose is said by
 * net.ipv4.tcp_allowed_congestion_control; what it does not let us is no error.
 * Threads: any.
 */
#ifndef SALAMANDER_COMMON_HTTP_SOCKETS_H
#define SALAMANDER_COMMON_HTTP_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

enum { SOCKETS_DEAD_MS = 5000 }; /* bytes that nobody acknowledges end a connection (DESIGN 6) */

/* TCP_NODELAY; TCP_USER_TIMEOUT; own_control: BBR, where we may. */
void sockets_prepare(int fd, bool own_control);

struct sockets_state {
	bool steady;	 /* its congestion control does not take loss for a full line: BBR */
	unsigned rtt_ms; /* the least there and back; 0: not known */
};
void sockets_look(int fd, struct sockets_state *out);

#endif
