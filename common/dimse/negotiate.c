#include "common/dimse/negotiate.h"

#include <string.h>

#include "common/dicom/assoc.h"
#include "common/dimse/peers.h"

struct known_class {
	const char *uid;
	enum service_class service;
};

static const struct known_class classes[] = {
	{"1.2.840.10008.1.1", SERVICE_VERIFICATION},
	{"1.2.840.10008.5.1.4.1.2.1.1", SERVICE_FIND_PATIENT},
	{"1.2.840.10008.5.1.4.1.2.2.1", SERVICE_FIND_STUDY},
	{"1.2.840.10008.5.1.4.1.2.1.2", SERVICE_MOVE_PATIENT},
	{"1.2.840.10008.5.1.4.1.2.2.2", SERVICE_MOVE_STUDY},
	{"1.2.840.10008.5.1.4.1.2.1.3", SERVICE_GET_PATIENT},
	{"1.2.840.10008.5.1.4.1.2.2.3", SERVICE_GET_STUDY},
	{"1.2.840.10008.5.1.4.1.2.3.1", SERVICE_FIND_PATIENT_ONLY},
	{"1.2.840.10008.5.1.4.1.2.3.2", SERVICE_MOVE_PATIENT_ONLY},
	{"1.2.840.10008.5.1.4.1.2.3.3", SERVICE_GET_PATIENT_ONLY},
};

/* Families of UIDs that other services own (PS3.4): not offered here. */
static const char *const others[] = {
	"1.2.840.10008.1.20.",		 /* storage commitment                    */
	"1.2.840.10008.1.40",		 /* procedural event logging              */
	"1.2.840.10008.1.42",		 /* substance administration logging      */
	"1.2.840.10008.1.9",		 /* basic study content notification      */
	"1.2.840.10008.3.1.",		 /* retired and MPPS                      */
	"1.2.840.10008.5.1.1.",		 /* print, queues                         */
	"1.2.840.10008.5.1.4.1.1.200.4", /* protocol approval                 */
	"1.2.840.10008.5.1.4.1.1.200.5",
	"1.2.840.10008.5.1.4.1.1.200.6",
	"1.2.840.10008.5.1.4.1.1.201.", /* inventories                        */
	"1.2.840.10008.5.1.4.1.2.",	/* query and retrieve of other kinds     */
	"1.2.840.10008.5.1.4.31",	/* worklist                              */
	"1.2.840.10008.5.1.4.32.",	/* general purpose worklist              */
	"1.2.840.10008.5.1.4.33",	/* instance availability notification    */
	"1.2.840.10008.5.1.4.34.4.",	/* unified procedure step                */
	"1.2.840.10008.5.1.4.34.6.",
	"1.2.840.10008.5.1.4.34.8", /* machine verification */
	"1.2.840.10008.5.1.4.34.9",
	"1.2.840.10008.5.1.4.37.",
	"1.2.840.10008.5.1.4.38.",
	"1.2.840.10008.5.1.4.39.",
	"1.2.840.10008.5.1.4.41",
	"1.2.840.10008.5.1.4.42",
	"1.2.840.10008.5.1.4.43.",
	"1.2.840.10008.5.1.4.44.",
	"1.2.840.10008.5.1.4.45.",
	"1.2.840.10008.5.1.4.20.", /* defined procedure protocols           */
};

/* Objects that are stored although their UIDs lie in such a family. */
static const char *const stored[] = {
	"1.2.840.10008.5.1.4.34.7", "1.2.840.10008.5.1.4.34.10",
	"1.2.840.10008.5.1.4.38.1", "1.2.840.10008.5.1.4.39.1",
	"1.2.840.10008.5.1.4.43.1", "1.2.840.10008.5.1.4.44.1",
	"1.2.840.10008.5.1.4.45.1", "1.2.840.10008.5.1.4.1.1.201.1",
	"1.2.840.10008.5.1.1.27", /* retired: stored print, hardcopy images */
	"1.2.840.10008.5.1.1.29",   "1.2.840.10008.5.1.1.30",
};

enum service_class
service_of(const char *uid)
{
	size_t i;

	for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strcmp(uid, classes[i].uid) == 0)
			return classes[i].service;
	for (i = 0; i < sizeof(stored) / sizeof(stored[0]); i++)
		if (strcmp(uid, stored[i]) == 0)
			return SERVICE_STORAGE;
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strncmp(uid, others[i], strlen(others[i])) == 0)
			return SERVICE_NONE;
	return SERVICE_STORAGE;
}

bool
service_is_patient_only(enum service_class s)
{
	return s == SERVICE_FIND_PATIENT_ONLY || s == SERVICE_MOVE_PATIENT_ONLY ||
	       s == SERVICE_GET_PATIENT_ONLY;
}

bool
service_is_patient_root(enum service_class s)
{
	return s == SERVICE_FIND_PATIENT || s == SERVICE_MOVE_PATIENT || s == SERVICE_GET_PATIENT ||
	       service_is_patient_only(s);
}

/* --- extended negotiation --- */

/* Byte by byte what we can do; what is not named is 0. */
static size_t
offers(enum service_class service, unsigned char out[ASSOC_EXTENDED_MAX])
{
	static const unsigned char find[] = {1, 1, 1, 1, 0}, retrieve[] = {1, 0};
	bool finds = service == SERVICE_FIND_PATIENT || service == SERVICE_FIND_STUDY ||
		     service == SERVICE_FIND_PATIENT_ONLY;
	size_t n = finds ? sizeof(find) : sizeof(retrieve);

	memcpy(out, finds ? find : retrieve, n);
	return n;
}

/* An answer says no more bytes than the question. */
static int
answer_extended(struct assoc *a, const struct assoc_context *c, enum service_class service,
		struct err *e)
{
	unsigned char ours[ASSOC_EXTENDED_MAX];
	struct assoc_extended x;
	size_t i, n;

