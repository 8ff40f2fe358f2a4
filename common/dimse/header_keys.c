#include "common/dimse/header_keys.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/dicom/charset.h"
#include "common/dicom/items.h"
#include "common/dicom/keys.h"
#include "common/dicom/scan.h"
#include "common/dimse/header_scan.h"
#include "common/store/match.h"

enum { CHARSET_BYTES = 256, GROUP_PIXELS = 0x7fe0, GROUP_LAST = 0xfffa };

/* What only a query has, or an archive says of its own media. */
static bool
is_no_attribute(uint32_t tag)
{
	static const uint32_t no[] = {0x00080053u, 0x00081190u, 0x00880130u, 0x00880140u};
	size_t i;

	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		if (no[i] == tag)
			return true;
	return false;
}

static const struct header_key above[] = {
	{0x00080081u, "ST", KEY_SERIES, "InstitutionAddress"},
	{0x00080082u, "SQ", KEY_SERIES, "InstitutionCodeSequence"},
	{0x00080092u, "ST", KEY_STUDY, "ReferringPhysicianAddress"},
	{0x00080094u, "SH", KEY_STUDY, "ReferringPhysicianTelephoneNumbers"},
	{0x00080096u, "SQ", KEY_STUDY, "ReferringPhysicianIdentificationSequence"},
	{0x0008009cu, "PN", KEY_STUDY, "ConsultingPhysicianName"},
	{0x0008009du, "SQ", KEY_STUDY, "ConsultingPhysicianIdentificationSequence"},
	{0x0008103fu, "SQ", KEY_SERIES, "SeriesDescriptionCodeSequence"},
	{0x00081041u, "SQ", KEY_SERIES, "InstitutionalDepartmentTypeCodeSequence"},
	{0x00081049u, "SQ", KEY_STUDY, "PhysiciansOfRecordIdentificationSequence"},
	{0x00081052u, "SQ", KEY_SERIES, "PerformingPhysicianIdentificationSequence"},
	{0x00081062u, "SQ", KEY_STUDY, "PhysiciansReadingStudyIdentificationSequence"},
	{0x00081072u, "SQ", KEY_SERIES, "OperatorIdentificationSequence"},
	{0x00081084u, "SQ", KEY_STUDY, "AdmittingDiagnosesCodeSequence"},
	{0x00081111u, "SQ", KEY_SERIES, "ReferencedPerformedProcedureStepSequence"},
	{0x00081250u, "SQ", KEY_SERIES, "RelatedSeriesSequence"},
	{0x00100022u, "CS", KEY_PATIENT, "TypeOfPatientID"},
	{0x00100024u, "SQ", KEY_PATIENT, "IssuerOfPatientIDQualifiersSequence"},
	{0x00100026u, "SQ", KEY_PATIENT, "SourcePatientGroupIdentificationSequence"},
	{0x00100033u, "LO", KEY_PATIENT, "PatientBirthDateInAlternativeCalendar"},
	{0x00100034u, "LO", KEY_PATIENT, "PatientDeathDateInAlternativeCalendar"},
	{0x00100035u, "CS", KEY_PATIENT, "PatientAlternativeCalendar"},
	{0x00100200u, "CS", KEY_PATIENT, "QualityControlSubject"},
	{0x00100212u, "UC", KEY_PATIENT, "StrainDescription"},
	{0x00100213u, "LO", KEY_PATIENT, "StrainNomenclature"},
	{0x00101005u, "PN", KEY_PATIENT, "PatientBirthName"},
	{0x00101021u, "SQ", KEY_STUDY, "PatientSizeCodeSequence"},
	{0x00101022u, "DS", KEY_STUDY, "PatientBodyMassIndex"},
	{0x00101040u, "LO", KEY_PATIENT, "PatientAddress"},
	{0x00101060u, "PN", KEY_PATIENT, "PatientMotherBirthName"},
	{0x00102000u, "LO", KEY_STUDY, "MedicalAlerts"},
	{0x00102110u, "LO", KEY_STUDY, "Allergies"},
	{0x00102154u, "SH", KEY_PATIENT, "PatientTelephoneNumbers"},
	{0x00102161u, "LO", KEY_PATIENT, "EthnicGroups"},
	{0x00102162u, "SQ", KEY_PATIENT, "EthnicGroupCodeSequence"},
	{0x001021a0u, "CS", KEY_STUDY, "SmokingStatus"},
	{0x001021c0u, "US", KEY_STUDY, "PregnancyStatus"},
	{0x001021d0u, "DA", KEY_STUDY, "LastMenstrualDate"},
	{0x00102201u, "LO", KEY_PATIENT, "PatientSpeciesDescription"},
	{0x00102202u, "SQ", KEY_PATIENT, "PatientSpeciesCodeSequence"},
	{0x00102203u, "CS", KEY_STUDY, "PatientSexNeutered"},
	{0x00102210u, "CS", KEY_SERIES, "AnatomicalOrientationType"},
	{0x00102292u, "LO", KEY_PATIENT, "PatientBreedDescription"},
	{0x00102293u, "SQ", KEY_PATIENT, "PatientBreedCodeSequence"},
	{0x00102297u, "PN", KEY_PATIENT, "ResponsiblePerson"},
	{0x00102298u, "CS", KEY_PATIENT, "ResponsiblePersonRole"},
	{0x00102299u, "LO", KEY_PATIENT, "ResponsibleOrganization"},
	{0x00120010u, "LO", KEY_PATIENT, "ClinicalTrialSponsorName"},
	{0x00120020u, "LO", KEY_PATIENT, "ClinicalTrialProtocolID"},
	{0x00120021u, "LO", KEY_PATIENT, "ClinicalTrialProtocolName"},
	{0x00120030u, "LO", KEY_PATIENT, "ClinicalTrialSiteID"},
	{0x00120031u, "LO", KEY_PATIENT, "ClinicalTrialSiteName"},
	{0x00120040u, "LO", KEY_PATIENT, "ClinicalTrialSubjectID"},
	{0x00120042u, "LO", KEY_PATIENT, "ClinicalTrialSubjectReadingID"},
	{0x00120050u, "LO", KEY_STUDY, "ClinicalTrialTimePointID"},
	{0x00120051u, "ST", KEY_STUDY, "ClinicalTrialTimePointDescription"},
	{0x00120060u, "LO", KEY_SERIES, "ClinicalTrialCoordinatingCenterName"},
	{0x00120062u, "CS", KEY_PATIENT, "PatientIdentityRemoved"},
	{0x00120063u, "LO", KEY_PATIENT, "DeidentificationMethod"},
	{0x00120064u, "SQ", KEY_PATIENT, "DeidentificationMethodCodeSequence"},
	{0x00120071u, "LO", KEY_SERIES, "ClinicalTrialSeriesID"},
	{0x00120072u, "LO", KEY_SERIES, "ClinicalTrialSeriesDescription"},
	{0x00181002u, "UI", KEY_SERIES, "DeviceUID"},
	{0x00181008u, "LO", KEY_SERIES, "GantryID"},
	{0x00181020u, "LO", KEY_SERIES, "SoftwareVersions"},
	{0x00181050u, "DS", KEY_SERIES, "SpatialResolution"},
	{0x00181200u, "DA", KEY_SERIES, "DateOfLastCalibration"},
	{0x00181201u, "TM", KEY_SERIES, "TimeOfLastCalibration"},
	{0x00181204u, "DA", KEY_SERIES, "DateOfManufacture"},
	{0x00181205u, "DA", KEY_SERIES, "DateOfInstallation"},
	{0x00201040u, "LO", KEY_SERIES, "PositionReferenceIndicator"},
	{0x00321030u, "LO", KEY_STUDY, "ReasonForStudy"},
	{0x00321032u, "PN", KEY_STUDY, "RequestingPhysician"},
	{0x00321033u, "LO", KEY_STUDY, "RequestingService"},
	{0x00321034u, "SQ", KEY_STUDY, "RequestingServiceCodeSequence"},
	{0x00321060u, "LO", KEY_STUDY, "RequestedProcedureDescription"},
	{0x00321064u, "SQ", KEY_STUDY, "RequestedProcedureCodeSequence"},
	{0x00321066u, "UT", KEY_STUDY, "ReasonForVisit"},
	{0x00321067u, "SQ", KEY_STUDY, "ReasonForVisitCodeSequence"},
	{0x00324000u, "LT", KEY_STUDY, "StudyComments"},
	{0x00380010u, "LO", KEY_STUDY, "AdmissionID"},
	{0x00380014u, "SQ", KEY_STUDY, "IssuerOfAdmissionIDSequence"},
	{0x00380060u, "LO", KEY_STUDY, "ServiceEpisodeID"},
	{0x00380062u, "LO", KEY_STUDY, "ServiceEpisodeDescription"},
	{0x00380064u, "SQ", KEY_STUDY, "IssuerOfServiceEpisodeIDSequence"},
	{0x00380300u, "LO", KEY_STUDY, "CurrentPatientLocation"},
	{0x00380500u, "LO", KEY_STUDY, "PatientState"},
	{0x00400241u, "AE", KEY_SERIES, "PerformedStationAETitle"},
	{0x00400242u, "SH", KEY_SERIES, "PerformedStationName"},
	{0x00400243u, "SH", KEY_SERIES, "PerformedLocation"},
	{0x00400250u, "DA", KEY_SERIES, "PerformedProcedureStepEndDate"},
	{0x00400251u, "TM", KEY_SERIES, "PerformedProcedureStepEndTime"},
	{0x00400260u, "SQ", KEY_SERIES, "PerformedProtocolCodeSequence"},
	{0x00400280u, "ST", KEY_SERIES, "CommentsOnThePerformedProcedureStep"},
	{0x00401002u, "LO", KEY_STUDY, "ReasonForTheRequestedProcedure"},
	{0x00401012u, "SQ", KEY_STUDY, "ReasonForPerformedProcedureCodeSequence"},
	{0x00401400u, "LT", KEY_STUDY, "RequestedProcedureComments"},
};

