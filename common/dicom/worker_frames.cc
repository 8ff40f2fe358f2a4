#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>

#include "common/dicom/worker_frames.h"

namespace
{

constexpr size_t ITEM_HEAD = 8, RLE_HEAD = 64;

const char *
fragment(DcmPixelSequence *seq, unsigned long k, const unsigned char **p, size_t *n)
{
	DcmPixelItem *item = nullptr;
	Uint8 *data = nullptr;

	if (seq->getItem(item, k).bad() || item->getUint8Array(data).bad())
		return "a fragment that cannot be read";
	*p = data;
	*n = data ? item->getLength() : 0;
	return nullptr;
}

size_t
u32(const unsigned char *p)
{
	return p[0] | static_cast<size_t>(p[1]) << 8 | static_cast<size_t>(p[2]) << 16 |
	       static_cast<size_t>(p[3]) << 24;
}

} // namespace

/* Every entry must point at a fragment, in order. */
const char *
pixel_frames::by_table(unsigned long number)
{
	const char *no = "frames in several fragments", *wrong;
	const unsigned char *table, *p;
	size_t n, size, at = 0;

	wrong = fragment(seq_, 0, &table, &n);
	if (wrong || n != number * 4)
		return wrong ? wrong : no;
	firsts_.clear();
	for (unsigned long k = 1; k < seq_->card(); k++) {
		if (firsts_.size() < number && u32(table + 4 * firsts_.size()) == at)
			firsts_.push_back(k);
		wrong = fragment(seq_, k, &p, &size);
		if (wrong)
			return wrong;
		at += ITEM_HEAD + size;
	}
	return firsts_.size() == number && firsts_[0] == 1 ? nullptr : no;
}

const char *
pixel_frames::by_begins(unsigned long number, bool (*begins)(const unsigned char *p, size_t n))
{
	const unsigned char *p;
	size_t n;

	firsts_.clear();
	for (unsigned long k = 1; k < seq_->card(); k++) {
		const char *wrong = fragment(seq_, k, &p, &n);

		if (wrong)
			return wrong;
		if (begins && begins(p, n))
			firsts_.push_back(k);
	}
	return firsts_.size() == number && firsts_[0] == 1 ? nullptr
							   : "frames in several fragments";
}

const char *
pixel_frames::open(DcmPixelSequence *seq, unsigned long number,
		   bool (*begins)(const unsigned char *p, size_t n))
{
	unsigned long items = seq->card();
	const char *wrong = nullptr;

	seq_ = seq;
	firsts_.clear();
	if (number < 1 || items < number + 1)
		return "fewer fragments than frames";
	if (number == 1)
		firsts_.push_back(1);
	else if (items == number + 1)
		for (unsigned long i = 1; i <= number; i++)
			firsts_.push_back(i);
	else
		wrong = by_table(number);
	if (wrong)
		wrong = by_begins(number, begins);
	firsts_.push_back(items);
	return wrong;
}

const char *
pixel_frames::get(unsigned long i, bytes *out) const
{
	out->clear();
	for (unsigned long k = firsts_[i]; k < firsts_[i + 1]; k++) {
		const unsigned char *p;
		size_t n;
		const char *wrong = fragment(seq_, k, &p, &n);

		if (wrong)
			return wrong;
		out->insert(out->end(), p, p + n);
	}
	return out->empty() ? "an empty frame" : nullptr;
}

const char *
rle_decode(const bytes &frame, size_t size, bytes *out)
{
	const char *no = "RLE that cannot be read";
	size_t at;

	if (frame.size() < RLE_HEAD || u32(frame.data()) != 1)
		return no;
	at = u32(frame.data() + 4);
	out->clear();
	while (out->size() < size && at < frame.size()) {
		size_t code = frame[at++], n = code < 128 ? code + 1 : 257 - code;

		if (code == 128)
			continue;
		if (at + (code < 128 ? n : 1) > frame.size())
			return no;
		if (code < 128)
			out->insert(out->end(), frame.begin() + static_cast<long>(at),
				    frame.begin() + static_cast<long>(at + n));
		else
			out->insert(out->end(), n, frame[at]);
		at += code < 128 ? n : 1;
	}
	if (out->size() < size)
		return no;
	out->resize(size);
	return nullptr;
}
