#include "tests/lib/send.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/dimse/message.h"
#include "common/dimse/peers.h"
#include "edge/edge.h"
#include "edge/take_in.h"
#include "tests/gen/gen.h"

enum { NO_STATUS = 0xC000 };

unsigned
send_from(struct edge *e, const struct peer *peer, const char *sop_class, const char *sop_instance,
	  const struct buf *data, const char *syntax)
{
	struct dimse_caller who = {.peer = peer, .calling = "CT1", .called = "EDGE"};
	struct dimse_handlers h = {.node = e};
	struct message rq, rsp;
	struct err err = ERR_INIT;
	void *sink;
	int rc;

	memset(&rq, 0, sizeof(rq));
	memset(&rsp, 0, sizeof(rsp));
	strcpy(rq.sop_class, sop_class);
	strcpy(rq.sop_instance, sop_instance);
	strcpy(who.address, "127.0.0.1");
	take_in_handlers(&h);
	rsp.status = NO_STATUS;
	rc = h.store_begin(e, &who, &rq, syntax, &sink, &err);
	if (!rc) {
		(void)h.store_feed(sink, data->data, data->len, &err);
		h.store_end(sink, &rsp);
	}
	return rsp.status;
}

unsigned
send_data_set(struct edge *e, const struct gen *g, const struct buf *data, const char *syntax)
{
	struct peer peer = {.name = "", .aet = "", .host = "", .issuer = ""};
	char uid[65];

	gen_uid(uid, g->study, g->series, g->instance);
	return send_from(e, &peer, "", uid, data, syntax);
}

unsigned
send_image(struct edge *e, const struct gen *g)
{
	struct buf data = BUF_INIT;
	unsigned status;

	gen_dataset(&data, g);
	status = send_data_set(e, g, &data, "1.2.840.10008.1.2.1");
	buf_fini(&data);
	return status;
}