const struct header_key *
header_keys_above(size_t *n)
{
	*n = sizeof(above) / sizeof(above[0]);
	return above;
}

static const struct header_key *
find_above(uint32_t tag)
{
	size_t i;

	for (i = 0; i < sizeof(above) / sizeof(above[0]); i++)
		if (above[i].tag == tag)
			return &above[i];
	return NULL;
}

/* At which level an attribute of each is told. */
static const enum query_level levels[] = {[KEY_PATIENT] = QUERY_PATIENT,
					  [KEY_STUDY] = QUERY_STUDY,
					  [KEY_SERIES] = QUERY_SERIES,
					  [KEY_INSTANCE] = QUERY_IMAGE};

bool
header_keys_can(enum query_level level, uint32_t tag)
{
	const struct header_key *k = find_above(tag);
	unsigned group = tag >> 16;

	if (level != QUERY_IMAGE && !(k && levels[k->level] <= level))
		return false;
	return strcmp(identifier_vr(tag), "UN") == 0 && group >= 8 && group % 2 == 0 &&
	       group != GROUP_PIXELS && group < GROUP_LAST && (tag & 0xffff) != 0 &&
	       !is_no_attribute(tag);
}

bool
header_keys_tell(const struct identifier *id, enum query_level level, uint32_t tag)
{
	const struct key *k = key_find(tag);

	return header_keys_can(level, tag) ||
	       (k && tags_has(&id->beyond, tag) && levels[k->level] <= level);
}

