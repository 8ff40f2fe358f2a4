#include "common/dicom/worker_j2k.h"

#include <cstring>
#include <memory>
#include <vector>

#include <openjpeg-2.5/openjpeg.h> /* Debian 12 */

namespace
{

struct source {
	const unsigned char *p;
	size_t n, at;
};

OPJ_SIZE_T
read_some(void *to, OPJ_SIZE_T n, void *arg)
{
	auto *s = static_cast<source *>(arg);

	if (s->at >= s->n)
		return static_cast<OPJ_SIZE_T>(-1);
	if (n > s->n - s->at)
		n = s->n - s->at;
	memcpy(to, s->p + s->at, n);
	s->at += n;
	return n;
}

OPJ_OFF_T
skip_some(OPJ_OFF_T n, void *arg)
{
	auto *s = static_cast<source *>(arg);

	if (n < 0 || static_cast<size_t>(n) > s->n - s->at)
		return -1;
	s->at += static_cast<size_t>(n);
	return n;
}

OPJ_BOOL
seek_to(OPJ_OFF_T to, void *arg)
{
	auto *s = static_cast<source *>(arg);

	if (to < 0 || static_cast<size_t>(to) > s->n)
		return OPJ_FALSE;
	s->at = static_cast<size_t>(to);
	return OPJ_TRUE;
}

/* Its messages may quote what they read. */
void
quiet(const char *, void *)
{
}

const char *
fits(const j2k_image *im, const opj_image_t *got)
{
	if (got->numcomps != im->samples)
		return "another number of components";
	for (unsigned c = 0; c < im->samples; c++) {
		const opj_image_comp_t *k = &got->comps[c];

		if (k->w != im->columns || k->h != im->rows || !k->data)
			return "another size";
		if (k->prec > im->allocated)
			return "more bits than allocated";
	}
	return nullptr;
}

void
copy_out(const j2k_image *im, const opj_image_t *got, unsigned char *out)
{
	size_t pixels = static_cast<size_t>(im->rows) * im->columns;

	for (unsigned c = 0; c < im->samples; c++)
		for (size_t i = 0; i < pixels; i++) {
			size_t at = i * im->samples + c;
			auto v = static_cast<uint32_t>(got->comps[c].data[i]);

			if (im->allocated == 8) {
				out[at] = static_cast<unsigned char>(v);
			} else {
				out[2 * at] = static_cast<unsigned char>(v);
				out[2 * at + 1] = static_cast<unsigned char>(v >> 8);
			}
		}
}

const char *
decode(opj_codec_t *codec, opj_stream_t *stream, const j2k_image *im, unsigned char *out)
{
	opj_dparameters_t how;
	opj_image_t *got = nullptr;
	const char *wrong = "no JPEG 2000 that can be read";

	opj_set_default_decoder_parameters(&how);
	opj_set_info_handler(codec, quiet, nullptr);
	opj_set_warning_handler(codec, quiet, nullptr);
	opj_set_error_handler(codec, quiet, nullptr);
	if (opj_setup_decoder(codec, &how) && opj_read_header(stream, codec, &got) &&
	    opj_decode(codec, stream, got) && opj_end_decompress(codec, stream)) {
		wrong = fits(im, got);
		if (!wrong)
			copy_out(im, got, out);
	}
	opj_image_destroy(got);
	return wrong;
}

/* --- the other way --- */

struct sink {
	std::vector<unsigned char> *to;
	size_t at;
};

OPJ_SIZE_T
write_some(void *from, OPJ_SIZE_T n, void *arg)
{
	auto *s = static_cast<sink *>(arg);

	if (s->at + n > s->to->size())
		s->to->resize(s->at + n);
	memcpy(s->to->data() + s->at, from, n);
	s->at += n;
	return n;
}

OPJ_OFF_T
skip_written(OPJ_OFF_T n, void *arg)
{
	auto *s = static_cast<sink *>(arg);

	if (n < 0)
		return -1;
	s->at += static_cast<size_t>(n);
	if (s->at > s->to->size())
		s->to->resize(s->at);
	return n;
}

OPJ_BOOL
seek_written(OPJ_OFF_T to, void *arg)
{
	auto *s = static_cast<sink *>(arg);

	if (to < 0 || static_cast<size_t>(to) > s->to->size())
		return OPJ_FALSE;
	s->at = static_cast<size_t>(to);
	return OPJ_TRUE;
}

void
copy_in(const j2k_image *im, unsigned stored, bool sign, const unsigned char *p, opj_image_t *to)
{
	size_t pixels = static_cast<size_t>(im->rows) * im->columns;
	uint32_t mask = (1U << stored) - 1, top = 1U << (stored - 1);

	for (unsigned c = 0; c < im->samples; c++)
		for (size_t i = 0; i < pixels; i++) {
			size_t at = i * im->samples + c;
			uint32_t v = im->allocated == 8
					     ? p[at]
					     : p[2 * at] | static_cast<uint32_t>(p[2 * at + 1])
								   << 8;
			auto value = static_cast<OPJ_INT32>(v & mask);

			if (sign && (v & top))
				value -= static_cast<OPJ_INT32>(mask) + 1;
			to->comps[c].data[i] = value;
		}
}

opj_image_t *
image_of(const j2k_image *im, unsigned stored, bool sign, const unsigned char *p)
{
	opj_image_cmptparm_t parts[3] = {};

	for (auto &k : parts) {
		k.dx = k.dy = 1;
		k.w = im->columns;
		k.h = im->rows;
		k.prec = stored;
		k.sgnd = sign;
	}
	opj_image_t *image = opj_image_create(im->samples, parts,
					      im->samples == 3 ? OPJ_CLRSPC_SRGB : OPJ_CLRSPC_GRAY);
	if (!image)
		return nullptr;
	image->x1 = im->columns;
	image->y1 = im->rows;
	copy_in(im, stored, sign, p, image);
	return image;
}

/* One quality, no loss; as many resolutions as the smaller side has room for. */
void
without_loss(const j2k_image *im, opj_cparameters_t *how)
{
	unsigned side = im->rows < im->columns ? im->rows : im->columns;

	opj_set_default_encoder_parameters(how);
	how->tcp_numlayers = 1;
	how->tcp_rates[0] = 0;
	how->cp_disto_alloc = 1;
	how->irreversible = 0;
	how->tcp_mct = im->samples == 3;
	while (how->numresolution > 1 && side >> (how->numresolution - 1) == 0)
		how->numresolution--;
}

bool
encode(opj_codec_t *codec, opj_stream_t *stream, opj_cparameters_t *how, opj_image_t *image)
{
	opj_set_info_handler(codec, quiet, nullptr);
	opj_set_warning_handler(codec, quiet, nullptr);
	opj_set_error_handler(codec, quiet, nullptr);
	return opj_setup_encoder(codec, how, image) && opj_start_compress(codec, image, stream) &&
	       opj_encode(codec, stream) && opj_end_compress(codec, stream);
}

} // namespace

