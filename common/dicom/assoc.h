/*
 * assoc.h - DICOM associations and PDVs (PS3.8), by DCMTK's ASC_ and DUL_ calls.
 *
 * What lies above - messages, identifiers, data sets - is not DCMTK's: it dies
 * of deep nesting (TRAPS 2). Both roles set TCP_NODELAY. One deadline covers all
 * reads until an association stands, later those of one assoc_read; who takes
 * nothing of a write for 60 s is dropped (R34); no call waits for ever, none asks DNS
 * but assoc_request for a host that is a name. UIDs are not padded here (TRAPS 1).
 *
 * Errors: ERR_ABSENT the peer released or hung up, ERR_PEER it aborted or broke the
 * protocol, ERR_AGAIN nothing came in time, ERR_CONFLICT its certificate, or its TLS, is not what
 * it must be, ERR_LOCAL else.
 * Threads: assoc_receive and assoc_request may be called by many threads; a
 * struct assoc belongs to one.
 */
#ifndef SALAMANDER_COMMON_DICOM_ASSOC_H
#define SALAMANDER_COMMON_DICOM_ASSOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct assoc; /* opaque */
struct err;
struct tls;
struct tls_peer;

enum { ASSOC_AET_SIZE = 17, ASSOC_UID_SIZE = 65, ASSOC_CONTEXTS_MAX = 128 };
enum { ASSOC_USER_SIZE = 65 };
enum { ASSOC_EXTENDED_MAX = 16, ASSOC_EXTENDED_CLASSES = 32 };
enum { ASSOC_GENERAL_MAX = 16 };
enum { ASSOC_PDU_MIN = 4096, ASSOC_PDU_MAX = 131072 };

enum assoc_role { ASSOC_ROLE_DEFAULT, ASSOC_ROLE_SCP, ASSOC_ROLE_BOTH };

struct assoc_context {
	unsigned char id;
	char abstract_syntax[ASSOC_UID_SIZE];
	unsigned n_syntaxes;  /* proposed ones: assoc_proposed_syntax */
	enum assoc_role role; /* proposed by the requestor           */
	bool accepted;
	char syntax[ASSOC_UID_SIZE]; /* the accepted one */
	/* Of which service class it is, as the requestor says (PS3.7 D.3.3.6); "": unsaid. */
	char service_class[ASSOC_UID_SIZE];
};

struct assoc_pdv {
	unsigned char context;
	bool command, last;
	const void *data; /* borrowed until the next read */
	size_t n;
};

/* What a service class is to do beyond its baseline (PS3.7 D.3.3.5). */
struct assoc_extended {
	char abstract_syntax[ASSOC_UID_SIZE];
	unsigned char info[ASSOC_EXTENDED_MAX]; /* service class application information */
	size_t n;
};

/* Reasons for a rejection (PS3.8 9.3.4). */
enum assoc_reject {
	ASSOC_REJECT_APPLICATION, /* its context name is not DICOM's */
	ASSOC_REJECT_CALLED_TITLE,
	ASSOC_REJECT_CALLING_TITLE,
	ASSOC_REJECT_CONGESTION, /* transient */
	ASSOC_REJECT_LIMIT	 /* transient */
};

/* --- acceptor --- */

/*
 * Reads the A-ASSOCIATE-RQ from fd, which is taken; within seconds, with the handshake of TLS
 * before it (tls NULL: plain). Nothing is accepted yet.
 * What cannot be one is answered by an A-ABORT before the connection is closed, at assoc_free
 * or here: more than 50 syntaxes in a context, a UID over 64 characters, a blank title. It is
 * ERR_PEER; ERR_ABSENT: it hung up before it had said all.
 */
int assoc_receive(struct assoc **out, int fd_taken, struct tls *tls, unsigned max_pdu,
		  unsigned seconds, struct err *e);
