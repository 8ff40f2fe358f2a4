/*
 * identity.h - the `id` file of a folder: whose it is, so that a disk that was not
 * mounted is not taken for a fire (R23).
 *
 * Lines "name value": role (central, edge), part (data, vault, log, store), id (32
 * hex digits: the archive's or the edge's), made (init, serve), and in the data
 * folder of central the receipt key. Mode 0600.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_COMMON_OS_IDENTITY_H
#define SALAMANDER_COMMON_OS_IDENTITY_H

#include <stdbool.h>

#include "common/base/rng.h"

struct err;

enum { IDENTITY_WORD = 16, IDENTITY_KEY = 32 };

struct identity {
	char role[IDENTITY_WORD], part[IDENTITY_WORD];
	struct id128 id;
	bool by_init; /* made by `init`: nothing is ever made up for it again */
	bool keyed;
	unsigned char key[IDENTITY_KEY];
};

/* Durable on 0. */
int identity_write(const char *dir, const struct identity *i, struct err *e);
/* ERR_ABSENT when the folder or its id file is missing (e is left alone), ERR_CORRUPT. */
int identity_read(const char *dir, struct identity *out, struct err *e);
/* 0 when dir's id file names this role, part and id; ERR_ABSENT, ERR_CONFLICT: another's. */
int identity_check(const char *dir, const struct identity *want, struct err *e);
/* true when the folder is missing, or holds nothing but lost+found and what a birth that was
 * cut short left: folders and id files of parts, tls, no id file of its own. */
bool identity_empty(const char *dir);

#endif
