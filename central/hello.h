/*
 * hello.h - who calls, what it has announced, which epoch this is (R5, R8, R22).
 *
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_HELLO_H
#define SALAMANDER_CENTRAL_HELLO_H

struct central;
struct err;
struct http_answer;
struct http_request;

int hello_answer(struct central *c, const struct http_request *rq, struct http_answer *out,
		 struct err *e);

#endif
