/*
 * worker.cc - salamander-worker: recodes one object after the other, and may die of it (worker.h).
 */
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmdata/dcistrmf.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dcrlerp.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpeg/djrplol.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/dcmjpls/djcparam.h>
#include <dcmtk/dcmjpls/djencode.h>
#include <dcmtk/dcmjpls/djrparam.h>
#include <dcmtk/oflog/oflog.h>

#include "common/dicom/worker.h"
#include "common/dicom/worker_frames.h"
#include "common/dicom/worker_j2k.h"
#include "common/dicom/worker_loss.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace
{

using bytes = std::vector<unsigned char>;

constexpr int EXIT_USAGE = 2;
constexpr int PIECE_KEPT = 32 << 20, MEMORY_KEPT = 64 << 20; /* of memory, between objects */

/* --- what DCMTK does not decode, frame by frame --- */

struct frames {
	j2k_image im;
	unsigned long number = 1;
	bool bits = false; /* a bit a pixel */
};

const char *
describe(DcmDataset *ds, frames *f)
{
	Uint16 rows = 0, columns = 0, samples = 1, allocated = 0;
	Sint32 number = 1;

	if (ds->findAndGetUint16(DCM_Rows, rows).bad() ||
	    ds->findAndGetUint16(DCM_Columns, columns).bad() ||
	    ds->findAndGetUint16(DCM_BitsAllocated, allocated).bad())
		return "an image without a size";
	if (ds->findAndGetUint16(DCM_SamplesPerPixel, samples).bad())
		samples = 1;
	if (ds->findAndGetSint32(DCM_NumberOfFrames, number).bad())
		number = 1;
	f->bits = allocated == 1 && samples == 1;
	if (f->bits)
		allocated = 8; /* a byte each, for now */
	if (number < 1 || (samples != 1 && samples != 3) || (allocated != 8 && allocated != 16))
		return "an image of an unusual kind";
	f->im = {rows, columns, samples, allocated};
	f->number = static_cast<unsigned long>(number);
	return nullptr;
}

/* A codestream, or a file with one in it. */
bool
begins_j2k(const unsigned char *p, size_t n)
{
	static const unsigned char stream[] = {0xff, 0x4f, 0xff, 0x51};
	static const unsigned char jp2[] = {0, 0, 0, 12, 'j', 'P', ' ', ' '};

	return (n > sizeof(stream) && memcmp(p, stream, sizeof(stream)) == 0) ||
	       (n > sizeof(jp2) && memcmp(p, jp2, sizeof(jp2)) == 0);
}

bool
begins_rle(const unsigned char *p, size_t n)
{
	static const unsigned char one[] = {1, 0, 0, 0, 64, 0, 0, 0};

	return n > sizeof(one) && memcmp(p, one, sizeof(one)) == 0;
}

/* Values that the codestream kept with a sign are as PixelRepresentation says: the same bits. */
const char *
put_pixels(DcmDataset *ds, const frames &f, bytes *pixels)
{
	auto *element = new DcmPixelData(DCM_PixelData);
	OFString photometric;
	OFCondition c;

	if (f.im.allocated == 8) {
		if (pixels->size() % 2)
			pixels->push_back(0);
		element->setVR(f.im.samples == 1 && f.number == 1 ? EVR_OW : EVR_OB);
		c = element->putUint8Array(pixels->data(), pixels->size());
	} else {
		c = element->putUint16Array(reinterpret_cast<const Uint16 *>(pixels->data()),
					    pixels->size() / 2);
	}
	if (c.good())
		c = ds->insert(element, OFTrue);
	if (c.bad()) {
		delete element;
		return "pixels that cannot be put back";
	}
	(void)ds->findAndGetOFString(DCM_PhotometricInterpretation, photometric);
	if (photometric == "YBR_RCT" || photometric == "YBR_ICT")
		(void)ds->putAndInsertString(DCM_PhotometricInterpretation, "RGB");
	if (f.im.samples > 1)
		(void)ds->putAndInsertUint16(DCM_PlanarConfiguration, 0);
	return nullptr;
}

const char *
open_frames(DcmDataset *ds, E_TransferSyntax from, const frames &f, pixel_frames **out)
{
	DcmElement *element = nullptr;
	DcmPixelSequence *seq = nullptr;

	if (ds->findAndGetElement(DCM_PixelData, element).bad() ||
	    static_cast<DcmPixelData *>(element)
		    ->getEncapsulatedRepresentation(from, nullptr, seq)
		    .bad())
		return "no encapsulated pixel data";
	return frames_open(out, seq, f.number, from == EXS_RLELossless ? begins_rle : begins_j2k);
}

/* A bit a pixel, the first in the lowest bit; J2K has a sample for each, RLE has them packed and
 * each frame padded, which native pixels are not (PS3.5 8.1.1). */
const char *
decode_bits(const frames &f, pixel_frames *in, E_TransferSyntax from, bytes *out)
{
	size_t pixels = static_cast<size_t>(f.im.rows) * f.im.columns, at = 0, n;
	bytes plain(pixels);

	out->assign((pixels * f.number + 15) / 16 * 2, 0);
	for (unsigned long i = 0; i < f.number; i++) {
		const unsigned char *p;
		const char *wrong = frames_get(in, i, &p, &n);

		if (!wrong)
			wrong = from == EXS_RLELossless
					? rle_decode(p, n, plain.data(), (pixels + 7) / 8)
					: j2k_decode(&f.im, p, n, plain.data(), pixels);
		if (wrong)
			return wrong;
		for (size_t k = 0; k < pixels; k++, at++)
			if (from == EXS_RLELossless ? plain[k / 8] >> k % 8 & 1 : plain[k] != 0)
				(*out)[at / 8] =
					static_cast<unsigned char>((*out)[at / 8] | 1U << at % 8);
	}
	return nullptr;
}

const char *
decode_all(const frames &f, pixel_frames *in, bytes *out)
{
	size_t n, size = static_cast<size_t>(f.im.rows) * f.im.columns * f.im.samples *
			 f.im.allocated / 8;

	out->resize(size * f.number);
	for (unsigned long i = 0; i < f.number; i++) {
		const unsigned char *p;
		const char *wrong = frames_get(in, i, &p, &n);

		if (!wrong)
			wrong = j2k_decode(&f.im, p, n, out->data() + i * size, size);
		if (wrong)
			return wrong;
	}
	return nullptr;
}

const char *
decode_frames(DcmDataset *ds, E_TransferSyntax from)
{
	bytes pixels;
	pixel_frames *in = nullptr;
	frames f;
	const char *wrong = describe(ds, &f);

	if (!wrong)
		wrong = open_frames(ds, from, f, &in);
	if (wrong)
		return wrong;
	std::unique_ptr<pixel_frames, void (*)(pixel_frames *)> owned(in, frames_close);
	wrong = f.bits ? decode_bits(f, in, from, &pixels) : decode_all(f, in, &pixels);
	return wrong ? wrong : put_pixels(ds, f, &pixels);
}

/* --- one job --- */

bool
is_j2k(E_TransferSyntax x)
{
	return x == EXS_JPEG2000LosslessOnly || x == EXS_JPEG2000;
}

bool
is_plain(E_TransferSyntax x)
{
	return x == EXS_LittleEndianExplicit || x == EXS_LittleEndianImplicit;
}

bool
is_compressed(E_TransferSyntax x)
{
	return x == EXS_RLELossless || x == EXS_JPEGProcess14SV1 || x == EXS_JPEGLSLossless ||
	       x == EXS_JPEG2000LosslessOnly;
}

/* --- lossless compression: what comes of it is decoded again and compared --- */

/* Native pixels, colour by pixel. */
const char *
plain_pixels(DcmDataset *ds, bytes *out)
{
	const Uint16 *words = nullptr;
	const Uint8 *octets = nullptr;
	Uint16 planar = 0;
	frames f;
	const char *wrong = describe(ds, &f);
	size_t size, width, plane;
	unsigned long n = 0;

	if (wrong || f.bits)
		return wrong ? wrong : "a bit a pixel";
	if (ds->findAndGetUint16Array(DCM_PixelData, words, &n).good())
		n *= 2;
	else if (ds->findAndGetUint8Array(DCM_PixelData, octets, &n).bad())
		return "no pixels";
	auto p = words ? reinterpret_cast<const unsigned char *>(words) : octets;
	width = f.im.allocated / 8;
	plane = static_cast<size_t>(f.im.rows) * f.im.columns;
	size = plane * f.im.samples * width;
	if (size == 0 || n / size < f.number) /* their product may be more than a size_t holds */
		return "fewer pixels than it says";
	out->assign(p, p + size * f.number);
	(void)ds->findAndGetUint16(DCM_PlanarConfiguration, planar);
	if (planar != 1 || f.im.samples == 1)
		return nullptr;
	for (unsigned long k = 0; k < f.number; k++)
		for (size_t i = 0; i < plane; i++)
			for (unsigned c = 0; c < f.im.samples; c++)
				memcpy(out->data() + k * size + (i * f.im.samples + c) * width,
				       p + k * size + (c * plane + i) * width, width);
	return nullptr;
}

/* Bits of a sample, and whether they have a sign. */
struct sample {
	Uint16 stored = 0;
	bool sign = false;
};

sample
sample_of(DcmDataset *ds, const frames &f)
{
	Uint16 high = 0, representation = 0;
	sample s;

	(void)ds->findAndGetUint16(DCM_PixelRepresentation, representation);
	s.sign = representation == 1;
	/* From bit 0 on, or all that are allocated. */
	if (ds->findAndGetUint16(DCM_BitsStored, s.stored).bad() ||
	    ds->findAndGetUint16(DCM_HighBit, high).bad() || s.stored < 1 ||
	    s.stored > f.im.allocated || high + 1 != s.stored)
		s.stored = static_cast<Uint16>(f.im.allocated);
	return s;
}

/* Above the stored bits a value has zeros or its sign, which tell nothing: all have the sign. */
void
spread_sign(const frames &f, sample s, bytes *pixels)
{
	if (f.im.allocated != 16 || s.stored == 16 || !s.sign)
		return;
	unsigned rest = 0xffffU << s.stored & 0xffff, top = 1U << (s.stored - 1);

	for (size_t i = 0; i + 1 < pixels->size(); i += 2) {
		unsigned v = (*pixels)[i] | static_cast<unsigned>((*pixels)[i + 1]) << 8;

		if ((v & rest) == 0 && (v & top))
			(*pixels)[i + 1] = static_cast<unsigned char>((v | rest) >> 8);
	}
}

/* A frame a fragment, an offset for each (PS3.5 A.4.4). */
const char *
encode_j2k(DcmDataset *ds, const bytes &pixels)
{
	DcmElement *element = nullptr;
	frames f;
	const char *wrong = describe(ds, &f);
	const unsigned char *out = nullptr;
	size_t n = 0;
	DcmOffsetList offsets;

	if (wrong || ds->findAndGetElement(DCM_PixelData, element).bad())
		return wrong ? wrong : "no pixels";
	sample s = sample_of(ds, f);
	size_t size = pixels.size() / f.number;
	auto seq = std::make_unique<DcmPixelSequence>(DcmTag(DCM_PixelData, EVR_OB));
	auto *table = new DcmPixelItem(DcmTag(DCM_Item, EVR_OB));
	(void)seq->insert(table);
	for (unsigned long i = 0; i < f.number; i++) {
		wrong = j2k_encode(&f.im, s.stored, s.sign, pixels.data() + i * size, size, &out,
				   &n);
		if (wrong)
			return wrong;
		if (seq->storeCompressedFrame(offsets, const_cast<Uint8 *>(out),
					      static_cast<Uint32>(n), 0)
			    .bad())
			return "a frame that cannot be kept";
	}
	if (table->createOffsetTable(offsets).bad())
		return "offsets that cannot be kept";
	static_cast<DcmPixelData *>(element)->putOriginalRepresentation(EXS_JPEG2000LosslessOnly,
									nullptr, seq.release());
	if (f.im.samples == 3) {
		(void)ds->putAndInsertString(DCM_PhotometricInterpretation, "YBR_RCT");
		(void)ds->putAndInsertUint16(DCM_PlanarConfiguration, 0);
	}
	return ds->canWriteXfer(EXS_JPEG2000LosslessOnly) ? nullptr
							  : "pixels that cannot be compressed";
}

const char *
encode(DcmDataset *ds, E_TransferSyntax target)
{
	DcmRLERepresentationParameter rle;
	DJ_RPLossless jpeg(1, 0);
	DJLSRepresentationParameter jpegls(0, OFTrue);
	const DcmRepresentationParameter *how = &rle;
	OFString derivation;
	bool derived = ds->findAndGetOFStringArray(DCM_DerivationDescription, derivation).good();

	if (target == EXS_JPEGProcess14SV1)
		how = &jpeg;
	if (target == EXS_JPEGLSLossless)
		how = &jpegls;
	if (ds->chooseRepresentation(target, how).bad() || !ds->canWriteXfer(target))
		return "pixels that cannot be compressed";
	/* The library tells of itself there; what is lossless changes nothing of the image. */
	if (derived)
		(void)ds->putAndInsertOFStringArray(DCM_DerivationDescription, derivation);
	else
		(void)ds->findAndDeleteElement(DCM_DerivationDescription);
	ds->removeAllButCurrentRepresentations();
	return nullptr;
}

const char *
still_the_same(DcmDataset *ds, E_TransferSyntax target, const bytes &pixels,
	       const OFString &photometric)
{
	OFString now;
	bytes again;
	const char *wrong = "pixels that did not survive it";

	if (is_j2k(target) ? decode_frames(ds, target) != nullptr
			   : ds->chooseRepresentation(EXS_LittleEndianExplicit, nullptr).bad())
		return wrong;
	if (is_j2k(target))
		ds->removeAllButCurrentRepresentations();
	if (plain_pixels(ds, &again) || again != pixels)
		return wrong;
	(void)ds->findAndGetOFString(DCM_PhotometricInterpretation, now);
	return now == photometric ? nullptr : wrong;
}

const char *
save(DcmFileFormat *file, const char *to, E_TransferSyntax target)
{
	struct stat st;

	if (file->saveFile(to, target, EET_UndefinedLength, EGL_noChange, EPD_noChange, 0, 0,
			   EWM_dataset)
		    .bad())
		return "a result that cannot be written";
	/* The library closes its file without looking whether the last of it was written. */
	return stat(to, &st) || st.st_size != static_cast<off_t>(file->getDataset()->getLength(
						      target, EET_UndefinedLength))
		       ? "a result that is not whole"
		       : nullptr;
}

const char *
compress(DcmFileFormat *file, const char *to, E_TransferSyntax target)
{
	DcmDataset *ds = file->getDataset();
	OFString photometric;
	bytes pixels;
	const char *wrong = plain_pixels(ds, &pixels);

	(void)ds->findAndGetOFString(DCM_PhotometricInterpretation, photometric);
	if (!wrong && target == EXS_JPEG2000LosslessOnly) {
		frames f;

		/* Only what is RGB may be made YBR_RCT. */
		wrong = describe(ds, &f);
		if (!wrong && f.im.samples == 3 && photometric != "RGB")
			wrong = "colours other than RGB";
		if (!wrong) {
			spread_sign(f, sample_of(ds, f), &pixels);
			wrong = encode_j2k(ds, pixels);
		}
	} else if (!wrong) {
		wrong = encode(ds, target);
	}
	if (!wrong)
		wrong = save(file, to, target);
	return wrong ? wrong : still_the_same(ds, target, pixels, photometric);
}

/* --- high-throughput JPEG 2000: OpenJPEG reads it, DCMTK does not know its syntaxes --- */

/* Where the data set of a canonical file in one of them begins; 0: it is in another. Is it the one
 * that may lose something? */
size_t
ht_begins(const char *path, bool *lossy)
{
	static const char family[] = "1.2.840.10008.1.2.4.20"; /* 201, 202, 203 */
	unsigned char head[512];
	std::unique_ptr<FILE, int (*)(FILE *)> f(fopen(path, "rb"), fclose);
	size_t n = f ? fread(head, 1, sizeof(head), f.get()) : 0, at = 144, length, end;

	if (n < at || memcmp(head + 128, "DICM", 4) != 0)
		return 0;
	end = at + (head[140] | static_cast<size_t>(head[141]) << 8);
	for (; end <= n && at + 8 <= end; at += length) {
		bool wide = memcmp(head + at + 4, "OB", 2) == 0;

		length =
			wide ? head[at + 8] : head[at + 6] | static_cast<size_t>(head[at + 7]) << 8;
		if (head[at + 2] == 0x10 && length >= sizeof(family) && at + 8 + length <= end &&
		    memcmp(head + at + 8, family, sizeof(family) - 1) == 0 &&
		    head[at + 8 + sizeof(family) - 1] >= '1' &&
		    head[at + 8 + sizeof(family) - 1] <= '3') {
			*lossy = head[at + 8 + sizeof(family) - 1] == '3';
			return end;
		}
		length += wide ? 12 : 8;
	}
	return 0;
}

/* As JPEG 2000, which its data sets look like. */
bool
load_ht(DcmDataset *ds, const char *path, size_t at)
{
	DcmInputFileStream in(path);

	/* Not opened there: values are read later, at offsets from where it was opened. */
	(void)in.skip(static_cast<offile_off_t>(at));
	ds->transferInit();
	bool good =
		in.status().good() && ds->read(in, EXS_JPEG2000LosslessOnly, EGL_noChange).good();
	ds->transferEnd();
	return good;
}

/* What a coder lost stays lost, and is said. */
const char *
make_plain(DcmDataset *ds, E_TransferSyntax had, bool lossy, E_TransferSyntax target)
{
	Uint16 allocated = 0;
	struct loss l = {nullptr, 0};
	const char *wrong = nullptr;

	if (lossy)
		l = loss_of(ds, had);
	(void)ds->findAndGetUint16(DCM_BitsAllocated, allocated);
	if (is_j2k(had) || (had == EXS_RLELossless && allocated == 1))
		wrong = decode_frames(ds, had);
	else if (ds->chooseRepresentation(target, nullptr).bad())
		wrong = "pixels that cannot be decoded";
	if (wrong)
		return wrong;
	ds->removeAllButCurrentRepresentations();
	if (!ds->canWriteXfer(target, had))
		return "pixels that cannot be decoded";
	loss_note(ds, &l);
	return nullptr;
}

/* NULL: the data set is written. Else the step that failed. */
const char *
recode(const char *from, const char *to, const char *syntax)
{
	DcmFileFormat file;
	DcmDataset *ds = file.getDataset();
	E_TransferSyntax target = DcmXfer(syntax).getXfer(), had;
	const char *wrong = nullptr;
	bool lossy = false;
	size_t ht = ht_begins(from, &lossy);

	if (!is_plain(target) && !is_compressed(target))
		return "a syntax that nobody makes here";
	if (ht ? !load_ht(ds, from, ht) : file.loadFile(from, EXS_Unknown, EGL_noChange).bad())
		return "an object that cannot be parsed";
	had = ds->getOriginalXfer();
	lossy = lossy || DcmXfer(had).isLossy();
	if (is_plain(target)) {
		wrong = make_plain(ds, had, lossy, target);
		return wrong ? wrong : save(&file, to, target);
	}
	if (lossy) /* its syntax would no longer tell, and no coder gives back what is lost */
		return "pixels of a lossy syntax";
	if (DcmXfer(had).isEncapsulated())
		wrong = make_plain(ds, had, false, EXS_LittleEndianExplicit);
	return wrong ? wrong : compress(&file, to, target);
}

/* --- limits, jobs --- */

void
limit(int what, rlim_t n)
{
	struct rlimit r = {n, n};

	(void)setrlimit(static_cast<__rlimit_resource>(what), &r);
}

/* CPU time is counted over the process's life: each job gets its own share. */
void
grant(rlim_t seconds)
{
	struct rlimit r = {0, RLIM_INFINITY};
	struct rusage used = {};

	(void)getrusage(RUSAGE_SELF, &used);
	r.rlim_cur = static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1 + seconds;
	(void)setrlimit(RLIMIT_CPU, &r);
}

/* DCMTK has its data dictionary in a file: here from one end to the other? */
bool
knows_tags()
{
	return DcmTag(DCM_SpecificCharacterSet).getEVR() == EVR_CS &&
	       DcmTag(DCM_PixelData).getEVR() != EVR_UN;
}

bool
receive(int fd, worker_job *job, int files[2])
{
	alignas(struct cmsghdr) char space[CMSG_SPACE(2 * sizeof(int))] = {};
	struct iovec v = {job, sizeof(*job)};
	struct msghdr m = {};

	m.msg_iov = &v;
	m.msg_iovlen = 1;
	m.msg_control = space;
	m.msg_controllen = sizeof(space);
	if (recvmsg(fd, &m, MSG_CMSG_CLOEXEC) != static_cast<ssize_t>(sizeof(*job)))
		return false;
	const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(2 * sizeof(int)))
		return false;
	memcpy(files, CMSG_DATA(c), 2 * sizeof(int));
	job->syntax[sizeof(job->syntax) - 1] = '\0';
	return true;
}

