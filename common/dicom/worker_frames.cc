#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>

#include "common/dicom/worker_frames.h"

#include <cstring>
#include <vector>

struct pixel_frames {
	void *sequence;
	std::vector<unsigned long> firsts; /* of each frame, and one behind the last */
	std::vector<unsigned char> frame;
};

namespace
{

constexpr size_t ITEM_HEAD = 8, RLE_HEAD = 64;

const char *
fragment(void *sequence, unsigned long k, const unsigned char **p, size_t *n)
{
	auto *seq = static_cast<DcmPixelSequence *>(sequence);
	DcmPixelItem *item = nullptr;
	Uint8 *data = nullptr;

	if (seq->getItem(item, k).bad() || item->getUint8Array(data).bad())
		return "a fragment that cannot be read";
	*p = data;
	*n = data ? item->getLength() : 0;
	return nullptr;
}

unsigned long
items_of(void *sequence)
{
	return static_cast<DcmPixelSequence *>(sequence)->card();
}

size_t
u32(const unsigned char *p)
{
	return p[0] | static_cast<size_t>(p[1]) << 8 | static_cast<size_t>(p[2]) << 16 |
	       static_cast<size_t>(p[3]) << 24;
}

/* Every entry must point at a fragment, in order. */
const char *
by_table(pixel_frames *f, unsigned long number)
{
	const char *no = "frames in several fragments", *wrong;
	const unsigned char *table, *p;
	size_t n, size, at = 0;

	wrong = fragment(f->sequence, 0, &table, &n);
	if (wrong || n != number * 4)
		return wrong ? wrong : no;
	f->firsts.clear();
	for (unsigned long k = 1; k < items_of(f->sequence); k++) {
		if (f->firsts.size() < number && u32(table + 4 * f->firsts.size()) == at)
			f->firsts.push_back(k);
		wrong = fragment(f->sequence, k, &p, &size);
		if (wrong)
			return wrong;
		at += ITEM_HEAD + size;
	}
	return f->firsts.size() == number && f->firsts[0] == 1 ? nullptr : no;
}

const char *
by_begins(pixel_frames *f, unsigned long number, bool (*begins)(const unsigned char *p, size_t n))
{
	const unsigned char *p;
	size_t n;

	f->firsts.clear();
	for (unsigned long k = 1; k < items_of(f->sequence); k++) {
		const char *wrong = fragment(f->sequence, k, &p, &n);

		if (wrong)
			return wrong;
		if (begins && begins(p, n))
			f->firsts.push_back(k);
	}
	return f->firsts.size() == number && f->firsts[0] == 1 ? nullptr
							       : "frames in several fragments";
}

} // namespace

const char *
frames_open(struct pixel_frames **out, void *sequence, unsigned long number,
	    bool (*begins)(const unsigned char *p, size_t n))
{
	unsigned long items = items_of(sequence);
	const char *wrong = nullptr;

	if (number < 1 || items < number + 1)
		return "fewer fragments than frames";
	auto *f = new pixel_frames{sequence, {}, {}};
	if (number == 1)
		f->firsts.push_back(1);
	else if (items == number + 1)
		for (unsigned long i = 1; i <= number; i++)
			f->firsts.push_back(i);
	else
		wrong = by_table(f, number);
	if (wrong)
		wrong = by_begins(f, number, begins);
	f->firsts.push_back(items);
	if (wrong)
		delete f;
	else
		*out = f;
	return wrong;
}

void
frames_close(struct pixel_frames *f)
{
	delete f;
}

const char *
frames_get(struct pixel_frames *f, unsigned long i, const unsigned char **p, size_t *n)
{
	f->frame.clear();
	for (unsigned long k = f->firsts[i]; k < f->firsts[i + 1]; k++) {
		const unsigned char *part;
		size_t size;
		const char *wrong = fragment(f->sequence, k, &part, &size);

		if (wrong)
			return wrong;
		f->frame.insert(f->frame.end(), part, part + size);
	}
	*p = f->frame.data();
	*n = f->frame.size();
	return *n ? nullptr : "an empty frame";
}

const char *
rle_decode(const unsigned char *p, size_t n, unsigned char *out, size_t size)
{
	const char *no = "RLE that cannot be read";
	size_t at, done = 0;

	if (n < RLE_HEAD || u32(p) != 1)
		return no;
	at = u32(p + 4);
	while (done < size && at < n) {
		size_t code = p[at++], count = code < 128 ? code + 1 : 257 - code;
		size_t used = code < 128 ? count : 1;

		if (code == 128)
			continue;
		if (used > n - at)
			return no;
		if (count > size - done)
			count = size - done;
		if (code < 128)
			memcpy(out + done, p + at, count);
		else
			memset(out + done, p[at], count);
		done += count;
		at += used;
	}
	return done == size ? nullptr : no;
}
