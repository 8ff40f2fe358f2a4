/*
 * central_settings.h - central.conf: every setting of central.
 */
#ifndef SALAMANDER_CENTRAL_SETTINGS_H
#define SALAMANDER_CENTRAL_SETTINGS_H

#include <stddef.h>

struct conf;
struct conf_row;
struct err;

const struct conf_row *central_settings_rows(size_t *n);
int central_settings_load(struct conf **out, const char *path, struct err *e);

#endif
