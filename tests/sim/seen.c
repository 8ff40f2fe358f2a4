#include "tests/sim/seen.h"

#include <stdio.h>

const char *
seen_name(enum seen s)
{
	static const char *const names[SEEN_KINDS] = {
		[SEEN_LOST] = "a request or its answer is lost",
		[SEEN_TWICE] = "a request arrives twice",
		[SEEN_OVERTAKEN] = "a request is overtaken by later ones",
		[SEEN_CUT_THERE] = "a line is cut on the way to central",
		[SEEN_CUT_BACK] = "a line is cut on the way back",
		[SEEN_DRIP] = "a line drips",
		[SEEN_HALF_CLOSED] = "a connection is closed at the edge, and central goes on",
		[SEEN_KILLED] = "a node is killed",
		[SEEN_POWER_CUT] = "a node loses its power",
		[SEEN_EIO] = "a disk gives errors",
		[SEEN_ENOSPC] = "a disk is full",
		[SEEN_ROT] = "a bit turns",
		[SEEN_CLOCK] = "a clock jumps by years",
		[SEEN_LIMITED] = "a site may use only a part of its link",
		[SEEN_FULL] = "a full cache refuses an image",
		[SEEN_FULL_IN_DARK] = "the same in the dark",
		[SEEN_VIEWED] = "a viewer is given an image",
		[SEEN_EXPOSED] = "an image exists in one building only, and is counted so",
		[SEEN_COMMITTED] = "a modality is told that an image is held",
		[SEEN_COMMITTED_HERE] = "the same, of one that only its edge holds",
		[SEEN_HOLD] = "nodes are told to free nothing, or that they may",
		[SEEN_STAT] = "a study is marked as stat",
		[SEEN_ORDERED] = "central orders a refill, a check, a study, or a setting",
		[SEEN_ORDER_DONE] = "an edge has carried out an order, or tried",
		[SEEN_SUSPENDED] = "a site is suspended",
		[SEEN_REMOVED] = "a site is removed",
		[SEEN_REMOVED_CALLS] = "one reads at a central that has forgotten that",
		[SEEN_TWIN_KEPT] = "of two copies one stays",
		[SEEN_RESTORED] = "an image is restored",
		[SEEN_HIDDEN_AT_EDGE] = "an edge hides what was retracted",
		[SEEN_TOO_MANY] = "an edge obeys no more retracts until a person has looked",
		[SEEN_DECIDED] = "a person chooses a version",
		[SEEN_LANES_CLOSED] =
			"central's disk fills, and an edge knows which lanes are closed",
		[SEEN_CENTRAL_BURNT] = "central burns",
		[SEEN_SITE_BURNT] = "a site burns, and central is told",
		[SEEN_EMPTIED] = "a disk is emptied, and nobody is told",
		[SEEN_NOT_MOUNTED] = "a disk is not mounted, and its node refuses to start",
		[SEEN_CATALOGUE_LOST] = "the catalogue is lost, and the vault kept",
		[SEEN_VAULT_LOST] = "the vault is lost, and the catalogue kept",
		[SEEN_CENTRAL_BACK] = "central is set back",
		[SEEN_CENTRAL_BACK_WHILE_CUT] = "central is set back while an edge is cut",
		[SEEN_EDGE_BACK] = "an edge is set back",
		[SEEN_EDGE_BACK_PAST] = "an edge is set back while cut, then past central's head",
		[SEEN_BOTH_BACK] = "an edge and central are set back",
		[SEEN_TWINS] = "two nodes have one identity",
		[SEEN_QUIET_TWINS] = "the same at rest, where neither takes anything in",
		[SEEN_UPGRADE_IN_UPLOAD] = "a node starts as another version during an upload",
		[SEEN_VERSIONS] = "another image comes under a UID that is taken",
		[SEEN_OLD_AND_NEW] = "an old node and a new one speak",
		[SEEN_RETRACTED] = "an image is retracted",
		[SEEN_IMPORTED] = "an old disk is imported",
		[SEEN_RETRACTED_IMPORTED] = "an old disk brings what was retracted since",
		[SEEN_EPOCH_IN_UPLOAD] = "a new epoch during an upload",
		[SEEN_DAMAGE_IN_UPLOAD] = "a member is damaged during its upload",
		[SEEN_ELSEWHERE_IN_UPLOAD] = "a member is receipted elsewhere during its upload",
	};

	return names[s];
}

bool
seen_print(const unsigned counts[SEEN_KINDS])
{
	bool all = true;
	int i;

	for (i = 0; i < SEEN_KINDS; i++) {
		printf("%8u %s\n", counts[i], seen_name((enum seen)i));
		all = all && counts[i];
	}
	return all;
}
