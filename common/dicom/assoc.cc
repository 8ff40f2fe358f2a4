/*
 * assoc.cc - the thin shim over DCMTK: nothing but calls, sockets and one gate
 * that lets no exception pass into C.
 */
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dcmlayer.h>
#include <dcmtk/dcmnet/dul.h>
#include <dcmtk/oflog/oflog.h>

#include "common/dicom/assoc.h"
#include "common/dicom/parameters.h"
#include "common/dicom/related.h"
#include "common/dicom/transport.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include <cerrno>
#include <unistd.h>

extern "C" {
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dicom/pdvs.h"
}

namespace
{

/* For goodbyes and for the first SYN: a peer that is silent holds no thread longer. */
constexpr long GOODBYE_MS = 5000, ABORT_MS = 1000;
constexpr int CONNECT_SECONDS = 6;
constexpr size_t PDU_HEAD = 6;
constexpr char PDATA_TYPE = 4;

/* What DCMTK does by itself: it logs, asks DNS who calls, and connects without an end. */
void
tame()
{
	static std::once_flag once;

	std::call_once(once, [] {
		OFLog::configure(OFLogger::OFF_LOG_LEVEL);
		dcmDisableGethostbyaddr.set(OFTrue); /* viewers-never-wait: no DNS on the way */
		dcmConnectionTimeout.set(CONNECT_SECONDS);
	});
}

} // namespace

struct assoc {
	T_ASC_Network *net = nullptr;
	T_ASC_Association *a = nullptr;
	struct transport *transport = nullptr;
	bool acceptor = false;
	size_t max_pdu = 0;		 /* that we take */
	std::vector<unsigned char> pdu;	 /* the P-DATA-TF that came last */
	struct pdvs left = {nullptr, 0}; /* of it, not asked for yet    */
	std::vector<assoc_context> contexts;
	std::vector<std::vector<OFString>> proposed;
	std::vector<assoc_extended> extended;	       /* proposed, later settled */
	std::vector<std::vector<std::string>> general; /* beside contexts; acceptor only */
	char called[ASSOC_AET_SIZE] = "", calling[ASSOC_AET_SIZE] = "", user[ASSOC_USER_SIZE] = "";

	~assoc()
	{
		transport_free(transport);
	}
};

namespace
{

template <typename F>
int
gate(struct err *e, F f)
{
	try {
		return f();
	} catch (const std::bad_alloc &) {
		return err_set(e, ERR_LOCAL, 0, "no memory for an association");
	} catch (...) {
		return err_set(e, ERR_LOCAL, 0, "the DICOM library threw");
	}
}

int
failed(const assoc *s, struct err *e, const OFCondition &c, const char *step)
{
	int rc = s->transport ? transport_why(s->transport, e) : 0;

	if (rc)
		return rc;
	if (c == DUL_READTIMEOUT)
		return err_set(e, ERR_AGAIN, 0, "%s: nothing came in time", step);
	if (c == DUL_PEERREQUESTEDRELEASE)
		return ERR_ABSENT;
	return err_set(e, ERR_PEER, 0, "%s: %.120s", step, c.text());
}

assoc_role
role_of(T_ASC_SC_ROLE r)
{
	if (r == ASC_SC_ROLE_SCP)
		return ASSOC_ROLE_SCP;
	return r == ASC_SC_ROLE_SCUSCP ? ASSOC_ROLE_BOTH : ASSOC_ROLE_DEFAULT;
}

void
learn_contexts(assoc *s)
{
	int n = ASC_countPresentationContexts(s->a->params);
	char called[64] = "", calling[64] = "";

	(void)ASC_getAPTitles(s->a->params, calling, sizeof(calling), called, sizeof(called),
			      nullptr, 0);
	buf_copy_text(s->called, sizeof(s->called), called, strlen(called));
	buf_copy_text(s->calling, sizeof(s->calling), calling, strlen(calling));
	s->contexts.clear();
	s->proposed.clear();
	for (int i = 0; i < n; i++) {
		T_ASC_PresentationContext pc;
		assoc_context c;
		std::vector<OFString> syntaxes;

		memset(&c, 0, sizeof(c));
		if (ASC_getPresentationContext(s->a->params, i, &pc).bad())
			continue;
		c.id = pc.presentationContextID;
		(void)snprintf(c.abstract_syntax, sizeof(c.abstract_syntax), "%s",
			       pc.abstractSyntax);
		c.n_syntaxes = pc.transferSyntaxCount;
		c.role = role_of(pc.proposedRole);
		c.accepted = pc.resultReason == ASC_P_ACCEPTANCE;
		if (c.accepted)
			(void)snprintf(c.syntax, sizeof(c.syntax), "%s", pc.acceptedTransferSyntax);
		for (int j = 0; j < pc.transferSyntaxCount; j++)
			syntaxes.push_back(pc.proposedTransferSyntaxes[j]);
		s->contexts.push_back(c);
		s->proposed.push_back(syntaxes);
	}
}

void
learn_extended(assoc *s, bool accepted)
{
	s->extended.resize(ASSOC_EXTENDED_CLASSES);
	s->extended.resize(parameters_extended(s->a->params, accepted, s->extended.data()));
}

} // namespace

