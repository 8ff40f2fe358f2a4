/*
 * reject.h - rejection notes at an edge (IHE IOCM): what a note that is taken in makes of the
 * store, what an image that comes again does, and how a person says the same.
 *
 * A note counts from the commit that stores it, if its sender may reject (R29): the images that it
 * names are hidden, here or not, and the ledger tells central, which tells every other edge. The
 * note is hidden like what it rejects. From another sender, or if it cannot be read as a note, it
 * is an object like others, flagged (OBJECT_NOTE) and counted. Nothing is deleted for it.
 * Threads: in closures, as the transactions; commands any.
 */
#ifndef SALAMANDER_EDGE_REJECT_H
#define SALAMANDER_EDGE_REJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dicom/note.h"

struct asked;
struct edge;
struct err;
struct object_info;
struct store_tx;
struct Sync__Rejection; /* sync.pb-c.h */

/* Numbers of the sync table. */
#define REJECT_UNHEARD "notes_unheard" /* notes that do not count                    */
#define REJECT_AGAIN "rejected_again"  /* images that came again and stayed hidden   */

/* info: of the note. *images: how many it hides that are known here, 0: it counted before. */
int reject_by_note(struct store_tx *tx, struct edge *e, const struct note *note,
		   enum note_reason reason, const struct object_info *info, uint64_t *images,
		   struct err *err);
/* An image was stored, again or for the first time: what its retention was over for is shown. */
int reject_stored(struct store_tx *tx, struct edge *e, const char *sop_instance, struct err *err);
/* In a closure: it counts from now on, here and in the ledger. rank 0: above what is known; it is
 * filled in. *changed: images that are shown or hidden by it. */
int reject_say(struct store_tx *tx, struct edge *e, struct Sync__Rejection *m, uint64_t *changed,
	       struct err *err);
/* One more of REJECT_UNHEARD or REJECT_AGAIN. */
int reject_count(struct store_tx *tx, const char *name, struct err *err);
/* reject UID --reason WORD, restore UID --reason WORD, rejected [--json] */
int reject_command(struct asked *a);
int reject_list(struct asked *a);

#endif
