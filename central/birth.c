#include "central/birth.h"

#include <stdio.h>
#include <string.h>

#include "central/central.h"
#include "central/central_settings.h"
#include "central/certificates.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/os/file.h"

static void
path_of(const struct central *c, const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s", c->dir, name);
}

static bool
own_certificates(const struct central *c)
{
	return conf_string(c->conf, "tls", NULL, "cert")[0] != '\0';
}

/* --- folders and their ids (R23) --- */

static const char *const parts[] = {"", "vault", "vault/log"};
static const char *const part_names[] = {"data", "vault", "log"};
enum { N_PARTS = 3 };

static int
make_parts(struct central *c, bool by_init, struct err *e)
{
	struct identity id = c->identity;
	char path[PATH_MAX];
	int i, rc = file_mkdirs(c->dir, "vault/log", e);

	id.by_init = by_init;
	/* The data folder's id comes last: with it the identity is whole. */
	for (i = N_PARTS - 1; !rc && i >= 0; i--) {
		(void)snprintf(id.part, sizeof(id.part), "%s", part_names[i]);
		id.keyed = i == 0;
		path_of(c, parts[i], path);
		rc = identity_write(path, &id, e);
	}
	c->identity = id;
	return rc;
}

static void
name_it(struct central *c, const struct id128 *archive, const unsigned char key[IDENTITY_KEY])
{
	memset(&c->identity, 0, sizeof(c->identity));
	strcpy(c->identity.role, "central");
	c->identity.id = *archive;
	memcpy(c->identity.key, key, IDENTITY_KEY);
	c->identity.keyed = true;
}

/* Plain loopback: nobody asked for it by `init`. */
static int
make_plain(struct central *c, struct err *e)
{
	unsigned char key[IDENTITY_KEY];
	struct id128 archive;
	bool made;
	int rc = file_mkdir(c->dir, &made, e);

	if (!rc && made)
		rc = file_sync_parent(c->dir, e);
	id128_make(rng_real(), &archive);
	rng_fill(rng_real(), key, sizeof(key));
	name_it(c, &archive, key);
	return rc ? rc : make_parts(c, false, e);
}

int
birth_check_parts(struct central *c, struct err *e)
{
	struct identity want = c->identity;
	char path[PATH_MAX];
	int i, rc = 0;

	for (i = 1; !rc && i < N_PARTS; i++) {
		(void)snprintf(want.part, sizeof(want.part), "%s", part_names[i]);
		path_of(c, parts[i], path);
		rc = identity_check(path, &want, e);
		if (rc == ERR_ABSENT)
			rc = err_set(e, ERR_ABSENT, 0,
				     "%s is missing or empty: not mounted? If it is really gone: "
				     "move %s away and `init` (--recover KIT); the edges fill it",
				     path, c->dir);
	}
	return rc;
}

int
birth_find(struct central *c, bool may_make, struct err *e)
{
	bool tls = own_certificates(c);
	int rc = identity_read(c->dir, &c->identity, e);

	if (!rc && (strcmp(c->identity.role, "central") != 0 || !c->identity.keyed))
		rc = err_set(e, ERR_CONFLICT, 0,
			     "%.120s belongs to another node: is the right disk mounted? `init` "
			     "makes a new central in an empty folder",
			     c->dir);
	if (!rc) {
		rc = birth_check_parts(c, NULL);
		/* Plain loopback: a node that `serve` made may make its vault again. */
		if (rc == ERR_ABSENT && may_make && !c->identity.by_init && !tls)
			return make_parts(c, false, e);
		return rc ? birth_check_parts(c, e) : 0;
	}
	if (rc != ERR_ABSENT)
		return rc;
	if (!may_make || tls)
		return err_set(e, ERR_ABSENT, 0,
			       "%s has no id file: not mounted? `init` makes a new central",
			       c->dir);
	if (!identity_empty(c->dir))
		return err_set(
			e, ERR_CONFLICT, 0,
			"%.120s is not empty and has no id file: give [data] dir an empty folder",
			c->dir);
	return make_plain(c, e);
}