/* A VR that the identifier or an object says of what stands in items. */
static void
note_inner(struct header_keys *h, uint32_t tag, const char vr[2])
{
	struct identifier_vr *to = &h->keys[h->n + h->n_inner];

	if (h->n_inner == HEADER_INNER_MAX ||
	    identifier_item_vr(h->keys, h->n + h->n_inner, tag)[0])
		return;
	to->tag = tag;
	memcpy(to->vr, vr, 2);
	to->vr[2] = '\0';
	h->n_inner++;
}

/* No attribute of its items is named. */
static bool
asks_for_whole(struct attr key)
{
	struct attr item, of;
	size_t pos = 0, at = 0;

	return !items_next(key, &pos, &item) || !items_attr(item, &at, &of);
}

void
header_keys_init(struct header_keys *h, const struct identifier *id, enum query_level level)
{
	const struct header_key *k;
	struct attr a;
	size_t pos = 0;
	unsigned i;

	memset(h, 0, sizeof(*h));
	while (attrs_next(attrs_of(&id->keys), &pos, &a)) {
		if (!header_keys_tell(id, level, a.tag))
			continue;
		if (h->n == HEADER_KEYS_MAX) {
			h->unknown = true;
			break;
		}
		h->whole[h->n] = asks_for_whole(a);
		h->keys[h->n].tag = a.tag;
		k = find_above(a.tag);
		memcpy(h->keys[h->n].vr,
		       key_find(a.tag) ? "SQ"
		       : k	       ? k->vr
				       : identifier_said(id, a.tag),
		       sizeof(h->keys[0].vr));
		h->n++;
	}
	note_inner(h, TAG_LONG_CODE, "UC"); /* codes that are no SH: in no table, implicit or not */
	note_inner(h, TAG_URN_CODE, "UR");
	for (i = 0; i < id->n_said; i++)
		note_inner(h, id->said[i].tag, id->said[i].vr);
}