/* Answers one proposed context; role as proposed. */
int assoc_accept_context(struct assoc *a, unsigned char id, const char *syntax, struct err *e);
/* known: the class is, but no syntax fits. */
int assoc_refuse_context(struct assoc *a, unsigned char id, bool known, struct err *e);
/* The answer to what assoc_extended_of gave; a class that gets none keeps to its baseline. */
int assoc_answer_extended(struct assoc *a, const struct assoc_extended *answer, struct err *e);
int assoc_acknowledge(struct assoc *a, struct err *e);
int assoc_reject(struct assoc *a, enum assoc_reject why, struct err *e);

/* --- requestor --- */

struct assoc_proposal {
	const char *abstract_syntax;
	const char *const *syntaxes;
	unsigned n_syntaxes;
	enum assoc_role role;
};

struct assoc_target {
	const char *host; /* a name or an address */
	unsigned port;
	const char *calling, *called;
	unsigned max_pdu, seconds;
	/* Told of the socket once it is connected, before anything is asked; NULL: nobody. */
	void (*connected)(void *arg, int fd);
	void *arg;
	const struct assoc_extended *extended; /* proposed beside the contexts */
	unsigned n_extended;
	struct tls *tls;	 /* NULL: plain                               */
	const char *certificate; /* TLS: the name that it must bear; NULL: any */
};

/* Contexts get the odd ids 1, 3, ... in order. ERR_PEER: rejected for now or refused,
 * ERR_CONFLICT: rejected for good; e says how. */
int assoc_request(struct assoc **out, const struct assoc_target *t, const struct assoc_proposal *p,
		  unsigned n, struct err *e);

/* --- both --- */

const char *assoc_called(const struct assoc *a);
const char *assoc_calling(const struct assoc *a);
unsigned assoc_count(const struct assoc *a);
/* By position; false behind the last. */
bool assoc_context_at(const struct assoc *a, unsigned i, struct assoc_context *out);
const char *assoc_proposed_syntax(const struct assoc *a, unsigned i, unsigned j);
/*
 * Acceptor: the general classes that the class of a context is a special case of, as the
 * requestor says; "" behind the last, of ASSOC_GENERAL_MAX.
 */
const char *assoc_general(const struct assoc *a, unsigned char id, unsigned j);
/*
 * Of this class: what the requestor proposed, and once the association stands what was settled;
 * false: nothing, or more than ASSOC_EXTENDED_MAX bytes.
 */
bool assoc_extended_of(const struct assoc *a, const char *abstract_syntax,
		       struct assoc_extended *out);
/*
 * Who uses the requestor, as it says (PS3.7 D.3.3.7); nobody has checked it. By name for types 1
 * and 2, cut to size, signs that would part words or lines replaced; else only of which type.
 * "": it says nothing. Where an answer is wanted, it is positive.
 */
const char *assoc_user(const struct assoc *a);
/* Acceptor: is the application context that was proposed DICOM's (PS3.7 A.2.1)? */
bool assoc_is_dicom(const struct assoc *a);
/* Who is at the other end of TLS; NULL: the association is plain. */
const struct tls_peer *assoc_tls(const struct assoc *a);
/* TLS: is its certificate of this name or address? */
bool assoc_certified(const struct assoc *a, const char *name);
/* By id; NULL unless accepted. */
const struct assoc_context *assoc_accepted(const struct assoc *a, unsigned char id);
int assoc_read(struct assoc *a, unsigned seconds, struct assoc_pdv *out, struct err *e);
/* Is something there to read? Never blocks. */
bool assoc_waiting(struct assoc *a);
/* The whole of a command set or data set in one call or in pieces; last ends it. */
int assoc_write(struct assoc *a, unsigned char context, bool command, bool last, const void *p,
		size_t n, struct err *e);
/* How long a write waits for a peer that takes nothing; assoc_request: seconds of the target. */
void assoc_patience(struct assoc *a, unsigned ms);
int assoc_socket(const struct assoc *a); /* -1: the connection is gone */
/* Requestor: A-RELEASE-RQ and its answer. Acceptor: answers the request that assoc_read told of. */
void assoc_release(struct assoc *a);
void assoc_abort(struct assoc *a);
/* Closes the connection. NULL is fine. */
void assoc_free(struct assoc *a);

#ifdef __cplusplus
}
#endif

#endif
