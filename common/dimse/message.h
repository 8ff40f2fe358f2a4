/*
 * message.h - DIMSE messages (PS3.7): command sets built and read by ourselves.
 *
 * Command sets have no sequences and at most 64 KiB; identifiers at most
 * MESSAGE_IDENTIFIER_MAX, or MESSAGE_REFERENCES_MAX. What does not fit is ERR_PEER: hang up.
 * Threads: plain memory; a message belongs to the thread of its association.
 */
#ifndef SALAMANDER_COMMON_DIMSE_MESSAGE_H
#define SALAMANDER_COMMON_DIMSE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/uid.h"
#include "common/dicom/assoc.h"

struct err;

enum {
	MESSAGE_COMMAND_MAX = 65536,
	MESSAGE_IDENTIFIER_MAX = 1048576,
	MESSAGE_REFERENCES_MAX = 8 << 20, /* of an N-ACTION and an N-EVENT-REPORT */
	MESSAGE_COMMENT_SIZE = 65
};

/* PS3.7 E.1 */
enum message_command {
	MESSAGE_STORE_RQ = 0x0001,
	MESSAGE_STORE_RSP = 0x8001,
	MESSAGE_GET_RQ = 0x0010,
	MESSAGE_GET_RSP = 0x8010,
	MESSAGE_FIND_RQ = 0x0020,
	MESSAGE_FIND_RSP = 0x8020,
	MESSAGE_MOVE_RQ = 0x0021,
	MESSAGE_MOVE_RSP = 0x8021,
	MESSAGE_ECHO_RQ = 0x0030,
	MESSAGE_ECHO_RSP = 0x8030,
	MESSAGE_EVENT_RQ = 0x0100,
	MESSAGE_EVENT_RSP = 0x8100,
	MESSAGE_ACTION_RQ = 0x0130,
	MESSAGE_ACTION_RSP = 0x8130,
	MESSAGE_CANCEL_RQ = 0x0fff,
	MESSAGE_IS_ANSWER = 0x8000 /* the bit of all answers */
};

/*
 * PS3.4 and PS3.7 annex C: those that we send. S: C-STORE, F: C-FIND, R: C-MOVE and C-GET,
 * C: N-ACTION of storage commitment, E: N-EVENT-REPORT of it, *: every service.
 */
#define MESSAGE_STATUSES(X)                                                                        \
	X(STATUS_SUCCESS, 0x0000, "*", "success; C-STORE: the object is durable")                  \
	X(STATUS_PROCESSING_FAILURE, 0x0110, "*", "processing failure; the log says which")        \
	X(STATUS_NO_SUCH_INSTANCE, 0x0112, "CE", "another instance than the well-known one")       \
	X(STATUS_NO_SUCH_EVENT, 0x0113, "E", "another event than a result")                        \
	X(STATUS_INVALID_ARGUMENT, 0x0115, "CE",                                                   \
	  "no list of instances, or no transaction; of a result: none that was asked for")         \
	X(STATUS_CLASS_NOT_SUPPORTED, 0x0122, "*", "class of the message is not the context's")    \
	X(STATUS_NO_SUCH_ACTION, 0x0123, "C", "another action than the request")                   \
	X(STATUS_REFUSED_NOT_AUTHORIZED, 0x0124, "*", "the peer has no right to it")               \
	X(STATUS_UNRECOGNIZED_OPERATION, 0x0211, "*", "no operation of the context's class")       \
	X(STATUS_RESOURCE_LIMITATION, 0x0213, "C", "too many requests wait")                       \
	X(STATUS_OUT_OF_RESOURCES, 0xa700, "SF",                                                   \
	  "C-STORE: no room; C-FIND: more answers than are given")                                 \
	X(STATUS_SUBOPERATIONS_FAILED, 0xa702, "R", "no image could be sent")                      \
	X(STATUS_DESTINATION_UNKNOWN, 0xa801, "R", "move destination unknown")                     \
	X(STATUS_IDENTIFIER_MISMATCH, 0xa900, "FR", "identifier does not match the class")         \
	X(STATUS_WARNING_SUBOPERATIONS, 0xb000, "R", "some images could not be sent")              \
	X(STATUS_CANNOT_UNDERSTAND, 0xc000, "SFR", "data set or identifier cannot be understood")  \
	X(STATUS_CANCELED, 0xfe00, "FR", "cancelled by the peer")                                  \
	X(STATUS_PENDING, 0xff00, "FR", "pending; C-FIND: a match, every key matched")             \
	X(STATUS_PENDING_KEYS, 0xff01, "F", "a match, some keys were not matched")

#define MESSAGE_STATUS_VALUE(name, value, services, meaning) name = value,
enum message_status { MESSAGE_STATUSES(MESSAGE_STATUS_VALUE) };

/* Why one of several instances failed (PS3.3 C.14.1). */
enum message_reason {
	REASON_PROCESSING_FAILURE = 0x0110,
	REASON_NO_SUCH_INSTANCE = 0x0112,
	REASON_CLASS_INSTANCE_CONFLICT = 0x0119,
	REASON_DUPLICATE_TRANSACTION = 0x0131
};

struct message {
	unsigned char context; /* presentation context id               */
	unsigned command;      /* enum message_command, or an unknown one */
	char sop_class[UID_SIZE], sop_instance[UID_SIZE];
	unsigned id, responded_to;
	unsigned priority;
	unsigned status;
	bool has_data; /* a data set follows */
	char destination[ASSOC_AET_SIZE], originator[ASSOC_AET_SIZE];
	unsigned originator_id;
	unsigned type; /* of an event or an action */
	bool has_counts;
	unsigned remaining, completed, failed, warning;
	uint32_t offending; /* A900: the attribute that is wrong, 0: none */
	char comment[MESSAGE_COMMENT_SIZE];
};

/* The command set in implicit little endian, (0000,0000) first. */
void message_build(struct buf *out, const struct message *m);
int message_parse(struct message *out, const void *p, size_t n, struct err *e);

/* Builds the answer to rq: command, class, instance and ids set; status as given. */
void message_answer(struct message *out, const struct message *rq, unsigned status);
/* Writes a command set; the data set, if any, is the caller's next writes. */
int message_send(struct assoc *a, const struct message *m, struct err *e);
/* Command set and identifier. */
int message_send_with(struct assoc *a, const struct message *m, const struct buf *identifier,
		      struct err *e);
/* Reads one command set; ERR_AGAIN after `seconds` without a byte. */
int message_receive(struct assoc *a, unsigned seconds, struct message *out, struct err *e);
/* The identifier that follows a message with has_data. */
int message_receive_identifier(struct assoc *a, const struct message *m, unsigned seconds,
			       struct buf *out, struct err *e);
/* Has a C-CANCEL for this message come? Reads only what is there. */
int message_cancelled(struct assoc *a, unsigned id, bool *yes, struct err *e);

#endif
