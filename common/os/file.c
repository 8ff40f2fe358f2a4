#include "common/os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fault.h"

/*
 * The kernel keeps what came with one large write as large folios (ext4 of Linux 6.18); each small
 * write into one of them, and its flush, walks all of its blocks.
 */
enum { ZEROS_PIECE = 65536 };

static _Atomic uint64_t syncs;

uint64_t
file_sync_count(void)
{
	return atomic_load(&syncs);
}

static int
failed(struct err *e, int sys, const char *step, const char *path)
{
	enum err_code code = sys == EEXIST ? ERR_CONFLICT : err_of_errno(sys);

	return err_set(e, code, sys, "cannot %s %s", step, path);
}

static int
opened(const char *path, int flags, const char *point, struct err *e)
{
	int sys = fault_hit(point), fd;

	if (sys)
		return failed(e, sys, "open", path);
	fd = open(path, flags | O_CLOEXEC, 0600);
	return fd < 0 ? failed(e, errno, "open", path) : fd;
}

int
file_create(const char *path, struct err *e)
{
	return opened(path, O_RDWR | O_CREAT | O_EXCL, "file.create", e);
}

int
file_open(const char *path, bool writable, struct err *e)
{
	return opened(path, writable ? O_RDWR : O_RDONLY, "file.open", e);
}

int
file_open_append(const char *path, struct err *e)
{
	return opened(path, O_RDWR | O_CREAT | O_APPEND, "file.create", e);
}

void
file_close(int fd)
{
	(void)close(fd);
}

int
file_write(int fd, const void *p, size_t n, struct err *e)
{
	const unsigned char *c = p;
	int sys = fault_hit("file.write");

	while (!sys && n > 0) {
		ssize_t done = write(fd, c, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			sys = errno;
			break;
		}
		c += done;
		n -= (size_t)done;
	}
	return sys ? failed(e, sys, "write", "a file") : 0;
}

int
file_write_at(int fd, const void *p, size_t n, uint64_t offset, struct err *e)
{
	const unsigned char *c = p;
	int sys = fault_hit("file.write");

	while (!sys && n > 0) {
		ssize_t done = pwrite(fd, c, n, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			sys = errno;
			break;
		}
		c += done;
		n -= (size_t)done;
		offset += (uint64_t)done;
	}
	return sys ? failed(e, sys, "write", "a file") : 0;
}

int
file_zeros(int fd, uint64_t n, uint64_t offset, struct err *e)
{
	static const unsigned char zeros[ZEROS_PIECE];
	int sys = fault_hit("file.write");

	while (!sys && n > 0) {
		size_t piece = n < sizeof(zeros) ? (size_t)n : sizeof(zeros);
		ssize_t done = pwrite(fd, zeros, piece, (off_t)offset);

		if (done < 0 && errno != EINTR)
			sys = errno;
		if (done > 0) {
			offset += (uint64_t)done;
			n -= (uint64_t)done;
		}
	}
	return sys ? failed(e, sys, "write", "a file") : 0;
}

int
file_read_at(int fd, void *p, size_t n, uint64_t offset, size_t *got, struct err *e)
{
	unsigned char *c = p;
	int sys = fault_hit("file.read");

	*got = 0;
	while (!sys && *got < n) {
		ssize_t done = pread(fd, c + *got, n - *got, (off_t)(offset + *got));

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			sys = errno;
		if (done <= 0)
			break;
		*got += (size_t)done;
	}
	return sys ? failed(e, sys, "read", "a file") : 0;
}

int
file_size(int fd, uint64_t *out, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return failed(e, errno, "look at", "a file");
	*out = (uint64_t)st.st_size;
	return 0;
}

int
file_links(int fd, unsigned *out, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return failed(e, errno, "look at", "a file");
	*out = (unsigned)st.st_nlink;
	return 0;
}

