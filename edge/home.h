/*
 * home.h - the edge's way to central, as it is entitled to it now (R24, R25).
 *
 * With [tls] by the operator's certificates, else by what it joined with, else plainly
 * on loopback if it has no identity. An edge that has none of these is told so in place of
 * each answer. What changes (a join, a renewal, a certificate that central turned away)
 * counts for the next call for which no other is under way: new connections read the
 * files again.
 * Threads: as link.h.
 */
#ifndef SALAMANDER_EDGE_HOME_H
#define SALAMANDER_EDGE_HOME_H

#include <stdbool.h>

struct conf;
struct edge;
struct err;
struct link;

int home_link(struct link **out, struct edge *e, struct err *err);

enum home_kind {
	HOME_NONE,  /* no [central] url, and no archive joined             */
	HOME_PLAIN, /* loopback, no identity                               */
	HOME_OWN,   /* [tls]                                               */
	HOME_JOINED,
	HOME_STRANGER /* an identity or an https url, and no certificate: `join` */
};
/* As the files say now. */
enum home_kind home_kind(struct edge *e);
/* Our certificate and key can be read and belong together, or there are none. */
int home_check_files(const struct edge *e, const struct conf *conf, struct err *err);

#endif
