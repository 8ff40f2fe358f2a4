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
send_image(struct edge *e, const struct gen *g)
{
	struct peer peer = {.name = "", .aet = "", .host = "", .issuer = ""};
	struct dimse_caller who = {.peer = &peer, .calling = "CT1", .called = "EDGE"};
	struct dimse_handlers h = {.node = e};
	struct message rq, rsp;
	struct buf data = BUF_INIT;
	struct err err = ERR_INIT;
	void *sink;
	int rc;

	gen_dataset(&data, g);
	memset(&rq, 0, sizeof(rq));
	memset(&rsp, 0, sizeof(rsp));
	gen_uid(rq.sop_instance, g->study, g->series, g->instance);
	strcpy(who.address, "127.0.0.1");
	take_in_handlers(&h);
	rsp.status = NO_STATUS;
	rc = h.store_begin(e, &who, &rq, "1.2.840.10008.1.2.1", &sink, &err);
	if (!rc) {
		(void)h.store_feed(sink, data.data, data.len, &err);
		h.store_end(sink, &rsp);
	}
	buf_fini(&data);
	return rsp.status;
}
