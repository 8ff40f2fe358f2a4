#include "common/dimse/service.h"

#include <stdio.h>
#include <string.h>

#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/dicom/tls.h"
#include "common/dimse/audit.h"
#include "common/dimse/connection.h"
#include "common/dimse/message.h"
#include "common/dimse/negotiate.h"
#include "common/dimse/peers.h"
#include "common/dimse/references.h"

static const struct conf_row rows[] = {
	{"dicom", "aet", CONF_TITLES, "SALAMANDER", 0, DIMSE_TITLES_MAX, NULL,
	 "Titles that may be called; any accepts all."},
	{"dicom", "listen", CONF_LIST, "127.0.0.1:11112", 0, DIMSE_LISTEN_MAX, NULL,
	 "Addresses and ports to listen on, address:port."},
	{"dicom", "tls_listen", CONF_LIST, "", 0, DIMSE_LISTEN_MAX, NULL,
	 "The same for DICOM over TLS, whose callers must show a certificate; 2762 is customary."},
	{"dicom", "tls_cert", CONF_STRING, "", 0, 0, NULL,
	 "PEM file: the certificate that peers are shown, with its chain."},
	{"dicom", "tls_key", CONF_STRING, "", 0, 0, NULL, "PEM file: its key, without passphrase."},
	{"dicom", "tls_ca", CONF_STRING, "", 0, 0, NULL,
	 "PEM file: the CAs of the peers' certificates, or single certificates."},
	{"dicom", "unlisted", CONF_CHOICE, "store", 0, 0, "store none",
	 "What callers without a [peer] section may do beside C-ECHO."},
	{"dicom", "max_associations", CONF_NUMBER, "200", 1, 10000, NULL,
	 "Associations at once, in total."},
	{"dicom", "max_per_address", CONF_NUMBER, "50", 1, 10000, NULL,
	 "Associations at once from one address."},
	{"dicom", "max_pdu", CONF_NUMBER, "131072", ASSOC_PDU_MIN, ASSOC_PDU_MAX, NULL,
	 "Largest PDU we receive, in bytes."},
	{"dicom", "association_timeout", CONF_DURATION, "10s", 1000, 600000, NULL,
	 "From the connection to the accepted association."},
	{"dicom", "idle_timeout", CONF_DURATION, "10min", 5000, 86400000, NULL,
	 "An association without a message for so long is aborted."},
	{"dicom", "answer_timeout", CONF_DURATION, "60s", 1000, 3600000, NULL,
	 "What a C-MOVE destination or a C-GET viewer may take to answer, for each image."},
	{"dicom", "move_retries", CONF_NUMBER, "2", 0, 10, NULL,
	 "How often a C-MOVE calls a destination again that does not answer, and sends it an image "
	 "again that it broke off or had no room for."},
	{"dicom", "buffers", CONF_SIZE, "96MiB", 16 << 20, INT64_C(64) << 30, NULL,
	 "Memory for objects on their way in, of all associations together."},
	{"dicom", "max_answers", CONF_NUMBER, "10000", 1, 10000000, NULL,
	 "Answers to one query; more matches end with A700 (R34)."},
	{"dicom", "workers", CONF_NUMBER, "2", 1, 64, NULL,
	 "Processes at once that recode objects for receivers that do not take the stored syntax."},
	{"dicom", "worker_memory", CONF_SIZE, "2GiB", 256 << 20, INT64_C(64) << 30, NULL,
	 "Address space of one of them; an object that needs more fails alone."},
	{"dicom", "worker_timeout", CONF_DURATION, "60s", 1000, 3600000, NULL,
	 "How long one of them may take for an object."},
	{"dicom", "worker_output", CONF_SIZE, "2GiB", 1 << 20, INT64_C(64) << 30, NULL,
	 "What may come of an object there, on the disk that the data is on; one that is larger "
	 "fails alone."},
	{"dicom", "archive_references", CONF_NUMBER, "1000", 1, REFERENCES_MAX, NULL,
	 "Images in one request of `commit`; more are asked for in several."},
	{"dicom", "archive_wait", CONF_DURATION, "24h", 1000, 31 * INT64_C(86400000), NULL,
	 "For so long `commit` asks an archive and waits for its word; then it has run out."},
	{"dicom", "umlauts", CONF_BOOL, "no", 0, 0, NULL,
	 "In queries for names ae, oe, ue, ss count as a, o, u, s: Mueller finds its umlaut form."},
};

