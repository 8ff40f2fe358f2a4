/*
 * The simulator: seeds, one world each. `sim --seed N --loud` tells what happened in one.
 *
 * Several processes share the seeds: each takes the next one that nobody has.
 * Exit: 0 when every promise held, 1 else; the seed is printed.
 */
#include <argp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"
#include "tests/sim/count.h"
#include "tests/sim/disasters.h"
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
	JOBS_MAX = 64,
	FIGURES_EVERY = 8 /* events */
};

struct settings {
	uint64_t first;
	unsigned seeds, edges, days, events, only, seconds, jobs;
	bool loud, enough, brief;
};

struct shared { /* by all processes */
	_Atomic unsigned taken, played, bad;
	uint64_t seed[JOBS_MAX]; /* that this process plays */
	_Atomic unsigned seen[SEEN_KINDS];
};

static const struct argp_option options[] = {
	{"seed", 's', "N", 0, "the first seed (1)", 0},
	{"seeds", 'n', "N", 0, "how many (40, or what SIM_SEEDS says)", 0},
	{"edges", 'e', "N", 0, "sites (16)", 0},
	{"days", 'd', "N", 0, "simulated days of faults (7)", 0},
	{"events", 'v', "N", 0, "per day (24)", 0},
	{"only", 'o', "N", 0, "of each seed the first N events", 0},
	{"seconds", 't', "N", 0, "stop after so many", 0},
	{"jobs", 'j', "N", 0, "processes that share the seeds (1, or what SIM_JOBS says)", 0},
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
	case 'j':
		s->jobs = n && n < JOBS_MAX ? (unsigned)n : JOBS_MAX;
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
     _Atomic unsigned *seen)
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
	if (!w->wrong && !w->by_init)
		disasters_quiet_twin(w);
	if (!w->wrong && events == s->days * s->events)
		removed_call(w);
	if (!w->wrong)
		watch_memory(w);
	for (i = 0; seen && i < SEEN_KINDS; i++)
		atomic_fetch_add(&seen[i], w->seen[i]);
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

	quiet.loud = false;
	while (events - low > 1) {
		unsigned middle = low + (events - low) / 2;

		if (play(&quiet, seed, middle, folder, text, NULL))
			low = middle;
		else
			events = middle;
	}
	(void)play(&quiet, seed, events, folder, text, NULL);
	printf("  after %u: %s: sim --seed %llu --only %u --loud\n", events, text,
	       (unsigned long long)seed, events);
}

static void
play_some(const struct settings *s, struct shared *sh, unsigned job, const char *folder)
{
	time_t until = s->seconds ? time(NULL) + (time_t)s->seconds : 0;
	unsigned events = s->only ? s->only : s->days * s->events, i;
	char text[400];

	while ((!until || time(NULL) < until) && !(atomic_load(&sh->bad) && s->enough)) {
		i = atomic_fetch_add(&sh->taken, 1);
		if (i >= s->seeds)
			return;
		sh->seed[job] = s->first + i;
		atomic_fetch_add(&sh->played, 1);
		if (play(s, s->first + i, events, folder, text, sh->seen))
			continue;
		atomic_fetch_add(&sh->bad, 1);
		printf("seed %llu, %u events: %s\n", (unsigned long long)(s->first + i), events,
		       text);
		if (!s->brief)
			shrink(s, s->first + i, events, folder);
	}
}

/* With a folder of its own; gone when it ends. */
static void
play_in_folder(const struct settings *s, struct shared *sh, unsigned job)
{
	char folder[] = "/tmp/sim.XXXXXX", command[64];

	if (!mkdtemp(folder))
		abort();
	play_some(s, sh, job, folder);
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	(void)!system(command);
}

static void
play_all(const struct settings *s, struct shared *sh)
{
	pid_t children[JOBS_MAX];
	unsigned i;
	int status;

	if (s->jobs == 1) {
		play_in_folder(s, sh, 0);
		return;
	}
	for (i = 0; i < s->jobs; i++) {
		children[i] = fork();
		if (children[i] < 0)
			abort();
		if (children[i] == 0) {
			play_in_folder(s, sh, i);
			exit(0);
		}
	}
	for (i = 0; i < s->jobs; i++) {
		if (waitpid(children[i], &status, 0) != children[i] || status == 0)
			continue;
		atomic_fetch_add(&sh->bad, 1);
		printf("seed %llu: its process died\n", (unsigned long long)sh->seed[i]);
	}
}

int
main(int argc, char **argv)
{
	const char *seeds = getenv("SIM_SEEDS"), *jobs = getenv("SIM_JOBS");
	struct settings s = {.first = 1,
			     .seeds = SEEDS,
			     .edges = SITES_MAX,
			     .days = DAYS,
			     .events = EVENTS,
			     .jobs = 1};
	static const struct argp argp = {options, parse, NULL, "Plays worlds.", NULL, NULL, NULL};
	unsigned i, seen[SEEN_KINDS];
	struct shared *sh;
	bool all;

	(void)setenv("TZ", "UTC", 1); /* the hours of a week, wherever this runs */
	if (seeds)
		s.seeds = (unsigned)strtoul(seeds, NULL, 10);
	if (jobs)
		(void)parse('j', (char *)(uintptr_t)jobs, &(struct argp_state){.input = &s});
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argp_parse(&argp, argc, argv, 0, NULL, &s) || sh == MAP_FAILED)
		return 2;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	log_set_level(LOG_ERROR);
	play_all(&s, sh);
	for (i = 0; i < SEEN_KINDS; i++)
		seen[i] = atomic_load(&sh->seen[i]);
	all = seen_print(seen) || sh->played < SEEDS || s.only;
	printf("simulator: %u worlds, %u wrong\n", sh->played, sh->bad);
	if (!all)
		printf("simulator: something never happened\n");
	return sh->bad || !sh->played || !all ? 1 : 0;
}
