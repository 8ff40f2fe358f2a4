#include "central/ca_commands.h"

#include <string.h>

#include "central/central.h"
#include "central/certificates.h"
#include "central/kit.h"
#include "central/members.h"
#include "central/record.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/http/pki.h"
#include "common/http/server.h"
#include "common/os/command.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "proto/message.h"

enum { PEM_MAX = 1 << 20 };

const char ca_commands_usage[] = "ca renew --kit FILE [--passphrase-file FILE] | "
				 "ca retire --kit FILE [--passphrase-file FILE] [--abandon]";

struct changing {
	struct asked *a;
	bool retire;
	char passphrase[KIT_PASSPHRASE];
};

/* R25: the kit is whole before the CA counts. */
static int
keep_kit(void *arg, const struct buf *key, const struct buf *ca, struct err *e)
{
	struct changing *r = arg;
	const struct central *c = r->a->node;
	struct kit k = {.archive = c->identity.id, .ca_key = *key, .ca = *ca};

	memcpy(k.receipt_key, c->identity.key, sizeof(k.receipt_key));
	return kit_write(command_option(r->a, "--kit"), &k, r->passphrase, e);
}

static int
change(struct changing *r, struct err *e)
{
	Sync__LogDecision d = SYNC__LOG_DECISION__INIT;
	const char *file = command_option(r->a, "--passphrase-file");
	struct central *c = r->a->node;
	unsigned char print[PKI_PRINT];
	int rc = kit_passphrase(r->passphrase, file, e);

	if (!rc)
		rc = (r->retire ? certificates_retire : certificates_renew_ca)(
			c->certificates, clock_wall(c->clock), keep_kit, r, e);
	if (rc)
		return rc;
	certificates_print(c->certificates, print);
	d.kind = SYNC__DECISION_KIND__DECISION_CA;
	d.why = message_text(r->retire ? "a person: older ones are believed no more" : "a person");
	d.key = message_bytes(print, sizeof(print));
	rc = record_decide(c, &d, e);
	if (!rc && c->http)
		rc = http_reload(c->http, e);
	return rc;
}

/* --- whom it would cut off --- */

struct looking {
	unsigned char ca[PKI_PRINT];
	struct buf *out;
};

static int
note_behind(void *arg, const struct member *m, struct err *e)
{
	struct looking *l = arg;

	(void)e;
	if (member_behind(m, l->ca))
		buf_printf(l->out, "%s%s", l->out->len ? ", " : "", m->site);
	return 0;
}

static int
each_member(struct central *c, int (*fn)(void *arg, const struct member *m, struct err *e),
	    void *arg, struct err *e)
{
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	if (rc)
		return rc;
	rc = member_each(tx, fn, arg, e);
	store_end_read(tx);
	return rc;
}

/* Under --abandon nobody is asked for; *who is empty when all have come. */
static int
who_is_behind(struct central *c, struct buf *who, struct err *e)
{
	struct looking l = {.out = who};

	certificates_print(c->certificates, l.ca);
	return each_member(c, note_behind, &l, e);
}

static int
refuse(struct asked *a, const struct buf *who)
{
	struct buf out = BUF_INIT;

	buf_printf(&out,
		   "not yet called with a certificate of the newest CA: %.*s\nNothing was done. "
		   "They renew by themselves at a hello; with --abandon they are cut off, and "
		   "must `join` again (`site add NAME --rejoin`).\n",
		   (int)who->len, (const char *)who->data);
	return command_give(a, &out, COMMAND_PERSON);
}

static int
told(struct asked *a, const struct changing *r, const struct buf *who)
{
	struct buf out = BUF_INIT;

	if (r->retire)
		buf_puts(&out, "older CAs are believed no more: not here, and at each site from "
			       "its next hello on\n");
	else
		buf_puts(&out, "a new CA, signed by the old one; sites take it at their next "
			       "hello\n");
	if (who->len)
		buf_printf(&out, "cut off until they join again: %.*s\n", (int)who->len,
			   (const char *)who->data);
	buf_printf(&out, "recovery kit: %s (%s)\n", command_option(a, "--kit"),
		   r->retire ? "destroy the one before: it would bring the older CAs back"
			     : "the one before is of no use any more");
	if (!command_option(a, "--passphrase-file"))
		buf_printf(&out, "passphrase of the kit, shown this once: %s\n", r->passphrase);
	buf_puts(&out, "Keep kit and passphrase outside of this building, apart.\n");
	return command_give(a, &out, COMMAND_OK);
}

static int
run(struct asked *a, struct changing *r, struct buf *who)
{
	struct central *c = a->node;
	struct err e = ERR_INIT;

	if (!c->certificates)
		(void)err_set(&e, ERR_PEER, 0,
			      "this central has no CA of its own: take the old one out of the file "
			      "that [tls] ca names, and `reload`");
	else if (r->retire && !who_is_behind(c, who, &e) && who->len &&
		 certificates_older(c->certificates) && !command_option(a, "--abandon"))
		return refuse(a, who);
	if (e.code || change(r, &e))
		return command_failed(a, &e);
	return told(a, r, who);
}

int
ca_commands_ca(struct asked *a)
{
	struct changing r = {.a = a, .retire = strcmp(a->words[1], "retire") == 0};
	struct buf who = BUF_INIT;
	int code;

	if (!command_option(a, "--kit") ||
	    (!r.retire && (strcmp(a->words[1], "renew") != 0 || command_option(a, "--abandon")))) {
		command_complain(a, ca_commands_usage);
		return COMMAND_USAGE;
	}
	code = run(a, &r, &who);
	buf_fini(&who);
	return code;
}

/* --- files --- */

int
ca_commands_check(struct central *c, const struct conf *conf, struct err *e)
{
	const char *cert = conf_string(conf, "tls", NULL, "cert");

	if (cert[0])
		return http_check_files(cert, conf_string(conf, "tls", NULL, "key"),
					conf_string(conf, "tls", NULL, "ca"), e);
	return c->certificates ? http_check_files(certificates_server(c->certificates),
						  certificates_server_key(c->certificates),
						  certificates_ca(c->certificates), e)
			       : 0;
}

struct covering {
	const struct buf *file;
	const struct member *m; /* the one that is looked at */
	bool covered;
	struct buf *out;
};

static int
is_it(void *arg, const struct pki_certificate *one, const struct buf *pem, struct err *e)
{
	struct covering *k = arg;

	(void)pem;
	(void)e;
	k->covered = k->covered || memcmp(one->print, k->m->ca, PKI_PRINT) == 0;
	return 0;
}

static int
look_at(void *arg, const struct member *m, struct err *e)
{
	struct covering *k = arg;
	int rc;

	if (!m->keyed || !m->showed || m->removed)
		return 0;
	k->m = m;
	k->covered = false;
	rc = pki_each(k->file, is_it, k, e);
	if (!rc && !k->covered)
		buf_printf(k->out,
			   "%s: its certificate is of a CA that is believed no more: it is turned "
			   "away until it has another\n",
			   m->site);
	return rc;
}

int
ca_commands_uncovered(struct central *c, const struct conf *conf, struct buf *out, struct err *e)
{
	const char *path = conf_string(conf, "tls", NULL, "ca");
	struct buf file = BUF_INIT;
	struct covering k = {.file = &file, .out = out};
	int rc = path[0] ? file_slurp(path, PEM_MAX, &file, e) : 0;

	if (!rc && path[0])
		rc = each_member(c, look_at, &k, e);
	buf_fini(&file);
	return rc;
}
