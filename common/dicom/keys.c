#include "common/dicom/keys.h"

#include <stdlib.h>

static const struct key keys[] = {
	{0x00080008u, "CS", KEY_INSTANCE, KEY_PLAIN, "ImageType"},
	{0x00080012u, "DA", KEY_INSTANCE, KEY_DATE, "InstanceCreationDate"},
	{0x00080013u, "TM", KEY_INSTANCE, KEY_TIME, "InstanceCreationTime"},
	{0x00080016u, "UI", KEY_INSTANCE, KEY_UID, "SOPClassUID"},
	{0x00080018u, "UI", KEY_INSTANCE, KEY_UID, "SOPInstanceUID"},
	{0x0008001au, "UI", KEY_INSTANCE, KEY_UID, "RelatedGeneralSOPClassUID"},
	{0x00080020u, "DA", KEY_STUDY, KEY_DATE, "StudyDate"},
	{0x00080021u, "DA", KEY_SERIES, KEY_DATE, "SeriesDate"},
	{0x00080022u, "DA", KEY_INSTANCE, KEY_DATE, "AcquisitionDate"},
	{0x00080023u, "DA", KEY_INSTANCE, KEY_DATE, "ContentDate"},
	{0x0008002au, "DT", KEY_INSTANCE, KEY_PLAIN, "AcquisitionDateTime"},
	{0x00080030u, "TM", KEY_STUDY, KEY_TIME, "StudyTime"},
	{0x00080031u, "TM", KEY_SERIES, KEY_TIME, "SeriesTime"},
	{0x00080032u, "TM", KEY_INSTANCE, KEY_TIME, "AcquisitionTime"},
	{0x00080033u, "TM", KEY_INSTANCE, KEY_TIME, "ContentTime"},
	{0x00080050u, "SH", KEY_STUDY, KEY_TEXT, "AccessionNumber"},
	{0x00080051u, "SQ", KEY_STUDY, KEY_ISSUER, "IssuerOfAccessionNumberSequence"},
	{0x00080060u, "CS", KEY_SERIES, KEY_PLAIN, "Modality"},
	{0x00080068u, "CS", KEY_SERIES, KEY_PLAIN, "PresentationIntentType"},
	{0x00080070u, "LO", KEY_SERIES, KEY_TEXT, "Manufacturer"},
	{0x00080080u, "LO", KEY_SERIES, KEY_TEXT, "InstitutionName"},
	{0x00080090u, "PN", KEY_STUDY, KEY_NAME, "ReferringPhysicianName"},
	{0x00080201u, "SH", KEY_STUDY, KEY_TEXT, "TimezoneOffsetFromUTC"},
	{0x00081010u, "SH", KEY_SERIES, KEY_TEXT, "StationName"},
	{0x00081030u, "LO", KEY_STUDY, KEY_TEXT, "StudyDescription"},
	{0x00081032u, "SQ", KEY_STUDY, KEY_ITEMS, "ProcedureCodeSequence"},
	{0x0008103eu, "LO", KEY_SERIES, KEY_TEXT, "SeriesDescription"},
	{0x00081040u, "LO", KEY_SERIES, KEY_TEXT, "InstitutionalDepartmentName"},
	{0x00081048u, "PN", KEY_STUDY, KEY_NAME, "PhysiciansOfRecord"},
	{0x00081050u, "PN", KEY_SERIES, KEY_NAME, "PerformingPhysicianName"},
	{0x00081060u, "PN", KEY_STUDY, KEY_NAME, "NameOfPhysiciansReadingStudy"},
	{0x00081070u, "PN", KEY_SERIES, KEY_NAME, "OperatorsName"},
	{0x00081080u, "LO", KEY_STUDY, KEY_TEXT, "AdmittingDiagnosesDescription"},
	{0x00081090u, "LO", KEY_SERIES, KEY_TEXT, "ManufacturerModelName"},
	{0x00081110u, "SQ", KEY_STUDY, KEY_ITEMS, "ReferencedStudySequence"},
	{0x00081120u, "SQ", KEY_PATIENT, KEY_ITEMS, "ReferencedPatientSequence"},
	{0x00100010u, "PN", KEY_PATIENT, KEY_NAME, "PatientName"},
	{0x00100020u, "LO", KEY_PATIENT, KEY_TEXT, "PatientID"},
	{0x00100021u, "LO", KEY_PATIENT, KEY_TEXT, "IssuerOfPatientID"},
	{0x00100030u, "DA", KEY_PATIENT, KEY_DATE, "PatientBirthDate"},
	{0x00100032u, "TM", KEY_PATIENT, KEY_TIME, "PatientBirthTime"},
	{0x00100040u, "CS", KEY_PATIENT, KEY_PLAIN, "PatientSex"},
	{0x00101000u, "LO", KEY_PATIENT, KEY_TEXT, "OtherPatientIDs"},
	{0x00101001u, "PN", KEY_PATIENT, KEY_NAME, "OtherPatientNames"},
	{0x00101002u, "SQ", KEY_PATIENT, KEY_IDS, "OtherPatientIDsSequence"},
	{0x00101010u, "AS", KEY_STUDY, KEY_PLAIN, "PatientAge"},
	{0x00101020u, "DS", KEY_STUDY, KEY_PLAIN, "PatientSize"},
	{0x00101030u, "DS", KEY_STUDY, KEY_PLAIN, "PatientWeight"},
	{0x00102160u, "SH", KEY_PATIENT, KEY_TEXT, "EthnicGroup"},
	{0x00102180u, "SH", KEY_STUDY, KEY_TEXT, "Occupation"},
	{0x001021b0u, "LT", KEY_STUDY, KEY_LONG, "AdditionalPatientHistory"},
	{0x00104000u, "LT", KEY_PATIENT, KEY_LONG, "PatientComments"},
	{0x00180015u, "CS", KEY_SERIES, KEY_PLAIN, "BodyPartExamined"},
	{0x00181000u, "LO", KEY_SERIES, KEY_TEXT, "DeviceSerialNumber"},
	{0x00181030u, "LO", KEY_SERIES, KEY_TEXT, "ProtocolName"},
	{0x00185100u, "CS", KEY_SERIES, KEY_PLAIN, "PatientPosition"},
	{0x0020000du, "UI", KEY_STUDY, KEY_UID, "StudyInstanceUID"},
	{0x0020000eu, "UI", KEY_SERIES, KEY_UID, "SeriesInstanceUID"},
	{0x00200010u, "SH", KEY_STUDY, KEY_TEXT, "StudyID"},
	{0x00200011u, "IS", KEY_SERIES, KEY_PLAIN, "SeriesNumber"},
	{0x00200012u, "IS", KEY_INSTANCE, KEY_PLAIN, "AcquisitionNumber"},
	{0x00200013u, "IS", KEY_INSTANCE, KEY_PLAIN, "InstanceNumber"},
	{0x00200052u, "UI", KEY_SERIES, KEY_UID, "FrameOfReferenceUID"},
	{0x00200060u, "CS", KEY_SERIES, KEY_PLAIN, "Laterality"},
	{0x00201070u, "IS", KEY_STUDY, KEY_PLAIN, "OtherStudyNumbers"},
	{0x00204000u, "LT", KEY_INSTANCE, KEY_LONG, "ImageComments"},
	{0x00280002u, "US", KEY_INSTANCE, KEY_SHORT, "SamplesPerPixel"},
	{0x00280004u, "CS", KEY_INSTANCE, KEY_PLAIN, "PhotometricInterpretation"},
	{0x00280008u, "IS", KEY_INSTANCE, KEY_PLAIN, "NumberOfFrames"},
	{0x00280010u, "US", KEY_INSTANCE, KEY_SHORT, "Rows"},
	{0x00280011u, "US", KEY_INSTANCE, KEY_SHORT, "Columns"},
	{0x00280100u, "US", KEY_INSTANCE, KEY_SHORT, "BitsAllocated"},
	{0x00280101u, "US", KEY_INSTANCE, KEY_SHORT, "BitsStored"},
	{0x00280103u, "US", KEY_INSTANCE, KEY_SHORT, "PixelRepresentation"},
	{0x0032000au, "CS", KEY_STUDY, KEY_PLAIN, "StudyStatusID"},
	{0x00400244u, "DA", KEY_SERIES, KEY_DATE, "PerformedProcedureStepStartDate"},
	{0x00400245u, "TM", KEY_SERIES, KEY_TIME, "PerformedProcedureStepStartTime"},
	{0x00400253u, "SH", KEY_SERIES, KEY_TEXT, "PerformedProcedureStepID"},
	{0x00400254u, "LO", KEY_SERIES, KEY_TEXT, "PerformedProcedureStepDescription"},
	{0x00400275u, "SQ", KEY_SERIES, KEY_ITEMS, "RequestAttributesSequence"},
	{0x00400512u, "LO", KEY_INSTANCE, KEY_TEXT, "ContainerIdentifier"},
	{0x00400560u, "SQ", KEY_INSTANCE, KEY_ITEMS, "SpecimenDescriptionSequence"},
	{0x0040a043u, "SQ", KEY_INSTANCE, KEY_ITEMS, "ConceptNameCodeSequence"},
	{0x0040a491u, "CS", KEY_INSTANCE, KEY_PLAIN, "CompletionFlag"},
	{0x0040a493u, "CS", KEY_INSTANCE, KEY_PLAIN, "VerificationFlag"},
	{0x0040a504u, "SQ", KEY_INSTANCE, KEY_ITEMS, "ContentTemplateSequence"},
	{0x00700080u, "CS", KEY_INSTANCE, KEY_PLAIN, "ContentLabel"},
	{0x00700081u, "LO", KEY_INSTANCE, KEY_TEXT, "ContentDescription"},
	{0x4008010cu, "PN", KEY_STUDY, KEY_NAME, "InterpretationAuthor"},
};

