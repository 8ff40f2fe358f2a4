#!/usr/bin/python3
"""Objects that the receiver does not take as they are stored: made into a plain syntax by a worker process.

Encoded by foreign tools (DCMTK, GDCM), fetched by a foreign client, judged by pydicom: pixel for pixel.
"""
import glob
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_pixel_data_frame
from pydicom.filereader import read_dataset
from pydicom.pixel_data_handlers.util import convert_color_space
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import nodes  # noqa: E402
from nodes import expect  # noqa: E402
from worker import Worker  # noqa: E402

ROOT = "1.2.826.0.1.3680043.10.1571.78"
CT, US = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.6.1"
MULTI = "1.2.840.10008.5.1.4.1.1.3.1"


def image(uid, kind, frames=1):
    """A slice of 12 stored bits with a sign, or a colour picture: gradients, so that every coder has something to do."""
    ds = Dataset()
    ds.SOPClassUID = {"slice": CT, "colour": US, "cine": MULTI}[kind]
    ds.SOPInstanceUID, ds.StudyInstanceUID = uid, ROOT
    ds.SeriesInstanceUID = f"{ROOT}.{1 if kind == 'slice' else 2}"
    ds.PatientName, ds.PatientID, ds.Modality, ds.StudyDate = "RECODE^TEST", "R1", "CT", "20260105"
    ds.InstanceNumber = 1
    y, x = numpy.mgrid[0:96, 0:64]
    ds.Rows, ds.Columns = 96, 64
    if kind == "slice":
        pixels = ((x * 37 + y * 11) % 4096 - 2048).astype("<i2")
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 1
        pixels = (pixels.astype("<u2") & 0x0fff).astype("<u2")
    else:
        pixels = numpy.stack([numpy.stack([(x * 2 + f) % 256, (y * 2) % 256, (x + y) % 256], axis=-1)
                              for f in range(frames)]).astype("u1")
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
        if frames > 1:
            ds.NumberOfFrames = frames
    ds.PixelData = pixels.tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, uid
    ds.is_little_endian, ds.is_implicit_VR = True, False
    return ds


# What makes each from an explicit little endian file: lossless ones give the same pixels back.
CODERS = {
    "explicit": ["dcmconv", "+te"], "implicit": ["dcmconv", "+ti"], "big": ["dcmconv", "+tb"],
    "deflated": ["dcmconv", "+td"], "rle": ["dcmcrle"], "lossless": ["dcmcjpeg", "+e1", "+un"],
    "jpegls": ["dcmcjpls", "+un"], "j2k": ["gdcmconv", "--j2k"],
}


def make(folder, truth):
    """Each kind in each syntax, an instance of its own each; truth: uid -> bytes of the pixels."""
    number = 0
    for kind, frames in (("slice", 1), ("colour", 1), ("cine", 5)):
        for name, coder in CODERS.items():
            number += 1
            uid = f"{ROOT}.9.{number}"
            plain = os.path.join(folder, f"{number}.plain")
            out = os.path.join(folder, f"{kind}-{name}.dcm")
            ds = image(uid, kind, frames)
            ds.save_as(plain, write_like_original=False)
            nodes.run(*coder, plain, out)
            os.remove(plain)
            expect(f"{out}: its UID", pydicom.dcmread(out, stop_before_pixels=True).SOPInstanceUID, uid)
            truth[uid] = (f"{kind}-{name}", bytes(ds.PixelData))
    return number


