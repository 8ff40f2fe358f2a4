#include "common/os/identity.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/os/file.h"

enum { ID_FILE_MAX = 4096 };

int
identity_write(const char *dir, const struct identity *i, struct err *e)
{
	struct buf text = BUF_INIT;
	char hex[2 * IDENTITY_KEY + 1];
	int rc;

	hex_of(i->id.b, sizeof(i->id.b), hex);
	buf_printf(&text, "role %s\npart %s\nid %s\nmade %s\n", i->role, i->part, hex,
		   i->by_init ? "init" : "serve");
	if (i->keyed) {
		hex_of(i->key, sizeof(i->key), hex);
		buf_printf(&text, "key %s\n", hex);
	}
	rc = buf_failed(&text) ? err_set(e, ERR_LOCAL, 0, "no memory for an id file")
			       : file_replace(dir, "id", text.data, text.len, e);
	buf_fini(&text);
	return rc;
}

static bool
take(struct identity *i, const char *name, const char *value)
{
	if (strcmp(name, "role") == 0 || strcmp(name, "part") == 0) {
		(void)snprintf(name[0] == 'r' ? i->role : i->part, IDENTITY_WORD, "%.15s", value);
		return true;
	}
	if (strcmp(name, "id") == 0)
		return hex_to(value, i->id.b, sizeof(i->id.b));
	if (strcmp(name, "made") == 0)
		i->by_init = strcmp(value, "init") == 0;
	if (strcmp(name, "key") == 0)
		i->keyed = hex_to(value, i->key, sizeof(i->key));
	return true; /* what a later version wrote is left alone */
}

int
identity_read(const char *dir, struct identity *out, struct err *e)
{
	char path[PATH_MAX], name[IDENTITY_WORD], value[80];
	struct buf text = BUF_INIT;
	const char *line;
	bool good = true;
	int rc;

	memset(out, 0, sizeof(*out));
	(void)snprintf(path, sizeof(path), "%s/id", dir);
	if (file_missing(path))
		return ERR_ABSENT;
	rc = file_slurp(path, ID_FILE_MAX, &text, e);
	buf_put_u8(&text, 0);
	if (rc || buf_failed(&text)) {
		buf_fini(&text);
		return rc ? rc : err_set(e, ERR_LOCAL, 0, "no memory for an id file");
	}
	for (line = (const char *)text.data; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "%15s %79s", name, value) == 2)
			good = take(out, name, value) && good;
	}
	buf_fini(&text);
	if (!good || !out->role[0] || !out->part[0])
		return err_set(e, ERR_CORRUPT, 0, "%s is no id file", path);
	return 0;
}

int
identity_check(const char *dir, const struct identity *want, struct err *e)
{
	struct identity have;
	int rc = identity_read(dir, &have, e);

	if (rc)
		return rc;
	if (strcmp(have.role, want->role) || strcmp(have.part, want->part) ||
	    memcmp(&have.id, &want->id, sizeof(have.id)))
		return err_set(e, ERR_CONFLICT, 0,
			       "%.120s belongs to another node: is the right disk mounted? If the "
			       "data is really gone, `init` makes a new node in an empty folder",
			       dir);
	return 0;
}

struct looking {
	const char *dir;
	unsigned depth;
};

/* Other than 0 for anything that is not part of an unfinished birth. */
static int
any_name(void *arg, const char *name, struct err *e)
{
	const struct looking *l = arg;
	struct looking below;
	char path[PATH_MAX];

	if (strcmp(name, "lost+found") == 0 || strcmp(name, ".id.new") == 0)
		return 0;
	if (strcmp(name, "tls") == 0 && l->depth == 0) /* keys that nobody was told of */
		return 0;
	if (strcmp(name, "id") == 0)
		return l->depth ? 0 : ERR_CONFLICT;
	if (l->depth == 2 || snprintf(path, sizeof(path), "%s/%s", l->dir, name) >= PATH_MAX)
		return ERR_CONFLICT;
	below.dir = path;
	below.depth = l->depth + 1;
	return file_list(path, any_name, &below, e) == 0 ? 0 : ERR_CONFLICT;
}

bool
identity_empty(const char *dir)
{
	struct looking l = {dir, 0};

	return !file_exists(dir) || file_list(dir, any_name, &l, NULL) == 0;
}
