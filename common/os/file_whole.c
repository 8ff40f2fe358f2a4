/* What is made of the calls of file.c: whole files, and folders with their parents. */
#include "common/os/file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"

int
file_mkdirs(const char *root, const char *below, struct err *e)
{
	char path[PATH_MAX], parent[PATH_MAX];
	const char *slash = below;
	bool made;
	int rc;

	(void)snprintf(parent, sizeof(parent), "%s", root);
	while (slash) {
		slash = strchr(slash, '/');
		if (snprintf(path, sizeof(path), "%s/%.*s", root,
			     slash ? (int)(slash - below) : (int)strlen(below),
			     below) >= (int)sizeof(path))
			return err_set(e, ERR_LOCAL, ENAMETOOLONG, "path too long");
		rc = file_mkdir(path, &made, e);
		/* One that was there may have been made by a process that died before its flush. */
		if (!rc)
			rc = file_sync_dir(parent, e);
		if (rc)
			return rc;
		memcpy(parent, path, sizeof(parent));
		if (slash)
			slash++;
	}
	return 0;
}

int
file_slurp(const char *path, size_t max, struct buf *out, struct err *e)
{
	uint64_t size;
	size_t got;
	unsigned char *to;
	int fd = file_open(path, false, e), rc;

	if (fd < 0)
		return fd;
	rc = file_size(fd, &size, e);
	if (!rc && size > max)
		rc = err_set(e, ERR_CORRUPT, 0, "%s is larger than %zu bytes", path, max);
	to = rc ? NULL : buf_reserve(out, (size_t)size + 1);
	if (!rc && !to)
		rc = err_set(e, ERR_LOCAL, 0, "no memory to read %s", path);
	if (!rc)
		rc = file_read_at(fd, to, (size_t)size, 0, &got, e);
	if (!rc)
		out->len += got;
	file_close(fd);
	return rc;
}

int
file_replace(const char *dir, const char *name, const void *p, size_t n, struct err *e)
{
	char tmp[PATH_MAX], path[PATH_MAX];
	int fd = -1, rc;

	if (snprintf(tmp, sizeof(tmp), "%s/.%s.new", dir, name) >= (int)sizeof(tmp) ||
	    snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return err_set(e, ERR_LOCAL, ENAMETOOLONG, "path too long");
	if (file_exists(tmp)) { /* left by a death in the middle; never read */
		rc = file_remove(tmp, e);
		if (rc)
			return rc;
	}
	fd = file_create(tmp, e);
	if (fd < 0)
		return fd;
	rc = p ? file_write(fd, p, n, e) : file_zeros(fd, n, 0, e);
	if (!rc)
		rc = file_sync(fd, e);
	file_close(fd);
	if (!rc)
		rc = file_rename(tmp, path, e);
	if (!rc)
		return file_sync_dir(dir, e);
	(void)file_remove(tmp, NULL);
	return rc;
}