/* A class that is said twice is what was said first. */
static void
learn_related(assoc *s, const void *pdu, size_t n)
{
	struct related all = related_of(pdu, n);
	struct related_class one;
	char uid[ASSOC_UID_SIZE];

	s->general.assign(s->contexts.size(), {});
	while (related_next(&all, &one)) {
		std::vector<std::string> general;

		while (general.size() < ASSOC_GENERAL_MAX && related_general(&one, uid))
			general.emplace_back(uid);
		for (size_t i = 0; i < s->contexts.size(); i++) {
			assoc_context &c = s->contexts[i];

			if (c.service_class[0] || !s->general[i].empty() ||
			    strcmp(c.abstract_syntax, one.sop_class) != 0)
				continue;
			memcpy(c.service_class, one.service_class, sizeof(c.service_class));
			s->general[i] = general;
		}
	}
}

/* With a connection of ours: whatever comes of it, the socket is taken. */
static OFCondition
receive_request(assoc *s, int fd, unsigned seconds, void **pdu, unsigned long *n)
{
	OFCondition c;

	transport_enter(s->transport);
	c = ASC_initializeNetwork(NET_ACCEPTOR, 1, static_cast<int>(seconds), &s->net);
	if (c.good()) {
		(void)ASC_setTransportLayer(
			s->net, static_cast<DcmTransportLayer *>(transport_layer(s->transport)), 0);
		transport_offer(s->transport, fd);
		c = ASC_receiveAssociation(s->net, &s->a, static_cast<long>(s->max_pdu), pdu, n,
					   OFFalse, DUL_NOBLOCK, 1);
	}
	if (!transport_leave(s->transport))
		(void)close(fd);
	return c;
}

static int
receive(assoc *s, int fd, struct tls *tls, unsigned seconds, struct err *e)
{
	OFCondition c;
	void *pdu = nullptr;
	unsigned long n = 0;
	int rc = transport_new(&s->transport, e);

	if (!rc)
		transport_within(s->transport, static_cast<long>(seconds) * 1000);
	if (!rc && tls)
		rc = transport_answer_securely(s->transport, fd, tls, e);
	if (rc) {
		(void)close(fd);
		return rc;
	}
	c = receive_request(s, fd, seconds, &pdu, &n);
	std::unique_ptr<char[]> owned(static_cast<char *>(pdu));
	/* DCMTK takes the end of a connection for a request of nothing. */
	if (c == DUL_NETWORKCLOSED || (c.good() && !pdu)) {
		rc = transport_why(s->transport, e);
		return rc ? rc
			  : err_set(e, ERR_ABSENT, 0,
				    "association request: it hung up, or took too long");
	}
	if (c.bad())
		return failed(s, e, c, "association request");
	/* What is done for a context looks at all others: thousands would take minutes. */
	if (ASC_countPresentationContexts(s->a->params) > ASSOC_CONTEXTS_MAX)
		return err_set(e, ERR_PEER, 0, "association request: more contexts than numbers");
	learn_contexts(s);
	learn_related(s, owned.get(), n);
	learn_extended(s, false);
	parameters_user(s->a->params, s->user);
	return 0;
}