class Site(nodes.Place):
    def __init__(self, compress="no", **dicom):
        self.listen = nodes.port()
        super().__init__("recode", dicom=dicom, **{
            "peer PACS": {"aet": "PACS", "host": "127.0.0.1", "port": self.listen, "compress": compress},
            "peer VIEWER": {"aet": "VIEWER", "host": "127.0.0.1", "may": "find, get, move"}})

    def get(self, name, *words):
        """(final status, folder of what came)."""
        out = self.folder(name)
        done = subprocess.run(["getscu", "-d", "-S", "+B", *words, "-od", out, "-aet", "VIEWER", "-aec", self.edge.aet,
                               "127.0.0.1", str(self.edge.dicom), "-k", "QueryRetrieveLevel=STUDY",
                               "-k", f"StudyInstanceUID={ROOT}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=120, check=False)
        text = done.stdout.decode("utf-8", "replace")
        return re.findall(r"DIMSE Status +: (0x[0-9a-f]{4})", text)[-1], out

    def move(self, name, syntax):
        out = self.folder(name)
        scp = subprocess.Popen(["storescp", syntax, "-od", out, "-aet", "PACS", str(self.listen)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            nodes.wait_for("storescp", lambda: nodes.run("echoscu", "127.0.0.1", self.listen, ok=None)[0] == 0)
            done = subprocess.run(["movescu", "-d", "-S", "-aem", "PACS", "-aet", "VIEWER", "-aec", self.edge.aet,
                                   "127.0.0.1", str(self.edge.dicom), "-k", "QueryRetrieveLevel=STUDY",
                                   "-k", f"StudyInstanceUID={ROOT}"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=120, check=False)
        finally:
            scp.kill()
            scp.wait()
        return re.findall(r"DIMSE Status +: (0x[0-9a-f]{4})", done.stdout.decode("utf-8", "replace"))[-1], out


def judge(folder, truth, syntax):
    """Each object once, in this syntax, its pixels those that went in."""
    seen = {}
    for path in glob.glob(os.path.join(folder, "*")):
        ds = pydicom.dcmread(path)
        if ds.SOPInstanceUID in seen:
            raise nodes.Failed(f"{ds.SOPInstanceUID} came twice")
        seen[ds.SOPInstanceUID] = ds
    expect("how many came", len(seen), len(truth))
    for uid, (name, pixels) in truth.items():
        ds = seen[uid]
        expect(f"{name}: syntax", ds.file_meta.TransferSyntaxUID in
               ((syntax,) if syntax else (ExplicitVRLittleEndian, ImplicitVRLittleEndian)), True)
        expect(f"{name}: names", str(ds.PatientName), "RECODE^TEST")
        expect(f"{name}: photometric", ds.PhotometricInterpretation,
               "MONOCHROME2" if name.startswith("slice") else "RGB")
        got = bytes(ds.PixelData)
        if name.startswith("slice"):  # bits above the stored ones are nobody's: a decoder may carry the sign there
            got = (numpy.frombuffer(got, "<u2") & 0x0fff).tobytes()
        elif ds.PlanarConfiguration == 1:
            frames = int(ds.get("NumberOfFrames", 1))
            got = numpy.frombuffer(got, "u1").reshape(frames, 3, 96, 64).transpose(0, 2, 3, 1).tobytes()
        if got != pixels:
            raise nodes.Failed(f"{name}: other pixels")


def recode__every_syntax_reaches_a_receiver_of_plain_ones_pixel_for_pixel():
    truth = {}
    with Site() as s:
        files = s.folder("files")
        make(files, truth)
        s.send(files)
        status, got = s.get("explicit")
        expect("C-GET", status, "0x0000")
        judge(got, truth, ExplicitVRLittleEndian)
        status, got = s.move("moved", "+xi")
        expect("C-MOVE, implicit only", status, "0x0000")
        judge(got, truth, ImplicitVRLittleEndian)


def recode__R20_what_cannot_be_decoded_fails_alone_and_is_listed():
    truth = {}
    with Site() as s:
        files = s.folder("files")
        number = make(files, truth)
        broken = pydicom.dcmread(os.path.join(files, "slice-lossless.dcm"))
        data = bytearray(broken.PixelData)
        data[40:] = bytes(len(data) - 40 - 8) + data[-8:]
        broken.PixelData = bytes(data)
        broken.SOPInstanceUID = broken.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.9.{number + 1}"
        broken.save_as(os.path.join(files, "broken.dcm"), write_like_original=False)
        s.send(files)
        status, got = s.get("explicit")
        expect("C-GET", status, "0xb000")
        judge(got, truth, ExplicitVRLittleEndian)
        with open(s.edge.log, encoding="utf-8") as f:
            expect("the log tells of it", sum("retrieve.recode" in line for line in f), 1)


def plain_again(folder, wanted, syntax):
    """Each of `wanted` has that syntax; GDCM makes those that are compressed plain, in place."""
    for path in glob.glob(os.path.join(folder, "*")):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if ds.SOPInstanceUID in wanted:
            expect(f"{ds.SOPInstanceUID}: compressed", ds.file_meta.TransferSyntaxUID, syntax)
            nodes.run("gdcmconv", "--raw", path, path)


# The [peer] setting: the syntax, and the option of storescp for it.
PREFERRED = {"jpeg-ls": ("1.2.840.10008.1.2.4.80", "+xt"), "rle": ("1.2.840.10008.1.2.5", "+xr"),
             "jpeg-lossless": ("1.2.840.10008.1.2.4.70", "+xs"), "jpeg-2000": ("1.2.840.10008.1.2.4.90", "+xv")}
# Coders that lose something, and how a data set calls them.
LOSSY = {"baseline": (["dcmcjpeg", "+eb"], "1.2.840.10008.1.2.4.50", "ISO_10918_1"),
         "near": (["dcmcjpls", "+en"], "1.2.840.10008.1.2.4.81", "ISO_14495_1"),
         "wavelet": (["gdcmconv", "--j2k", "--lossy", "--irreversible", "-r", "5"], "1.2.840.10008.1.2.4.91", "ISO_15444_1")}


def lose(folder, number):
    """Pictures in lossy syntaxes, of which nothing else says that they are (PS3.3 C.7.6.1.1.5): uid -> (name, file)."""
    made = {}
    for k, (name, (coder, syntax, _)) in enumerate(LOSSY.items(), number):
        path, uid = os.path.join(folder, f"lossy-{name}.dcm"), f"{ROOT}.9.{k}"
        image(uid, "colour").save_as(path, write_like_original=False)
        nodes.run(*coder, path, path + "c")
        os.remove(path)
        ds = pydicom.dcmread(path + "c")
        for told in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if told in ds:
                delattr(ds, told)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid  # some coders take a new one
        if "SourceImageSequence" in ds:
            del ds.SourceImageSequence
        os.remove(path + "c")
        ds.save_as(path, write_like_original=False)
        expect(f"{path}: its syntax", ds.file_meta.TransferSyntaxUID, syntax)
        made[uid] = (name, path)
    return made


def judge_lossy(folder, lossy, plain):
    """They came as they are stored, or plain; then it is said that something was lost. They are taken away."""
    seen = set()
    for path in glob.glob(os.path.join(folder, "*")):
        ds = pydicom.dcmread(path)
        if ds.SOPInstanceUID not in lossy:
            continue
        name, stored = lossy[ds.SOPInstanceUID]
        seen.add(name)
        if plain:
            expect(f"{name}: plain", ds.file_meta.TransferSyntaxUID, ExplicitVRLittleEndian)
            expect(f"{name}: lossy", (ds.LossyImageCompression, ds.LossyImageCompressionMethod), ("01", LOSSY[name][2]))
            expect(f"{name}: ratio", float(ds.LossyImageCompressionRatio) > 1, True)
        else:
            was = pydicom.dcmread(stored)
            expect(f"{name}: as it was", (ds.file_meta.TransferSyntaxUID, ds == was),
                   (was.file_meta.TransferSyntaxUID, True))
        os.remove(path)
    expect("lossy ones", seen, set(LOSSY))


def recode__images_go_in_the_lossless_syntax_that_a_peer_prefers():
    """From whatever lossless syntax, with the same pixels; what cannot be compressed goes as it is, so does what is
    lossy, which no lossless syntax hides."""
    for setting, (syntax, option) in PREFERRED.items():
        truth = {}
        with Site(compress=setting) as s:
            files = s.folder("files")
            number = make(files, truth)
            bits = image(f"{ROOT}.9.{number + 1}", "slice")  # 32 bits: nothing compresses that here
            bits.BitsAllocated, bits.BitsStored, bits.HighBit, bits.PixelRepresentation = 32, 32, 31, 0
            bits.PixelData = bytes(96 * 64 * 4)
            bits.save_as(os.path.join(files, "bits.dcm"), write_like_original=False)
            lossy = lose(files, number + 2)
            s.send(files)
            once = [("all", "+xa", False)] if setting == "jpeg-ls" else []
            for which, take, plain in [("preferred", option, True), *once]:
                status, got = s.move(which, take)
                expect(f"{setting}: C-MOVE", status, "0x0000")
                judge_lossy(got, lossy, plain)
                plain_again(got, truth, syntax)
                left, = (p for p in glob.glob(os.path.join(got, "*")) if pydicom.dcmread(p).BitsAllocated == 32)
                expect(f"{setting}: what cannot be", pydicom.dcmread(left).file_meta.TransferSyntaxUID,
                       ExplicitVRLittleEndian)
                os.remove(left)
                judge(got, truth, None)
            if once:  # another receiver of the same node takes plain ones only, and gets them
                status, got = s.move("plain", "+xi")
                expect(f"{setting}: C-MOVE", (status, len(os.listdir(got))), ("0x0000", number + 1 + len(lossy)))


def others_of(ds, above=()):
    """All that a coder leaves alone."""
    out = set()
    for e in ds:
        if e.VR == "SQ":
            for i, item in enumerate(e.value):
                out |= others_of(item, (*above, e.tag, i))
        elif e.keyword not in ("PixelData", "PhotometricInterpretation", "PlanarConfiguration"):
            out.add((*above, e.tag, str(e.value) if e.value else ""))
    return out


def again_elsewhere(w, path, folder, want):
    """From its lossless syntax into each other one: GDCM reads these values in it. How many could be made."""
    ds, made = pydicom.dcmread(path), 0
    for syntax, _ in PREFERRED.values():
        if syntax == ds.file_meta.TransferSyntaxUID:
            continue
        data, why = w.recode(path, syntax)
        if data is None:
            expect(f"{path} to {syntax}: refused, alive", why is not None, True)
            continue
        got, back = read_dataset(io.BytesIO(data), False, True), os.path.join(folder, "again")
        expect(f"{path} to {syntax}: the rest", others_of(got) ^ others_of(ds), set())
        got.file_meta, got.is_little_endian, got.is_implicit_VR = FileMetaDataset(), True, False
        got.file_meta.TransferSyntaxUID = syntax
        got.file_meta.MediaStorageSOPClassUID, got.file_meta.MediaStorageSOPInstanceUID = CT, "1.2.3"
        got["PixelData"].is_undefined_length = True
        got.save_as(back, write_like_original=False)
        ours = decoded_elsewhere(back)
        if ours is None or not numpy.array_equal(pixels_of(ours), want):
            raise nodes.Failed(f"{path} to {syntax}: other pixels")
        made += 1
    return made


def recode__from_one_lossless_syntax_into_another_every_value_stays():
    """As GDCM reads it; also of what was lossy before it was stored so, which stays said."""
    truth = {}
    with tempfile.TemporaryDirectory() as folder, Worker() as w:
        make(folder, truth)
        for kind in ("slice", "colour", "cine"):
            for coder in ("rle", "lossless", "jpegls", "j2k"):
                path = os.path.join(folder, f"{kind}-{coder}.dcm")
                ds = pydicom.dcmread(path)
                ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "7.5"
                ds.save_as(path, write_like_original=False)
                want = numpy.frombuffer(truth[ds.SOPInstanceUID][1], "<u2" if kind == "slice" else "u1")
                expect(f"{path}: syntaxes", again_elsewhere(w, path, folder, want), 3)
        for name, path in lose(folder, 1).values():
            for syntax, _ in PREFERRED.values():
                expect(f"{name} to {syntax}", w.recode(path, syntax), (None, "pixels of a lossy syntax"))


def recode__real_files_keep_every_value_from_one_lossless_syntax_into_another():
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        raise nodes.Skipped("DICOM_CORPUS is not set")
    made = 0
    with tempfile.TemporaryDirectory() as folder, Worker() as w:
        for path in sorted(glob.glob(os.path.join(corpus, "valid", "**", "*"), recursive=True)):
            try:
                syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
            except (pydicom.errors.InvalidDicomError, IsADirectoryError, AttributeError):
                continue
            want = decoded_elsewhere(path) if syntax in LOSSLESS else None
            if want is not None and os.path.basename(path) not in OTHERWISE:
                made += again_elsewhere(w, path, folder, pixels_of(want))
        for name, lossy in (("HTJ2KLossless_08_RGB", False), ("HTJ2K_08_RGB", True)):  # GDCM does not read them
            path, = glob.glob(os.path.join(corpus, "valid", "**", f"{name}.dcm"), recursive=True)
            plain, _ = w.recode(path)
            data, why = w.recode(path, "1.2.840.10008.1.2.4.80")
            expect(name, why, "pixels of a lossy syntax" if lossy else None)
            plain = read_dataset(io.BytesIO(plain), False, True)
            expect(f"{name}: lossy", "LossyImageCompression" in plain, lossy)
    if made < 80:
        raise nodes.Failed(f"only {made} were made")


def recode__JPEG_2000_of_any_size_and_depth_keeps_every_value():
    """What the worker compresses GDCM reads, value for value; what it may not make YBR_RCT it leaves alone."""
    j2k, noise = "1.2.840.10008.1.2.4.90", numpy.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder, Worker() as w:
        path, back = os.path.join(folder, "in.dcm"), os.path.join(folder, "out.dcm")
        for size in ((1, 1), (1, 7), (5, 3), (33, 65), (96, 64)):
            for bits, stored, sign, samples, frames in ((8, 8, 0, 1, 1), (8, 8, 0, 3, 1), (8, 7, 0, 1, 3), (8, 8, 1, 1, 1),
                                                        (16, 12, 0, 1, 1), (16, 16, 0, 1, 2), (16, 16, 1, 1, 1),
                                                        (16, 12, 1, 1, 1), (16, 16, 0, 3, 1)):
                ds = image("1.2.3", "colour" if samples == 3 else "slice", 1)
                low, high = (-(1 << stored - 1), 1 << stored - 1) if sign else (0, 1 << stored)
                values = noise.integers(low, high, (frames, *size, samples)).astype(f"<{'iu'[not sign]}{bits // 8}")
                ds.Rows, ds.Columns = size
                ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, stored, stored - 1, sign
                if frames > 1:
                    ds.NumberOfFrames = frames
                ds.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
                ds.save_as(path, write_like_original=False)
                data, why = w.recode(path, j2k)
                what = f"{size}, {bits}, {stored}, {sign}, {samples}, {frames}"
                expect(what, why, None)
                got = read_dataset(io.BytesIO(data), False, True)
                expect(f"{what}: photometric", got.PhotometricInterpretation, "YBR_RCT" if samples == 3 else "MONOCHROME2")
                got.file_meta, got.is_little_endian, got.is_implicit_VR = ds.file_meta, True, False
                got.file_meta.TransferSyntaxUID = j2k
                got.save_as(back, write_like_original=False)
                plain, why = w.recode(back)
                expect(f"{what}: again", why, None)
                ours = read_dataset(io.BytesIO(plain), False, True)
                expect(f"{what}: ours", bytes(ours.PixelData)[:values.nbytes], values.tobytes())
                expect(f"{what}: GDCM's", numpy.array_equal(pixels_of(decoded_elsewhere(back)), pixels_of(ours)), True)
        ds = image("1.2.3", "colour")
        ds.PhotometricInterpretation = "YBR_FULL"
        ds.save_as(path, write_like_original=False)
        expect("YBR_FULL", w.recode(path, j2k), (None, "colours other than RGB"))


def recode__R20_what_says_to_be_larger_than_it_is_fails_and_the_worker_goes_on():
    """Sizes that no memory holds, and one whose product with its frames no size_t holds: 16,928, modulo 2^64."""
    j2k = "1.2.840.10008.1.2.4.90"
    with tempfile.TemporaryDirectory() as folder, Worker() as w:
        make(folder, {})
        for name, targets in (("colour-explicit", (j2k, "1.2.840.10008.1.2.5")), ("colour-j2k", ("1.2.840.10008.1.2.1",)),
                              ("colour-rle", ("1.2.840.10008.1.2.1",))):
            for rows, columns, frames in ((64664, 65099, 730350934), (65535, 65535, 1), (65535, 65535, 2147483647), (0, 64, 1)):
                ds = pydicom.dcmread(os.path.join(folder, f"{name}.dcm"))
                ds.Rows, ds.Columns, ds.NumberOfFrames, ds.PlanarConfiguration = rows, columns, frames, 1
                ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
                path = os.path.join(folder, "larger.dcm")
                ds.save_as(path, write_like_original=False)
                for target in targets:
                    data, why = w.recode(path, target)
                    expect(f"{name}, {rows}, {columns}, {frames}: data", data, None)
                    expect(f"{name}, {rows}, {columns}, {frames}: why", why is not None, True)
        data, why = w.recode(os.path.join(folder, "slice-rle.dcm"))
        expect("the next one", (data is not None, why), (True, None))


def recode__R20_without_the_data_dictionary_nothing_is_recoded():
    """DCMTK's is a file of its own, and what a folder for a chroot forgets: implicit elements would all become UN."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "implicit.dcm")
        ds = image(f"{ROOT}.9.1", "slice")
        ds.file_meta.TransferSyntaxUID, ds.is_implicit_VR, ds.is_little_endian = ImplicitVRLittleEndian, True, True
        ds.save_as(path, write_like_original=False)
        for there in ({}, {"DCMDICTPATH": os.devnull}):
            with Worker(env=there) as w:
                for _ in range(2):
                    data, why = w.recode(path)
                    expect(f"{there}: why", why, "the data dictionary is not there" if there else None)
                    expect(f"{there}: data", data is None, bool(there))


def recode__R20_what_becomes_larger_than_it_may_fails_alone():
    """A decompression bomb: 100 KB that 32 MiB come of. To the byte: a result is whole, or none."""
    truth = {}
    with tempfile.TemporaryDirectory() as folder:
        make(folder, {})
        path = os.path.join(folder, "slice-j2k.dcm")
        with Worker() as w:
            whole, _ = w.recode(path)
        for short in (0, 1, 100, 4096, len(whole) - 1):
            with Worker(output=len(whole) - short) as w:
                data, why = w.recode(path)
                expect(f"{short} bytes too few", (data == whole, why is None), (short == 0, short == 0))
                if short:
                    expect(f"{short} bytes too few: the worker goes on", w.recode(path)[1], why)
    with Site(worker_output="1MiB") as s:
        files = s.folder("files")
        number = make(files, truth)
        bomb = image(f"{ROOT}.9.{number + 1}", "slice")
        bomb.Rows, bomb.Columns, bomb.PixelData = 4096, 4096, bytes(4096 * 4096 * 2)
        bomb.save_as(os.path.join(files, "bomb.plain"), write_like_original=False)
        nodes.run("dcmconv", "+td", os.path.join(files, "bomb.plain"), os.path.join(files, "bomb.dcm"))
        os.remove(os.path.join(files, "bomb.plain"))
        s.send(files)
        status, got = s.get("explicit")
        expect("C-GET", status, "0xb000")
        judge(got, truth, ExplicitVRLittleEndian)
        expect("the log tells of it", s.edge.log_count("retrieve.recode"), 1)


def recode__R20_a_worker_that_crashes_or_hangs_costs_its_object_and_nothing_else():
    """Two of 26 kill the worker that they meet, one by a signal, one by keeping it: they are listed, the rest comes."""
    truth = {}
    with Site(workers="1", worker_timeout="2s") as s:
        bins = s.folder("bin")
        shutil.copy(s.edge.binary, bins)
        shutil.copy(os.path.join(nodes.BUILD, "salamander-worker"), os.path.join(bins, "real-worker"))
        shutil.copy(os.path.join(HERE, "..", "lib", "mad_worker.py"), os.path.join(bins, "salamander-worker"))
        s.edge.kill()
        s.edge.binary = os.path.join(bins, "salamander-edge")
        s.edge.start()
        files = s.folder("files")
        number = make(files, truth)
        for more, kills in ((1, "CRASHES"), (2, "HANGS")):
            ds = pydicom.dcmread(os.path.join(files, "slice-rle.dcm"))
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.9.{number + more}"
            ds.StudyDescription = kills
            ds.save_as(os.path.join(files, f"{kills}.dcm"), write_like_original=False)
        s.send(files)
        pid = s.edge.process.pid
        status, got = s.get("explicit")
        expect("C-GET", status, "0xb000")
        judge(got, truth, ExplicitVRLittleEndian)
        status, got = s.move("moved", "+xi")
        expect("C-MOVE", status, "0xb000")
        judge(got, truth, ImplicitVRLittleEndian)
        with open(s.edge.log, encoding="utf-8") as f:
            expect("the log tells of both, twice", sum("retrieve.recode" in line for line in f), 4)
        expect("the node has gone on", (s.edge.running(), s.edge.process.pid), (True, pid))
        expect("one worker at most", len(children(pid)) <= 1, True)


def children(pid):
    out = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(path, encoding="ascii") as f:
                out += [int(p) for p in f.read().split()]
        except FileNotFoundError:
            pass
    return out


def recode__a_worker_that_is_killed_is_replaced():
    truth = {}
    with Site(workers="1") as s:
        files = s.folder("files")
        make(files, truth)
        s.send(files)
        expect("C-GET", s.get("first")[0], "0x0000")
        workers = children(s.edge.process.pid)
        expect("one worker", len(workers), 1)
        os.kill(workers[0], signal.SIGKILL)
        status, got = s.get("second")
        expect("C-GET", status, "0x0000")
        judge(got, truth, ExplicitVRLittleEndian)
        last = children(s.edge.process.pid)
        expect("one worker again", (len(last), last == workers), (1, False))
        s.edge.stop()
        expect("no worker is left", os.path.exists(f"/proc/{last[0]}"), False)


# Lossless syntaxes: every decoder gives the same pixels.
LOSSLESS = {"1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90",
            "1.2.840.10008.1.2.5"}
# What is not recoded, and why; what another decoder reads otherwise.
REFUSED = {"JLSL_08_07_0_1F.dcm": "JPEG-LS of 7 bits a sample: DCMTK does not read it"}
OTHERWISE = {"liver_rle.dcm": "GDCM reads bits in RLE otherwise than bits in JPEG 2000 and in big endian; see below",
             "liver_nonbyte_aligned_rle.dcm": "the same",
             "693_J2KR.dcm": "its codestream has a sign that GDCM leaves out above bit 14",
             "SC_rgb_rle_32bit.dcm": "GDCM reads 32 bits otherwise than pydicom and DCMTK do"}


def pixels_of(ds):
    bits, samples = ds.BitsAllocated, ds.get("SamplesPerPixel", 1)
    frames = int(ds.get("NumberOfFrames", 1) or 1)
    if bits == 1:
        return numpy.unpackbits(numpy.frombuffer(bytes(ds.PixelData), "u1"),
                                bitorder="little")[:ds.Rows * ds.Columns * frames]
    values = numpy.frombuffer(bytes(ds.PixelData), f"<u{bits // 8}")[:ds.Rows * ds.Columns * samples * frames]
    if samples > 1 and ds.get("PlanarConfiguration", 0) == 1:
        values = values.reshape((frames, samples, -1)).transpose(0, 2, 1).reshape(-1)
    return values & ((1 << ds.BitsStored) - 1)


def decoded_elsewhere(path):
    """By GDCM; None where it cannot."""
    with tempfile.NamedTemporaryFile() as out:
        return pydicom.dcmread(out.name) if nodes.run("gdcmconv", "--raw", path, out.name, ok=None)[0] == 0 else None


def recode__frames_in_several_fragments_are_put_together():
    """Three fragments a frame, with and without an offset table, of each coder (PS3.5 A.4)."""
    with tempfile.TemporaryDirectory() as folder, Worker() as w:
        make(folder, {})
        for kind, coder in ((k, c) for k in ("slice", "cine") for c in ("rle", "lossless", "jpegls", "j2k")):
            ds = pydicom.dcmread(os.path.join(folder, f"{kind}-{coder}.dcm"))
            whole, _ = w.recode(os.path.join(folder, f"{kind}-{coder}.dcm"))
            frames = list(generate_pixel_data_frame(ds.PixelData, int(ds.get("NumberOfFrames", 1))))
            for table in (True, False):
                ds.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=table)
                ds["PixelData"].is_undefined_length = True
                path = os.path.join(folder, "fragments.dcm")
                ds.save_as(path, write_like_original=False)
                expect(f"{kind}, {coder}, table {table}", w.recode(path) == (whole, None), True)
        ds = pydicom.dcmread(os.path.join(folder, "cine-j2k.dcm"))
        ds.PixelData = encapsulate(frames[:3], fragments_per_frame=2, has_bot=False)  # 3 frames, and 5 are told of
        ds["PixelData"].is_undefined_length = True
        ds.save_as(path, write_like_original=False)
        expect("frames are missing", w.recode(path), (None, "frames in several fragments"))


def recode__a_bit_a_pixel():
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        raise nodes.Skipped("DICOM_CORPUS is not set")
    pixels = {}
    with Worker() as w:
        for name in ("liver_expb", "liver_rle", "liver_j2k", "liver_nonbyte_aligned_rle", "liver_nonbyte_aligned_j2k"):
            path, = glob.glob(os.path.join(corpus, "valid", "**", f"{name}.dcm"), recursive=True)
            data, why = w.recode(path)
            expect(name, why, None)
            pixels[name] = pixels_of(read_dataset(io.BytesIO(data), False, True))
            if "rle" not in name:  # GDCM reads them
                expect(name, numpy.array_equal(pixels[name], pixels_of(decoded_elsewhere(path))), True)
    for one, other in (("liver_rle", "liver_expb"), ("liver_nonbyte_aligned_rle", "liver_nonbyte_aligned_j2k")):
        expect(f"{one} and {other}", numpy.array_equal(pixels[one], pixels[other]), True)


# What GDCM gives in YBR is made RGB by pydicom (PS3.3 C.7.6.3.1.2).
def recode__colours_are_those_of_an_independent_decoder():
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        raise nodes.Skipped("DICOM_CORPUS is not set")
    kinds = {}
    with Worker() as w:
        for path in sorted(glob.glob(os.path.join(corpus, "valid", "**", "*"), recursive=True)):
            try:
                ds = pydicom.dcmread(path)
                syntax = ds.file_meta.TransferSyntaxUID
            except (pydicom.errors.InvalidDicomError, IsADirectoryError, AttributeError):
                continue
            if "PixelData" not in ds or ds.get("SamplesPerPixel") != 3 or not syntax.startswith("1.2.840.10008.1.2.4."):
                continue
            data, _ = w.recode(path)
            want = decoded_elsewhere(path) if data else None
            if want is None:
                continue
            got = read_dataset(io.BytesIO(data), False, True)
            expect(f"{path}: photometric, planes", (got.PhotometricInterpretation, got.PlanarConfiguration in (0, 1)),
                   ("YBR_FULL" if ds.PhotometricInterpretation == "YBR_FULL" and syntax in LOSSLESS else "RGB", True))
            ours, theirs = pixels_of(got).reshape(-1, 3), pixels_of(want).reshape(-1, 3)
            if want.PhotometricInterpretation.startswith("YBR_F") and got.PhotometricInterpretation == "RGB":
                theirs = convert_color_space(theirs.reshape(1, -1, 3).astype("u1"), "YBR_FULL", "RGB").reshape(-1, 3)
            off = numpy.abs(ours.astype(int) - theirs.astype(int))
            # Chrominance that was sampled down is smoothed by one of them and repeated by the other.
            if off.mean() > 3:
                raise nodes.Failed(f"{path}: other colours, {off.mean():.2f} on average, {off.max()} at most")
            kinds[(str(syntax)[-2:], ds.PhotometricInterpretation, ds.get("PlanarConfiguration"))] = path
    if len(kinds) < 6:
        raise nodes.Failed(f"only these were compared: {sorted(kinds)}")


def recode__real_files_have_the_pixels_that_an_independent_decoder_gives():
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        raise nodes.Skipped("DICOM_CORPUS is not set")
    same, refused = 0, set()
    with Worker() as w:
        for path in sorted(glob.glob(os.path.join(corpus, "[vs][ae][lr]*", "**", "*"), recursive=True)):
            name = os.path.basename(path)
            try:
                syntax = pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
            except (pydicom.errors.InvalidDicomError, IsADirectoryError, AttributeError):
                continue
            if syntax not in LOSSLESS:
                continue
            data, why = w.recode(path)
            if data is None:
                expect(f"{name}: refused, alive", (why is not None, name in REFUSED), (True, True))
                refused.add(name)
                continue
            want = decoded_elsewhere(path)
            if want is None or name in OTHERWISE:
                continue
            if not numpy.array_equal(pixels_of(read_dataset(io.BytesIO(data), False, True)), pixels_of(want)):
                raise nodes.Failed(f"{path}: other pixels")
            same += 1
    expect("refused", refused, set(REFUSED))
    if same < 60:
        raise nodes.Failed(f"only {same} files were compared")


if __name__ == "__main__":
    sys.exit(nodes.play("recode", globals()))