	if (service == SERVICE_NONE || service == SERVICE_VERIFICATION ||
	    service == SERVICE_STORAGE || !assoc_extended_of(a, c->abstract_syntax, &x))
		return 0;
	n = offers(service, ours);
	for (i = 0; i < x.n; i++)
		x.info[i] = i < n && x.info[i] == 1 ? ours[i] : 0;
	return assoc_answer_extended(a, &x, e);
}

bool
negotiated(const struct assoc *a, const char *abstract_syntax, unsigned what)
{
	struct assoc_extended x;

	return assoc_extended_of(a, abstract_syntax, &x) && what < x.n && x.info[what] == 1;
}

/* --- contexts --- */

static const char explicit_le[] = "1.2.840.10008.1.2.1";
static const char implicit_le[] = "1.2.840.10008.1.2";

/* Lower is better (R31). */
static int
rank(const char *syntax)
{
	static const char *const lossless[] = {
		"1.2.840.10008.1.2.5",	   "1.2.840.10008.1.2.4.57",  "1.2.840.10008.1.2.4.70",
		"1.2.840.10008.1.2.4.80",  "1.2.840.10008.1.2.4.90",  "1.2.840.10008.1.2.4.92",
		"1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202",
		"1.2.840.10008.1.2.8.1",
	};
	static const char *const lossy[] = {
		"1.2.840.10008.1.2.4.50",  "1.2.840.10008.1.2.4.51",  "1.2.840.10008.1.2.4.81",
		"1.2.840.10008.1.2.4.91",  "1.2.840.10008.1.2.4.93",  "1.2.840.10008.1.2.4.100",
		"1.2.840.10008.1.2.4.101", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.103",
		"1.2.840.10008.1.2.4.104", "1.2.840.10008.1.2.4.105", "1.2.840.10008.1.2.4.106",
		"1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108", "1.2.840.10008.1.2.4.112",
		"1.2.840.10008.1.2.4.203",
	};
	size_t i;

	if (strcmp(syntax, explicit_le) == 0)
		return 0;
	if (strcmp(syntax, implicit_le) == 0)
		return 1;
	for (i = 0; i < sizeof(lossless) / sizeof(lossless[0]); i++)
		if (strcmp(syntax, lossless[i]) == 0)
			return 2;
	if (strcmp(syntax, "1.2.840.10008.1.2.1.99") == 0)
		return 3;
	if (strcmp(syntax, "1.2.840.10008.1.2.2") == 0)
		return 4;
	for (i = 0; i < sizeof(lossy) / sizeof(lossy[0]); i++)
		if (strcmp(syntax, lossy[i]) == 0)
			return 6;
	return 5; /* unknown and private ones are taken as they are */
}

int
negotiate_syntax(const char *const *proposed, unsigned n, const struct peer *peer, bool storage)
{
	int best = -1;
	unsigned i, j;

	for (j = 0; storage && j < PEER_SYNTAXES_MAX && peer->syntaxes[j]; j++)
		for (i = 0; i < n; i++)
			if (strcmp(proposed[i], peer->syntaxes[j]) == 0)
				return (int)i;
	if (storage && peer->as_proposed && n > 0)
		return 0;
	for (i = 0; i < n; i++) {
		/* Commands and identifiers are read and written in the two plain ones only. */
		if (!storage && rank(proposed[i]) > 1)
			continue;
		if (best < 0 || rank(proposed[i]) < rank(proposed[best]))
			best = (int)i;
	}
	return best;
}

/* Is there somebody here for this context? */
static bool
offered(const struct assoc_context *c, enum service_class service, bool stores)
{
	if (service == SERVICE_STORAGE)
		return stores || c->role != ASSOC_ROLE_DEFAULT;
	return service != SERVICE_NONE;
}

/* A class is answered once, however many contexts it has. */
static bool
answered(const struct assoc *a, unsigned at)
{
	struct assoc_context c, before;
	unsigned i;

	if (!assoc_context_at(a, at, &c))
		return true;
	for (i = 0; i < at; i++)
		if (assoc_context_at(a, i, &before) && before.accepted &&
		    strcmp(before.abstract_syntax, c.abstract_syntax) == 0)
			return true;
	return false;
}

int
negotiate(struct assoc *a, const struct peer *peer, bool stores, struct err *e)
{
	const char *proposed[64];
	struct assoc_context c;
	unsigned i, n;
	int rc = 0, best;

	for (i = 0; !rc && assoc_context_at(a, i, &c); i++) {
		enum service_class service = service_of(c.abstract_syntax);
		bool known = offered(&c, service, stores);

		for (n = 0; n < c.n_syntaxes && n < 64; n++)
			proposed[n] = assoc_proposed_syntax(a, i, n);
		best = negotiate_syntax(proposed, n, peer, service == SERVICE_STORAGE);
		if (!known || best < 0)
			rc = assoc_refuse_context(a, c.id, known, e);
		else
			rc = assoc_accept_context(a, c.id, proposed[best], e);
		if (!rc && known && best >= 0 && !answered(a, i))
			rc = answer_extended(a, &c, service, e);
	}
	return rc;
}

bool
negotiate_only_storage(const struct assoc *a)
{
	struct assoc_context c;
	bool any = false;
	unsigned i;

	for (i = 0; assoc_context_at(a, i, &c); i++) {
		enum service_class service = service_of(c.abstract_syntax);

		if (service != SERVICE_STORAGE && service != SERVICE_VERIFICATION)
			return false;
		if (c.role != ASSOC_ROLE_DEFAULT)
			return false;
		any = any || service == SERVICE_STORAGE;
	}
	return any;
}