int
assoc_receive(struct assoc **out, int fd, struct tls *tls, unsigned max_pdu, unsigned seconds,
	      struct err *e)
{
	return gate(e, [&]() -> int {
		assoc *s = new (std::nothrow) assoc;
		int rc;

		tame();
		if (!s) {
			(void)close(fd);
			return err_set(e, ERR_LOCAL, 0, "no memory for an association");
		}
		s->acceptor = true;
		s->max_pdu = max_pdu;
		rc = receive(s, fd, tls, seconds, e);
		if (rc) {
			assoc_free(s);
			return rc;
		}
		*out = s;
		return 0;
	});
}

int
assoc_answer_extended(struct assoc *s, const struct assoc_extended *answer, struct err *e)
{
	return gate(e, [&]() -> int {
		parameters_extend(s->a->params, true, answer);
		return 0;
	});
}

int
assoc_accept_context(struct assoc *s, unsigned char id, const char *syntax, struct err *e)
{
	return gate(e, [&]() -> int {
		T_ASC_SC_ROLE role = ASC_SC_ROLE_DEFAULT;

		for (auto &c : s->contexts) {
			if (c.id != id)
				continue;
			if (c.role == ASSOC_ROLE_SCP)
				role = ASC_SC_ROLE_SCP;
			else if (c.role == ASSOC_ROLE_BOTH)
				role = ASC_SC_ROLE_SCUSCP;
			c.accepted = true;
			(void)snprintf(c.syntax, sizeof(c.syntax), "%s", syntax);
		}
		OFCondition c = ASC_acceptPresentationContext(s->a->params, id, syntax, role);

		return c.bad() ? failed(s, e, c, "accept a context") : 0;
	});
}

int
assoc_refuse_context(struct assoc *s, unsigned char id, bool known, struct err *e)
{
	return gate(e, [&]() -> int {
		OFCondition c =
			ASC_refusePresentationContext(s->a->params, id,
						      known ? ASC_P_TRANSFERSYNTAXESNOTSUPPORTED
							    : ASC_P_ABSTRACTSYNTAXNOTSUPPORTED);

		return c.bad() ? failed(s, e, c, "refuse a context") : 0;
	});
}

int
assoc_acknowledge(struct assoc *s, struct err *e)
{
	return gate(e, [&]() -> int {
		OFCondition c;

		learn_extended(s, true);
		parameters_introduce(s->a->params);
		c = ASC_acknowledgeAssociation(s->a);
		transport_within(s->transport, 0);
		return c.bad() ? failed(s, e, c, "acknowledge") : 0;
	});
}

int
assoc_reject(struct assoc *s, enum assoc_reject why, struct err *e)
{
	return gate(e, [&]() -> int {
		T_ASC_RejectParameters r;

		parameters_rejection(&r, why);
		OFCondition c = ASC_rejectAssociation(s->a, &r);

		return c.bad() ? failed(s, e, c, "reject") : 0;
	});
}

static int
request(assoc *s, const struct assoc_target *t, const struct assoc_proposal *p, unsigned n,
	struct err *e)
{
	T_ASC_Parameters *params = nullptr;
	char peer[300];
	OFCondition c;
	int rc = transport_new(&s->transport, e);

