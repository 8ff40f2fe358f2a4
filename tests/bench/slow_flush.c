/*
 * slow_flush.so - loaded with LD_PRELOAD: every flush takes SLOW_FLUSH_US longer.
 *
 * A flush is fsync, fdatasync, msync(MS_SYNC), syncfs, and each write to a file that was opened
 * with O_DSYNC or O_SYNC (LMDB writes its meta page so). The time is spent in the thread
 * that flushes: threads that flush at once wait at once, as on a disk with a queue.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/real.h"

static struct timespec longer;

__attribute__((constructor)) static void
begin(void)
{
	const char *us = getenv("SLOW_FLUSH_US");
	long n = us ? strtol(us, NULL, 10) : 0;

	longer.tv_sec = n / 1000000;
	longer.tv_nsec = n % 1000000 * 1000;
}

static void
wait_longer(void)
{
	struct timespec left = longer;

	while (nanosleep(&left, &left))
		continue;
}

static void
wait_if_sync(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags != -1 && (flags & (O_DSYNC | O_SYNC)))
		wait_longer();
}

int
fsync(int fd)
{
	REAL(int, "fsync", int);
	wait_longer();
	return real.f(fd);
}

int
fdatasync(int fd)
{
	REAL(int, "fdatasync", int);
	wait_longer();
	return real.f(fd);
}

int
syncfs(int fd)
{
	REAL(int, "syncfs", int);
	wait_longer();
	return real.f(fd);
}

int
msync(void *p, size_t n, int flags)
{
	REAL(int, "msync", void *, size_t, int);
	if (flags & MS_SYNC)
		wait_longer();
	return real.f(p, n, flags);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
	wait_if_sync(fd);
	return real.f(fd, p, n, at);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
	wait_if_sync(fd);
	return real.f(fd, p, n, at);
}

ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
	wait_if_sync(fd);
	return real.f(fd, v, n, at);
}

ssize_t
write(int fd, const void *p, size_t n)
{
	REAL(ssize_t, "write", int, const void *, size_t);
	wait_if_sync(fd);
	return real.f(fd, p, n);
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	REAL(ssize_t, "writev", int, const struct iovec *, int);
	wait_if_sync(fd);
	return real.f(fd, v, n);
}