const struct conf_row *
dimse_rows(size_t *n)
{
	*n = sizeof(rows) / sizeof(rows[0]);
	return rows;
}

void
dimse_refused(const struct dimse_caller *who, const char *what, unsigned status)
{
	audit_line(who->config->audit, "refused",
		   "what=%s status=%04x calling=%s called=%s address=%s", what, status,
		   who->calling, who->called, who->address);
}

/* R29: what the caller may not do is 0124, logged and counted. */
static void
note_denied(const struct dimse_caller *who, const char *what)
{
	log_line(LOG_WARN, "dimse.refused", "what=%s calling=%s address=%s peer=%s refusals=%lu",
		 what, who->calling, who->address, who->peer->name, connection_refused(who->slot));
	dimse_refused(who, what, STATUS_REFUSED_NOT_AUTHORIZED);
}

static bool
may(const struct dimse_caller *who, unsigned right, const char *what)
{
	if (who->peer->may & right)
		return true;
	note_denied(who, what);
	return false;
}

static int
swallow(const struct dimse_caller *who, struct err *e)
{
	struct assoc_pdv pdv;
	int rc;

	do {
		rc = assoc_read(who->assoc, who->config->idle_seconds, &pdv, e);
		if (!rc && pdv.command)
			rc = err_set(e, ERR_PEER, 0, "a command inside a data set");
	} while (!rc && !pdv.last);
	return rc;
}

static int
answer(const struct dimse_caller *who, const struct message *rq, unsigned status, struct err *e)
{
	struct message rsp;

	message_answer(&rsp, rq, status);
	return message_send(who->assoc, &rsp, e);
}

static int
refuse(const struct dimse_caller *who, const struct message *rq, unsigned status, struct err *e)
{
	int rc = rq->has_data ? swallow(who, e) : 0;

	return rc ? rc : answer(who, rq, status, e);
}

/* What this context or this node does not do, whoever asks. */
static int
refuse_command(const struct dimse_caller *who, const struct message *rq, unsigned status,
	       struct err *e)
{
	char what[32];

	(void)snprintf(what, sizeof(what), "command-%04x", rq->command);
	dimse_refused(who, what, status);
	return refuse(who, rq, status, e);
}

/* Feeds the sink; its first error is kept in *why and the rest of the object swallowed. */
static int
receive_object(const struct dimse_caller *who, const struct message *rq, void *sink,
	       struct err *why, struct err *e)
{
	const struct dimse_handlers *h = &who->config->handlers;
	struct assoc_pdv pdv;
	int rc;

	do {
		rc = assoc_read(who->assoc, who->config->idle_seconds, &pdv, e);
		if (rc)
			return rc;
		if (pdv.command || pdv.context != rq->context)
			return err_set(e, ERR_PEER, 0, "a data set was due");
		if (!why->code)
			(void)h->store_feed(sink, pdv.data, pdv.n, why);
	} while (!pdv.last);
	return 0;
}

static int
store(const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	const struct dimse_handlers *h = &who->config->handlers;
	const struct assoc_context *c = assoc_accepted(who->assoc, rq->context);
	struct message rsp;
	struct err why = ERR_INIT;
	void *sink = NULL;
	int rc;

	if (!h->store_begin || !rq->has_data)
		return refuse_command(who, rq, STATUS_UNRECOGNIZED_OPERATION, e);
	if (!may(who, PEER_STORE, "store"))
		return refuse(who, rq, STATUS_REFUSED_NOT_AUTHORIZED, e);
	rc = h->store_begin(h->node, who, rq, c->syntax, &sink, e);
	if (rc) /* without a sink there is nothing to swallow into: hang up */
		return rc;
	rc = receive_object(who, rq, sink, &why, e);
	if (rc) {
		h->store_abandon(sink);
		return rc;
	}
	message_answer(&rsp, rq, STATUS_PROCESSING_FAILURE);
	h->store_end(sink, &rsp);
	if (rsp.status != STATUS_SUCCESS)
		dimse_refused(who, "store", rsp.status);
	return message_send(who->assoc, &rsp, e);
}

