/*
 * loss.h - what is lost and what is owed, by study, with the names to call (R18).
 *
 * One of the commands for a person: patients' names are its purpose (R35).
 * Threads: any.
 */
#ifndef SALAMANDER_CENTRAL_LOSS_H
#define SALAMANDER_CENTRAL_LOSS_H

#include <stdbool.h>

struct buf;
struct err;
struct store;

enum loss_form { LOSS_TEXT, LOSS_CSV, LOSS_JSON };

/* site NULL: all. *lost: instances. */
int loss_print(struct store *s, const char *site, enum loss_form form, bool instances,
	       struct buf *out, unsigned long long *lost, struct err *e);

#endif
