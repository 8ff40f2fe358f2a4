#include "common/dimse/negotiate.h"

#include <string.h>

#include "common/dicom/assoc.h"
#include "common/dimse/peers.h"

static const struct known_class classes[] = {
	{"1.2.840.10008.1.1", SERVICE_VERIFICATION, "Verification"},
	{"1.2.840.10008.5.1.4.1.2.1.1", SERVICE_FIND_PATIENT, "Patient Root Query/Retrieve FIND"},
	{"1.2.840.10008.5.1.4.1.2.2.1", SERVICE_FIND_STUDY, "Study Root Query/Retrieve FIND"},
	{"1.2.840.10008.5.1.4.1.2.1.2", SERVICE_MOVE_PATIENT, "Patient Root Query/Retrieve MOVE"},
	{"1.2.840.10008.5.1.4.1.2.2.2", SERVICE_MOVE_STUDY, "Study Root Query/Retrieve MOVE"},
	{"1.2.840.10008.5.1.4.1.2.1.3", SERVICE_GET_PATIENT, "Patient Root Query/Retrieve GET"},
	{"1.2.840.10008.5.1.4.1.2.2.3", SERVICE_GET_STUDY, "Study Root Query/Retrieve GET"},
	{"1.2.840.10008.5.1.4.1.2.3.1", SERVICE_FIND_PATIENT_ONLY,
	 "Patient/Study Only Query/Retrieve FIND (retired)"},
	{"1.2.840.10008.5.1.4.1.2.3.2", SERVICE_MOVE_PATIENT_ONLY,
	 "Patient/Study Only Query/Retrieve MOVE (retired)"},
	{"1.2.840.10008.5.1.4.1.2.3.3", SERVICE_GET_PATIENT_ONLY,
	 "Patient/Study Only Query/Retrieve GET (retired)"},
	{"1.2.840.10008.1.20.1", SERVICE_COMMITMENT, "Storage Commitment Push Model"},
};

