/*
 * birth.h - whose a data folder is: found, checked, or made by `init` (R23, R25).
 *
 * The data folder, the vault and its log each hold an `id` file that names the archive.
 * Nothing is made up for a folder that `init` made.
 * Threads: before there are any; birth_check_parts: any.
 */
#ifndef SALAMANDER_CENTRAL_BIRTH_H
#define SALAMANDER_CENTRAL_BIRTH_H

#include <limits.h>
#include <stdbool.h>

#include "central/kit.h"

struct central;
struct err;

struct birth_wish {
	bool recover;		     /* from the kit; else a new archive, and a kit of it */
	const char *kit;	     /* NULL: <data folder>.kit                           */
	const char *passphrase_file; /* NULL: a passphrase is made                        */
};

struct born {
	char kit[PATH_MAX];
	char passphrase[KIT_PASSPHRASE]; /* to be shown once; "": the person knows it */
	char archive[ID128_HEX];
};

/* `init`: refuses a folder that is not empty. */
int birth_init(const char *conf_path, const struct birth_wish *wish, struct born *out,
	       struct err *e);
/* Whose it is; may_make: what a node without identity may make by itself (plain loopback). */
int birth_find(struct central *c, bool may_make, struct err *e);
/* The vault and its log are those of this data folder, and there (R23). */
int birth_check_parts(struct central *c, struct err *e);

#endif