/* --- init (R25) --- */

static int
open_kit(struct kit *k, const struct birth_wish *wish, bool tls, struct err *e)
{
	char passphrase[KIT_PASSPHRASE];
	int rc;

	if (!wish->kit || !wish->passphrase_file)
		return err_set(e, ERR_PEER, 0, "init --recover KIT --passphrase-file FILE");
	rc = kit_passphrase(passphrase, wish->passphrase_file, e);
	if (!rc)
		rc = kit_read(k, wish->kit, passphrase, e);
	if (!rc && tls == (k->ca.len > 0))
		rc = err_set(
			e, ERR_CONFLICT, 0,
			tls ? "this archive has a CA of its own: take [tls] out of the settings"
			    : "this archive has the operator's certificates: set [tls]");
	return rc;
}

static int
new_kit(struct kit *k, bool tls, struct err *e)
{
	id128_make(rng_real(), &k->archive);
	rng_fill(rng_real(), k->receipt_key, sizeof(k->receipt_key));
	return tls ? 0
		   : certificates_new_ca(&k->ca_key, &k->ca, &k->archive, clock_wall(clock_real()),
					 e);
}

static int
keep_kit(const struct central *c, const struct kit *k, const struct birth_wish *wish,
	 struct born *out, struct err *e)
{
	char passphrase[KIT_PASSPHRASE];
	int rc = kit_passphrase(passphrase, wish->passphrase_file, e);

	if (wish->kit)
		(void)snprintf(out->kit, sizeof(out->kit), "%s", wish->kit);
	else
		(void)snprintf(out->kit, sizeof(out->kit), "%s.kit", c->dir);
	if (!wish->passphrase_file && !rc)
		strcpy(out->passphrase, passphrase);
	return rc ? rc : kit_write(out->kit, k, passphrase, e);
}

/* The kit first: an archive whose kit could not be written is none. The id file last. */
static int
make_archive(struct central *c, const struct birth_wish *wish, struct born *out, struct err *e)
{
	struct kit k = {.ca = BUF_INIT, .ca_key = BUF_INIT};
	bool made, tls = own_certificates(c);
	int rc = wish->recover ? open_kit(&k, wish, tls, e) : new_kit(&k, tls, e);

	if (!rc)
		rc = file_mkdir(c->dir, &made, e);
	if (!rc)
		rc = file_sync_parent(c->dir, e);
	if (!rc && !wish->recover)
		rc = keep_kit(c, &k, wish, out, e);
	if (!rc && k.ca.len)
		rc = certificates_write(c->dir, &k.ca_key, &k.ca, e);
	if (!rc) {
		name_it(c, &k.archive, k.receipt_key);
		hex_of(k.archive.b, ID128_SIZE, out->archive);
		rc = make_parts(c, true, e);
	}
	kit_fini(&k);
	return rc;
}

int
birth_init(const char *conf_path, const struct birth_wish *wish, struct born *out, struct err *e)
{
	struct central c;
	size_t n;
	int rc;

	memset(out, 0, sizeof(*out));
	memset(&c, 0, sizeof(c));
	rc = central_settings_load(&c.conf, conf_path, e);
	if (rc)
		return rc;
	(void)snprintf(c.dir, sizeof(c.dir), "%s", conf_string(c.conf, "data", NULL, "dir"));
	for (n = strlen(c.dir); n > 1 && c.dir[n - 1] == '/'; n--)
		c.dir[n - 1] = '\0';
	rc = identity_empty(c.dir)
		     ? make_archive(&c, wish, out, e)
		     : err_set(e, ERR_CONFLICT, 0,
			       "%s is not empty: `init` makes a new central only", c.dir);
	conf_free(c.conf);
	if (!rc) /* catalogue and first epoch: `status` works from now on */
		rc = central_open(&c, conf_path, CENTRAL_LOCAL, e);
	if (!rc)
		central_close(&c);
	return rc;
}
