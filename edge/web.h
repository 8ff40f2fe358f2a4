/*
 * web.h - the edge's HTTP side: GET /status, the JSON of `status --json`.
 *
 * On [http] listen; with [tls] set only to whoever has a certificate of this archive.
 * Threads: start from one; handlers run in the server's.
 */
#ifndef SALAMANDER_EDGE_WEB_H
#define SALAMANDER_EDGE_WEB_H

struct edge;
struct err;
struct http_server;

/* *out stays NULL when nothing is to be listened on. */
int web_start(struct http_server **out, struct edge *e, struct err *err);

#endif
