/*
 * edge_settings.h - edge.conf: every setting of an edge.
 */
#ifndef SALAMANDER_EDGE_SETTINGS_H
#define SALAMANDER_EDGE_SETTINGS_H

#include <stddef.h>

struct conf;
struct conf_row;
struct err;

const struct conf_row *edge_settings_rows(size_t *n);
int edge_settings_load(struct conf **out, const char *path, struct err *e);

#endif
