/*
 * log.h - one event, one line on stderr: "level event key=value ...".
 *
 * Never a value from a data set or a query, at any level (R35); UIDs, seqs,
 * sizes, AE titles and addresses are allowed.
 * Threads: any; a line is written with one write(2).
 */
#ifndef SALAMANDER_COMMON_BASE_LOG_H
#define SALAMANDER_COMMON_BASE_LOG_H

enum log_level { LOG_ERROR = 0, LOG_WARN = 1, LOG_INFO = 2, LOG_DEBUG = 3 };

struct err;

void log_set_level(enum log_level level);
void log_set_level_named(const char *level); /* error, warn, info, debug */
enum log_level log_get_level(void);
/* log_line(LOG_INFO, "stored", "uid=%s bytes=%zu", ...) */
void log_line(enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with what e says appended as err=<code> what="...". */
void log_err(enum log_level level, const char *event, const struct err *e);

#endif
