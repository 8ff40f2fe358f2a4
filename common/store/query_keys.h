/*
 * query_keys.h - is a query one that may be asked? (PS3.4 C.4.1.2.2.1)
 *
 * Unique keys of the upper levels are single UIDs, no UID has a wildcard, and what is
 * matched as text is no longer than a value in the index: with many wildcards a longer
 * one would only cost time. Lists of UIDs may be as long as they like.
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_STORE_QUERY_KEYS_H
#define SALAMANDER_COMMON_STORE_QUERY_KEYS_H

#include <stdint.h>

struct err;
struct query_config;

/* 0, or ERR_PEER (A900): e says why, *tag is the key's (NULL is fine). */
int query_keys_check(const struct query_config *c, uint32_t *tag, struct err *e);

#endif