void
header_keys_fini(struct header_keys *h)
{
	buf_fini(&h->set);
}

/* --- one object --- */

struct header_value {
	size_t offset, n;
	bool found;
};

struct header_reading {
	struct header_keys *h;
	struct header_value values[HEADER_KEYS_MAX];
	struct buf bytes;
	char charset[CHARSET_BYTES];
	size_t charset_n;
	int capture;	    /* a key, CHARSET or NONE        */
	int sequence;	    /* the key whose items these are; NONE */
	unsigned nested;    /* sequences that are open in an item    */
	struct buf inner;   /* value of an attribute in an item    */
	uint32_t inner_tag; /* which; 0: none                      */
};

enum { NONE = -1, CHARSET = -2 };

/* An attribute of an item of a sequence that is asked for. */
static void
open_inner(struct header_reading *r, const struct scan_element *el)
{
	if (r->sequence < 0 || el->depth != 1 || (el->tag & 0xffff) == 0 || el->tag >> 16 & 1)
		return;
	if (memcmp(el->vr, "UN", 2) == 0) {
		r->h->unknown = true;
		return;
	}
	if (el->vr[0])
		note_inner(r->h, el->tag, el->vr);
	r->inner_tag = el->tag;
	buf_clear(&r->inner);
}

static void
on_element(void *arg, const struct scan_element *el)
{
	struct header_reading *r = arg;
	unsigned i;

	r->capture = NONE;
	r->inner_tag = 0;
	if (el->depth > 0) {
		open_inner(r, el);
		return;
	}
	r->sequence = NONE;
	if (el->tag == TAG_CHARSET)
		r->capture = CHARSET;
	for (i = 0; i < r->h->n; i++)
		if (r->h->keys[i].tag == el->tag && !r->values[i].found) {
			r->capture = (int)i;
			r->values[i] = (struct header_value){r->bytes.len, 0, true};
			if (el->vr[0])
				memcpy(r->h->keys[i].vr, el->vr, 2);
		}
}

static void
too_long(struct header_reading *r, struct header_value *v)
{
	r->h->unknown = true;
	v->n = 0;
	v->found = false;
	r->capture = r->sequence = NONE;
	r->inner_tag = 0;
}

static void
on_value(void *arg, const struct scan_element *el, const unsigned char *p, size_t n)
{
	struct header_reading *r = arg;
	struct header_value *v;

	(void)el;
	if (r->capture == CHARSET) {
		n = n < CHARSET_BYTES - r->charset_n ? n : CHARSET_BYTES - r->charset_n;
		memcpy(r->charset + r->charset_n, p, n);
		r->charset_n += n;
	}
	if (r->inner_tag && r->inner.len <= HEADER_VALUE_MAX)
		buf_put(&r->inner, p, n);
	if (r->capture < 0)
		return;
	v = &r->values[r->capture];
	if (v->n + n > HEADER_VALUE_MAX) { /* never cut: it is not told then */
		too_long(r, v);
		return;
	}
	buf_put(&r->bytes, p, n);
	v->n += n;
}

