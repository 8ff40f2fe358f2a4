#include "common/os/scratch.h"

#include <errno.h>
#include <fcntl.h>

#include "common/base/err.h"

int
scratch_open(const char *dir, struct err *e)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		(void)err_set(e, ERR_LOCAL, errno, "a file without a name in %.200s", dir);
	return fd;
}
