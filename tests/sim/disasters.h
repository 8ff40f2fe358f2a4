/*
 * disasters.h - disks that are lost, damaged, set back, or not there.
 *
 * What destroys bytes happens while all nodes are up, so that it is known who had what.
 * Threads: one.
 */
#ifndef SALAMANDER_TESTS_SIM_DISASTERS_H
#define SALAMANDER_TESTS_SIM_DISASTERS_H

struct world;

void disasters_rot(struct world *w);
void disasters_central_burns(struct world *w);
void disasters_central_back(struct world *w);
void disasters_edge_back(struct world *w);
void disasters_both_back(struct world *w);
void disasters_twin(struct world *w);
/* At rest, and neither copy takes anything in: only their words tell them apart. */
void disasters_quiet_twin(struct world *w);
void disasters_import(struct world *w);
void disasters_catalogue_lost(struct world *w);
void disasters_vault_lost(struct world *w);
void disasters_site_burns(struct world *w);
void disasters_emptied(struct world *w);
void disasters_not_mounted(struct world *w);

#endif
