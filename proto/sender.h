/*
 * sender.h - what an edge does next towards one central, as a pure state machine.
 *
 * sender_step takes one event with its data and the time, and gives a bounded list
 * of actions. No socket, clock, thread or disk is inside: the driver carries the
 * actions out and comes back with what happened. Order of importance: hello,
 * ledger (in a request of its own, whatever else is queued), holdings, packs by lane (lanes.h).
 * Pieces of packs keep to the hour's rate (bandwidth.h), but those of lane stat, which count in it
 * and never wait for it; whatever else is said neither counts nor waits.
 *
 * Nothing that it forgets loses an image: what is owed stands in the edge's outbox.
 * Threads: one owner.
 */
#ifndef SALAMANDER_PROTO_SENDER_H
#define SALAMANDER_PROTO_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/rng.h"
#include "proto/bucket.h"
#include "proto/lanes.h"
#include "proto/steer.h"

enum {
	SENDER_SLOTS = 32, /* packs under way at once           */
	SENDER_ACTIONS = SENDER_SLOTS + 12,
	SENDER_HELLO_MS = 15000,     /* hello, when nothing else is said  */
	SENDER_HELLO_MAX_MS = 60000, /* hello, however busy                */
	SENDER_ROUNDS = 256,
	SENDER_QUIET_MS = 1000,	    /* a pack closes (DESIGN 6)          */
	SENDER_LARGE = 16 << 20,    /* a pack of more is one object     */
	SENDER_HOLDINGS = 16 << 20, /* seqs asked for at once: 2 MiB of bits; a fourth each time */
	SENDER_HOLDINGS_MIN = 262144, /* that the link does not carry the answer, down to this    */
	SENDER_LEDGER_MIN = 64 << 10, /* bytes of a request */
	SENDER_LEDGER_FIRST = 128 << 10,
	SENDER_LEDGER_MAX = 4 << 20,
	SENDER_LEDGER_MS = 2000, /* of its connection */
	SENDER_CUTS = 3,	 /* pieces in a row that broke off: it is the way to central */
	SENDER_CUT_MS = 30000	 /* or one, and none got through for so long since */
};

enum sender_request {
	SENDER_HELLO = 1,
	SENDER_LEDGER,
	SENDER_ASK,
	SENDER_PLACE,
	SENDER_PIECE,
	SENDER_DISSOLVE
};

/* What central says of an upload, in place of an offset. */
#define SENDER_NO_UPLOAD UINT64_MAX   /* it knows none: the manifest goes first */
#define SENDER_WHOLE (UINT64_MAX - 1) /* it has all of it: the manifest gives the receipt */

enum sender_event_kind {
	SENDER_TIME = 1, /* nothing but the time, and what waits (work) */
	SENDER_ANSWERED, /* to `request` (of `slot`)                    */
	SENDER_PACKED,	 /* a pack is in `slot`; size 0: there was nothing to pack */
	SENDER_APPLIED,	 /* an answer about holdings is applied; slot: its round   */
	SENDER_UNPACKED, /* `slot` is empty: receipted or dissolved     */
	SENDER_TRIED,	 /* what was due is in its lane again            */
	SENDER_FAILED	 /* a step of our own failed (disk): later again */
};

struct sender_work { /* what waits in a lane, in no pack */
	uint64_t count, bytes;
	int64_t since_ms; /* when the oldest of it came  */
	uint64_t newest;  /* the seq of the newest, in a pack or not; 0: not known */
};

