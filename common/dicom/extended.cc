#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/extneg.h>

#include "common/dicom/extended.h"

#include <cstring>

size_t
extended_read(void *params, bool accepted, struct assoc_extended *out)
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
extended_put(void *params, bool accepted, const struct assoc_extended *x)
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
