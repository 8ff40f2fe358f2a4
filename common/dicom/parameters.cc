#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dcuserid.h>
#include <dcmtk/dcmnet/extneg.h>

#include "common/dicom/parameters.h"

#include <cstring>

extern "C" {
#include "common/base/err.h"
}

void
parameters_introduce(void *params)
{
	auto *p = static_cast<T_ASC_Parameters *>(params);

	static_assert(sizeof(IMPLEMENTATION_VERSION) <= 17, "SH of at most 16 characters");
	(void)snprintf(p->ourImplementationClassUID, sizeof(p->ourImplementationClassUID), "%s",
		       IMPLEMENTATION_CLASS);
	(void)snprintf(p->ourImplementationVersionName, sizeof(p->ourImplementationVersionName),
		       "%s", IMPLEMENTATION_VERSION);
}

int
parameters_propose(void *params, const struct assoc_proposal *p, unsigned n, struct err *e)
{
	for (unsigned i = 0; i < n; i++) {
		T_ASC_SC_ROLE role = p[i].role == ASSOC_ROLE_SCP    ? ASC_SC_ROLE_SCP
				     : p[i].role == ASSOC_ROLE_BOTH ? ASC_SC_ROLE_SCUSCP
								    : ASC_SC_ROLE_DEFAULT;
		OFCondition c = ASC_addPresentationContext(static_cast<T_ASC_Parameters *>(params),
							   static_cast<unsigned char>(2 * i + 1),
							   p[i].abstract_syntax,
							   const_cast<const char **>(p[i].syntaxes),
							   static_cast<int>(p[i].n_syntaxes), role);

		if (c.bad())
			return err_set(e, ERR_PEER, 0, "propose a context: %.120s", c.text());
	}
	return 0;
}

int
parameters_rejected(void *params, struct err *e)
{
	T_ASC_RejectParameters r = {};
	OFString text;

	(void)ASC_getRejectParameters(static_cast<T_ASC_Parameters *>(params), &r);
	return err_set(e, r.result == ASC_RESULT_REJECTEDTRANSIENT ? ERR_PEER : ERR_CONFLICT, 0,
		       "rejected: %.150s", ASC_printRejectParameters(text, &r).c_str());
}

void
parameters_user(void *params, char out[ASSOC_USER_SIZE])
{
	static const char *const types[] = {"", "", "", "(kerberos)", "(saml)", "(jwt)"};
	auto *p = static_cast<T_ASC_Parameters *>(params);
	UserIdentityNegotiationSubItemRQ *rq = nullptr;
	char *name = nullptr;
	Uint16 n = 0, i;

	out[0] = '\0';
	ASC_getUserIdentRQ(p, &rq);
	if (!rq || rq->getIdentityType() == ASC_USER_IDENTITY_NONE ||
	    rq->getIdentityType() > ASC_USER_IDENTITY_MAX_VALUE)
		return;
	if (rq->isPosResponseRequested())
		p->DULparams.ackUserIdentNeg = new UserIdentityNegotiationSubItemAC;
	strcpy(out, types[rq->getIdentityType()]);
	if (out[0])
		return;
	(void)rq->getPrimField(name, n);
	n = n < ASSOC_USER_SIZE - 1 ? n : static_cast<Uint16>(ASSOC_USER_SIZE - 1);
	for (i = 0; name && i < n; i++)
		out[i] = name[i] > ' ' && name[i] <= '~' && name[i] != '"' ? name[i] : '_';
	out[i] = '\0';
	delete[] name;
}

void
parameters_rejection(void *rejection, enum assoc_reject why)
{
	auto *r = static_cast<T_ASC_RejectParameters *>(rejection);

	r->result = ASC_RESULT_REJECTEDPERMANENT;
	r->source = ASC_SOURCE_SERVICEUSER;
	r->reason = ASC_REASON_SU_NOREASON;
	switch (why) {
	case ASSOC_REJECT_APPLICATION:
		r->reason = ASC_REASON_SU_APPCONTEXTNAMENOTSUPPORTED;
		break;
	case ASSOC_REJECT_CALLED_TITLE:
		r->reason = ASC_REASON_SU_CALLEDAETITLENOTRECOGNIZED;
		break;
	case ASSOC_REJECT_CALLING_TITLE:
		r->reason = ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED;
		break;
	case ASSOC_REJECT_CONGESTION:
	case ASSOC_REJECT_LIMIT:
		r->result = ASC_RESULT_REJECTEDTRANSIENT;
		r->source = ASC_SOURCE_SERVICEPROVIDER_PRESENTATION_RELATED;
		r->reason = why == ASSOC_REJECT_LIMIT ? ASC_REASON_SP_PRES_LOCALLIMITEXCEEDED
						      : ASC_REASON_SP_PRES_TEMPORARYCONGESTION;
		break;
	}
}

size_t
parameters_extended(void *params, bool accepted, struct assoc_extended *out)
{
	SOPClassExtendedNegotiationSubItemList *list = nullptr;
	size_t n = 0;

	if (accepted)
		ASC_getAcceptedExtNegList(static_cast<T_ASC_Parameters *>(params), &list);
	else
		ASC_getRequestedExtNegList(static_cast<T_ASC_Parameters *>(params), &list);
	if (!list)
		return 0;
	for (const auto *item : *list) {
		assoc_extended x = {};

		if (n == ASSOC_EXTENDED_CLASSES)
			break;
		if (item->sopClassUID.size() >= sizeof(x.abstract_syntax) ||
		    item->serviceClassAppInfoLength > ASSOC_EXTENDED_MAX)
			continue;
		memcpy(x.abstract_syntax, item->sopClassUID.c_str(), item->sopClassUID.size());
		x.n = item->serviceClassAppInfoLength;
		if (x.n > 0)
			memcpy(x.info, item->serviceClassAppInfo, x.n);
		out[n++] = x;
	}
	return n;
}

/* DCMTK frees list and items with the parameters. */
void
parameters_extend(void *params, bool accepted, const struct assoc_extended *x)
{
	auto *to = static_cast<T_ASC_Parameters *>(params);
	SOPClassExtendedNegotiationSubItemList *list = nullptr;
	auto *item = new SOPClassExtendedNegotiationSubItem;
	size_t uid = strlen(x->abstract_syntax);

	item->sopClassUID = x->abstract_syntax;
	item->sopClassUIDLength = static_cast<unsigned short>(uid);
	item->serviceClassAppInfo = new unsigned char[x->n + 1];
	memcpy(item->serviceClassAppInfo, x->info, x->n);
	item->serviceClassAppInfoLength = static_cast<unsigned short>(x->n);
	item->itemLength = static_cast<unsigned short>(2 + uid + x->n);
	if (accepted)
		ASC_getAcceptedExtNegList(to, &list);
	else
		ASC_getRequestedExtNegList(to, &list);
	if (!list) {
		list = new SOPClassExtendedNegotiationSubItemList;
		if (accepted)
			ASC_setAcceptedExtNegList(to, list);
		else
			ASC_setRequestedExtNegList(to, list);
	}
	list->push_back(item);
}