struct sender_event {
	enum sender_event_kind kind;
	int64_t now_ms; /* monotonic */
	/* what waits, with every event */
	uint64_t head; /* last seq of our ledger           */
	struct sender_work work[LANES];
	int64_t late_ms; /* when the first of what was put off is due; 0: nothing is */
	/* what the hour leaves (bandwidth.h), and when it is over; 0: not known */
	bool limited;
	uint64_t limit; /* bytes per second on the wire; 0: stat alone */
	int64_t limit_until_ms;
	uint64_t jitter; /* random                       */
	/* SENDER_ANSWERED */
	enum sender_request request;
	unsigned slot;	 /* SENDER_ASK: the round it was asked in; SENDER_PLACE: the slots */
	int status;	 /* HTTP; 0: nobody answered       */
	bool ours;	 /* the answer carried our epoch (hello: the archive is ours) */
	bool agrees;	 /* hello, ledger: H at central's head is ours; hello: the token was, too */
	uint64_t number; /* hello, ledger: central's head; piece: its offset;
			    holdings: how many seqs the answer covers    */
	struct id128 epoch;	       /* hello                            */
	uint64_t losses;	       /* hello */
	uint32_t closed;	       /* hello: lanes that central has no room for (R12) */
	unsigned retry_after;	       /* seconds that central asks for; 0: none */
	bool receipted, bad;	       /* piece: a receipt came; members were bad */
	uint64_t sent, ms;	       /* bytes on the wire and how long the link took */
	uint64_t theirs_ms;	       /* piece: of these, for central's disks         */
	unsigned rtt_ms;	       /* of its connection; 0: not known              */
	bool steady;		       /* its connection does not shy from loss        */
	uint64_t places[SENDER_SLOTS]; /* SENDER_PLACE: by slot          */
	/* SENDER_PACKED */
	uint64_t size, last; /* bytes, and the highest seq in it */
};

enum sender_action_kind {
	SENDER_SAY_HELLO = 1,
	SENDER_SEND_LEDGER,    /* from seq `number` on, `count` bytes or so */
	SENDER_ASK_HOLDINGS,   /* `count` seqs from `number` on             */
	SENDER_NEW_EPOCH,      /* commit it: all receipts are of another one */
	SENDER_APPLY_HOLDINGS, /* of the answer; whole: each entry, else what is owed only */
	/* into `slot`, of `lane`, of seqs above `number`; from the oldest end if `oldest`, without
	 * what is larger than a pack if `small` */
	SENDER_MAKE_PACK,
	SENDER_TRY_LATE,     /* what was put off, and is due, goes back to its lane */
	SENDER_ASK_PLACES,   /* how far are the packs in the slots of the set `slot`? */
	SENDER_SEND_PIECE,   /* of `slot`: `count` bytes from `number` on; where they are
				fewer on the wire, up to `most` that are `count` there */
	SENDER_TAKE_RECEIPT, /* of the answer, for `slot`                 */
	SENDER_UNPACK,	     /* `slot`: its bad members out, the rest anew */
	/* `slot` fails again and again: all of it later, in smaller packs. number 1: nothing else
	 * came through meanwhile, so that it is hardly for its own sake. */
	SENDER_GIVE_UP,
	/* Of the answer to hello: central is ahead of us, H differs, or the token was not the last
	 * (R8). The driver says hello again and asks for more, or begins a new incarnation. */
	SENDER_STEPPED_BACK
};

struct sender_action {
	enum sender_action_kind kind;
	unsigned slot;
	uint64_t number, count, most; /* SENDER_MAKE_PACK: it closes at `count` bytes */
	enum lane lane;
	bool oldest, small;
	bool whole, first; /* first: the manifest goes along       */
	bool last;	   /* of a whole round: all was compared   */
};

struct sender_actions {
	struct sender_action a[SENDER_ACTIONS];
	unsigned n;
	int64_t wake_ms; /* nothing to do before, unless something happens */
};

enum sender_slot_state {
	SLOT_EMPTY,
	SLOT_PACKING, /* the driver makes a pack            */
	SLOT_READY,   /* to be sent from `offset` on        */
	SLOT_ASKING,  /* its offset is asked for            */
	SLOT_SENDING, /* a piece is under way               */
	SLOT_CLOSING  /* the driver takes a receipt or dissolves it */
};