	if (rc)
		return rc;
	c = ASC_initializeNetwork(NET_REQUESTOR, 0, static_cast<int>(t->seconds), &s->net);
	if (c.bad())
		return failed(s, e, c, "network");
	s->max_pdu = t->max_pdu;
	transport_within(s->transport, static_cast<long>(t->seconds) * 1000);
	transport_patience(s->transport, static_cast<long>(t->seconds) * 1000);
	transport_tell(s->transport, t->connected, t->arg);
	if (t->tls)
		transport_call_securely(s->transport, t->tls, t->certificate);
	(void)ASC_setTransportLayer(
		s->net, static_cast<DcmTransportLayer *>(transport_layer(s->transport)), 0);
	c = ASC_createAssociationParameters(&params, static_cast<long>(t->max_pdu));
	if (c.bad())
		return failed(s, e, c, "parameters");
	parameters_introduce(params);
	(void)ASC_setAPTitles(params, t->calling, t->called, nullptr);
	(void)ASC_setTransportLayerType(params, OFFalse);
	(void)snprintf(peer, sizeof(peer), "%s:%u", t->host, t->port);
	(void)ASC_setPresentationAddresses(params, "localhost", peer);
	for (unsigned i = 0; i < t->n_extended; i++)
		parameters_extend(params, false, &t->extended[i]);
	rc = parameters_propose(params, p, n, e);
	if (rc) {
		(void)ASC_destroyAssociationParameters(&params);
		return rc;
	}
	c = ASC_requestAssociation(s->net, params, &s->a, nullptr, nullptr, DUL_NOBLOCK,
				   static_cast<int>(t->seconds));
	if (c.bad()) {
		rc = c == DUL_ASSOCIATIONREJECTED ? parameters_rejected(params, e)
						  : failed(s, e, c, "association");
		if (!s->a)
			(void)ASC_destroyAssociationParameters(&params);
		return rc;
	}
	transport_within(s->transport, 0);
	learn_contexts(s);
	learn_extended(s, true);
	return 0;
}

int
assoc_request(struct assoc **out, const struct assoc_target *t, const struct assoc_proposal *p,
	      unsigned n, struct err *e)
{
	return gate(e, [&]() -> int {
		assoc *s;
		int rc;

		tame();
		if (n == 0 || n > ASSOC_CONTEXTS_MAX)
			return err_set(e, ERR_LOCAL, 0, "%u presentation contexts", n);
		s = new (std::nothrow) assoc;
		if (!s)
			return err_set(e, ERR_LOCAL, 0, "no memory for an association");
		rc = request(s, t, p, n, e);
		if (rc) {
			assoc_free(s);
			return rc;
		}
		*out = s;
		return 0;
	});
}

bool
assoc_extended_of(const struct assoc *s, const char *uid, struct assoc_extended *out)
{
	for (const auto &x : s->extended)
		if (strcmp(x.abstract_syntax, uid) == 0) {
			*out = x;
			return true;
		}
	return false;
}

const char *
assoc_called(const struct assoc *s)
{
	return s->called;
}

const char *
assoc_calling(const struct assoc *s)
{
	return s->calling;
}

const char *
assoc_user(const struct assoc *s)
{
	return s->user;
}

bool
assoc_is_dicom(const struct assoc *s)
{
	char proposed[ASSOC_UID_SIZE], name[ASSOC_UID_SIZE];

	if (ASC_getApplicationContextName(s->a->params, proposed, sizeof(proposed)).bad())
		return false;
	buf_copy_text(name, sizeof(name), proposed, strlen(proposed));
	return strcmp(name, UID_StandardApplicationContext) == 0;
}

const struct tls_peer *
assoc_tls(const struct assoc *s)
{
	return transport_peer(s->transport);
}

bool
assoc_certified(const struct assoc *s, const char *name)
{
	return transport_peer_bears(s->transport, name);
}

unsigned
assoc_count(const struct assoc *s)
{
	return static_cast<unsigned>(s->contexts.size());
}

bool
assoc_context_at(const struct assoc *s, unsigned i, struct assoc_context *out)
{
	if (i >= s->contexts.size())
		return false;
	*out = s->contexts[i];
	return true;
}

const char *
assoc_proposed_syntax(const struct assoc *s, unsigned i, unsigned j)
{
	return i < s->proposed.size() && j < s->proposed[i].size() ? s->proposed[i][j].c_str()
								   : nullptr;
}

const char *
assoc_general(const struct assoc *s, unsigned char id, unsigned j)
{
	for (size_t i = 0; i < s->general.size(); i++)
		if (s->contexts[i].id == id && j < s->general[i].size())
			return s->general[i][j].c_str();
	return "";
}

const struct assoc_context *
assoc_accepted(const struct assoc *s, unsigned char id)
{
	for (const auto &c : s->contexts)
		if (c.id == id && c.accepted)
			return &c;
	return nullptr;
}

