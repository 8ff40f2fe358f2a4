/*
 * stream.h - a connected socket, plain or under TLS, that never waits for ever.
 *
 * All reads until `deadline` share it; a write ends when the peer took nothing for
 * `patience`. No call raises SIGPIPE. The socket is the caller's: nothing here closes it.
 * Threads: the connection's.
 */
#ifndef SALAMANDER_COMMON_DICOM_STREAM_H
#define SALAMANDER_COMMON_DICOM_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct err;
struct tls;
struct tls_session;

struct stream {
	int fd;
	long deadline;		 /* of stream_now; 0: none */
	long patience;		 /* ms */
	struct tls_session *tls; /* NULL: plain */
};

long stream_now(void); /* ms, monotonic */
/*
 * TLS from now on, within the deadline: ERR_AGAIN it did not answer in time, ERR_CONFLICT it is
 * not whom we believe, or does not speak TLS as we do; ERR_ABSENT it hung up. A client names whom
 * it wants (tls_bears); server: NULL. What fails here leaves a stream that carries nothing.
 */
int stream_secure(struct stream *s, struct tls *t, bool server, const char *name, struct err *e);
/* Says that nothing more comes, if that goes out at once. */
void stream_bye(struct stream *s);
void stream_fini(struct stream *s);
/* Some bytes; 0: the end; -1: errno, ETIMEDOUT if the deadline passed. */
ssize_t stream_receive(struct stream *s, void *p, size_t n);
/*
 * First the head, then p, whole, however little the peer takes at a time; false: errno.
 * more: the next call comes at once, a packet that is not full may wait for it.
 */
bool stream_send(struct stream *s, const void *head, size_t n_head, const void *p, size_t n,
		 bool more);
/* What goes out without waiting, or not at all. */
void stream_shout(struct stream *s, const void *p, size_t n);
/* Within ms (-1: for ever; never past the deadline) something is there to read, or the end. */
bool stream_comes_in(struct stream *s, long ms);

#ifdef __cplusplus
}
#endif

#endif
