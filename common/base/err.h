/*
 * err.h - what went wrong, in a form that says what to do next.
 *
 * A call that can fail returns 0 or one of these codes and fills a struct
 * err that the caller passed last. Only the top of a duty logs it.
 * Texts never hold an attribute value of a data set or of a query (R35).
 * Threads: a struct err belongs to one thread.
 */
#ifndef SALAMANDER_COMMON_BASE_ERR_H
#define SALAMANDER_COMMON_BASE_ERR_H

#include <stddef.h>

enum err_code {
	ERR_NONE = 0,
	ERR_AGAIN = -1,	   /* transient: try the same thing later        */
	ERR_FULL = -2,	   /* no disk, map or quota left: stop taking in */
	ERR_ABSENT = -3,   /* an expected miss, not a fault              */
	ERR_CONFLICT = -4, /* same name, other bytes: quarantine         */
	ERR_CORRUPT = -5,  /* our own data fails its check: raise alarm  */
	ERR_PEER = -6,	   /* the other side broke the protocol: hang up */
	ERR_LOCAL = -7	   /* anything else from the OS or a library     */
};

struct err {
	enum err_code code;
	int sys; /* errno, or 0 */
	char what[320];
};

#define ERR_INIT                                                                                   \
	{                                                                                          \
		ERR_NONE, 0, ""                                                                    \
	}

/* Forgets what e holds, so that it can be used again. */
void err_clear(struct err *e);

/* Fills e (NULL is fine), keeps the first error, returns code. */
int err_set(struct err *e, enum err_code code, int sys, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* What an errno of a file call stands for: ERR_FULL, ERR_ABSENT, ERR_AGAIN or ERR_LOCAL. */
enum err_code err_of_errno(int sys);

/* For a person: what, and the reason that the system gave. */
void err_text(const struct err *e, char *out, size_t size);

/* "full", "absent", ...: for logs. */
const char *err_name(enum err_code code);

#endif
