/*
 * site_commands.h - what an operator decides about sites (R26).
 *
 * Threads: as central_commands.
 */
#ifndef SALAMANDER_CENTRAL_SITE_COMMANDS_H
#define SALAMANDER_CENTRAL_SITE_COMMANDS_H

struct asked;

extern const char site_commands_usage[];

int site_commands_site(struct asked *a);

#endif