int
file_truncate(int fd, uint64_t size, struct err *e)
{
	int sys = fault_hit("file.truncate");

	if (!sys && ftruncate(fd, (off_t)size))
		sys = errno;
	return sys ? failed(e, sys, "cut", "a file") : 0;
}

int
file_sync(int fd, struct err *e)
{
	int sys = fault_hit("file.sync");

	atomic_fetch_add(&syncs, 1);
	if (!sys && fdatasync(fd))
		sys = errno;
	return sys ? failed(e, sys, "flush", "a file") : 0;
}

void
file_uncache(int fd)
{
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

int
file_sync_dir(const char *path, struct err *e)
{
	int sys = fault_hit("file.sync_dir"), fd;

	atomic_fetch_add(&syncs, 1);
	if (sys)
		return failed(e, sys, "flush", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return failed(e, errno, "open", path);
	if (fsync(fd))
		sys = errno;
	(void)close(fd);
	return sys ? failed(e, sys, "flush", path) : 0;
}

int
file_sync_parent(const char *path, struct err *e)
{
	char parent[PATH_MAX];
	char *slash;

	(void)snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (slash == parent)
		slash[1] = '\0';
	else if (slash)
		*slash = '\0';
	return file_sync_dir(slash ? parent : ".", e);
}

int
file_link(const char *from, const char *to, struct err *e)
{
	int sys = fault_hit("file.link");

	if (!sys && link(from, to))
		sys = errno;
	return sys ? failed(e, sys, "link", to) : 0;
}

int
file_rename(const char *from, const char *to, struct err *e)
{
	int sys = fault_hit("file.rename");

	if (!sys && rename(from, to))
		sys = errno;
	return sys ? failed(e, sys, "rename to", to) : 0;
}

int
file_remove(const char *path, struct err *e)
{
	int sys = fault_hit("file.remove");

	if (!sys && unlink(path))
		sys = errno;
	return sys ? failed(e, sys, "remove", path) : 0;
}

int
file_mkdir(const char *path, bool *made, struct err *e)
{
	int sys = fault_hit("file.mkdir");

	*made = false;
	if (!sys && mkdir(path, 0700))
		sys = errno;
	else if (!sys)
		*made = true;
	return sys && sys != EEXIST ? failed(e, sys, "make", path) : 0;
}

bool
file_missing(const char *path)
{
	struct stat st;

	return lstat(path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

bool
file_same(const char *a, const char *b)
{
	struct stat x, y;

	return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

bool
file_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

int
file_list(const char *path, int (*fn)(void *arg, const char *name, struct err *e), void *arg,
	  struct err *e)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	int rc = 0;

	if (!d)
		return failed(e, errno, "list", path);
	while (rc == 0) {
		errno = 0;
		entry = readdir(d); /* each DIR has one owner: this call */
		if (!entry) {
			if (errno)
				rc = failed(e, errno, "list", path);
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = fn(arg, entry->d_name, e);
	}
	(void)closedir(d);
	return rc;
}

int
file_space(const char *path, uint64_t *free_bytes, uint64_t *total, struct err *e)
{
	struct statvfs st;

	if (statvfs(path, &st))
		return failed(e, errno, "look at the space of", path);
	*free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	*total = (uint64_t)st.f_blocks * st.f_frsize;
	return 0;
}

int
file_refuse_network(const char *path, struct err *e)
{
	static const long network[] = {0x6969 /* NFS */,
				       0x517b /* SMB */,
				       (long)0xff534d42 /* CIFS */,
				       (long)0xfe534d42 /* SMB2 */,
				       0x564c /* NCP */,
				       0x5346414f /* AFS */,
				       0x00c36400 /* Ceph */};
	struct statfs st;
	size_t i;

	if (statfs(path, &st))
		return failed(e, errno, "look at", path);
	for (i = 0; i < sizeof(network) / sizeof(network[0]); i++)
		if ((long)(unsigned)st.f_type == network[i])
			return err_set(e, ERR_LOCAL, 0,
				       "%s is on a network file system; use a local disk", path);
	return 0;
}