/* The value of an item's attribute is whole: into the form of items.h, text as it came. */
static void
close_inner(struct header_reading *r)
{
	struct header_value *v = &r->values[r->sequence];
	const char *vr = identifier_item_vr(r->h->keys, r->h->n + r->h->n_inner, r->inner_tag);
	size_t before = r->bytes.len;

	if (!vr[0] &&
	    identifier_looks_binary(r->inner.data, r->inner.len)) { /* nobody knows of what kind */
		r->h->unknown = true;
		return;
	}
	if (identifier_binary(vr)) {
		struct buf hex = BUF_INIT;

		items_hex(&hex, r->inner.data, r->inner.len);
		items_put(&r->bytes, r->inner_tag, (const char *)hex.data, hex.len);
		r->bytes.failed = r->bytes.failed || buf_failed(&hex);
		buf_fini(&hex);
	} else {
		items_raw(&r->bytes, r->inner_tag, (const char *)r->inner.data, r->inner.len);
	}
	v->n += r->bytes.len - before;
	if (v->n > HEADER_VALUE_MAX)
		too_long(r, v);
}

static void
on_end(void *arg, const struct scan_element *el)
{
	struct header_reading *r = arg;

	(void)el;
	r->capture = NONE;
	if (r->inner_tag && r->sequence >= 0)
		close_inner(r);
	r->inner_tag = 0;
}

static void
on_mark(void *arg, enum scan_mark mark, uint64_t offset, uint32_t length)
{
	struct header_reading *r = arg;

	(void)offset;
	(void)length;
	if (mark == SCAN_SEQUENCE && r->capture >= 0) {
		r->sequence = r->capture;
		r->nested = 0;
		memcpy(r->h->keys[r->capture].vr, "SQ", 3);
	} else if (r->sequence >= 0 && mark == SCAN_SEQUENCE) {
		/* A sequence in an item is not told; who names one hears that anyway. */
		r->h->unknown = r->h->unknown || r->h->whole[r->sequence];
		r->nested++;
	} else if (r->sequence >= 0 && mark == SCAN_SEQUENCE_END && r->nested > 0) {
		r->nested--;
	} else if (mark == SCAN_SEQUENCE_END) {
		r->sequence = NONE;
	} else if (mark == SCAN_ITEM && r->sequence >= 0 && r->nested == 0) {
		items_begin(&r->bytes);
		if (++r->values[r->sequence].n > HEADER_VALUE_MAX)
			too_long(r, &r->values[r->sequence]);
	}
	r->inner_tag = 0;
	r->capture = NONE;
}

/* Text of items into UTF-8. */
static void
put_items(const struct header_reading *r, struct charset *charset, struct attr raw, struct buf *out)
{
	struct buf text = BUF_INIT;
	struct attr item, of;
	size_t pos = 0, at;

	while (items_next(raw, &pos, &item)) {
		items_begin(out);
		for (at = 0; items_attr(item, &at, &of);) {
			const char *vr =
				identifier_item_vr(r->h->keys, r->h->n + r->h->n_inner, of.tag);

			buf_clear(&text);
			(void)charset_to_utf8(charset, identifier_text(vr), of.value, of.n, &text);
			while (text.len > 0 && text.data[text.len - 1] == ' ')
				text.len--;
			items_put(out, of.tag, (const char *)text.data, text.len);
		}
	}
	out->failed = out->failed || buf_failed(&text);
	buf_fini(&text);
}

