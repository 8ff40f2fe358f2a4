#include "central/metrics.h"

#include "central/central.h"
#include "central/snapshot.h"
#include "central/told.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/prom.h"
#include "common/dimse/pledge_say.h"
#include "proto/lanes.h"

static void
put_archive(struct prom *p, const struct snapshot *s)
{
	prom_one(p, PROM_GAUGE, "images", "Images that are held.", s->counts.instances);
	prom_one(p, PROM_GAUGE, "studies", "Studies with at least one image.", s->counts.studies);
	prom_one(p, PROM_GAUGE, "images_bytes", "Bytes of the images that are held.",
		 s->counts.bytes);
	prom_one(p, PROM_GAUGE, "packs", "Packs in the vault.", s->packs);
	prom_one(p, PROM_GAUGE, "images_variants", "Images that are variants of another.",
		 s->counts.variants);
	prom_one(p, PROM_GAUGE, "images_revisions", "Images that are revisions of another.",
		 s->counts.revisions);
	prom_one(p, PROM_GAUGE, "uids_in_conflict", "SOP Instance UIDs in conflict: a person.",
		 s->counts.conflicts);
	prom_one(p, PROM_GAUGE, "images_damaged", "Images damaged here and not healed.",
		 s->sites.tally.damaged);
	prom_one(p, PROM_GAUGE, "images_returned", "Withdrawn images that came again.",
		 s->returned);
	prom_one(p, PROM_GAUGE, "disk_free_bytes", "Free on the file system of the data folder.",
		 s->disk_free);
	prom_one(p, PROM_GAUGE, "disk_size_bytes", "Size of that file system.", s->disk_total);
	prom_one(p, PROM_COUNTER, "refusals_total", "Associations and requests refused.",
		 s->refusals);
	prom_one(p, PROM_COUNTER, "unaudited_total", "Events that audit.log could not take.",
		 s->unaudited);
	prom_one(p, PROM_COUNTER, "failed_joins_total", "Tries to join that failed.",
		 s->failed_joins);
	prom_one(p, PROM_COUNTER, "repeated_bytes_total",
		 "Bytes of packs that came although they were here already, since the start.",
		 s->repeated);
	if (s->dicom_until_ms)
		prom_one(p, PROM_GAUGE, "dicom_certificate_until_timestamp_seconds",
			 "Until when our certificate of DICOM TLS is good.",
			 (uint64_t)s->dicom_until_ms / 1000);
	prom_one(p, PROM_GAUGE, "needs_a_person", "1: `status` exits 3.", s->person);
}

/* R12 */
static void
put_room(struct prom *p, const struct room *room)
{
	enum lane i;

	prom_family(p, PROM_GAUGE, "catalogue_used_ratio", "Of the catalogue's address space.");
	prom_decimal(p, NULL, NULL, room->catalogue / 100.0);
	prom_family(p, PROM_GAUGE, "lane_closed", "1: central takes no bytes of it: no room.");
	for (i = LANE_STAT; i < LANES; i++)
		prom_count(p, "lane", lanes_name(i), room->closed >> i & 1);
}

static uint64_t
contact_age(const struct sites *s, const struct tally_row *r, int64_t wall_ms)
{
	int64_t age = wall_ms - sites_last_contact(s, r->site.site);

	return age > 0 ? (uint64_t)age / 1000 : 0;
}

/* The last row of a site is its latest incarnation. */
static uint64_t
ledger_seq(const struct tally *t, size_t i)
{
	while (i + 1 < t->n && t->rows[i + 1].leader == t->rows[i].leader)
		i++;
	return t->rows[i].site.head.seq;
}

enum of_site {
	SITE_KNOWN,
	SITE_HELD,
	SITE_OWED,
	SITE_LOST,
	SITE_WITHDRAWN,
	SITE_SEQ,
	SITE_CONTACT,
	SITE_OWED_BYTES,
	SITE_OWED_OLDEST,
	SITE_EXPOSED,
	SITE_EXPOSED_BYTES,
	SITE_EXPOSED_COMMITTED,
	SITE_EXPOSED_OLDEST,
	SITE_COPIES,
	SITE_FIGURES
};