/* A P-DATA-TF is read here (pdvs.h); what else comes, and the end, are DCMTK's. */
static int
receive_pdu(struct assoc *s, unsigned seconds, struct err *e)
{
	const unsigned char *head = transport_peek(s->transport, PDU_HEAD);
	size_t n = head ? buf_get_be32(head + 2) : 0;
	DUL_PDVLIST list = {};

	if (!head && errno == ETIMEDOUT)
		return err_set(e, ERR_AGAIN, 0, "read: nothing came in time");
	if (!head || head[0] != PDATA_TYPE)
		return failed(s, e,
			      DUL_ReadPDVs(&s->a->DULassociation, &list, DUL_NOBLOCK,
					   static_cast<int>(seconds)),
			      "read");
	if (n == 0 || n > s->max_pdu)
		return err_set(e, ERR_PEER, 0, "a PDU of %zu bytes, where 1 to %zu may come", n,
			       s->max_pdu);
	if (s->pdu.size() < PDU_HEAD + n)
		s->pdu.resize(PDU_HEAD + n);
	if (!transport_read(s->transport, s->pdu.data(), PDU_HEAD + n))
		return err_set(e, errno == ETIMEDOUT ? ERR_AGAIN : ERR_PEER, errno,
			       "read: the rest of a PDU did not come");
	s->left = {s->pdu.data() + PDU_HEAD, n};
	return 0;
}

int
assoc_read(struct assoc *s, unsigned seconds, struct assoc_pdv *out, struct err *e)
{
	return gate(e, [&]() -> int {
		int rc = 0;

		transport_within(s->transport, static_cast<long>(seconds) * 1000);
		if (s->left.n == 0)
			rc = receive_pdu(s, seconds, e);
		transport_within(s->transport, 0);
		return rc ? rc : pdvs_next(&s->left, out, e);
	});
}

bool
assoc_waiting(struct assoc *s)
{
	return s->left.n > 0 || ASC_dataWaiting(s->a, 0);
}

int
assoc_write(struct assoc *s, unsigned char context, bool command, bool last, const void *p,
	    size_t n, struct err *e)
{
	return gate(e, [&]() -> int {
		DUL_PDV pdv;
		DUL_PDVLIST list;

		memset(&pdv, 0, sizeof(pdv));
		memset(&list, 0, sizeof(list));
		pdv.fragmentLength = n;
		pdv.presentationContextID = context;
		pdv.pdvType = command ? DUL_COMMANDPDV : DUL_DATASETPDV;
		pdv.lastPDV = last;
		pdv.data = const_cast<void *>(p);
		list.count = 1;
		list.pdv = &pdv;
		transport_burst(s->transport, n);
		OFCondition c = DUL_WritePDVs(&s->a->DULassociation, &list);
		transport_burst(s->transport, 0);

		return c.bad() ? failed(s, e, c, "write") : 0;
	});
}

void
assoc_patience(struct assoc *s, unsigned ms)
{
	transport_patience(s->transport, static_cast<long>(ms));
}

int
assoc_socket(const struct assoc *s)
{
	return transport_socket(s->transport);
}

/* What follows ends soon, whether the peer answers and reads or not. */
static void
say_goodbye(struct assoc *s, long ms)
{
	transport_within(s->transport, ms);
	transport_patience(s->transport, ms);
}

void
assoc_release(struct assoc *s)
{
	(void)gate(nullptr, [&]() -> int {
		say_goodbye(s, GOODBYE_MS);
		if (s->acceptor)
			(void)ASC_acknowledgeRelease(s->a);
		else
			(void)ASC_releaseAssociation(s->a);
		return 0;
	});
}

void
assoc_abort(struct assoc *s)
{
	(void)gate(nullptr, [&]() -> int {
		say_goodbye(s, ABORT_MS);
		(void)ASC_abortAssociation(s->a);
		return 0;
	});
}

void
assoc_free(struct assoc *s)
{
	if (!s)
		return;
	(void)gate(nullptr, [&]() -> int {
		if (s->a && s->acceptor)
			(void)ASC_dropSCPAssociation(s->a, 0);
		else if (s->a)
			(void)ASC_dropAssociation(s->a);
		if (s->a)
			(void)ASC_destroyAssociation(&s->a);
		if (s->net)
			(void)ASC_dropNetwork(&s->net);
		return 0;
	});
	delete s;
}