/* PS3.4 C.6.1.1 and C.6.2.1, PS3.18 10.6: the keys in sequences, per level. */
static const struct key_item items[] = {
	{0x00081032u, 0x00080100u, "SH"}, {0x00081032u, 0x00080102u, "SH"},
	{0x00081032u, 0x00080103u, "SH"}, {0x00081032u, 0x00080104u, "LO"},
	{0x00081110u, 0x00081150u, "UI"}, {0x00081110u, 0x00081155u, "UI"},
	{0x00081120u, 0x00081150u, "UI"}, {0x00081120u, 0x00081155u, "UI"},
	{0x00400275u, 0x00080050u, "SH"}, {0x00400275u, 0x0020000du, "UI"},
	{0x00400275u, 0x00321060u, "LO"}, {0x00400275u, 0x00400007u, "LO"},
	{0x00400275u, 0x00400009u, "SH"}, {0x00400275u, 0x00401001u, "SH"},
	{0x00400560u, 0x00400551u, "LO"}, {0x00400560u, 0x00400554u, "UI"},
	{0x0040a043u, 0x00080100u, "SH"}, {0x0040a043u, 0x00080102u, "SH"},
	{0x0040a043u, 0x00080103u, "SH"}, {0x0040a043u, 0x00080104u, "LO"},
	{0x0040a504u, 0x00080105u, "CS"}, {0x0040a504u, 0x0040db00u, "CS"},
};

static int
by_tag(const void *a, const void *b)
{
	uint32_t tag = *(const uint32_t *)a, other = ((const struct key *)b)->tag;

	return tag < other ? -1 : tag > other;
}

const struct key *
key_find(uint32_t tag)
{
	return bsearch(&tag, keys, sizeof(keys) / sizeof(keys[0]), sizeof(keys[0]), by_tag);
}

const struct key *
key_all(size_t *n)
{
	*n = sizeof(keys) / sizeof(keys[0]);
	return keys;
}

const struct key_item *
key_item(uint32_t sequence, uint32_t tag)
{
	size_t i;

	for (i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		if (items[i].sequence == sequence && items[i].tag == tag)
			return &items[i];
	return NULL;
}

const struct key_item *
key_items(size_t *n)
{
	*n = sizeof(items) / sizeof(items[0]);
	return items;
}
