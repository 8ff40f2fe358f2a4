/*
 * negotiate.h - which proposed contexts are accepted, and with which syntax (R31).
 *
 * A class that no other service owns counts as storage, known or private, unless its
 * requestor says otherwise (PS3.7 D.3.3.6). The
 * acceptor chooses: Explicit VR LE, Implicit VR LE, lossless, deflated, big
 * endian; a lossy syntax only when nothing else is offered in that context. A
 * peer's own list goes first; as-proposed takes its order.
 * Threads: none of its own.
 */
#ifndef SALAMANDER_COMMON_DIMSE_NEGOTIATE_H
#define SALAMANDER_COMMON_DIMSE_NEGOTIATE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/dicom/assoc.h"

struct assoc;
struct assoc_context;
struct err;
struct peer;

enum service_class {
	SERVICE_NONE, /* known, and not offered here */
	SERVICE_VERIFICATION,
	SERVICE_FIND_PATIENT,
	SERVICE_FIND_STUDY,
	SERVICE_FIND_PATIENT_ONLY, /* Patient/Study Only: retired, and in use */
	SERVICE_MOVE_PATIENT,
	SERVICE_MOVE_STUDY,
	SERVICE_MOVE_PATIENT_ONLY,
	SERVICE_GET_PATIENT,
	SERVICE_GET_STUDY,
	SERVICE_GET_PATIENT_ONLY,
	SERVICE_COMMITMENT, /* storage commitment, push model */
	SERVICE_STORAGE
};

/* Extended negotiation of query and retrieve (PS3.4 C.5.1.1, C.5.2.1): a byte each. */
enum { NEGOTIATED_RELATIONAL, NEGOTIATED_MOMENTS, NEGOTIATED_FUZZY, NEGOTIATED_ZONE };

struct known_class {
	const char *uid;
	enum service_class service;
	const char *name; /* PS3.6 A */
};

enum { NEGOTIATE_LOSSY = 6 };
struct known_syntax {
	const char *uid;
	int rank; /* a lower one is taken first; unknown ones come just before the lossy */
	const char *name;
};

/* The tables that the conformance statement prints. Beside these classes all UIDs are storage
 * but those that begin as one of not_storage does; storage_too are stored all the same. */
const struct known_class *negotiate_classes(size_t *n);
const struct known_syntax *negotiate_syntaxes(size_t *n);
const char *const *negotiate_not_storage(size_t *n);
const char *const *negotiate_storage_too(size_t *n);
/* Byte by byte what extended negotiation of a service can get; what is not named is 0. */
size_t negotiate_offers(enum service_class service, unsigned char out[ASSOC_EXTENDED_MAX]);

enum service_class service_of(const char *abstract_syntax);
/*
 * The same of a context, by what its requestor says where we do not know the class: of the
 * Storage Service, or a special case of a class that is stored, is storage; of another
 * service class it is not. What we serve, and what the standard stores, is what it is.
 */
enum service_class service_of_context(const struct assoc *a, const struct assoc_context *c);
/* The classes that begin at PATIENT level. */
bool service_is_patient_root(enum service_class s);
/* Those that end at STUDY level. */
bool service_is_patient_only(enum service_class s);
/* Was this settled for the class? What nobody asked for is not. */
bool negotiated(const struct assoc *a, const char *abstract_syntax, unsigned what);
/* A syntax that is known, and loses nothing. */
bool negotiate_lossless(const char *syntax);
/* Index of the syntax to take, -1: none fits. */
int negotiate_syntax(const char *const *proposed, unsigned n, const struct peer *peer,
		     bool storage);
/*
 * Answers every context of a, and what query and retrieve were asked to do beyond their
 * baseline: relational, combined dates and times, fuzzy names, time zones. A node that takes
 * nothing in (stores: false) refuses storage but where the caller is to receive (C-GET).
 */
int negotiate(struct assoc *a, const struct peer *peer, bool stores, struct err *e);
/* true: storage as SCU, and nothing else but echo (R32: may be rejected when full). */
bool negotiate_only_storage(const struct assoc *a);

#endif