static void
put_value(struct header_reading *r, struct charset *charset, unsigned i)
{
	const struct identifier_vr *k = &r->h->keys[i];
	const char *p = r->bytes.data ? (const char *)r->bytes.data + r->values[i].offset : "";
	struct buf text = BUF_INIT;
	size_t n = r->values[i].n;

	if (strcmp(k->vr, "SQ") == 0) {
		put_items(r, charset, (struct attr){k->tag, p, n}, &text);
	} else if (identifier_binary(k->vr) || (!k->vr[0] && identifier_looks_binary(p, n))) {
		buf_put(&text, p, n);
	} else {
		(void)charset_to_utf8(charset, identifier_text(k->vr), p, n, &text);
		while (text.len > 0 &&
		       (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\0'))
			text.len--;
	}
	buf_put_u32(&r->h->set, k->tag);
	buf_put_u16(&r->h->set, (unsigned)text.len);
	buf_put(&r->h->set, text.data, text.len);
	r->h->set.failed = r->h->set.failed || buf_failed(&text);
	buf_fini(&text);
}

static int
collect(struct header_reading *r, struct err *e)
{
	struct charset *charset;
	unsigned i;
	int rc = charset_new(&charset, r->charset, r->charset_n, e);

	if (rc)
		return rc;
	for (i = 0; i < r->h->n; i++)
		if (r->values[i].found)
			put_value(r, charset, i);
	charset_free(charset);
	return buf_failed(&r->h->set) || buf_failed(&r->bytes) || buf_failed(&r->inner)
		       ? err_set(e, ERR_LOCAL, 0, "no memory for an object's attributes")
		       : 0;
}

int
header_keys_read(struct header_keys *h, struct store *s, uint64_t oid, struct err *e)
{
	struct header_reading *r = calloc(1, sizeof(*r));
	struct scan_handler handler = {on_element, on_value, on_end, on_mark, r};
	bool whole;
	int rc;

	buf_clear(&h->set);
	h->unknown = false;
	if (!r)
		return err_set(e, ERR_LOCAL, 0, "no memory for an object's attributes");
	r->h = h;
	r->capture = r->sequence = NONE;
	rc = header_scan(&whole, s, oid, &handler, e);
	h->unknown = h->unknown || !whole;
	if (!rc)
		rc = collect(r, e);
	buf_fini(&r->inner);
	buf_fini(&r->bytes);
	free(r);
	return rc;
}

static const char *
vr_in_items(const void *arg, uint32_t tag)
{
	const struct header_keys *h = arg;

	return identifier_item_vr(h->keys, h->n + h->n_inner, tag);
}

void
header_keys_answer(const struct header_keys *h, struct attr key, struct attr value, struct buf *out)
{
	struct match_vrs vrs = {vr_in_items, h};
	unsigned i;

	for (i = 0; i < h->n && h->keys[i].tag != key.tag; i++)
		;
	if (i < h->n && strcmp(h->keys[i].vr, "SQ") == 0)
		match_items_answer_by(&vrs, key.value, key.n, value, out);
	else
		buf_put(out, value.value, value.n);
}

static bool
one_matches(const struct header_keys *h, const struct identifier_vr *k, const struct attr *key,
	    struct attr value)
{
	struct match_vrs vrs = {vr_in_items, h};

	if (strcmp(k->vr, "SQ") == 0)
		return match_items_by(&vrs, key->value, key->n, value);
	if (identifier_binary(k->vr))
		return key->n == value.n && memcmp(key->value, value.value, key->n) == 0;
	return match_value(k->vr[0] ? k->vr : "LO", key->value, key->n, value);
}

bool
header_keys_match(const struct header_keys *h, const struct identifier *id)
{
	struct attr key, value;
	unsigned i;

	for (i = 0; i < h->n; i++) {
		if (!attrs_get(attrs_of(&id->keys), h->keys[i].tag, &key) ||
		    match_universal(key.value, key.n) ||
		    (key.value[0] == ITEMS_BEGIN && !identifier_binary(h->keys[i].vr) &&
		     match_items_universal(key.value, key.n)))
			continue;
		if (!attrs_get(attrs_of(&h->set), key.tag, &value)) {
			if (h->unknown)
				continue;
			return false;
		}
		if (!one_matches(h, &h->keys[i], &key, value))
			return false;
	}
	return true;
}