int
serve(rlim_t memory, rlim_t seconds, rlim_t output)
{
	worker_job job;
	int files[2];

	limit(RLIMIT_CORE, 0); /* R35 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	(void)memory; /* their shadow alone is more than any limit */
#else
	limit(RLIMIT_AS, memory);
#endif
	/* What an object took the next one finds: new pages each time cost as much as RLE. */
	(void)mallopt(M_MMAP_THRESHOLD, PIECE_KEPT);
	(void)mallopt(M_TRIM_THRESHOLD, MEMORY_KEPT);
	limit(RLIMIT_FSIZE, output);
	(void)signal(SIGXFSZ, SIG_IGN); /* writing fails, as on a full disk */
	limit(RLIMIT_NOFILE, 64);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	OFLog::configure(OFLogger::OFF_LOG_LEVEL);
	bool knows = knows_tags();
	DcmRLEDecoderRegistration::registerCodecs();
	DJDecoderRegistration::registerCodecs(EDC_photometricInterpretation, EUC_never);
	DJLSDecoderRegistration::registerCodecs(EJLSUC_never);
	DcmRLEEncoderRegistration::registerCodecs();
	DJEncoderRegistration::registerCodecs(ECC_lossyYCbCr, EUC_never);
	DJLSEncoderRegistration::registerCodecs(0, 0, 0, 0, OFFalse, 0, OFTrue, EJLSUC_never,
						OFFalse, DJLSCodecParameter::interleaveLine);
	while (receive(STDIN_FILENO, &job, files)) {
		worker_answer answer = {};
		char from[32], to[32];
		const char *wrong;

		errno = 0;
		grant(seconds);
		(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", files[0]);
		(void)snprintf(to, sizeof(to), "/proc/self/fd/%d", files[1]);
		try {
			/* Implicit elements would become UN: whole to look at, and of no use. */
			wrong = knows ? recode(from, to, job.syntax)
				      : "the data dictionary is not there";
		} catch (...) {
			wrong = "no memory, or the DICOM library threw";
			errno = ENOMEM;
		}
		answer.failed = wrong != nullptr;
		answer.exhausted = wrong && errno == ENOMEM; /* codecs say that something failed */
		(void)snprintf(answer.why, sizeof(answer.why), "%s", wrong ? wrong : "");
		(void)close(files[0]);
		(void)close(files[1]);
		if (send(STDIN_FILENO, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			break;
	}
	return 0;
}

void
help()
{
	(void)puts("Usage: salamander-worker recode MEMORY SECONDS OUTPUT\n"
		   "Recodes DICOM objects for salamander-edge and salamander-central, which start "
		   "it.\n"
		   "\n  MEMORY   most bytes of address space\n"
		   "  SECONDS  most CPU time for an object\n"
		   "  OUTPUT   most bytes that may come of it\n\n"
		   "  --help, --version");
}

} // namespace

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		help();
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)puts("salamander-worker " SALAMANDER_VERSION);
		return 0;
	}
	if (argc != 5 || strcmp(argv[1], "recode") != 0) {
		(void)fputs("salamander-worker: it is started by a node; see --help\n", stderr);
		return EXIT_USAGE;
	}
	return serve(strtoull(argv[2], nullptr, 10), strtoull(argv[3], nullptr, 10),
		     strtoull(argv[4], nullptr, 10));
}
