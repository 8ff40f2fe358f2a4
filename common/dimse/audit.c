#include "common/dimse/audit.h"

#include <pthread.h>
#include <stdarg.h>
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
	int fd;			   /* guarded by mu */
	char chain[CHAIN_HEX + 1]; /* guarded by mu */
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

/* The chain of the last whole line; a torn one is ended so that the next starts on its own. */
static int
resume(struct audit *a, struct err *e)
{
	char tail[TAIL];
	uint64_t size;
	size_t got, at;
	int rc = file_size(a->fd, &size, e);

	memset(a->chain, '0', CHAIN_HEX);
	a->chain[CHAIN_HEX] = '\0';
	if (rc || size == 0)
		return rc;
	rc = file_read_at(a->fd, tail, sizeof(tail), size > TAIL ? size - TAIL : 0, &got, e);
	if (rc || got == 0)
		return rc;
	if (tail[got - 1] != '\n')
		rc = file_write(a->fd, "\n", 1, e);
	for (at = got; at > CHAIN_HEX && tail[at - 1] != '\n';)
		at--;
	if (!rc && at > CHAIN_HEX)
		memcpy(a->chain, tail + at - 1 - CHAIN_HEX, CHAIN_HEX);
	return rc;
}

int
audit_open(struct audit **out, const char *path, struct clock *clock, struct err *e)
{
	struct audit *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return err_set(e, ERR_LOCAL, 0, "no memory for the audit log");
	(void)pthread_mutex_init(&a->mu, NULL);
	a->clock = clock;
	a->fd = file_open_append(path, e);
	rc = a->fd < 0 ? a->fd : resume(a, e);
	if (rc) {
		audit_close(a);
		return rc;
	}
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
	free(a);
}

void
audit_line(struct audit *a, const char *event, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES], time[CLOCK_RFC3339_SIZE];
	struct err e = ERR_INIT;
	va_list ap;
	int n, m, i;

	if (!a)
		return;
	clock_rfc3339(clock_wall(a->clock), time);
	n = snprintf(line, sizeof(line), "%s %s ", time, event);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - CHAIN_HEX - 2 - (size_t)n, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	n += m;
	if (n > (int)sizeof(line) - CHAIN_HEX - 3)
		n = (int)sizeof(line) - CHAIN_HEX - 3;
	for (i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	pthread_mutex_lock(&a->mu);
	link_line(a->chain, line, (size_t)n);
	n += sprintf(line + n, " %s\n", a->chain);
	if (file_write(a->fd, line, (size_t)n, &e))
		log_err(LOG_ERROR, "audit.write", &e);
	pthread_mutex_unlock(&a->mu);
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
