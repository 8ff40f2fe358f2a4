/*
 * recorder.so - loaded with LD_PRELOAD: writes every call that changes a file below
 * RECORD_DIR to the trace RECORD_TO (trace.h).
 *
 * One lock is held over a call and its record, so that the trace's order is the order
 * of the calls. Whoever finds that the trace cannot be written ends the process: a
 * trace with a hole would prove nothing. What this recorder does not see (stdio,
 * mappings) is found by replay, which compares the replayed folder with the real one.
 * Not recorded: lock.mdb's mapping, sockets, what is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/crash/trace.h"
#include "tests/lib/real.h"

enum { PARTS_MAX = 1024 };

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static int trace = -1;

static void
die(const char *what)
{
	perror(what);
	_exit(99);
}

static ssize_t
real_writev(int fd, const struct iovec *v, int n)
{
	REAL(ssize_t, "writev", int, const struct iovec *, int);
	return real.f(fd, v, n);
}

__attribute__((constructor)) static void
begin(void)
{
	const char *dir = getenv("RECORD_DIR"), *to = getenv("RECORD_TO");

	if (!dir || !to)
		return;
	if (!realpath(dir, folder))
		die(dir);
	folder_length = strlen(folder);
	trace = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (trace < 0)
		die(to);
}

/* --- which file --- */

/* The part behind the folder; NULL: elsewhere. */
static const char *
below(const char *path)
{
	if (trace < 0 || strncmp(path, folder, folder_length) != 0)
		return NULL;
	if (path[folder_length] == '\0')
		return "";
	return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

static const char *
path_of_fd(int fd, char out[PATH_MAX])
{
	char link[64];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, PATH_MAX - 1);
	if (n < 0)
		return NULL;
	out[n] = '\0';
	return below(out);
}

/* "a//b" and "a/b" are one name. */
static char *
squeeze(char *path)
{
	char *to = path, *from;

	for (from = path; *from; from++)
		if (*from != '/' || to == path || to[-1] != '/')
			*to++ = *from;
	*to = '\0';
	return path;
}

/* As the product names files: absolute, or below a folder's descriptor or the current one. */
static const char *
path_of_name(int at, const char *name, char out[PATH_MAX])
{
	char base[PATH_MAX];
	char link[64] = "/proc/self/cwd";
	ssize_t n;

	if (trace < 0)
		return NULL;
	if (name[0] == '/')
		return below(squeeze(strncpy(out, name, PATH_MAX - 1)));
	if (at != AT_FDCWD)
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
	n = readlink(link, base, sizeof(base) - 1);
	if (n < 0)
		return NULL;
	base[n] = '\0';
	if (snprintf(out, PATH_MAX, "%s/%s", base, name) >= PATH_MAX)
		return NULL;
	return below(squeeze(out));
}

static uint64_t
inode_of_name(const char *name)
{
	struct stat st;

	return lstat(name, &st) ? 0 : st.st_ino;
}