static int
with_handler(const struct dimse_caller *who, const struct message *rq, unsigned right,
	     const char *what,
	     int (*fn)(void *node, const struct dimse_caller *who, const struct message *rq,
		       struct err *e),
	     struct err *e)
{
	if (!fn || !rq->has_data)
		return refuse_command(who, rq, STATUS_UNRECOGNIZED_OPERATION, e);
	if (!may(who, right, what))
		return refuse(who, rq, STATUS_REFUSED_NOT_AUTHORIZED, e);
	return fn(who->config->handlers.node, who, rq, e);
}

/* Which services a context may carry a command of: bits of enum service_class. */
static unsigned
services_of(unsigned command)
{
	switch (command) {
	case MESSAGE_ECHO_RQ:
		return 1u << SERVICE_VERIFICATION;
	case MESSAGE_STORE_RQ:
		return 1u << SERVICE_STORAGE;
	case MESSAGE_FIND_RQ:
		return 1u << SERVICE_FIND_PATIENT | 1u << SERVICE_FIND_STUDY |
		       1u << SERVICE_FIND_PATIENT_ONLY;
	case MESSAGE_MOVE_RQ:
		return 1u << SERVICE_MOVE_PATIENT | 1u << SERVICE_MOVE_STUDY |
		       1u << SERVICE_MOVE_PATIENT_ONLY;
	case MESSAGE_GET_RQ:
		return 1u << SERVICE_GET_PATIENT | 1u << SERVICE_GET_STUDY |
		       1u << SERVICE_GET_PATIENT_ONLY;
	case MESSAGE_ACTION_RQ:
	case MESSAGE_EVENT_RQ:
	case MESSAGE_EVENT_RSP:
		return 1u << SERVICE_COMMITMENT;
	default: /* cancels, answers, and what nobody offers: dispatch knows */
		return UINT32_MAX;
	}
}

/*
 * The class that was agreed for the context is the only one that is served on it. An
 * image that names another storage class is kept all the same (R32).
 */
static bool
belongs(const struct dimse_caller *who, const struct message *rq)
{
	const struct assoc_context *c = assoc_accepted(who->assoc, rq->context);
	unsigned may_be = services_of(rq->command);
	enum service_class service;

	if (may_be == UINT32_MAX)
		return true;
	service = service_of_context(who->assoc, c);
	if (rq->command == MESSAGE_EVENT_RSP) /* its class may be left out (PS3.7 10.3.1) */
		return (may_be & 1u << service) != 0;
	return (may_be & 1u << service) &&
	       (rq->command == MESSAGE_STORE_RQ || strcmp(rq->sop_class, c->abstract_syntax) == 0);
}

static int
event(const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	const struct dimse_handlers *h = &who->config->handlers;

	if (!h->event || !rq->has_data)
		return refuse_command(who, rq, STATUS_UNRECOGNIZED_OPERATION, e);
	if (!who->peer->host[0] || !who->peer->port) { /* he cannot have been asked */
		note_denied(who, "event");
		return refuse(who, rq, STATUS_REFUSED_NOT_AUTHORIZED, e);
	}
	return h->event(h->node, who, rq, e);
}

static int
answered(const struct dimse_caller *who, const struct message *rsp, struct err *e)
{
	const struct dimse_handlers *h = &who->config->handlers;
	int rc = h->answered ? h->answered(h->node, who, rsp, e)
			     : err_set(e, ERR_PEER, 0, "an answer to nothing");

	return !rc && rsp->has_data ? swallow(who, e) : rc;
}

static int
dispatch(const struct dimse_caller *who, const struct message *rq, struct err *e)
{
	const struct dimse_handlers *h = &who->config->handlers;

	if (!belongs(who, rq))
		return refuse_command(who, rq, STATUS_CLASS_NOT_SUPPORTED, e);
	switch (rq->command) {
	case MESSAGE_ECHO_RQ:
		return refuse(who, rq, STATUS_SUCCESS, e);
	case MESSAGE_STORE_RQ:
		return store(who, rq, e);
	case MESSAGE_FIND_RQ:
		return with_handler(who, rq, PEER_FIND, "find", h->find, e);
	case MESSAGE_MOVE_RQ:
		return with_handler(who, rq, PEER_MOVE, "move", h->move, e);
	case MESSAGE_GET_RQ:
		return with_handler(who, rq, PEER_GET, "get", h->get, e);
	case MESSAGE_ACTION_RQ:
		return with_handler(who, rq, PEER_COMMIT, "commit", h->action, e);
	case MESSAGE_EVENT_RQ:
		return event(who, rq, e);
	case MESSAGE_EVENT_RSP:
		return answered(who, rq, e);
	case MESSAGE_CANCEL_RQ: /* what it meant has ended */
		return 0;
	default:
		if (rq->command & MESSAGE_IS_ANSWER)
			return err_set(e, ERR_PEER, 0, "an answer to nothing");
		return refuse_command(who, rq, STATUS_UNRECOGNIZED_OPERATION, e);
	}
}

