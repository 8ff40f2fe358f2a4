/*
 * intake.h - what edges call at central: hello, ledger, holdings, release, packs,
 * refill, objects (DESIGN 6).
 *
 * Threads: handlers run in the HTTP server's.
 */
#ifndef SALAMANDER_CENTRAL_INTAKE_H
#define SALAMANDER_CENTRAL_INTAKE_H

#include <stdbool.h>
#include <stddef.h>

struct http_route;

/* One table of routes and rights (R24). */
const struct http_route *intake_routes(size_t *n);

#endif