static uint64_t
inode_of_fd(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

/* --- records --- */

static void
record(struct trace_head h, const char *path, const char *second, const struct iovec *data, int n,
       size_t bytes)
{
	struct iovec v[PARTS_MAX + 3];
	size_t left = bytes, total;
	int used = 3, i;

	h.path = (uint32_t)strlen(path);
	h.second = second ? (uint32_t)strlen(second) : 0;
	v[0] = (struct iovec){&h, sizeof(h)};
	v[1] = (struct iovec){(void *)(uintptr_t)path, h.path};
	v[2] = (struct iovec){(void *)(uintptr_t)(second ? second : ""), h.second};
	for (i = 0; i < n && left > 0; i++) {
		v[used] = data[i];
		if (v[used].iov_len > left)
			v[used].iov_len = left;
		left -= v[used++].iov_len;
	}
	total = sizeof(h) + h.path + h.second + bytes;
	h.size = (uint32_t)total;
	if (real_writev(trace, v, used) != (ssize_t)total)
		die("the trace");
}

static void
record_name(enum trace_op op, uint64_t file, const char *path, const char *second)
{
	struct trace_head h = {.op = (uint16_t)op, .file = file};

	record(h, path, second, NULL, 0, 0);
}

/* --- opening --- */

static int
opened(int at, const char *name, int flags, unsigned mode)
{
	char full[PATH_MAX] = "";
	const char *path = flags & (O_CREAT | O_TRUNC) ? path_of_name(at, name, full) : NULL;
	struct trace_head cut = {.op = TRACE_TRUNCATE};
	bool was;
	int fd;

	REAL(int, "openat", int, const char *, int, ...);
	if (!path)
		return real.f(at, name, flags, mode);
	(void)pthread_mutex_lock(&mu);
	was = inode_of_name(full) != 0;
	fd = real.f(at, name, flags, mode);
	if (fd >= 0 && !was)
		record_name(TRACE_CREATE, inode_of_fd(fd), path, NULL);
	if (fd >= 0 && was && flags & O_TRUNC) {
		cut.file = inode_of_fd(fd);
		record(cut, path, NULL, NULL, 0, 0);
	}
	(void)pthread_mutex_unlock(&mu);
	return fd;
}

static unsigned
mode_of(int flags, va_list more)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, unsigned) : 0;
}

#define OPEN(name)                                                                                 \
	int name(const char *path, int flags, ...);                                                \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		va_list more;                                                                      \
		unsigned mode;                                                                     \
                                                                                                   \
		va_start(more, flags);                                                             \
		mode = mode_of(flags, more);                                                       \
		va_end(more);                                                                      \
		return opened(AT_FDCWD, path, flags, mode);                                        \
	}
#define OPENAT(name)                                                                               \
	int name(int at, const char *path, int flags, ...);                                        \
	int name(int at, const char *path, int flags, ...)                                         \
	{                                                                                          \
		va_list more;                                                                      \
		unsigned mode;                                                                     \
                                                                                                   \
		va_start(more, flags);                                                             \
		mode = mode_of(flags, more);                                                       \
		va_end(more);                                                                      \
		return opened(at, path, flags, mode);                                              \
	}
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* --- writing --- */

enum { HERE = -1 }; /* an offset: where the descriptor stands */

static ssize_t
written(int fd, const struct iovec *v, int n, off_t offset)
{
	char full[PATH_MAX];
	const char *path = path_of_fd(fd, full);
	struct trace_head h = {.op = TRACE_WRITE};
	struct stat st;
	ssize_t done;
	int flags;

	REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
	if (!path)
		return offset == HERE ? real_writev(fd, v, n) : real.f(fd, v, n, offset);
	if (n > PARTS_MAX)
		die("a write of too many parts");
	(void)pthread_mutex_lock(&mu);
	flags = fcntl(fd, F_GETFL);
	if (fstat(fd, &st))
		die("fstat");
	h.file = st.st_ino;
	h.flags = flags & O_DSYNC ? TRACE_THROUGH : 0;
	h.offset = (uint64_t)(offset != HERE	 ? offset
			      : flags & O_APPEND ? st.st_size
						 : lseek(fd, 0, SEEK_CUR));
	done = offset == HERE ? real_writev(fd, v, n) : real.f(fd, v, n, offset);
	if (done > 0)
		record(h, path, NULL, v, n, (size_t)done);
	(void)pthread_mutex_unlock(&mu);
	return done;
}