struct sender {
	/* the contact */
	bool reachable, knows_epoch;
	struct id128 epoch;
	uint64_t losses;
	bool saying_hello;
	int64_t last_word_ms; /* last answer, whatever it said     */
	int64_t next_hello_ms, answered_hello_ms;
	unsigned failures; /* of 5xx in a row                   */
	/* Pieces that broke off, one for each time that hello had been answered; and when the first
	 * did. Any that central answers, or that it has more of, ends it, and a hello that nobody
	 * answers. */
	unsigned cuts;
	int64_t cut_ms;
	/* the ledger */
	bool sending_ledger;
	uint64_t ledger_bytes; /* of a request: images go as soon as theirs is answered */
	uint64_t announced;    /* acknowledged up to here (R7)      */
	/* holdings */
	bool asking, whole, round_due;
	bool through;		/* of a round of this epoch, since the start              */
	bool owed_known;	/* by the round before: packs need not wait               */
	bool again;		/* central lost something since: once more, when this is through */
	uint64_t compared_with; /* `losses` when the round began                                 */
	unsigned round;		/* an answer of another one is dropped */
	uint64_t ask_most;	/* seqs at once                                                  */
	uint64_t ask_next, ask_until; /* next > until: nothing to ask     */
	uint64_t applying;	      /* seqs of the answer that is applied */
	/* packs */
	struct sender_slot {
		enum sender_slot_state state;
		uint64_t size, offset, last;
		enum lane lane;
		uint64_t made;	 /* the how-manieth of all packs             */
		uint64_t served; /* the last piece's number                  */
		bool asked;	 /* the offset is central's word       */
		bool begun;	 /* central has the manifest           */
		int64_t not_before_ms;
		unsigned failures, refusals; /* in a row; refusals: for its own sake */
		uint64_t budget;	     /* bytes on the wire of the piece under way */
		uint64_t charged;	     /* to the bucket, for it */
		uint64_t good_then;	     /* `good`, at the first of these         */
		unsigned stumbles;  /* it got no further, and others did since the last one */
		uint64_t good_last; /* `good`, at the last of these          */
	} slots[SENDER_SLOTS];
	uint32_t closed;	 /* lanes, as the last hello said */
	struct bucket bucket;	 /* of what goes to central; stat is exempt */
	int64_t pieces_after_ms; /* central asked all to wait (Retry-After) */
	struct lanes lanes;	 /* whose turn it is                          */
	uint64_t served;	 /* pieces                                    */
	uint64_t made;		 /* packs                                   */
	uint64_t good;		 /* pieces that brought any pack further */
	struct steer steer;	 /* how large pieces are, and how many at once */
	struct sender_lane {
		uint64_t made;	 /* packs: each eighth from the oldest end, so that none starves */
		int64_t made_ms; /* when the last one was begun             */
		int64_t idle_until_ms; /* nothing to pack, or packing failed      */
		bool idle_empty;       /* the former: there may be once more is announced */
	} of[LANES];
	bool trying; /* SENDER_TRY_LATE is under way */
	int64_t try_after_ms;
};

/* epoch, losses: of the last hello that was committed; zero: none. */
void sender_init(struct sender *s, const struct id128 *epoch, uint64_t losses);
/* A pack from before a restart: its place at central is asked for. false: no slot free. */
bool sender_resume(struct sender *s, unsigned *slot, uint64_t size, uint64_t last, enum lane lane);
/* How many pieces may be on the link at once, until it is steered otherwise: 1 to SENDER_SLOTS. */
void sender_connections(struct sender *s, unsigned n);
/* The driver could not commit a new epoch: the next hello finds it new again. */
void sender_forget(struct sender *s);
/* Compare the whole ledger, at the next step: whatever was asked before is asked anew (R19). */
void sender_compare(struct sender *s);
/* The whole ledger is being compared: what central lacks of it is not all owed yet. */
bool sender_comparing(const struct sender *s);
/* Hello at the next step, whatever was said lately. */
void sender_hello(struct sender *s);
/* Central is not called before this time. */
void sender_rest(struct sender *s, int64_t until_ms);
/* Monotonic time of the next try of what waits for central (hello, or a pack that it would not
 * take); 0: nothing waits. */
int64_t sender_retry(const struct sender *s);
/* Hello gets through, and pieces do not: something on the way breaks them off. */
bool sender_cut_off(const struct sender *s, int64_t now_ms);
void sender_step(struct sender *s, const struct sender_event *ev, struct sender_actions *out);

#endif
