#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>

#include "common/dicom/worker_loss.h"

#include <cstdio>
#include <cstring>

namespace
{

constexpr unsigned char COD = 0x52, CAP = 0x50, SOS = 0xda;

/* What stands in the first segment of this kind, of the header of a codestream. */
const unsigned char *
segment(const unsigned char *p, size_t n, unsigned char marker, size_t *length)
{
	size_t at = 2;

	while (at + 4 <= n && p[at] == 0xff) {
		size_t size = static_cast<size_t>(p[at + 2]) << 8 | p[at + 3];

		if (size < 2 || size > n - at - 2)
			break;
		*length = size - 2;
		if (p[at + 1] == marker)
			return p + at + 4;
		at += 2 + size;
	}
	return nullptr;
}

/* JPEG-LS: NEAR, the last but two of the scan's header. */
bool
is_near(const unsigned char *p, size_t n)
{
	size_t length = 0;
	const unsigned char *s = segment(p, n, SOS, &length);

	return s && length >= 4 && s[length - 3] > 0;
}

/* JPEG 2000: the wavelet whose steps are no whole numbers. One of whole numbers may have been cut
 * short, which nobody can tell. */
const char *
wavelet(const unsigned char *p, size_t n)
{
	static const unsigned char begin[] = {0xff, 0x4f, 0xff, 0x51};
	auto stream = static_cast<const unsigned char *>(memmem(p, n, begin, sizeof(begin)));
	size_t left = stream ? n - static_cast<size_t>(stream - p) : 0, length = 0;
	const unsigned char *s = stream ? segment(stream, left, COD, &length) : nullptr;

	if (!s || length < 10 || s[9] != 0)
		return nullptr;
	return segment(stream, left, CAP, &length) ? "ISO_15444_15" : "ISO_15444_1";
}

const char *
method_of(E_TransferSyntax syntax, const unsigned char *p, size_t n)
{
	if (syntax == EXS_JPEGLSLossy)
		return is_near(p, n) ? "ISO_14495_1" : nullptr;
	if (syntax == EXS_JPEG2000 || syntax == EXS_JPEG2000LosslessOnly) /* as HTJ2K is read */
		return wavelet(p, n);
	return DcmXfer(syntax).isLossy() ? "ISO_10918_1" : nullptr;
}

} // namespace

struct loss
loss_of(void *dataset, int syntax)
{
	auto *ds = static_cast<DcmDataset *>(dataset);
	auto from = static_cast<E_TransferSyntax>(syntax);
	struct loss l = {nullptr, 0};
	DcmElement *element = nullptr;
	DcmPixelSequence *seq = nullptr;
	DcmPixelItem *item = nullptr;
	Uint8 *p = nullptr;

	if (ds->findAndGetElement(DCM_PixelData, element).bad() ||
	    static_cast<DcmPixelData *>(element)
		    ->getEncapsulatedRepresentation(from, nullptr, seq)
		    .bad())
		return l;
	for (unsigned long k = 1; k < seq->card(); k++)
		if (seq->getItem(item, k).good())
			l.coded += item->getLength();
	if (seq->getItem(item, 1).good() && item->getUint8Array(p).good() && p)
		l.method = method_of(from, p, item->getLength());
	return l;
}

void
loss_note(void *dataset, const struct loss *l)
{
	auto *ds = static_cast<DcmDataset *>(dataset);
	DcmElement *element = nullptr;
	char ratio[17];

	if (!l->method || l->coded == 0 || ds->findAndGetElement(DCM_PixelData, element).bad())
		return;
	(void)ds->putAndInsertString(DCM_LossyImageCompression, "01");
	if (!ds->tagExistsWithValue(DCM_LossyImageCompressionMethod))
		(void)ds->putAndInsertString(DCM_LossyImageCompressionMethod, l->method);
	if (ds->tagExistsWithValue(DCM_LossyImageCompressionRatio))
		return;
	(void)snprintf(ratio, sizeof(ratio), "%.4g",
		       element->getLength(EXS_LittleEndianExplicit) /
			       static_cast<double>(l->coded));
	(void)ds->putAndInsertString(DCM_LossyImageCompressionRatio, ratio);
}
