#include "edge/piece.h"

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "edge/edge.h"
#include "edge/packing.h"
#include "proto/coding.h"
#include "proto/frame.h"
#include "proto/sender.h"

enum { STEP_MIN = 16384, STEP_MAX = 1 << 20, STEPS = 4, NEARLY = 32 };

struct writing {
	struct buf *out;
	struct packing *p;
	struct edge *e;
	const struct coding *coding; /* NULL: stored */
	struct piece_cost *cost;
};

/* The frame at `at`, if that pays: its coded bytes take the place of the plain ones. */
static int
code(struct writing *w, size_t at, uint64_t offset, size_t n, bool *coded, struct err *err)
{
	const unsigned char *plain = w->out->data + at + FRAME_HEAD;
	int64_t start = clock_mono(w->e->clock);
	enum frame_coding coding =
		coding_choose(w->coding, plain, n, w->p->read_compressed > n / 2);
	struct buf frame = BUF_INIT;
	int rc;

	*coded = coding != FRAME_STORED;
	if (!*coded)
		return 0;
	rc = frame_write(&frame, coding, offset, plain, n, err);
	if (!rc) { /* never longer: there is room */
		w->out->len = at;
		buf_put(w->out, frame.data, frame.len);
		w->cost->bytes += n;
		w->cost->ms += (uint64_t)(clock_mono(w->e->clock) - start);
	}
	buf_fini(&frame);
	return rc;
}

static int
put_frame(struct writing *w, uint64_t offset, size_t n, struct err *err)
{
	size_t at = w->out->len;
	bool coded = false;
	int rc;

	if (!buf_reserve(w->out, FRAME_HEAD + n))
		return err_set(err, ERR_LOCAL, 0, "no memory for a piece of a pack");
	w->out->len += FRAME_HEAD;
	rc = packing_read(w->p, w->e, offset, n, w->out, err);
	if (!rc && w->coding)
		rc = code(w, at, offset, n, &coded, err);
	if (!rc && !coded)
		frame_stored(w->out->data + at, offset, w->out->data + at + FRAME_HEAD, n);
	return rc;
}

/* Plain bytes of the next frame: what is left of `budget` on the wire, if they shrink as before. */
static uint64_t
next_frame(uint64_t budget, uint64_t step, uint64_t done, uint64_t wire)
{
	uint64_t n;

	if (!done)
		return step;
	if (wire >= budget - budget / NEARLY)
		return 0;
	n = (budget - wire) * done / wire;
	return n < step ? n : step;
}

int
piece_write(struct buf *out, struct packing *p, struct edge *e, const struct sender_action *a,
	    const struct coding *coding, struct piece_cost *cost, struct err *err)
{
	struct writing w = {out, p, e, coding_pays(coding) ? coding : NULL, cost};
	uint64_t most = w.coding && a->most > a->count ? a->most : a->count;
	uint64_t step = a->count, done = 0, wire = 0, n;
	size_t before;
	int rc = 0;

	/* What a cut tears of a frame is sent again; a fast link has no use for many. */
	step /= STEPS;
	step = step < STEP_MIN ? STEP_MIN : step > STEP_MAX ? STEP_MAX : step;
	/* As many as are `count` on the wire: that is how long others wait for this one. */
	while (!rc && done < most && (n = next_frame(a->count, step, done, wire)) > 0) {
		/* What would be left for a request of its own goes along. */
		n = n + step / 2 < most - done ? n : most - done;
		n = n < FRAME_PLAIN_MAX ? n : FRAME_PLAIN_MAX;
		before = out->len;
		rc = put_frame(&w, a->number + done, (size_t)n, err);
		wire += out->len - before - FRAME_HEAD;
		done += n;
	}
	return rc;
}
