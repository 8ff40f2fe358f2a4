#include "common/dimse/audit.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/os/file.h"

enum { CHAIN_HEX = 32, LINE_MAX_BYTES = 2048, TAIL = 4096 };

struct audit {
	pthread_mutex_t mu;
	/* guarded by mu */
	int fd; /* -1: not open */
	char chain[CHAIN_HEX + 1];
	uint64_t size; /* up to the end of the last whole line */
	unsigned long lost;
	unsigned long gap; /* lost ones that no line tells of yet */
	bool failing;	   /* the last one was lost: it has been logged */
	/* set once before threads start */
	char *path;
	struct clock *clock;
};

static void
link_line(char chain[CHAIN_HEX + 1], const char *line, size_t n)
{
	unsigned char digest[SHA256_SIZE];
	struct buf b = BUF_INIT;

	buf_puts(&b, chain);
	buf_put(&b, line, n);
	sha256_of(b.data, b.len, digest);
	hex_of(digest, CHAIN_HEX / 2, chain);
	buf_fini(&b);
}

/* Appends a line to the chain, whole or not at all. */
static int __attribute__((format(printf, 3, 0)))
append(struct audit *a, const char *event, const char *fmt, va_list ap, struct err *e)
{
	char line[LINE_MAX_BYTES], time[CLOCK_RFC3339_SIZE], chain[CHAIN_HEX + 1];
	int n, m, i, rc;

	clock_rfc3339(clock_wall(a->clock), time);
	n = snprintf(line, sizeof(line), "%s %s ", time, event);
	m = vsnprintf(line + n, sizeof(line) - CHAIN_HEX - 2 - (size_t)n, fmt, ap);
	if (m < 0)
		return 0;
	n += m;
	if (n > (int)sizeof(line) - CHAIN_HEX - 3)
		n = (int)sizeof(line) - CHAIN_HEX - 3;
	for (i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	memcpy(chain, a->chain, sizeof(chain));
	link_line(chain, line, (size_t)n);
	n += sprintf(line + n, " %s\n", chain);
	rc = file_write(a->fd, line, (size_t)n, e);
	if (rc) { /* part of it may be there */
		(void)file_truncate(a->fd, a->size, NULL);
		return rc;
	}
	memcpy(a->chain, chain, sizeof(chain));
	a->size += (uint64_t)n;
	return 0;
}

/* R36: whatever is lost is told of. */
static int __attribute__((format(printf, 3, 4)))
append_gap(struct audit *a, struct err *e, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = append(a, "gap", fmt, ap, e);
	va_end(ap);
	if (!rc)
		a->gap = 0;
	return rc;
}

/* The chain of the last whole line; what is behind it is cut off: that needs no room. */
static int
resume(struct audit *a, struct err *e)
{
	char tail[TAIL];
	uint64_t size;
	size_t got = 0, at;
	int rc = file_size(a->fd, &size, e);

	memset(a->chain, '0', CHAIN_HEX);
	a->chain[CHAIN_HEX] = '\0';
	if (!rc)
		rc = file_read_at(a->fd, tail, sizeof(tail), size > TAIL ? size - TAIL : 0, &got,
				  e);
	if (rc)
		return rc;
	for (at = got; at > 0 && tail[at - 1] != '\n';)
		at--;
	if (at > CHAIN_HEX)
		memcpy(a->chain, tail + at - 1 - CHAIN_HEX, CHAIN_HEX);
	a->size = size - (got - at);
	if (at == got)
		return 0;
	rc = file_truncate(a->fd, a->size, e);
	if (!rc)
		a->gap++;
	return rc;
}

static int
reopen(struct audit *a, struct err *e)
{
	int rc;

	a->fd = file_open_append(a->path, e);
	rc = a->fd < 0 ? a->fd : resume(a, e);
	if (rc && a->fd >= 0)
		file_close(a->fd);
	if (rc)
		a->fd = -1;
	return rc;
}

int
audit_open(struct audit **out, const char *path, struct clock *clock, struct err *e)
{
	struct audit *a = calloc(1, sizeof(*a));
	struct err why = ERR_INIT;

	if (a)
		a->path = strdup(path);
	if (!a || !a->path) {
		free(a);
		return err_set(e, ERR_LOCAL, 0, "no memory for the audit log");
	}
	(void)pthread_mutex_init(&a->mu, NULL);
	a->clock = clock;
	if (reopen(a, &why)) /* images outrank it: they are taken in and shown all the same */
		log_err(LOG_ERROR, "audit.open", &why);
	*out = a;
	return 0;
}

void
audit_close(struct audit *a)
{
	if (!a)
		return;
	if (a->fd >= 0)
		file_close(a->fd);
	(void)pthread_mutex_destroy(&a->mu);
	free(a->path);
	free(a);
}

void
audit_line(struct audit *a, const char *event, const char *fmt, ...)
{
	struct err e = ERR_INIT;
	va_list ap;
	int rc = 0;

	if (!a)
		return;
	pthread_mutex_lock(&a->mu);
	if (a->fd < 0)
		rc = reopen(a, &e);
	if (!rc && a->gap)
		rc = append_gap(a, &e, "lines=%lu", a->gap);
	if (!rc) {
		va_start(ap, fmt);
		rc = append(a, event, fmt, ap, &e);
		va_end(ap);
	}
	if (rc) {
		a->lost++;
		a->gap++;
		if (!a->failing) /* once a run: a full disk has its own alarm */
			log_err(LOG_ERROR, "audit.write", &e);
	}
	a->failing = rc != 0;
	pthread_mutex_unlock(&a->mu);
}

unsigned long
audit_lost(struct audit *a)
{
	unsigned long n;

	if (!a)
		return 0;
	pthread_mutex_lock(&a->mu);
	n = a->lost + (a->fd < 0);
	pthread_mutex_unlock(&a->mu);
	return n;
}

int
audit_verify(const char *path, uint64_t *number, struct err *e)
{
	char chain[CHAIN_HEX + 1], line[LINE_MAX_BYTES];
	FILE *f = fopen(path, "re");
	int rc = 0;

	*number = 0;
	if (!f)
		return err_set(e, ERR_ABSENT, 0, "cannot read %s", path);
	memset(chain, '0', CHAIN_HEX);
	chain[CHAIN_HEX] = '\0';
	while (!rc && fgets(line, sizeof(line), f)) {
		size_t n = strcspn(line, "\n");

		if (line[n] != '\n' && feof(f))
			break; /* the end of it is not written, or lost in a crash */
		++*number;
		if (n < CHAIN_HEX + 1) {
			rc = err_set(e, ERR_CORRUPT, 0, "line %llu is torn",
				     (unsigned long long)*number);
			break;
		}
		link_line(chain, line, n - CHAIN_HEX - 1);
		if (memcmp(line + n - CHAIN_HEX, chain, CHAIN_HEX) != 0)
			rc = err_set(e, ERR_CORRUPT, 0, "the chain breaks at line %llu",
				     (unsigned long long)*number);
	}
	(void)fclose(f);
	return rc;
}
