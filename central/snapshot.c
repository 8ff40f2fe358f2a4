#include "central/snapshot.h"

#include <string.h>

#include "central/catalogue.h"
#include "central/central.h"
#include "central/certificates.h"
#include "central/heard.h"
#include "central/join.h"
#include "central/returns.h"
#include "central/upload.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/dimse/pledge_say.h"
#include "common/os/file.h"

static bool
needs_a_person(const struct snapshot *s)
{
	size_t i;

	for (i = 0; i < s->sites.tally.n; i++)
		if (s->sites.tally.rows[i].site_of[TALLY_LOST])
			return true;
	/* R12: what it has no room for is refused until somebody makes some. */
	return s->counts.conflicts > 0 || s->dicom_soon || s->room.closed || s->pledges_unseen ||
	       sites_need_a_person(&s->sites);
}

int
snapshot_make(struct snapshot *out, struct central *c, struct err *e)
{
	struct snapshot *s = out;
	struct store_tx *tx;
	int rc = store_begin_read(&tx, c->store, e);

	memset(s, 0, sizeof(*s));
	if (rc)
		return rc;
	rc = state_id(tx, "epoch", &s->epoch, e);
	if (!rc)
		rc = store_counts(tx, &s->counts, e);
	if (!rc)
		rc = pack_row_count(tx, &s->packs, e);
	if (!rc)
		rc = state_number(tx, DISPATCH_HOLD, &s->hold, e);
	if (!rc)
		rc = heard_open(c, tx, &s->orders, e);
	if (!rc)
		rc = pledges_unseen(tx, &s->pledges_unseen, e);
	if (!rc)
		rc = sites_make(&s->sites, tx, e);
	s->sites.wall_ms = clock_wall(c->clock);
	store_end_read(tx);
	room_look(c, &s->room);
	if (!rc)
		rc = file_space(c->dir, &s->disk_free, &s->disk_total, e);
	if (!rc)
		rc = returns_count(c, &s->returned, e);
	if (rc) {
		sites_free(&s->sites);
		return rc;
	}
	if (c->certificates) {
		s->sites.older = certificates_older(c->certificates) > 0;
		certificates_print(c->certificates, s->sites.ca);
	}
	s->failed_joins = c->joins ? joins_failed(c->joins) : 0;
	s->repeated = c->uploads ? uploads_repeats(c->uploads) : 0;
	s->refusals = dimse_node_refusals(&c->dicom);
	s->unaudited = dimse_node_unaudited(&c->dicom);
	s->dicom_until_ms = dimse_node_certificate(&c->dicom, c->conf);
	s->dicom_soon = dimse_expires_soon(s->dicom_until_ms, clock_wall(c->clock));
	s->person = needs_a_person(s);
	return 0;
}

void
snapshot_free(struct snapshot *s)
{
	sites_free(&s->sites);
}
