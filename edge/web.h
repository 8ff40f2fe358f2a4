/*
 * web.h - the edge's HTTP side: GET /status, the JSON of `status --json`, and GET /metrics.
 *
 * On [http] listen. With [tls], or once the edge has joined, by certificate and only to
 * whoever has one of this archive; an edge with an identity does not listen before (R24).
 * Whether one has run out is judged by central's clock, never by this machine's (R28).
 * Threads: main's; handlers run in the server's.
 */
#ifndef SALAMANDER_EDGE_WEB_H
#define SALAMANDER_EDGE_WEB_H

struct edge;
struct err;
struct web; /* opaque */

int web_start(struct web **out, struct edge *e, struct err *err);
void web_stop(struct web *w); /* NULL is fine */
/* Certificates are read again; listens now if it may now. NULL is fine. */
int web_reload(struct web *w, struct err *err);

#endif