static void
serve(const struct dimse_caller *who)
{
	struct err e = ERR_INIT;
	struct message rq;
	int rc = 0;

	while (!rc) {
		rc = message_receive(who->assoc, who->config->idle_seconds, &rq, &e);
		if (!rc)
			rc = dispatch(who, &rq, &e);
	}
	if (rc == ERR_ABSENT) {
		assoc_release(who->assoc);
		return;
	}
	log_line(LOG_INFO, "dimse.ended", "calling=%s address=%s err=%s what=\"%s\"", who->calling,
		 who->address, err_name((enum err_code)rc), e.what);
	assoc_abort(who->assoc);
}

static bool
title_is_ours(const struct dimse_config *c, const char *called)
{
	size_t i;

	for (i = 0; c->titles[i]; i++)
		if (strcmp(c->titles[i], "any") == 0 || strcmp(c->titles[i], called) == 0)
			return true;
	return false;
}

static void
reject(const struct dimse_caller *who, enum assoc_reject why, const char *word)
{
	log_line(LOG_WARN, "dimse.rejected", "why=%s calling=%s called=%s address=%s refusals=%lu",
		 word, who->calling, who->called, who->address, connection_refused(who->slot));
	audit_line(who->config->audit, "rejected", "why=%s calling=%s called=%s address=%s", word,
		   who->calling, who->called, who->address);
	(void)assoc_reject(who->assoc, why, NULL);
}

/* R29: who must come by TLS has come so, with the certificate that is his. */
static const char *
unproven(const struct dimse_caller *who)
{
	if (who->peer->tls == PEER_TLS_REQUIRED && !assoc_tls(who->assoc))
		return "tls-required";
	if (who->peer->tls_name[0] && assoc_tls(who->assoc) &&
	    !assoc_certified(who->assoc, who->peer->tls_name))
		return "certificate-name";
	return NULL;
}

/* R36: who he says he is, and what TLS proved; titles and addresses decide what he may (R29). */
static void
audit_association(const struct dimse_caller *who)
{
	const struct tls_peer *t = assoc_tls(who->assoc);

	audit_line(who->config->audit, "association",
		   "calling=%s called=%s address=%s peer=%s user=%s tls=%s%s%s%s%s", who->calling,
		   who->called, who->address, who->peer->name, assoc_user(who->assoc),
		   t ? t->version : "no", t ? " certificate=" : "", t ? t->subject : "",
		   t ? " names=" : "", t ? t->names : "");
}

void
connection_serve(struct dimse_caller *who)
{
	const struct dimse_config *c = who->config;
	struct err e = ERR_INIT;
	const char *why;

	who->calling = assoc_calling(who->assoc);
	who->called = assoc_called(who->assoc);
	who->peer = peers_caller(who->peers, who->calling, who->address);
	if (!assoc_is_dicom(who->assoc)) {
		reject(who, ASSOC_REJECT_APPLICATION, "application-context");
		return;
	}
	if (!title_is_ours(c, who->called)) { /* R30 */
		reject(who, ASSOC_REJECT_CALLED_TITLE, "called-title");
		return;
	}
	why = unproven(who);
	if (why) {
		reject(who, ASSOC_REJECT_CALLING_TITLE, why);
		return;
	}
	if (negotiate_only_storage(who->assoc) && c->handlers.admit &&
	    !c->handlers.admit(c->handlers.node)) { /* R32: full, and nothing can be released */
		reject(who, ASSOC_REJECT_CONGESTION, "full");
		return;
	}
	if (negotiate(who->assoc, who->peer, c->handlers.store_begin != NULL, &e) ||
	    assoc_acknowledge(who->assoc, &e)) {
		log_err(LOG_INFO, "dimse.negotiate", &e);
		return;
	}
	audit_association(who);
	serve(who);
	if (c->handlers.ended)
		c->handlers.ended(c->handlers.node, who);
}
