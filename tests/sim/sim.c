/*
 * The simulator: seeds, one world each. `sim --seed N --loud` tells what happened in one.
 *
 * Exit: 0 when every promise held, 1 else; the seed is printed.
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "tests/sim/count.h"
#include "tests/sim/faults.h"
#include "tests/sim/removed.h"
#include "tests/sim/said.h"
#include "tests/sim/truth.h"
#include "tests/sim/watch.h"
#include "tests/sim/world.h"

enum {
	NIGHT_PERCENT = 12,
	SETTLE_HOURS = 240,
	SEEDS = 40,
	DAYS = 7,
	EVENTS = 24,
	FIGURES_EVERY = 8 /* events */
};

struct settings {
	uint64_t first;
	unsigned seeds, edges, days, events, only, seconds;
	bool loud, enough, brief;
};

static const struct argp_option options[] = {
	{"seed", 's', "N", 0, "the first seed (1)", 0},
	{"seeds", 'n', "N", 0, "how many (40, or what SIM_SEEDS says)", 0},
	{"edges", 'e', "N", 0, "sites (16)", 0},
	{"days", 'd', "N", 0, "simulated days of faults (7)", 0},
	{"events", 'v', "N", 0, "per day (24)", 0},
	{"only", 'o', "N", 0, "of each seed the first N events", 0},
	{"seconds", 't', "N", 0, "stop after so many", 0},
	{"first", 'f', NULL, 0, "the first that breaks a promise is enough", 0},
	{"brief", 'b', NULL, 0, "do not look for the fewest events", 0},
	{"loud", 'l', NULL, 0, "say what happens", 0},
	{NULL, 0, NULL, 0, NULL, 0}};

static error_t
parse(int key, char *arg, struct argp_state *state)
{
	struct settings *s = state->input;
	unsigned long n = arg ? strtoul(arg, NULL, 10) : 0;

	switch (key) {
	case 's':
		s->first = n;
		s->seeds = 1;
		return 0;
	case 'n':
		s->seeds = (unsigned)n;
		return 0;
	case 'e':
		s->edges = n && n <= SITES_MAX ? (unsigned)n : SITES_MAX;
		return 0;
	case 'd':
		s->days = (unsigned)n;
		return 0;
	case 'v':
		s->events = (unsigned)n;
		return 0;
	case 'o':
		s->only = (unsigned)n;
		return 0;
	case 't':
		s->seconds = (unsigned)n;
		return 0;
	case 'f':
		s->enough = true;
		return 0;
	case 'b':
		s->brief = true;
		return 0;
	case 'l':
		s->loud = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Between two events minutes pass, and now and then a night in which nobody has work. */
static void
pass_time(struct world *w)
{
	world_run(w, 1 + (int64_t)world_below(w, 2 * SIM_MINUTE));
	if (world_chance(w, NIGHT_PERCENT * 10))
		w->now += (int64_t)world_below(w, 8 * SIM_HOUR);
	else
		w->now += (int64_t)world_below(w, SIM_HOUR);
}

static void
come_to_rest(struct world *w)
{
	if (!w->wrong && !world_settle(w, (int64_t)SETTLE_HOURS * SIM_HOUR))
		world_wrong(w, "it does not come to rest");
}

static void
look(struct world *w)
{
	count_figures(w);
	said_look_at_central(w);
}

/* The first `events` of this seed, then calm and rest; what was wrong goes to text. */
static bool
play(const struct settings *s, uint64_t seed, unsigned events, const char *folder, char text[400],
     unsigned *seen)
{
	struct world *w = calloc(1, sizeof(*w));
	unsigned i;
	bool good;

	if (!w)
		abort();
	w->loud = s->loud;
	world_open(w, seed, s->edges, folder);
	for (i = 0; !w->wrong && i < events; i++) {
		faults_happen(w);
		pass_time(w);
		truth_look_at_heads(w);
		watch_bounds(w, false);
		watch_packs(w);
		if (!w->wrong && i % FIGURES_EVERY == 0)
			look(w);
	}
	if (!w->wrong)
		faults_end(w);
	come_to_rest(w);
	if (!w->wrong)
		faults_verify(w);
	come_to_rest(w);
	if (!w->wrong)
		truth_final(w);
	if (!w->wrong)
		watch_bounds(w, true);
	if (!w->wrong && events == s->days * s->events)
		removed_call(w);
	if (!w->wrong)
		watch_memory(w);
	for (i = 0; seen && i < SEEN_KINDS; i++)
		seen[i] += w->seen[i];
	good = !w->wrong;
	(void)snprintf(text, 400, "%s", good ? "" : w->wrong);
	if (s->loud)
		printf("%u images, %u messages, %u deaths, %u fires, %u refused, %u evicted, "
		       "%u in the dark\n",
		       w->n_images, w->messages, w->deaths, w->fires, w->refused, w->evicted,
		       w->dark);
	world_close(w);
	free(w);
	return good;
}

/* How few of its events still break a promise: what happened last is what did it. */
static void
shrink(const struct settings *s, uint64_t seed, unsigned events, const char *folder)
{
	struct settings quiet = *s;
	unsigned low = 0;
	char text[400];

	printf("seed %llu, %u events: ", (unsigned long long)seed, events);
	(void)fflush(stdout);
	quiet.loud = false;
	while (events - low > 1) {
		unsigned middle = low + (events - low) / 2;

		if (play(&quiet, seed, middle, folder, text, NULL))
			low = middle;
		else
			events = middle;
	}
	(void)play(&quiet, seed, events, folder, text, NULL);
	printf("%s\n  after %u: sim --seed %llu --only %u --loud\n", text, events,
	       (unsigned long long)seed, events);
}

static unsigned
play_all(const struct settings *s, const char *folder, unsigned *played, unsigned seen[SEEN_KINDS])
{
	time_t until = s->seconds ? time(NULL) + (time_t)s->seconds : 0;
	unsigned events = s->only ? s->only : s->days * s->events, bad = 0, i;
	char text[400];

	for (i = 0; i < s->seeds && (!until || time(NULL) < until) && !(bad && s->enough); i++) {
		if (play(s, s->first + i, events, folder, text, seen))
			continue;
		bad++;
		if (s->brief)
			printf("seed %llu, %u events: %s\n", (unsigned long long)(s->first + i),
			       events, text);
		else
			shrink(s, s->first + i, events, folder);
	}
	*played = i;
	return bad;
}

int
main(int argc, char **argv)
{
	const char *wanted = getenv("SIM_SEEDS");
	struct settings s = {
		.first = 1, .seeds = SEEDS, .edges = SITES_MAX, .days = DAYS, .events = EVENTS};
	static const struct argp argp = {options, parse, NULL, "Plays worlds.", NULL, NULL, NULL};
	char folder[] = "/tmp/sim.XXXXXX", command[64];
	unsigned bad, played, seen[SEEN_KINDS] = {0};
	bool all;

	(void)setenv("TZ", "UTC", 1); /* the hours of a week, wherever this runs */
	if (wanted)
		s.seeds = (unsigned)strtoul(wanted, NULL, 10);
	if (argp_parse(&argp, argc, argv, 0, NULL, &s) || !mkdtemp(folder))
		return 2;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(LOG_ERROR);
	bad = play_all(&s, folder, &played, seen);
	all = seen_print(seen);
	printf("simulator: %u worlds, %u wrong\n", played, bad);
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	(void)!system(command);
	if (!all && played >= SEEDS && !s.only)
		printf("simulator: something never happened\n");
	return bad || !played || (!all && played >= SEEDS && !s.only) ? 1 : 0;
}
