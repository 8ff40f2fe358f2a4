"""What central's folder says when nobody of the product reads it: the log, the packs, the counts.

The log's records and their chain, every site's ledger and its chain, each pack against its manifest
and the ledger that announced it, and from these alone `known = held + owed + lost + withdrawn` of each
incarnation. Layouts: central/README.md, proto/PROTOCOL.md, proto/sync.proto. Standard library only.
"""
import hashlib
import os
import struct

RECORD = struct.Struct("<4sIIIQ32s")  # magic, kind, length, pending, number, chain
EPOCH, LEDGER, DECISION = 1, 2, 3  # records of the log
OPEN, CLOSE, REMOVE, TWIN = 1, 2, 10, 14  # decisions
HAS, GONE = {3}, {4, 5, 6, 7}  # kinds of ledger entries that say something of bytes
ZERO = bytes(32)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 128:
            return value, at


def fields(data):
    """(number, value) of each field of a protobuf message: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 2:
            n, at = varint(data, at)
            value, at = data[at:at + n], at + n
            if len(value) < n:
                raise ValueError("a field is cut")
        else:
            n = {1: 8, 5: 4}[kind]
            value, at = data[at:at + n], at + n
        yield key >> 3, value


def message(data, repeated=()):
    out = {number: [] for number in repeated}
    for number, value in fields(data):
        if number in repeated:
            out[number].append(value)
        else:
            out[number] = value
    return out


def log_records(folder, wrong):
    """(kind, payload) of each record of the log, its chain checked."""
    chain, number, segments = ZERO, 0, sorted(n for n in os.listdir(folder) if n.endswith(".log"))
    if segments != [f"{i + 1:08}.log" for i in range(len(segments))]:
        wrong.append(f"segments of the log: {segments}")
    for name in segments:
        with open(os.path.join(folder, name), "rb") as f:
            data = f.read()
        at = 0
        while at < len(data):
            if len(data) - at < RECORD.size:
                wrong.append(f"{name}: cut at {at}")
                return
            magic, kind, n, _, count, said = RECORD.unpack_from(data, at)
            payload = data[at + RECORD.size:at + RECORD.size + n]
            chain = hashlib.sha256(chain + data[at:at + 24] + payload).digest()
            number += 1
            if magic != b"SLLR" or len(payload) < n or count != number or said != chain:
                wrong.append(f"{name}: record {number} at {at} fails its check")
                return
            yield kind, payload
            at += RECORD.size + n


class Incarnation:
    def __init__(self, site, ident):
        self.site, self.ident, self.closed = site, ident, False
        self.hashes, self.entries, self.has = [ZERO], [None], {}
        self.own = set()  # what it announced itself, not the one that it branched off

    def branch_off(self, other, common, said):
        """R8: up to `common` the ledger is the other one's, if that is what the other one's says."""
        if common < len(other.hashes) and other.hashes[common] == said:
            self.hashes, self.entries = other.hashes[:common + 1], other.entries[:common + 1]
            for kind, digest, _ in self.entries[1:]:
                if kind in HAS | GONE and len(digest) == 32:
                    self.has[digest] = kind in HAS

    def append(self, m, wrong):
        """A batch as central received it; what it holds already must be the same."""
        first, before = m.get(3, 0), m.get(4, b"")
        if not 1 <= first <= len(self.hashes) or self.hashes[first - 1] != before:
            wrong.append(f"ledger of {self.site}: a batch from {first} does not fit at {len(self.hashes)}")
            return
        for seq, entry in enumerate(m[5], first):
            digest = hashlib.sha256(self.hashes[seq - 1] + entry).digest()
            if seq < len(self.hashes):
                if self.hashes[seq] != digest:
                    wrong.append(f"ledger of {self.site}: two entries {seq}")
                continue
            self.hashes.append(digest)
            self.entries.append(self.note(entry))

    def note(self, entry):
        e = message(entry)
        kind, digest = e.get(1, 0), e.get(34, b"")
        if kind in HAS | GONE and len(digest) == 32:
            self.has[digest] = kind in HAS
            self.own.add(digest)
        return kind, digest, e.get(31, b"")


class Archive:
    """All that a central's folder says; `wrong` collects what does not hold."""

    def __init__(self, folder):
        self.wrong, self.incarnations, self.epochs, self.members = [], {}, [], set()
        vault = os.path.join(folder, "vault")
        self.read_log(os.path.join(vault, "log"))
        for path, _, names in os.walk(os.path.join(vault, "packs")):
            for name in names:
                if name.endswith(".tar"):
                    self.read_pack(os.path.join(path, name))

    def read_log(self, folder):
        for kind, payload in log_records(folder, self.wrong):
            if kind == EPOCH:
                self.epochs.append(message(payload).get(1, b"").hex())
            elif kind == DECISION:
                self.decide(message(payload))
            elif kind == LEDGER:
                m = message(payload, (5,))
                at = self.incarnations.get(m.get(2))
                if at is None:
                    self.wrong.append("the log announces for an incarnation that never said hello")
                else:
                    at.append(m, self.wrong)

    def decide(self, m):
        site, ident, kind = m.get(2, b"").decode(), m.get(3, b""), m.get(1)
        if kind not in (OPEN, CLOSE, REMOVE, TWIN):
            return
        for other in self.incarnations.values():  # a successor closes what came before it (R18)
            if other.site == site and kind != TWIN and (kind != OPEN or other.ident != ident):
                other.closed = True
        if kind not in (OPEN, TWIN):
            return
        if ident not in self.incarnations:
            self.incarnations[ident] = Incarnation(site, ident)
            other = self.incarnations.get(m.get(13))
            if other and other.site == site:
                self.incarnations[ident].branch_off(other, m.get(14, 0), m.get(15, b""))
        self.incarnations[ident].closed = False

    def read_pack(self, path):
        """A pack follows from its manifest, which follows from the ledger (R14, R7)."""
        with open(path, "rb") as f:
            data = f.read()
        members = list(self.tar(path, data))
        if not members or members[0][0] != "manifest":
            self.wrong.append(f"{path}: begins with no manifest")
            return
        manifest = members[0][1]
        if hashlib.sha256(manifest).hexdigest() != os.path.basename(path)[:-4]:
            self.wrong.append(f"{path}: is not called after its manifest")
        m = message(manifest, (4,))
        listed = [message(x) for x in m[4]]
        if m.get(1) != 1 or len(listed) != len(members) - 1 or not listed:
            self.wrong.append(f"{path}: {len(members) - 1} members, {len(listed)} in the manifest")
        owner = self.incarnations.get(m.get(3))
        if owner is None or owner.site != m.get(2, b"").decode():
            self.wrong.append(f"{path}: of an incarnation that never said hello")
        for said, (name, bytes_) in zip(listed, members[1:]):
            digest, seq = hashlib.sha256(bytes_).digest(), said.get(1, 0)
            short = digest.hex()[:12] + ".dcm"
            if digest != said.get(3) or len(bytes_) != said.get(4, 0):
                self.wrong.append(f"{path}: {name} is not what the manifest says")
            elif name not in (short, said.get(2, b"").decode("latin-1") + "_" + short):
                self.wrong.append(f"{path}: {name} has another's name")
            if owner and not (0 < seq < len(owner.entries) and owner.entries[seq][:2] == (3, digest)):
                self.wrong.append(f"{path}: {name} was not announced as {seq} (R7)")
            self.members.add(digest)

    def tar(self, path, data):
        """(name, bytes) of each member of a plain ustar file with nothing behind its end."""
        at, size = 0, None
        while data[at:at + 512].strip(b"\0"):
            h = data[at:at + 512]
            total = sum(h) - sum(h[148:156]) + 8 * 32
            if h[257:265] != b"ustar\x0000" or int(h[148:154], 8) != total:
                self.wrong.append(f"{path}: no ustar header at {at}")
                return
            n = size if size is not None else int(h[124:135], 8)
            body, size = data[at + 512:at + 512 + n], None
            at += 512 + (n + 511) // 512 * 512
            if h[156:157] == b"x":
                size = int(body.split(b"size=")[1].split(b"\n")[0])
            else:
                yield h[:100].rstrip(b"\0").decode("latin-1"), body
        if data[at:] != bytes(1024):
            self.wrong.append(f"{path}: does not end with two blocks of zeros")

    def state(self, digest):
        """R18, from the log and the packs alone."""
        if digest in self.members:
            return "held"
        claims = (i.has.get(digest, False) and not i.closed for i in self.incarnations.values())
        return "owed" if any(claims) else "lost"

    def counted(self, digests):
        """known, held, owed, lost, withdrawn."""
        row = dict.fromkeys(("known", "held", "owed", "lost", "withdrawn"), 0)
        for digest in digests:
            row["known"] += 1
            row[self.state(digest)] += 1
        return row

    def counts(self, site):
        """Each image once, whatever incarnations announced it."""
        return self.counted({d for i in self.incarnations.values() if i.site == site for d in i.has})

    def lost(self):
        return {d for i in self.incarnations.values() for d in i.has if self.state(d) == "lost"}

    def announced(self):
        return {d for i in self.incarnations.values() for d in i.has}

    def compare(self, status):
        """With what `status --json` of this central says."""
        own = {(i.site, ident.hex()): {**self.counted(i.own), "ledger_seq": len(i.entries) - 1}
               for ident, i in self.incarnations.items()}
        for row in status["sites"]:
            mine, said = own.pop((row["name"], row["incarnation"]), {}), row["of_site"]
            if not mine or any(row[k] != n for k, n in mine.items()):
                self.wrong.append(f"{row['name']} {row['incarnation']}: says {row}, is {mine}")
            if said != self.counts(row["name"]):
                self.wrong.append(f"{row['name']}: says {said}, is {self.counts(row['name'])}")
            if said["known"] != said["held"] + said["owed"] + said["lost"] + said["withdrawn"]:
                self.wrong.append(f"{row['name']}: known is not the sum (R18): {row}")
        self.wrong += [f"{site} {ident} is in the log and not listed" for site, ident in own]
        if self.epochs[-1:] != [status["epoch"]]:
            self.wrong.append(f"epoch {status['epoch']}, the log ends with {self.epochs[-1:]}")
        return self.wrong
