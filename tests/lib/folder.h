/*
 * folder.h - a folder of a test's own: cmocka's setup and teardown.
 *
 * Promise: folder is fresh and empty after make_folder, gone after drop_folder.
 * Owner: the test program; one folder at a time. Below $TMPDIR, or /tmp.
 */
#ifndef SALAMANDER_TESTS_LIB_FOLDER_H
#define SALAMANDER_TESTS_LIB_FOLDER_H

extern char folder[64];

int make_folder(void **state);
int drop_folder(void **state);

#endif
