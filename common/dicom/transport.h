/*
 * transport.h - the connection below an association: our stream in the place of DCMTK's.
 *
 * For assoc.cc alone. DCMTK makes the connection and deletes it when the peer aborts or is
 * lost: what is asked of a connection that is gone fails. A transport outlives the
 * association and the network that use it.
 * Threads: the association's; transport_enter lets one at a time through.
 */
#ifndef SALAMANDER_COMMON_DICOM_TRANSPORT_H
#define SALAMANDER_COMMON_DICOM_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct err;
struct tls;
struct tls_peer;
struct transport; /* opaque */

int transport_new(struct transport **out, struct err *e);
void transport_free(struct transport *t); /* NULL is fine */
/* For ASC_setTransportLayer. */
void *transport_layer(struct transport *t);
/* Told of the socket once it is connected. */
void transport_tell(struct transport *t, void (*connected)(void *arg, int fd), void *arg);

/* Requestor: TLS, with a peer of this name; both the caller's, until the association stands. */
void transport_call_securely(struct transport *t, struct tls *tls, const char *name);
/* Acceptor: TLS on an accepted socket that stays the caller's, before DCMTK hears of it. Errors as
 * of stream_secure, which keeps to transport_within. */
int transport_answer_securely(struct transport *t, int fd, struct tls *tls, struct err *e);
/* Why TLS failed when DCMTK says that something did: its code; 0: it did not. */
int transport_why(const struct transport *t, struct err *e);
const struct tls_peer *transport_peer(const struct transport *t); /* NULL: plain */
bool transport_peer_bears(const struct transport *t, const char *name);

/*
 * Acceptor: DCMTK takes an accepted socket from a global. enter, a network, offer, receive,
 * leave; who enters waits until whoever offered has its connection. Until offer it is told
 * of a socket that it does not need, so that it opens none.
 */
void transport_enter(struct transport *t);
void transport_offer(struct transport *t, int fd);
/* False: no connection was made, the socket is the caller's again. */
bool transport_leave(struct transport *t);

/* All that is read from now on comes within ms; 0: no end. */
void transport_within(struct transport *t, long ms);
void transport_patience(struct transport *t, long ms);
/* n bytes of P-DATA-TF are written now, in some calls: no packet goes half full before the last. */
void transport_burst(struct transport *t, size_t n);
bool transport_stands(const struct transport *t);
int transport_socket(const struct transport *t); /* -1: gone */
/* The next n bytes, left where they are; NULL: errno says whether they come too late. */
const unsigned char *transport_peek(struct transport *t, size_t n);
bool transport_read(struct transport *t, void *p, size_t n);

#ifdef __cplusplus
}
#endif

#endif