static uint64_t
figure(const struct sites *s, size_t i, enum of_site of, int64_t wall_ms)
{
	const struct tally_row *r = &s->tally.rows[i];

	switch (of) {
	case SITE_KNOWN:
		return r->site_known;
	case SITE_HELD:
		return r->site_of[TALLY_HELD];
	case SITE_OWED:
		return r->site_of[TALLY_OWED];
	case SITE_LOST:
		return r->site_of[TALLY_LOST];
	case SITE_WITHDRAWN:
		return r->site_of[TALLY_WITHDRAWN];
	case SITE_SEQ:
		return ledger_seq(&s->tally, i);
	case SITE_CONTACT:
		return contact_age(s, r, wall_ms);
	case SITE_OWED_BYTES:
		return r->site_owed_bytes;
	case SITE_OWED_OLDEST:
		return r->site_owed_seconds;
	case SITE_EXPOSED:
		return r->site_exposure.instances;
	case SITE_EXPOSED_BYTES:
		return r->site_exposure.bytes;
	case SITE_EXPOSED_COMMITTED:
		return r->site_exposure.committed;
	case SITE_EXPOSED_OLDEST:
		return r->site_exposure.oldest_seconds;
	case SITE_COPIES:
		return r->site_copies;
	case SITE_FIGURES:
		break;
	}
	return 0;
}

/* Of a site's incarnations together, each image once: these do add up within a site. */
static void
put_sites(struct prom *p, const struct sites *s, int64_t wall_ms)
{
	static const struct {
		const char *name, *help;
	} rows[SITE_FIGURES] = {
		[SITE_KNOWN] = {"site_known_images", "Announced by the site: held, owed, lost, "
						     "withdrawn (R18)."},
		[SITE_HELD] = {"site_held_images", "Verified at central."},
		[SITE_OWED] = {"site_owed_images", "Not at central; a live site has them."},
		[SITE_LOST] = {"site_lost_images",
			       "Not at central, and nobody has them: a person."},
		[SITE_WITHDRAWN] = {"site_withdrawn_images", "Under a retract decision."},
		[SITE_SEQ] = {"site_ledger_seq", "Last entry of the latest incarnation's ledger."},
		[SITE_CONTACT] = {"site_contact_age_seconds", "Since the site last called."},
		[SITE_OWED_BYTES] = {"site_owed_bytes", "Bytes of the images that are owed."},
		[SITE_OWED_OLDEST] = {"site_owed_oldest_seconds",
				      "Age of the oldest image that is owed."},
		[SITE_EXPOSED] = {"site_exposed_images", "Lost if this building burnt now."},
		[SITE_EXPOSED_BYTES] = {"site_exposed_bytes", "Bytes of these."},
		[SITE_EXPOSED_COMMITTED] = {"site_exposed_committed_images",
					    "Of these, what its sender was told not to keep."},
		[SITE_EXPOSED_OLDEST] = {"site_exposed_oldest_seconds", "Age of the oldest."},
		[SITE_COPIES] = {"site_copies", "Edges that call as this site; 2: twins, a "
						"person (R8)."}};
	size_t k, i;

	for (k = 0; k < SITE_FIGURES && s->tally.n; k++) {
		prom_family(p, PROM_GAUGE, rows[k].name, rows[k].help);
		for (i = 0; i < s->tally.n; i++)
			if (s->tally.rows[i].leader == i)
				prom_count(p, "site", s->tally.rows[i].site.site,
					   figure(s, i, (enum of_site)k, wall_ms));
	}
}

int
metrics_of_central(struct central *c, struct buf *out, struct err *e)
{
	struct snapshot s;
	struct prom p;
	int rc = snapshot_make(&s, c, e);

	if (rc)
		return rc;
	prom_init(&p, out, "salamander_central");
	put_archive(&p, &s);
	put_room(&p, &s.room);
	put_sites(&p, &s.sites, clock_wall(c->clock));
	told_metrics(&p, &s.sites);
	snapshot_free(&s);
	return pledges_metrics(c->store, &p, e);
}