ssize_t
write(int fd, const void *p, size_t n)
{
	struct iovec v = {(void *)(uintptr_t)p, n};

	return written(fd, &v, 1, HERE);
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	return written(fd, v, n, HERE);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t offset)
{
	struct iovec v = {(void *)(uintptr_t)p, n};

	return written(fd, &v, 1, offset);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t offset)
{
	return pwrite(fd, p, n, offset);
}

ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t offset)
{
	return written(fd, v, n, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *v, int n, off64_t offset)
{
	return written(fd, v, n, offset);
}

int
ftruncate(int fd, off_t size)
{
	char full[PATH_MAX];
	const char *path = path_of_fd(fd, full);
	struct trace_head h = {.op = TRACE_TRUNCATE, .offset = (uint64_t)size};
	int rc;

	REAL(int, "ftruncate", int, off_t);
	if (!path)
		return real.f(fd, size);
	(void)pthread_mutex_lock(&mu);
	h.file = inode_of_fd(fd);
	rc = real.f(fd, size);
	if (!rc)
		record(h, path, NULL, NULL, 0, 0);
	(void)pthread_mutex_unlock(&mu);
	return rc;
}

int
ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

/* The product reserves no room this way; whoever begins to must teach the recorder first. */
int
fallocate(int fd, int mode, off_t offset, off_t n)
{
	char full[PATH_MAX];

	REAL(int, "fallocate", int, int, off_t, off_t);
	if (path_of_fd(fd, full))
		die("fallocate is not recorded");
	return real.f(fd, mode, offset, n);
}

/* --- flushing --- */

static int
synced(int fd, int (*real)(int))
{
	char full[PATH_MAX];
	const char *path = path_of_fd(fd, full);
	struct stat st;
	int rc;

	if (!path)
		return real(fd);
	(void)pthread_mutex_lock(&mu);
	rc = real(fd);
	if (!rc && !fstat(fd, &st))
		record_name(S_ISDIR(st.st_mode) ? TRACE_SYNC_DIR : TRACE_SYNC, st.st_ino, path,
			    NULL);
	(void)pthread_mutex_unlock(&mu);
	return rc;
}

int
fsync(int fd)
{
	REAL(int, "fsync", int);
	return synced(fd, real.f);
}

int
fdatasync(int fd)
{
	REAL(int, "fdatasync", int);
	return synced(fd, real.f);
}

/* --- names --- */

int
unlink(const char *name)
{
	char full[PATH_MAX] = "";
	const char *path = path_of_name(AT_FDCWD, name, full);
	int rc;

	REAL(int, "unlink", const char *);
	if (!path)
		return real.f(name);
	(void)pthread_mutex_lock(&mu);
	rc = real.f(name);
	if (!rc)
		record_name(TRACE_UNLINK, 0, path, NULL);
	(void)pthread_mutex_unlock(&mu);
	return rc;
}

int
mkdir(const char *name, mode_t mode)
{
	char full[PATH_MAX] = "";
	const char *path = path_of_name(AT_FDCWD, name, full);
	int rc;

	REAL(int, "mkdir", const char *, mode_t);
	if (!path)
		return real.f(name, mode);
	(void)pthread_mutex_lock(&mu);
	rc = real.f(name, mode);
	if (!rc)
		record_name(TRACE_MKDIR, 0, path, NULL);
	(void)pthread_mutex_unlock(&mu);
	return rc;
}

static int
named(const char *from, const char *to, enum trace_op op, int (*real)(const char *, const char *))
{
	char full[PATH_MAX] = "", second[PATH_MAX] = "";
	const char *a = path_of_name(AT_FDCWD, from, full);
	const char *b = path_of_name(AT_FDCWD, to, second);
	int rc;

	if (!a != !b)
		die("a name crosses the border of the recorded folder");
	if (!a)
		return real(from, to);
	(void)pthread_mutex_lock(&mu);
	rc = real(from, to);
	if (!rc)
		record_name(op, inode_of_name(second), a, b);
	(void)pthread_mutex_unlock(&mu);
	return rc;
}

int
rename(const char *from, const char *to)
{
	REAL(int, "rename", const char *, const char *);
	return named(from, to, TRACE_RENAME, real.f);
}

int
link(const char *from, const char *to)
{
	REAL(int, "link", const char *, const char *);
	return named(from, to, TRACE_LINK, real.f);
}
