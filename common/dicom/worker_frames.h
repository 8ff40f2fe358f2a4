/*
 * worker_frames.h - encapsulated pixels frame by frame, and bits that are pixels (worker only).
 *
 * Frames are found by "a fragment each", "all are the one", the basic offset table, or where
 * fragments begin as a codestream does (PS3.5 A.4).
 * Threads: plain memory.
 */
#ifndef SALAMANDER_COMMON_DICOM_WORKER_FRAMES_H
#define SALAMANDER_COMMON_DICOM_WORKER_FRAMES_H

#include <cstddef>
#include <vector>

class DcmPixelSequence;

using bytes = std::vector<unsigned char>;

class pixel_frames
{
      public:
	/* begins: could a frame start with these bytes? Each returns NULL, or what is wrong. */
	const char *open(DcmPixelSequence *seq, unsigned long number,
			 bool (*begins)(const unsigned char *p, size_t n));
	const char *get(unsigned long i, bytes *out) const;

      private:
	DcmPixelSequence *seq_ = nullptr;
	std::vector<unsigned long> firsts_; /* of each frame, and one behind the last */
	const char *by_table(unsigned long number);
	const char *by_begins(unsigned long number,
			      bool (*begins)(const unsigned char *p, size_t n));
};

/* Pixels of one bit each, the first in the lowest bit, frames not padded (PS3.5 8.1.1). */
class packed_bits
{
      public:
	explicit packed_bits(size_t pixels) : out_((pixels + 15) / 16 * 2)
	{
	}
	void put(bool on)
	{
		if (on && at_ / 8 < out_.size())
			out_[at_ / 8] = static_cast<unsigned char>(out_[at_ / 8] | 1U << at_ % 8);
		at_++;
	}
	bytes *all()
	{
		return &out_;
	}

      private:
	bytes out_;
	size_t at_ = 0;
};

/* One frame of RLE (PS3.5 G) that is one segment of `size` bytes. NULL, or what is wrong. */
const char *rle_decode(const bytes &frame, size_t size, bytes *out);

#endif
