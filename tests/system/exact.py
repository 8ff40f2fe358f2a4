#!/usr/bin/python3
"""Byte for byte: every image that goes in comes out of the edge, of central, and of an edge that was refilled.

The files are those of DICOM_CORPUS (valid, series, charset; the first of each UID that states class, instance and
syntax), else the samples of python3-pydicom, else generated ones. Our own tools change no byte on the way; foreign
clients are judged by what they change themselves: the same file to storescp and to us must be the same at both.
"""
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import archive  # noqa: E402
import check  # noqa: E402
import nodes  # noqa: E402
from worker import Worker  # noqa: E402

SAMPLES = "/usr/lib/python3/dist-packages/pydicom/data/test_files"
EXPLICIT = "1.2.840.10008.1.2.1"
UNCOMPRESSED = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
IMPLEMENTATION = b"1.2.826.0.1.3680043.10.1571.1"  # fixed for ever (R1)
ENV = {**os.environ, "TCP_NODELAY": "1"}  # DCMTK waits 40 ms for each object without it


class Place:
    """A folder, and whatever runs in it."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="salamander-exact-")
        self.central = nodes.central(os.path.join(self.top, "central"))
        self.other = nodes.edge(os.path.join(self.top, "other"), "south")  # takes what a C-MOVE brings
        self.edge = nodes.edge(os.path.join(self.top, "edge"), "north", central_port=self.central.http, **{
            "peer SOUTH": {"aet": self.other.aet, "host": "127.0.0.1", "port": self.other.dicom},
            "peer VIEWER": {"aet": "VIEWER", "host": "127.0.0.1", "may": "find, get, move"}})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.central.kill()
        self.edge.kill()
        self.other.kill()
        shutil.rmtree(self.top)

    def material(self):
        """Copies, so that each object is a file of its own: folder, objects."""
        corpus = os.environ.get("DICOM_CORPUS")
        sources = [os.path.join(corpus, x) for x in ("valid", "series", "charset")] if corpus else [SAMPLES]
        if not os.path.isdir(sources[0]):
            sources = [self.fresh("generated")]
            nodes.run(nodes.tool("gen_dicom"), "--out", sources[0], "--count", 50, "--mix")
        folder, seen = self.fresh("sent"), {}
        for o in check.objects(sources, []):
            if o.uid and o.sop_class and o.syntax and o.uid not in seen and "DICOMDIR" not in o.path:
                o.path = shutil.copyfile(o.path, os.path.join(folder, f"{len(seen):05}.dcm"))
                seen[o.uid] = o
        return folder, list(seen.values())

    def fresh(self, name):
        folder = os.path.join(self.top, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        return folder

    def get(self, node, *words, ok=(0,)):
        folder = self.fresh("got")
        nodes.run(nodes.tool("dicom_get"), "127.0.0.1", node.dicom, "-c", node.aet, "-a", "VIEWER", "-o", folder,
                  "--all", *words, ok=ok, seconds=120)
        return folder

    def move(self, node, to):
        """All studies, by a foreign client; the final status and the counters."""
        studies = nodes.run(nodes.tool("dicom_get"), "127.0.0.1", node.dicom, "-c", node.aet, "-a", "VIEWER",
                            "--find")[1].split()
        done = subprocess.run(["movescu", "-d", "-S", "-aem", to.aet, "-aet", "VIEWER", "-aec", node.aet, "127.0.0.1",
                               str(node.dicom), "-k", "QueryRetrieveLevel=STUDY", "-k",
                               "StudyInstanceUID=" + "\\".join(studies)], env=ENV, timeout=120, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = done.stdout.decode("utf-8", "replace")
        last = out[out.rfind("C-MOVE RSP"):]
        return [re.findall(rf"{what} +: (\w+)", last)[-1:] for what in (
            "DIMSE Status", "Completed Suboperations", "Failed Suboperations")]

    def drained(self):
        def done():
            s = self.edge.status()
            return s["central"]["reachable"] and s["owed"]["instances"] == 0 and \
                s["ledger"]["announced_seq"] == s["ledger"]["last_seq"]
        nodes.wait_for("nothing is owed", done, 90)


def compare(what, sent, got):
    """Each object of sent in the folder got, and nothing else."""
    wrong = []
    have = {o.key for o in check.objects([got], wrong)}
    want = {o.key: o.path for o in sent}
    check.missing(want, have, wrong)
    wrong += [f"never sent: {key[0]}" for key in have - want.keys()]
    if wrong:
        raise nodes.Failed(f"{what}: " + "\n".join(wrong[:10]))
    print(f"{what}: {len(want)} objects, 0 differ, 0 lost")


def nameless(objects):
    """Paths of objects without Study or Series UID, which no query can name (R32); the scanner says which."""
    import json
    paths = "\n".join(o.path for o in objects)
    done = subprocess.run([nodes.tool("scan_dump")], input=paths.encode(), stdout=subprocess.PIPE, check=True)
    return {d["path"] for d in map(json.loads, done.stdout.splitlines()) if d["flags"] & 24}


def data_set(o):
    with open(o.path, "rb") as f:
        return f.read()[o.start:]


def canonical(o):
    """R1, made by this test: the only header that Salamander writes, then the data set as it is."""
    def element(number, vr, value):
        if vr == b"OB":
            return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", 2, number, vr, len(value)) + value
    with open(o.path, "rb") as f:
        body = f.read()[o.start:]
    rest = element(1, b"OB", b"\0\1") + element(2, b"UI", o.sop_class.encode()) + \
        element(3, b"UI", o.uid.encode()) + element(0x10, b"UI", o.syntax.encode()) + \
        element(0x12, b"UI", IMPLEMENTATION)
    return bytes(128) + b"DICM" + element(0, b"UL", struct.pack("<I", len(rest))) + rest + body


# --- our own tools ---

def retrieve__R1_R7_R14_every_object_is_the_same_at_edge_central_and_after_a_refill():
    with Place() as p:
        folder, sent = p.material()
        p.central.start()
        p.edge.start()
        nodes.run(nodes.tool("dicom_send"), "127.0.0.1", p.edge.dicom, "-c", p.edge.aet, "-a", "MODALITY", "-n", 4,
                  folder)
        hidden = nameless(sent)
        shown = [o for o in sent if o.path not in hidden]
        if len(hidden) * 20 > len(sent):
            raise nodes.Failed(f"{len(hidden)} of {len(sent)} without Study or Series UID: not the files meant here")
        compare("from the edge", shown, p.get(p.edge))
        p.drained()
        a = archive.Archive(p.central.data)
        if a.compare(p.central.status()):
            raise nodes.Failed("\n".join(a.wrong[:10]))
        # the members of its packs are what this test makes of the files, to the last byte of their headers
        strange = [o.path for o in sent if hashlib.sha256(canonical(o)).digest() not in a.members]
        if strange or len(a.members) != len(sent):
            raise nodes.Failed(f"{len(strange)} are no canonical form of what was sent: {strange[:5]}")
        print(f"central's packs: {len(a.members)} members, each the canonical form of its file")
        compare("from central", shown, p.get(p.central))
        p.edge.burn()
        p.edge.start()
        p.edge.command("refill")
        p.central.stop()
        compare("from a new edge, refilled, central away", shown, p.get(p.edge))


def retrieve__every_object_is_the_same_by_c_move_and_decoded_for_who_takes_explicit_alone():
    with Place() as p:
        folder, sent = p.material()
        p.edge.start()
        p.other.start()
        nodes.run(nodes.tool("dicom_send"), "127.0.0.1", p.edge.dicom, "-c", p.edge.aet, "-a", "MODALITY", "-n", 4,
                  folder)
        hidden = nameless(sent)
        shown = [o for o in sent if o.path not in hidden]
        nodes.expect("all are moved", p.move(p.edge, p.other), [["0x0000"], [str(len(shown))], ["0"]])
        compare("by C-MOVE, each in its own syntax", shown, p.get(p.other))
        # Those that recode.py judges the worker by, here through the node; what it refuses fails alone.
        got = {o.uid: o for o in check.objects([p.get(p.edge, "--explicit", ok=None)], [])}
        wrong, counts = [f"in another syntax: {o.uid}" for o in got.values() if o.syntax != EXPLICIT], [0, 0, 0]
        with Worker() as w:
            for o in shown:
                want = data_set(o) if o.syntax == EXPLICIT else w.recode(o.path)[0]
                have = data_set(got[o.uid]) if o.uid in got else None
                wrong += [f"{o.path}: {'missing' if have is None else 'otherwise'}"] if have != want else []
                counts[0 if want is None else 1 if o.syntax == EXPLICIT else 2] += 1
        if wrong or len(got) != counts[1] + counts[2] or counts[2] < counts[0]:
            raise nodes.Failed(f"{counts}: " + "\n".join(wrong[:10]))
        print(f"explicit alone: {counts[1]} as they were, {counts[2]} recoded, {counts[0]} failed sub-operations")


# --- foreign clients ---

def listening(number):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", number)) == 0


def received_by_storescp(p, send):
    """What DCMTK's receiver writes, bit for bit as it came."""
    port, folder = nodes.port(), p.fresh("storescp")
    scp = subprocess.Popen(["storescp", "+B", "+xa", "+uf", "-aet", "SCP", "-od", folder, str(port)], env=ENV,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        nodes.wait_for("storescp", lambda: listening(port))
        send("SCP", port)
    finally:
        scp.terminate()
        scp.wait(10)
    return folder


def foreign(p, title, command, paths):
    """The same client with the same files, to storescp and to us; what both were sent alike must be alike."""
    def send(aet, port):
        subprocess.run([*command, "-aec", aet, "127.0.0.1", str(port), *paths], env=ENV, timeout=120, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    theirs = {o.uid: o for o in check.objects([received_by_storescp(p, send)], [])}
    p.edge.kill()
    shutil.rmtree(p.edge.data, ignore_errors=True)
    p.edge.start()
    send(p.edge.aet, p.edge.dicom)
    ours = {o.uid: o for o in check.objects([p.get(p.edge)], [])}
    hidden = {check.Object(x, open(x, "rb").read()).uid for x in nameless(theirs.values())}
    wrong, same = [f"only at storescp: {uid}" for uid in theirs.keys() - ours.keys() - hidden], 0
    for uid in theirs.keys() & ours.keys():
        if theirs[uid].syntax != ours[uid].syntax:
            continue  # another syntax was agreed on (R31): other bytes
        same += theirs[uid].key == ours[uid].key
        if theirs[uid].key != ours[uid].key:
            wrong.append(f"other bytes than at storescp: {uid}")
    if wrong:
        raise nodes.Failed(f"{title}: " + "\n".join(wrong[:10]))
    print(f"{title}: {len(ours)} objects, {same} in the same syntax at storescp and here, 0 differ")
    return same


def foreign__dcmsend_and_storescu_leave_the_same_bytes_here_and_at_storescp():
    with Place() as p:
        _, sent = p.material()
        paths = [o.path for o in sent]
        if foreign(p, "dcmsend", ["dcmsend", "-nh", "-nuc", "-dn"], paths) * 2 < len(paths):
            raise nodes.Failed("too few came in the same syntax to say anything")
        plain = [o.path for o in sent if o.syntax in UNCOMPRESSED][:150]
        for option in ("-x=", "-xi", "-xb"):
            if not foreign(p, f"storescu {option}", ["storescu", "-nh", option], plain):
                raise nodes.Failed(f"storescu {option}: nothing to compare")


if __name__ == "__main__":
    sys.exit(nodes.play("exact", globals()))
