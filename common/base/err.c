#include "common/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
err_clear(struct err *e)
{
	e->code = ERR_NONE;
	e->sys = 0;
	e->what[0] = '\0';
}

int
err_set(struct err *e, enum err_code code, int sys, const char *fmt, ...)
{
	va_list ap;

	if (!e || e->code != ERR_NONE)
		return code;
	e->code = code;
	e->sys = sys;
	va_start(ap, fmt);
	(void)vsnprintf(e->what, sizeof(e->what), fmt, ap);
	va_end(ap);
	return code;
}

void
err_text(const struct err *e, char *out, size_t size)
{
	char reason[100];

	(void)snprintf(out, size, "%s%s%s", e->what, e->sys ? ": " : "",
		       e->sys ? strerror_r(e->sys, reason, sizeof(reason)) : "");
}

enum err_code
err_of_errno(int sys)
{
	if (sys == ENOSPC || sys == EDQUOT)
		return ERR_FULL;
	if (sys == ENOENT)
		return ERR_ABSENT;
	if (sys == EINTR || sys == EAGAIN || sys == EMFILE || sys == ENFILE)
		return ERR_AGAIN;
	return ERR_LOCAL;
}

const char *
err_name(enum err_code code)
{
	switch (code) {
	case ERR_NONE:
		return "none";
	case ERR_AGAIN:
		return "again";
	case ERR_FULL:
		return "full";
	case ERR_ABSENT:
		return "absent";
	case ERR_CONFLICT:
		return "conflict";
	case ERR_CORRUPT:
		return "corrupt";
	case ERR_PEER:
		return "peer";
	case ERR_LOCAL:
		return "local";
	}
	return "unknown";
}
