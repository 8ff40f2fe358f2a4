/*
 * transport.cc - DCMTK's transport layer and connection, over our stream.
 */
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmnet/assoc.h>
#include <dcmtk/dcmnet/dcmlayer.h>
#include <dcmtk/dcmnet/dcmtrans.h>
#include <dcmtk/dcmnet/dul.h>

#include "common/dicom/stream.h"
#include "common/dicom/tls.h"
#include "common/dicom/transport.h"

#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

extern "C" {
#include "common/base/err.h"
}

namespace
{

/* R34: who reads nothing for so long is dropped. */
constexpr long PATIENCE_MS = 60000;
/* PS3.8 9.3.5: PDU type and length, PDV length, context, message control header. */
constexpr size_t PDATA_HEAD = 12, READ_AHEAD = 16384;
constexpr char PDATA_TYPE = 4;
constexpr unsigned char REQUEST_TYPE = 1;
constexpr size_t VERSION_END = 8; /* PS3.8 9.3.2 */

class connection : public DcmTCPConnection
{
      public:
	/* Those who know it look at *place: DCMTK deletes it when the peer aborts or is lost. */
	connection(struct stream *stream, connection **place, struct err *rejected)
	    : DcmTCPConnection(stream->fd), s(stream), known(place), why(rejected)
	{
	}

	~connection() override
	{
		*known = nullptr;
	}

	/* DCMTK asks for six bytes, a few, the rest: small reads come out of one large one. */
	ssize_t read(void *buf, size_t n) override
	{
		if (why && !of_our_version())
			return 0;
		if (from == to && n >= sizeof(ahead))
			return stream_receive(s, buf, n);
		if (from == to && !peek(1))
			return errno ? -1 : 0;
		if (n > to - from)
			n = to - from;
		memcpy(buf, ahead + from, n);
		from += n;
		return static_cast<ssize_t>(n);
	}

	const unsigned char *peek(size_t n)
	{
		memmove(ahead, ahead + from, to - from);
		to -= from;
		from = 0;
		while (to < n) {
			errno = 0;
			ssize_t k = stream_receive(s, ahead + to, sizeof(ahead) - to);

			if (k <= 0)
				return nullptr;
			to += static_cast<size_t>(k);
		}
		return ahead;
	}

	bool read_all(unsigned char *p, size_t n)
	{
		while (n > 0) {
			errno = 0;
			ssize_t k = read(p, n);

			if (k <= 0)
				return false;
			p += k;
			n -= static_cast<size_t>(k);
		}
		return true;
	}

	/*
	 * Whole, however little the peer takes at a time: DCMTK gives up at the first short one.
	 * The head of a P-DATA-TF PDU waits for its bytes, which come in the next call.
	 */
	ssize_t write(void *buf, size_t n) override
	{
		const char *p = static_cast<const char *>(buf);
		bool sent;

		if (n == PDATA_HEAD && p[0] == PDATA_TYPE && held == 0) {
			memcpy(head, p, n);
			held = n;
			return static_cast<ssize_t>(n);
		}
		spoken = true;
		burst -= n < burst ? n : burst;
		sent = stream_send(s, head, held, p, n, burst > 0);
		held = 0;
		return sent ? static_cast<ssize_t>(n) : -1;
	}

	/* Seconds are too coarse for a deadline: never wait past it. */
	OFBool networkDataAvailable(int timeout) override
	{
		return from < to || stream_comes_in(s, timeout < 0 ? -1 : timeout * 1000L);
	}

	/* PS3.8 9.2.2: what cannot be a request is aborted: provider, invalid parameter. */
	void close() override
	{
		if (to > 0 && !spoken)
			stream_shout(s, "\x07\0\0\0\0\x04\0\0\x02\x06", 10);
		stream_bye(s);
		DcmTCPConnection::close();
	}

	int socket()
	{
		return getSocket();
	}

      private:
	/* Looks once: a request of no version that we know is rejected here (PS3.8 9.3.4: source 2,
	 * reason 2), since DCMTK, which rejects it too, never frees what it keeps of it. */
	bool of_our_version()
	{
		struct err *e = why;
		const unsigned char *p = peek(VERSION_END);

		why = nullptr;
		if (!p || p[0] != REQUEST_TYPE || (p[VERSION_END - 1] & 1))
			return true;
		(void)err_set(e, ERR_PEER, 0, "association request: of another protocol version");
		stream_shout(s, "\x03\0\0\0\0\x04\0\x01\x02\x02", 10);
		spoken = true;
		return false;
	}