/* Families of UIDs that other services own (PS3.4): not offered here. */
static const char *const others[] = {
	"1.2.840.10008.1.20.",		 /* storage commitment, pull model        */
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

const struct known_class *
negotiate_classes(size_t *n)
{
	*n = sizeof(classes) / sizeof(classes[0]);
	return classes;
}

const char *const *
negotiate_not_storage(size_t *n)
{
	*n = sizeof(others) / sizeof(others[0]);
	return others;
}

const char *const *
negotiate_storage_too(size_t *n)
{
	*n = sizeof(stored) / sizeof(stored[0]);
	return stored;
}

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

enum service_class
service_of_context(const struct assoc *a, const struct assoc_context *c)
{
	static const char storage[] = "1.2.840.10008.4.2", standard[] = "1.2.840.10008.",
			  stored_ones[] = "1.2.840.10008.5.1.4.1.1.";
	enum service_class service = service_of(c->abstract_syntax);
	const char *general;
	unsigned j;

	if (service != SERVICE_NONE && service != SERVICE_STORAGE)
		return service;
	if (strncmp(c->abstract_syntax, stored_ones, strlen(stored_ones)) == 0)
		return service;
	if (strcmp(c->service_class, storage) == 0)
		return SERVICE_STORAGE;
	for (j = 0; (general = assoc_general(a, c->id, j))[0]; j++)
		if (strncmp(general, standard, strlen(standard)) == 0 &&
		    service_of(general) == SERVICE_STORAGE)
			return SERVICE_STORAGE;
	return c->service_class[0] ? SERVICE_NONE : service;
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

size_t
negotiate_offers(enum service_class service, unsigned char out[ASSOC_EXTENDED_MAX])
{
	static const unsigned char find[] = {1, 1, 1, 1, 0}, retrieve[] = {1, 0};
	bool finds = service == SERVICE_FIND_PATIENT || service == SERVICE_FIND_STUDY ||
		     service == SERVICE_FIND_PATIENT_ONLY;
	size_t n = finds ? sizeof(find) : sizeof(retrieve);

	if (service == SERVICE_NONE || service == SERVICE_VERIFICATION ||
	    service == SERVICE_COMMITMENT || service == SERVICE_STORAGE)
		return 0;
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

	n = negotiate_offers(service, ours);
	if (!n || !assoc_extended_of(a, c->abstract_syntax, &x))
		return 0;
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

static const struct known_syntax syntaxes[] = {
	{"1.2.840.10008.1.2.1", 0, "Explicit VR Little Endian"},
	{"1.2.840.10008.1.2", 1, "Implicit VR Little Endian"},
	{"1.2.840.10008.1.2.5", 2, "RLE Lossless"},
	{"1.2.840.10008.1.2.4.57", 2, "JPEG Lossless (14)"},
	{"1.2.840.10008.1.2.4.70", 2, "JPEG Lossless (14, selection value 1)"},
	{"1.2.840.10008.1.2.4.80", 2, "JPEG-LS Lossless"},
	{"1.2.840.10008.1.2.4.90", 2, "JPEG 2000 (lossless only)"},
	{"1.2.840.10008.1.2.4.92", 2, "JPEG 2000 Part 2 (lossless only)"},
	{"1.2.840.10008.1.2.4.110", 2, "JPEG XL Lossless"},
	{"1.2.840.10008.1.2.4.201", 2, "High-Throughput JPEG 2000 (lossless only)"},
	{"1.2.840.10008.1.2.4.202", 2, "High-Throughput JPEG 2000 RPCL (lossless only)"},
	{"1.2.840.10008.1.2.8.1", 2, "Deflated Image Frame Compression"},
	{"1.2.840.10008.1.2.1.99", 3, "Deflated Explicit VR Little Endian"},
	{"1.2.840.10008.1.2.2", 4, "Explicit VR Big Endian (retired)"},
	{"1.2.840.10008.1.2.4.50", NEGOTIATE_LOSSY, "JPEG Baseline (1)"},
	{"1.2.840.10008.1.2.4.51", NEGOTIATE_LOSSY, "JPEG Extended (2, 4)"},
	{"1.2.840.10008.1.2.4.81", NEGOTIATE_LOSSY, "JPEG-LS Near-lossless"},
	{"1.2.840.10008.1.2.4.91", NEGOTIATE_LOSSY, "JPEG 2000"},
	{"1.2.840.10008.1.2.4.93", NEGOTIATE_LOSSY, "JPEG 2000 Part 2"},
	{"1.2.840.10008.1.2.4.100", NEGOTIATE_LOSSY, "MPEG2 Main Profile / Main Level"},
	{"1.2.840.10008.1.2.4.101", NEGOTIATE_LOSSY, "MPEG2 Main Profile / High Level"},
	{"1.2.840.10008.1.2.4.102", NEGOTIATE_LOSSY, "MPEG-4 AVC/H.264 High Profile / Level 4.1"},
	{"1.2.840.10008.1.2.4.103", NEGOTIATE_LOSSY,
	 "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"},
	{"1.2.840.10008.1.2.4.104", NEGOTIATE_LOSSY,
	 "MPEG-4 AVC/H.264 High Profile / Level 4.2 for 2D video"},
	{"1.2.840.10008.1.2.4.105", NEGOTIATE_LOSSY,
	 "MPEG-4 AVC/H.264 High Profile / Level 4.2 for 3D video"},
	{"1.2.840.10008.1.2.4.106", NEGOTIATE_LOSSY,
	 "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"},
	{"1.2.840.10008.1.2.4.107", NEGOTIATE_LOSSY, "HEVC/H.265 Main Profile / Level 5.1"},
	{"1.2.840.10008.1.2.4.108", NEGOTIATE_LOSSY, "HEVC/H.265 Main 10 Profile / Level 5.1"},
	{"1.2.840.10008.1.2.4.112", NEGOTIATE_LOSSY, "JPEG XL"},
	{"1.2.840.10008.1.2.4.203", NEGOTIATE_LOSSY, "High-Throughput JPEG 2000"},
};
enum { RANK_PLAIN = 1, RANK_OTHERS = 5 /* unknown and private ones are taken as they are */ };

/* Lower is better (R31). */
static int
rank(const char *syntax)
{
	size_t i;

	for (i = 0; i < sizeof(syntaxes) / sizeof(syntaxes[0]); i++)
		if (strcmp(syntax, syntaxes[i].uid) == 0)
			return syntaxes[i].rank;
	return RANK_OTHERS;
}

bool
negotiate_lossless(const char *syntax)
{
	return rank(syntax) < RANK_OTHERS;
}

const struct known_syntax *
negotiate_syntaxes(size_t *n)
{
	*n = sizeof(syntaxes) / sizeof(syntaxes[0]);
	return syntaxes;
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
		if (!storage && rank(proposed[i]) > RANK_PLAIN)
			continue;
		if (best < 0 || rank(proposed[i]) < rank(proposed[best]))
			best = (int)i;
	}
	return best;
}

/* Is there somebody here for this context? */
static bool
offered(const struct assoc_context *c, enum service_class service, const struct peer *peer,
	bool stores)
{
	if (service == SERVICE_STORAGE)
		return stores || c->role != ASSOC_ROLE_DEFAULT;
	if (service == SERVICE_COMMITMENT) /* whoever cannot be called was asked nothing */
		return c->role != ASSOC_ROLE_SCP || (peer->host[0] && peer->port);
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
		enum service_class service = service_of_context(a, &c);
		bool known = offered(&c, service, peer, stores);

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
		enum service_class service = service_of_context(a, &c);

		if (service != SERVICE_STORAGE && service != SERVICE_VERIFICATION)
			return false;
		if (c.role != ASSOC_ROLE_DEFAULT)
			return false;
		any = any || service == SERVICE_STORAGE;
	}
	return any;
}
