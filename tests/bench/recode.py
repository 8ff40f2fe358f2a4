#!/usr/bin/python3
"""How fast salamander-worker recodes CT slices, beside the tools that it is built on and GDCM's.

  recode.py [--slices N] [--rounds N]

CT-like slices of 512 x 512, 12 of 16 bits, compressed by foreign tools, made plain; plain ones, compressed, which the worker
decodes again to compare and the tools do not. The worker gets each as an object of its own; the tools get all of them as
frames of one object, so that their start counts once. Slices a second of CPU time: one core.
"""
import argparse
import os
import resource
import statistics
import sys
import tempfile

import numpy
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402
from worker import Worker  # noqa: E402

SIZE, CT, ENHANCED = 512, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
PLAIN = "1.2.840.10008.1.2.1"
# Its syntax, who beside us makes it, and who makes it plain again.
CODERS = {"JPEG 2000": ("1.2.840.10008.1.2.4.90", ["gdcmconv", "--j2k"], ["gdcmconv", "--raw"]),
          "JPEG-LS": ("1.2.840.10008.1.2.4.80", ["dcmcjpls"], ["dcmdjpls"]),
          "JPEG lossless": ("1.2.840.10008.1.2.4.70", ["dcmcjpeg", "+e1"], ["dcmdjpeg"]),
          "RLE": ("1.2.840.10008.1.2.5", ["dcmcrle"], ["dcmdrle"])}


def slices(number):
    """A body with organs in it, and noise: about 2 to 1 for a lossless coder."""
    noise = numpy.random.default_rng(1)
    y, x = numpy.mgrid[-1:1:SIZE * 1j, -1:1:SIZE * 1j]
    for k in range(number):
        body = numpy.where(x * x + y * y * 1.5 < 0.7, 1040, 30)
        organ = numpy.where((x - 0.2) ** 2 + (y + 0.1) ** 2 < 0.04 + 0.0005 * k, 140, 0)
        yield (body + organ + noise.normal(0, 12, (SIZE, SIZE))).clip(0, 4095).astype("<u2")


def write(path, pixels, number):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = (CT if number == 1 else ENHANCED), pydicom.uid.generate_uid(entropy_srcs=[path])
    ds.StudyInstanceUID = ds.SeriesInstanceUID = "1.2.3"
    ds.Rows = ds.Columns = SIZE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    if number > 1:
        ds.NumberOfFrames = number
    ds.PixelData = pixels
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.is_little_endian, ds.is_implicit_VR = True, False
    ds.save_as(path, write_like_original=False)


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ours(paths, syntax):
    with Worker() as w:
        for path in paths:
            data, why = w.recode(path, syntax)
            if data is None:
                raise nodes.Failed(f"{path}: {why}")
        return len(paths) / cpu_of(w.process.pid)


def theirs(tool, path, number, out):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    nodes.run(*tool, path, out, seconds=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return number / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--slices", type=int, default=50)
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="salamander-bench-") as top:
        plain, whole = [], os.path.join(top, "all.plain")
        images = [s.tobytes() for s in slices(args.slices)]
        for k, pixels in enumerate(images):
            plain.append(os.path.join(top, f"{k}.plain"))
            write(plain[-1], pixels, 1)
        write(whole, b"".join(images), args.slices)
        print(f"slices of 512 x 512, a second of CPU time, medians of {args.rounds} rounds\n"
              f"{'':25} {'ours':>8} {'theirs':>8}")
        for name, (syntax, coder, tool) in CODERS.items():
            coded, target = [path.replace(".plain", ".dcm") for path in plain], whole + ".dcm"
            for source, made in zip(plain + [whole], coded + [target]):
                nodes.run(*coder, source, made, seconds=600)
            for what, paths, wanted, beside, source in ((f"{name}, made plain", coded, PLAIN, tool, target),
                                                        (f"{name}, compressed", plain, syntax, coder, whole)):
                rounds = [(ours(paths, wanted), theirs(beside, source, args.slices, os.path.join(top, "out")))
                          for _ in range(args.rounds)]
                us, them = (statistics.median(r[i] for r in rounds) for i in (0, 1))
                print(f"{what:25} {us:8.1f} {them:8.1f}  {us / them:.2f} x {beside[0]}", flush=True)


if __name__ == "__main__":
    main()
