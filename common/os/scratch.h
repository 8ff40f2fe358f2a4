/*
 * scratch.h - files without a name: gone with the last who holds them, also by a death.
 *
 * For what only passes through (an object on its way to another syntax). Never durable.
 * Threads: any.
 */
#ifndef SALAMANDER_COMMON_OS_SCRATCH_H
#define SALAMANDER_COMMON_OS_SCRATCH_H

struct err;

/* On the file system of this folder, to read and write. -1: it could not be made. */
int scratch_open(const char *dir, struct err *e);

#endif
