/*
 * keys.h - the attributes that are indexed, and at which level (PS3.4 C.6, PS3.18 10.6).
 *
 * One table serves the scanner (what to keep), the query engine (what can be
 * matched and answered) and documentation.
 */
#ifndef SALAMANDER_COMMON_DICOM_KEYS_H
#define SALAMANDER_COMMON_DICOM_KEYS_H

#include <stddef.h>
#include <stdint.h>

enum key_level { KEY_PATIENT, KEY_STUDY, KEY_SERIES, KEY_INSTANCE };

enum key_kind {
	KEY_PLAIN,  /* default repertoire only: CS, IS, DS, AS, AE           */
	KEY_UID,    /* UI                                                    */
	KEY_DATE,   /* DA                                                    */
	KEY_TIME,   /* TM                                                    */
	KEY_TEXT,   /* LO, SH: in the data set's character set               */
	KEY_LONG,   /* LT, ST: the same, a backslash is a character          */
	KEY_NAME,   /* PN                                                    */
	KEY_SHORT,  /* US: kept as decimal text                              */
	KEY_IDS,    /* (0010,1002): each item as <id>^^^<issuer>             */
	KEY_ISSUER, /* (0008,0051): the item's local or universal entity ID  */
	KEY_ITEMS   /* a sequence: what key_item names of its items (items.h) */
};

struct key {
	uint32_t tag;
	char vr[3];
	enum key_level level;
	enum key_kind kind;
	const char *name; /* keyword (PS3.6) */
};

/* NULL when the attribute is not indexed. */
const struct key *key_find(uint32_t tag);
/* All, in ascending tags. */
const struct key *key_all(size_t *n);

/* An attribute of a KEY_ITEMS sequence's items that is kept; NULL: it is not. */
struct key_item {
	uint32_t sequence, tag;
	char vr[3];
};
const struct key_item *key_item(uint32_t sequence, uint32_t tag);
const struct key_item *key_items(size_t *n);

#define TAG_CHARSET 0x00080005u
#define TAG_SOP_CLASS 0x00080016u
#define TAG_SOP_INSTANCE 0x00080018u
#define TAG_STUDY_DATE 0x00080020u
#define TAG_STUDY_TIME 0x00080030u
#define TAG_ACCESSION 0x00080050u
#define TAG_ACCESSION_ISSUER 0x00080051u
#define TAG_QUERY_LEVEL 0x00080052u
#define TAG_RETRIEVE_AET 0x00080054u
#define TAG_AVAILABILITY 0x00080056u
#define TAG_FAILED_UIDS 0x00080058u
#define TAG_MODALITY 0x00080060u
#define TAG_MODALITIES 0x00080061u
#define TAG_CLASSES 0x00080062u
#define TAG_REGIONS 0x00080063u
#define TAG_INSTITUTION 0x00080080u
#define TAG_REFERRING 0x00080090u
#define TAG_LONG_CODE 0x00080119u
#define TAG_URN_CODE 0x00080120u
#define TAG_TIMEZONE 0x00080201u
#define TAG_STATION 0x00081010u
#define TAG_AVAILABLE_SYNTAX 0x00083002u
#define TAG_STUDY_DESCRIPTION 0x00081030u
/* Of ours, in rows of the index alone (common/store/index.h). */
#define TAG_POOR 0x00090010u
#define TAG_POOR_SERIES 0x00090011u
#define TAG_ALTERNATES 0x00083001u
#define TAG_PATIENT_NAME 0x00100010u
#define TAG_PATIENT_ID 0x00100020u
#define TAG_PATIENT_ISSUER 0x00100021u
#define TAG_BIRTH_DATE 0x00100030u
#define TAG_SEX 0x00100040u
#define TAG_OTHER_IDS 0x00101002u
#define TAG_BODY_PART 0x00180015u
#define TAG_STUDY_UID 0x0020000du
#define TAG_SERIES_UID 0x0020000eu
#define TAG_STUDY_ID 0x00200010u
#define TAG_SERIES_NUMBER 0x00200011u
#define TAG_INSTANCE_NUMBER 0x00200013u
#define TAG_ENTITY_LOCAL 0x00400031u
#define TAG_ENTITY_UNIVERSAL 0x00400032u
#define TAG_ENTITY_TYPE 0x00400033u
#define TAG_REQUEST 0x00400275u
#define TAG_PATIENT_STUDIES 0x00201200u
#define TAG_PATIENT_SERIES 0x00201202u
#define TAG_PATIENT_INSTANCES 0x00201204u
#define TAG_STUDY_SERIES 0x00201206u
#define TAG_STUDY_INSTANCES 0x00201208u
#define TAG_SERIES_INSTANCES 0x00201209u
#define TAG_FRAMES 0x00280008u
#define TAG_FLOAT_DATA 0x7fe00008u
#define TAG_DOUBLE_DATA 0x7fe00009u
#define TAG_PIXEL_DATA 0x7fe00010u

#endif
