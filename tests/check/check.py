#!/usr/bin/python3
"""The judge: was anything lost? Shares no code with the product.

It reads DICOM Part 10 files with a reader of its own, knows them by SOP Instance UID and
by the SHA-256 of their data set bytes, and compares what was sent with what came back,
or with what lies in central's packs.

  check.py list PATH...                  one line per object: uid, digest of the data set, path
  check.py compare --sent P... --got P...   every sent object came back, byte for byte
  check.py vault DIR --sent P...         every sent object is in a pack below DIR, and `tar` agrees
  check.py packs DIR                     every pack below DIR is whole in itself
  check.py archive DIR [--status FILE]   central's folder: chains of log and ledgers, packs against manifests and
                                         ledgers; the counts of `status --json` in FILE against the log's own

Exit 0: nothing lost. 1: something is; each loss is a line. 2: usage.
"""
import argparse
import hashlib
import json
import os
import struct
import sys
import tarfile
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import archive  # noqa: E402

IMPLICIT = "1.2.840.10008.1.2"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
SOP_CLASS, SOP_INSTANCE = (8, 0x16), (8, 0x18)


class NotDicom(Exception):
    """The bytes cannot be read as a data set."""


def element(data, pos, implicit, end="<"):
    """(tag, value start, value length) of the element at pos."""
    if pos + 8 > len(data):
        raise NotDicom("cut element header")
    group, elem = struct.unpack_from(end + "HH", data, pos)
    if implicit:
        return (group, elem), pos + 8, struct.unpack_from(end + "I", data, pos + 4)[0]
    if data[pos + 4:pos + 6] in LONG_VRS:
        if pos + 12 > len(data):
            raise NotDicom("cut element header")
        return (group, elem), pos + 12, struct.unpack_from(end + "I", data, pos + 8)[0]
    return (group, elem), pos + 8, struct.unpack_from(end + "H", data, pos + 6)[0]


def text(data, start, length):
    return data[start:start + length].rstrip(b"\0 ").decode("latin-1")


def meta(data):
    """(transfer syntax, where the data set starts) of a Part 10 file."""
    if data[128:132] != b"DICM":
        raise NotDicom("no DICM")
    pos, syntax, stated = 132, "", None
    while pos + 8 <= len(data):
        tag, start, length = element(data, pos, False)
        if tag[0] != 2:
            break
        if tag == (2, 0):
            stated = start + 4 + struct.unpack_from("<I", data, start)[0]
        if tag == (2, 0x10):
            syntax = text(data, start, length)
        pos = start + length
        if stated == pos:
            break
    return syntax, pos


def identity(data, syntax):
    """(SOP class, SOP instance) read from data set bytes."""
    if syntax in DEFLATED:
        try:
            data = zlib.decompressobj(-15).decompress(data, 1 << 16)
        except zlib.error as e:
            raise NotDicom(str(e)) from e
    end, implicit = (">" if syntax == BIG else "<"), syntax == IMPLICIT
    pos, found = 0, {}
    while pos + 8 <= len(data) and len(found) < 2:
        tag, start, length = element(data, pos, implicit, end)
        if tag > SOP_INSTANCE or length == 0xFFFFFFFF:
            break
        if tag in (SOP_CLASS, SOP_INSTANCE):
            found[tag] = text(data, start, length)
        pos = start + length
    return found.get(SOP_CLASS, ""), found.get(SOP_INSTANCE, "")


class Object:
    """One DICOM object: who it is and which bytes its data set has."""

    def __init__(self, path, data):
        self.path = path
        self.syntax, self.start = meta(data)
        body = data[self.start:]
        self.sop_class, self.uid = identity(body, self.syntax)
        self.key = (self.uid, self.syntax, hashlib.sha256(body).hexdigest())
        self.file_digest = hashlib.sha256(data).hexdigest()


def files(paths):
    for path in paths:
        if os.path.isfile(path):
            yield path
        for folder, _, names in os.walk(path):
            for name in sorted(names):
                yield os.path.join(folder, name)


def objects(paths, wrong):
    for path in files(paths):
        with open(path, "rb") as f:
            data = f.read()
        try:
            yield Object(path, data)
        except (NotDicom, struct.error) as e:
            wrong.append(f"unreadable {path}: {e}")


def packs(folder):
    for path in files([folder]):
        if path.endswith(".tar"):
            yield path


def pack_members(path, wrong):
    """The DICOM members of one pack, each checked against the digest in its name."""
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if not member.name.endswith(".dcm"):
                continue
            data = tar.extractfile(member).read()
            if len(data) != member.size:
                wrong.append(f"short {path}: {member.name}")
            digest = hashlib.sha256(data).hexdigest()
            short = member.name[:-len(".dcm")].rsplit("_", 1)[-1]
            if not digest.startswith(short) or len(short) != 12:
                wrong.append(f"digest {path}: {member.name} is {digest}")
            try:
                yield Object(f"{path}:{member.name}", data)
            except (NotDicom, struct.error):
                continue  # kept opaque: its digest has just been checked


def missing(sent, have, wrong):
    for key, path in sent.items():
        if key not in have:
            wrong.append(f"lost {key[0]} {path}")


def report(what, count, wrong):
    for line in wrong:
        print(line)
    print(f"{what}: {count} objects, {len(wrong)} wrong")
    return 1 if wrong or count == 0 else 0


def cmd_list(args):
    wrong = []
    found = list(objects(args.paths, wrong))
    for o in found:
        print(o.uid, o.key[2], o.path)
    return report("list", len(found), wrong)


def cmd_compare(args):
    wrong, extra = [], []
    sent = {o.key: o.path for o in objects(args.sent, wrong)}
    got = {o.key: o.path for o in objects(args.got, wrong)}
    missing(sent, got, wrong)
    if not args.more:
        extra = [f"never sent: {k[0]} {p}" for k, p in got.items() if k not in sent]
    return report("compare", len(sent), wrong + extra)


def cmd_vault(args):
    wrong = []
    sent = {o.key: o.path for o in objects(args.sent, wrong)}
    have = {o.key for pack in packs(args.dir) for o in pack_members(pack, wrong)}
    missing(sent, have, wrong)
    return report("vault", len(sent), wrong)


def cmd_packs(args):
    wrong = []
    count = sum(1 for pack in packs(args.dir) for _ in pack_members(pack, wrong))
    return report("packs", count, wrong)


def cmd_archive(args):
    a = archive.Archive(args.dir)
    if args.status:
        with open(args.status, encoding="utf-8") as f:
            a.compare(json.load(f))
    for site in sorted({i.site for i in a.incarnations.values()}):
        print(site, " ".join(f"{k} {v}" for k, v in a.counts(site).items()))
    return report("archive", len(a.announced()), a.wrong)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="command", required=True)
    s = sub.add_parser("list")
    s.add_argument("paths", nargs="+")
    s.set_defaults(run=cmd_list)
    s = sub.add_parser("compare")
    s.add_argument("--sent", nargs="+", required=True)
    s.add_argument("--got", nargs="+", required=True)
    s.add_argument("--more", action="store_true", help="objects that were not sent are fine")
    s.set_defaults(run=cmd_compare)
    s = sub.add_parser("vault")
    s.add_argument("dir")
    s.add_argument("--sent", nargs="+", required=True)
    s.set_defaults(run=cmd_vault)
    s = sub.add_parser("packs")
    s.add_argument("dir")
    s.set_defaults(run=cmd_packs)
    s = sub.add_parser("archive")
    s.add_argument("dir")
    s.add_argument("--status")
    s.set_defaults(run=cmd_archive)
    args = p.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
