#include "central/kit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/base/seal.h"
#include "common/os/file.h"

enum { KIT_MAX = 4 << 20, PASSPHRASE_BYTES = 16 };

static const char label[] = "SALAMANDER RECOVERY KIT";

void
kit_fini(struct kit *k)
{
	buf_fini(&k->ca_key);
	buf_fini(&k->ca);
	memset(k, 0, sizeof(*k));
}

/* --- lines --- */

static void
put_line(struct buf *to, const char *name, const void *p, size_t n)
{
	unsigned char *at;

	buf_printf(to, "%s ", name);
	at = buf_reserve(to, 2 * n + 1);
	if (at)
		hex_of(p, n, (char *)at);
	if (at)
		to->len += 2 * n;
	buf_puts(to, "\n");
}

/* The bytes of a line; false: there is none, or it is no hex. */
static bool
take_line(const char *text, const char *name, struct buf *out)
{
	size_t n = strlen(name), hex_n;
	const char *line, *hex;
	unsigned char *to;
	char *copy;
	bool good;

	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, n) == 0 && line[n] == ' ')
			break;
	}
	if (!line)
		return false;
	hex = line + n + 1;
	hex_n = strcspn(hex, "\n");
	copy = strndup(hex, hex_n);
	to = buf_reserve(out, hex_n / 2 + 1);
	good = copy && to && hex_n % 2 == 0 && hex_to(copy, to, hex_n / 2);
	if (good)
		out->len += hex_n / 2;
	free(copy);
	return good;
}

static bool
take_fixed(const char *text, const char *name, void *out, size_t n)
{
	struct buf b = BUF_INIT;
	bool good = take_line(text, name, &b) && b.len == n;

	if (good)
		memcpy(out, b.data, n);
	buf_fini(&b);
	return good;
}

/* --- files --- */

static int
write_new(const char *path, const struct buf *b, struct err *e)
{
	int fd, rc;

	if (!file_missing(path))
		return err_set(e, ERR_CONFLICT, 0, "%s exists: a kit is never overwritten", path);
	fd = file_create(path, e);
	if (fd < 0)
		return fd;
	rc = file_write(fd, b->data, b->len, e);
	if (!rc)
		rc = file_sync(fd, e);
	file_close(fd);
	if (!rc)
		rc = file_sync_parent(path, e);
	if (rc)
		(void)file_remove(path, NULL);
	return rc;
}

int
kit_write(const char *path, const struct kit *k, const char *passphrase, struct err *e)
{
	struct buf text = BUF_INIT, sealed = BUF_INIT;
	int rc;

	put_line(&text, "archive", k->archive.b, ID128_SIZE);
	put_line(&text, "receipt_key", k->receipt_key, sizeof(k->receipt_key));
	if (k->ca.len) {
		put_line(&text, "ca_key", k->ca_key.data, k->ca_key.len);
		put_line(&text, "ca", k->ca.data, k->ca.len);
	}
	rc = buf_failed(&text) ? err_set(e, ERR_LOCAL, 0, "no memory for a recovery kit")
			       : seal_write(&sealed, label, passphrase, text.data, text.len, e);
	if (!rc)
		rc = write_new(path, &sealed, e);
	buf_fini(&text);
	buf_fini(&sealed);
	return rc;
}

int
kit_read(struct kit *out, const char *path, const char *passphrase, struct err *e)
{
	struct buf file = BUF_INIT, text = BUF_INIT;
	int rc = file_slurp(path, KIT_MAX, &file, e);
	const char *t;

	memset(out, 0, sizeof(*out));
	if (rc)
		rc = err_set(e, ERR_LOCAL, 0, "cannot read %s", path);
	else
		rc = seal_open(&text, label, passphrase, file.data, file.len, e);
	buf_put_u8(&text, 0);
	t = (const char *)text.data;
	if (!rc && (buf_failed(&text) || !take_fixed(t, "archive", out->archive.b, ID128_SIZE) ||
		    !take_fixed(t, "receipt_key", out->receipt_key, IDENTITY_KEY) ||
		    take_line(t, "ca", &out->ca) != take_line(t, "ca_key", &out->ca_key)))
		rc = err_set(e, ERR_CORRUPT, 0, "%s: a line of the kit is missing", path);
	if (rc)
		kit_fini(out);
	buf_fini(&file);
	buf_fini(&text);
	return rc;
}

/* --- passphrases --- */

static void
make_passphrase(char out[KIT_PASSPHRASE])
{
	unsigned char random[PASSPHRASE_BYTES];
	char hex[2 * PASSPHRASE_BYTES + 1];
	size_t i, n = 0;

	rng_fill(rng_real(), random, sizeof(random));
	hex_of(random, sizeof(random), hex);
	for (i = 0; hex[i]; i++) {
		if (i && i % 4 == 0)
			out[n++] = '-';
		out[n++] = hex[i];
	}
	out[n] = '\0';
}

int
kit_passphrase(char out[KIT_PASSPHRASE], const char *file, struct err *e)
{
	struct buf b = BUF_INIT;
	size_t n;
	int rc;

	if (!file) {
		make_passphrase(out);
		return 0;
	}
	rc = file_slurp(file, KIT_MAX, &b, e);
	buf_put_u8(&b, 0);
	if (rc || buf_failed(&b)) {
		buf_fini(&b);
		return err_set(e, ERR_LOCAL, 0, "cannot read %s", file);
	}
	n = strcspn((const char *)b.data, "\r\n");
	if (n == 0 || n >= KIT_PASSPHRASE)
		rc = err_set(e, ERR_PEER, 0, "%s: the first line is to be a passphrase", file);
	else
		(void)snprintf(out, KIT_PASSPHRASE, "%.*s", (int)n, (const char *)b.data);
	buf_fini(&b);
	return rc;
}