const char *
j2k_decode(const struct j2k_image *im, const unsigned char *p, size_t n, unsigned char *out,
	   size_t size)
{
	static const unsigned char jp2[] = {0, 0, 0, 12, 'j', 'P', ' ', ' '};
	source s = {p, n, 0};
	bool file = n > sizeof(jp2) && memcmp(p, jp2, sizeof(jp2)) == 0;
	opj_codec_t *codec;
	opj_stream_t *stream;
	const char *wrong = "no memory";

	if ((im->allocated != 8 && im->allocated != 16) ||
	    size != static_cast<size_t>(im->rows) * im->columns * im->samples * im->allocated / 8)
		return "no size for its pixels";
	codec = opj_create_decompress(file ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K);
	stream = opj_stream_default_create(OPJ_TRUE);
	if (codec && stream) {
		opj_stream_set_user_data(stream, &s, nullptr);
		opj_stream_set_user_data_length(stream, n);
		opj_stream_set_read_function(stream, read_some);
		opj_stream_set_skip_function(stream, skip_some);
		opj_stream_set_seek_function(stream, seek_to);
		wrong = decode(codec, stream, im, out);
	}
	if (stream)
		opj_stream_destroy(stream);
	if (codec)
		opj_destroy_codec(codec);
	return wrong;
}

const char *
j2k_encode(const struct j2k_image *im, unsigned stored, bool sign, const unsigned char *p,
	   size_t size, const unsigned char **out, size_t *n)
{
	static std::vector<unsigned char> made;
	sink s = {&made, 0};
	opj_cparameters_t how;

	if ((im->allocated != 8 && im->allocated != 16) || stored < 1 || stored > im->allocated ||
	    (im->samples != 1 && im->samples != 3) ||
	    size != static_cast<size_t>(im->rows) * im->columns * im->samples * im->allocated / 8)
		return "no size for its pixels";
	made.clear();
	without_loss(im, &how);
	std::unique_ptr<opj_image_t, void (*)(opj_image_t *)> image(image_of(im, stored, sign, p),
								    opj_image_destroy);
	std::unique_ptr<opj_codec_t, void (*)(opj_codec_t *)> codec(
		opj_create_compress(OPJ_CODEC_J2K), opj_destroy_codec);
	std::unique_ptr<opj_stream_t, void (*)(opj_stream_t *)> stream(
		opj_stream_default_create(OPJ_FALSE), opj_stream_destroy);
	if (!image || !codec || !stream)
		return "no memory";
	opj_stream_set_user_data(stream.get(), &s, nullptr);
	opj_stream_set_write_function(stream.get(), write_some);
	opj_stream_set_skip_function(stream.get(), skip_written);
	opj_stream_set_seek_function(stream.get(), seek_written);
	if (!encode(codec.get(), stream.get(), &how, image.get()))
		return "pixels that cannot be compressed";
	*out = made.data();
	*n = made.size();
	return nullptr;
}
