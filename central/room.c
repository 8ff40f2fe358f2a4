#include "central/room.h"

#include <stdbool.h>

#include "central/central.h"
#include "common/base/conf.h"
#include "common/base/err.h"
#include "common/os/file.h"
#include "common/store/store.h"
#include "proto/lanes.h"

static const struct {
	const char *key;
	uint32_t lanes;
} limits[] = {{"full_backfill", 1u << LANE_BACKFILL},
	      {"full_resend", 1u << LANE_RESEND},
	      {"full", 1u << LANE_FRESH | 1u << LANE_STAT}};
enum { LIMITS = sizeof(limits) / sizeof(limits[0]) };

uint32_t
room_closed_at(const struct conf *conf, unsigned percent)
{
	uint32_t closed = 0;
	int i;

	for (i = 0; i < LIMITS; i++)
		if (percent >= (uint64_t)conf_number(conf, "data", NULL, limits[i].key))
			closed |= limits[i].lanes;
	return closed;
}

/* In use of the disk; rounded down, as of everything below. */
static unsigned
percent_of(uint64_t used, uint64_t all)
{
	return all ? (unsigned)(used / (all / 100 + 1)) : 0;
}

static int
used(const struct central *c, unsigned *disk, unsigned *catalogue, struct err *e)
{
	struct store_space space;
	uint64_t avail, total;
	int rc = file_space(c->dir, &avail, &total, e);

	store_space(c->store, &space);
	*catalogue = percent_of(space.used, space.map);
	*disk = rc ? 0 : percent_of(total > avail ? total - avail : 0, total);
	return rc;
}

void
room_look(const struct central *c, struct room *out)
{
	unsigned more;
	int rc = used(c, &out->disk, &out->catalogue, NULL);

	more = out->disk > out->catalogue ? out->disk : out->catalogue;
	out->closed = rc ? 0 : room_closed_at(c->conf, more); /* a piece will say what is wrong */
}

uint32_t
room_closed(const struct central *c)
{
	struct room room;

	room_look(c, &room);
	return room.closed;
}

int
room_check(const struct central *c, unsigned lane, struct err *e)
{
	unsigned disk, catalogue, full = (unsigned)conf_number(c->conf, "data", NULL, "full");
	bool known = lane > LANE_LEDGER && lane < LANES;
	int rc = used(c, &disk, &catalogue, e);

	if (!rc && disk >= full)
		rc = err_set(e, ERR_FULL, 0, "central's disk is full");
	if (!rc && catalogue >= full)
		rc = err_set(e, ERR_FULL, 0, "the catalogue is full: raise [data] catalogue");
	if (!rc && known &&
	    room_closed_at(c->conf, disk > catalogue ? disk : catalogue) & 1u << lane)
		rc = err_set(e, ERR_FULL, 0, "central takes no more of lane %s",
			     lanes_name((enum lane)lane));
	return rc;
}

int
room_check_settings(const struct conf *conf, struct err *e)
{
	int i;

	for (i = 1; i < LIMITS; i++)
		if (conf_number(conf, "data", NULL, limits[i - 1].key) >
		    conf_number(conf, "data", NULL, limits[i].key))
			return err_set(e, ERR_LOCAL, 0, "[data] %s is above %s", limits[i - 1].key,
				       limits[i].key);
	return 0;
}
