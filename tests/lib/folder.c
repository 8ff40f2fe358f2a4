#include "tests/lib/folder.h"

#include <stdio.h>
#include <stdlib.h>

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
