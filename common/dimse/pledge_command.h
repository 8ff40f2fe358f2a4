/*
 * pledge_command.h - `commit`: an operator has an archive asked to commit to images of ours, and
 * sees what it said. The same on both nodes.
 *
 * What is asked is durable before it is; the command waits for the results, and whoever ends it
 * ends nothing else. It holds the node's lock for moments only.
 * Threads: ctl's.
 */
#ifndef SALAMANDER_COMMON_DIMSE_PLEDGE_COMMAND_H
#define SALAMANDER_COMMON_DIMSE_PLEDGE_COMMAND_H

#include <pthread.h>
#include <stdbool.h>

struct asked;
struct conf;
struct pledging;
struct store;

struct pledge_desk {
	const struct conf *conf;
	pthread_rwlock_t *use;
	/* Under that lock; each may be NULL meanwhile. */
	struct store *const *store;
	struct pledging *const *pledging;
	bool served; /* somebody will ask */
};

#define PLEDGE_OPTIONS " --send --no-wait --seen --json "
#define PLEDGE_USAGE                                                                               \
	"commit PEER UID... [--send] [--no-wait] [--json], or commit [PEER [--seen]] [--json]"

int pledge_command(struct asked *a, const struct pledge_desk *d);

#endif