	struct stream *s;
	connection **known;
	struct err *why;		 /* NULL: no request is due, or it was looked at */
	unsigned char ahead[READ_AHEAD]; /* [from, to): received, and not asked for yet */
	size_t from = 0, to = 0;
	char head[PDATA_HEAD]; /* its first `held` bytes go out before what is written next */
	size_t held = 0;
	bool spoken = false;

      public:
	size_t burst = 0; /* what is still to be written at once */
};

void
no_delay(int fd)
{
	int on = 1;

	/* Without it each C-STORE stalls 40 ms a side (TRAPS 2). */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* DCMTK takes an accepted socket from a global: one association at a time passes the lock. */
std::mutex handle_lock;

} // namespace

struct transport : DcmTransportLayer {
	DcmTransportConnection *createConnection(DcmNativeSocketType fd, OFBool) override
	{
		no_delay(fd);
		s.fd = fd;
		made = new (std::nothrow) connection(&s, &made, held ? &why : nullptr);
		let_go();
		if (connected)
			connected(arg, fd);
		/* What fails here fails the first write too: DCMTK cleans up then. */
		if (tls)
			(void)stream_secure(&s, tls, false, name, &why);
		return made;
	}

	~transport() override
	{
		let_go();
		stream_fini(&s);
	}

	void let_go()
	{
		if (!held)
			return;
		dcmExternalSocketHandle.set(-1);
		held = false;
		handle_lock.unlock();
	}

	struct stream s = {-1, 0, PATIENCE_MS, nullptr};
	struct tls *tls = nullptr;
	const char *name = nullptr;
	struct err why = ERR_INIT;
	connection *made = nullptr;
	void (*connected)(void *arg, int fd) = nullptr;
	void *arg = nullptr;
	bool held = false; /* we hold handle_lock */
};

int
transport_new(struct transport **out, struct err *e)
{
	transport *t = new (std::nothrow) transport;

	if (!t)
		return err_set(e, ERR_LOCAL, 0, "no memory for an association");
	*out = t;
	return 0;
}

void
transport_free(struct transport *t)
{
	delete t;
}

void *
transport_layer(struct transport *t)
{
	return static_cast<DcmTransportLayer *>(t);
}

void
transport_tell(struct transport *t, void (*connected)(void *arg, int fd), void *arg)
{
	t->connected = connected;
	t->arg = arg;
}

void
transport_call_securely(struct transport *t, struct tls *tls, const char *name)
{
	t->tls = tls;
	t->name = name;
}

int
transport_answer_securely(struct transport *t, int fd, struct tls *tls, struct err *e)
{
	no_delay(fd);
	t->s.fd = fd;
	return stream_secure(&t->s, tls, true, nullptr, e);
}

int
transport_why(const struct transport *t, struct err *e)
{
	if (t->why.code)
		return err_set(e, t->why.code, t->why.sys, "%s", t->why.what);
	if (t->s.tls && tls_why(t->s.tls)[0])
		return err_set(e, ERR_CONFLICT, 0, "TLS: %s", tls_why(t->s.tls));
	return 0;
}

const struct tls_peer *
transport_peer(const struct transport *t)
{
	return t->s.tls ? tls_who(t->s.tls) : nullptr;
}

bool
transport_peer_bears(const struct transport *t, const char *name)
{
	return t->s.tls && tls_bears(t->s.tls, name);
}

void
transport_enter(struct transport *t)
{
	handle_lock.lock();
	t->held = true;
	dcmExternalSocketHandle.set(0);
}

void
transport_offer(struct transport *t, int fd)
{
	(void)t;
	dcmExternalSocketHandle.set(fd);
}

bool
transport_leave(struct transport *t)
{
	bool failed = t->held;

	t->let_go();
	return !failed || t->made;
}

void
transport_within(struct transport *t, long ms)
{
	t->s.deadline = ms ? stream_now() + ms : 0;
}

void
transport_patience(struct transport *t, long ms)
{
	t->s.patience = ms;
}

void
transport_burst(struct transport *t, size_t n)
{
	if (t->made)
		t->made->burst = n;
}

bool
transport_stands(const struct transport *t)
{
	return t->made != nullptr;
}

int
transport_socket(const struct transport *t)
{
	return t->made ? t->made->socket() : -1;
}

const unsigned char *
transport_peek(struct transport *t, size_t n)
{
	errno = 0;
	return t->made ? t->made->peek(n) : nullptr;
}

bool
transport_read(struct transport *t, void *p, size_t n)
{
	return t->made && t->made->read_all(static_cast<unsigned char *>(p), n);
}
