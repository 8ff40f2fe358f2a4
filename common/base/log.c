#include "common/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"

static atomic_int level_now = LOG_INFO;

void
log_set_level(enum log_level level)
{
	atomic_store(&level_now, (int)level);
}

void
log_set_level_named(const char *level)
{
	log_set_level(strcmp(level, "error") == 0  ? LOG_ERROR
		      : strcmp(level, "warn") == 0 ? LOG_WARN
		      : strcmp(level, "info") == 0 ? LOG_INFO
						   : LOG_DEBUG);
}

enum log_level
log_get_level(void)
{
	return (enum log_level)atomic_load(&level_now);
}

static const char *
level_name(enum log_level level)
{
	switch (level) {
	case LOG_ERROR:
		return "error";
	case LOG_WARN:
		return "warn";
	case LOG_INFO:
		return "info";
	case LOG_DEBUG:
		return "debug";
	}
	return "?";
}

/* One line, whatever was in it: control characters would forge further lines. */
static void
write_line(char *line, size_t n)
{
	size_t i;
	ssize_t ignored;

	for (i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	line[n] = '\n';
	ignored = write(STDERR_FILENO, line, n + 1);
	(void)ignored;
}

void
log_line(enum log_level level, const char *event, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n, m;

	if ((int)level > atomic_load_explicit(&level_now, memory_order_relaxed))
		return;
	n = snprintf(line, sizeof(line) - 1, "%s %s%s", level_name(level), event, *fmt ? " " : "");
	if (n < 0 || (size_t)n >= sizeof(line) - 1)
		return;
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - 1 - (size_t)n, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n += m;
	write_line(line, (size_t)n < sizeof(line) - 2 ? (size_t)n : sizeof(line) - 2);
}

void
log_err(enum log_level level, const char *event, const struct err *e)
{
	if (e->sys)
		log_line(level, event, "err=%s errno=%d (%s) what=\"%s\"", err_name(e->code),
			 e->sys, strerror(e->sys), e->what);
	else
		log_line(level, event, "err=%s what=\"%s\"", err_name(e->code), e->what);
}
