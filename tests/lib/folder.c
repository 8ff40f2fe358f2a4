#include "tests/lib/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/os/file.h"

char folder[64];

int
make_folder(void **state)
{
	const char *below = getenv("TMPDIR");
	int n = snprintf(folder, sizeof(folder), "%s/salamander.XXXXXX", below ? below : "/tmp");

	(void)state;
	return n > 0 && (size_t)n < sizeof(folder) && mkdtemp(folder) ? 0 : -1;
}

int
drop_folder(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

const char *
folder_path(const char *name)
{
	static char out[FOLDER_PATHS][FOLDER_PATH];
	static unsigned at;
	char *p = out[at++ % FOLDER_PATHS];

	(void)snprintf(p, FOLDER_PATH, "%s/%s", folder, name);
	return p;
}

void
folder_put(const char *name, const struct buf *b)
{
	assert_int_equal(file_replace(folder, name, b->data, b->len, NULL), 0);
}
