/*
 * folder.h - a folder of a test's own: cmocka's setup and teardown.
 *
 * Promise: folder is fresh and empty after make_folder, gone after drop_folder.
 * Owner: the test program; one folder at a time. Below $TMPDIR, or /tmp.
 */
#ifndef SALAMANDER_TESTS_LIB_FOLDER_H
#define SALAMANDER_TESTS_LIB_FOLDER_H

#include <stddef.h>

struct buf;

extern char folder[64];

enum { FOLDER_PATH = 256, FOLDER_PATHS = 32 };

int make_folder(void **state);
int drop_folder(void **state);
/* A name in it; good until FOLDER_PATHS more are asked for. */
const char *folder_path(const char *name);
/* The file is there, with these bytes. */
void folder_put(const char *name, const struct buf *b);

#endif
