#!/usr/bin/python3
"""Interoperability: client x service x syntax x character set, each cell tried against a real edge, printed as tables.

Clients: DCMTK's tools, dcmjs-dimse (tests/interop/install brings it), Debian's Orthanc, and our own two. What a client
changes itself is no fault of the edge: what it stores is compared with what the same client leaves at DCMTK's storescp.

  same    the data set, bit for bit, in the syntax of the column (or, of names: as they were written)
  pixels  a plain syntax, as the client wants it, and the pixels from before a foreign tool compressed them
  -       the client cannot: it does not do so at storescp either
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings

import pydicom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), HERE, os.path.join(HERE, "..", "check")]
sys.path.append(os.path.join(HERE, "..", "bench"))
import charsets  # noqa: E402
import check  # noqa: E402
import nodes  # noqa: E402
import recode  # noqa: E402
from peers import Orthanc  # noqa: E402

warnings.simplefilter("ignore")  # pydicom speaks of character sets that it does not know
CLIENT = os.path.join(HERE, "..", "interop", "client.js")
ENV = {**os.environ, "TCP_NODELAY": "1"}
SYNTAXES = {"explicit": "1.2.840.10008.1.2.1", "implicit": "1.2.840.10008.1.2", "big": "1.2.840.10008.1.2.2",
            "deflated": "1.2.840.10008.1.2.1.99", "rle": "1.2.840.10008.1.2.5",
            "lossless": "1.2.840.10008.1.2.4.70", "jpegls": "1.2.840.10008.1.2.4.80",
            "j2k": "1.2.840.10008.1.2.4.90", "htj2k": "1.2.840.10008.1.2.4.201"}
DCMTK = {"explicit": "xe", "implicit": "xi", "big": "xb", "deflated": "xd", "rle": "xr", "lossless": "xs",
         "jpegls": "xt", "j2k": "xv"}  # its options: storescu -xe, storescp and getscu +xe; HTJ2K it does not know
CODERS = {**recode.CODERS, "htj2k": ["node", CLIENT, "transcode"]}


def quietly(*command, **more):
    return subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          check=False, env={**ENV, **more})


def pixels(path):
    """The stored bits; None where they are not plain."""
    ds = pydicom.dcmread(path)
    if ds.file_meta.TransferSyntaxUID not in (SYNTAXES["explicit"], SYNTAXES["implicit"]):
        return None
    return recode.pixels_of(ds).tobytes()


TRUTH = recode.pixels_of(recode.image("1.2.3", "slice")).tobytes()  # of each object here


class Table:
    def __init__(self, title, columns):
        self.title, self.columns, self.rows = title, list(columns), {}

    def put(self, row, column, value):
        self.rows.setdefault(row, {})[column] = value

    def show(self):
        """Printed; the cells that are wrong."""
        wide = max(map(len, [self.title, *self.rows]))
        cells = [max([len(c)] + [len(r.get(c, "-")) for r in self.rows.values()]) for c in self.columns]
        print("| " + self.title.ljust(wide) + " | " + " | ".join(c.ljust(n) for c, n in zip(self.columns, cells)) + " |")
        for name, row in self.rows.items():
            print("| " + name.ljust(wide) + " | " +
                  " | ".join(row.get(c, "-").ljust(n) for c, n in zip(self.columns, cells)) + " |", flush=True)
        return [f"{self.title}: {name}, {c}: {v}" for name, row in self.rows.items() for c, v in row.items()
                if v not in ("same", "pixels", "pass", "-")]


class Place:
    """An edge, whoever may move images from it, and where they go."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="salamander-matrix-")
        self.ports = {aet: nodes.port() for aet in ("SCP", "PLAIN", "DCMJS")}
        self.orthanc = Orthanc(self.top, "orthanc", DefaultEncoding="Utf8", OverwriteInstances=True)
        peers = {aet: {"host": "127.0.0.1", "port": p, "may": "store, find, get, move"} for aet, p in
                 (*self.ports.items(), ("ORTHANC", self.orthanc.dicom))}
        peers["CHOOSER"] = {"host": "127.0.0.1", "may": "find, get", "syntaxes": "as-proposed"}
        self.edge = nodes.edge(os.path.join(self.top, "edge"), "north", **{
            f"peer {aet}": {"aet": aet, **peer} for aet, peer in peers.items()})
        self.orthanc.settings["DicomModalities"] = {
            "edge": [self.edge.aet, "127.0.0.1", self.edge.dicom], "scp": ["SCP", "127.0.0.1", self.ports["SCP"]]}
        self.running = []

    def __enter__(self):
        try:
            self.edge.start()
            self.orthanc.start()
            self.listen("SCP", "storescp", "+B", "+xa")
            self.listen("PLAIN", "storescp", "+B", "+xi")
            self.running.append(subprocess.Popen(["node", CLIENT, "serve", str(self.ports["DCMJS"]),
                                                  self.folder("DCMJS")], stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL))
            for number in self.ports.values():
                nodes.wait_for("a destination", lambda n=number: quietly("echoscu", "127.0.0.1", n).returncode == 0)
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.kill()
            process.wait()
        self.orthanc.kill()
        self.edge.kill()
        shutil.rmtree(self.top)

    def listen(self, aet, *command):
        self.running.append(subprocess.Popen([*command, "-aet", aet, "-od", self.folder(aet), str(self.ports[aet])],
                                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENV))

    def folder(self, name):
        path = os.path.join(self.top, name)
        os.makedirs(path, exist_ok=True)
        return path

    def came(self, name):
        """What lies in a folder, by UID; it is empty afterwards."""
        kept = tempfile.mkdtemp(dir=self.top)
        for path in glob.glob(os.path.join(self.folder(name), "*")):
            shutil.move(path, kept)
        return {o.uid: o for o in check.objects([kept], [])}

    def dcmjs(self, what, *words, **more):
        """Its events."""
        out = quietly("node", CLIENT, what, self.edge.dicom, *words, **more).stdout
        return [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]

    def study(self, number, names):
        """A slice in each of these syntaxes: {syntax: path}."""
        made = {}
        for k, name in enumerate(names, 1):
            uid = f"{recode.ROOT}.{number}.1.{k}"
            plain, out = (os.path.join(self.folder(f"files{number}"), f"{name}.{x}") for x in ("plain", "dcm"))
            ds = recode.image(uid, "slice")
            ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{recode.ROOT}.{number}", f"{recode.ROOT}.{number}.1"
            ds.PatientID = f"M{number}"
            ds.save_as(plain, write_like_original=False)
            nodes.run(*CODERS[name], plain, out, *([SYNTAXES[name]] if name not in DCMTK else []))
            os.remove(plain)
            made[name] = out
        return made

    def stored(self, number):
        """What the edge holds of a study, by our own client: the bytes as they are there."""
        out = self.folder("held")
        quietly(nodes.tool("dicom_get"), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", "SCP", "-o", out,
                "--study", f"{recode.ROOT}.{number}")
        return self.came("held")


def uid_of(path):
    return pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID


def compared(got, path, syntax, exact=None):
    """A cell: what came, for the file that went in. exact: only so is it right; None: either."""
    if got is None:
        return "MISSING"
    sent = check.Object(path, open(path, "rb").read())
    if got.key == sent.key:
        return "same"
    if exact or (exact is None and got.syntax == syntax):
        return "DIFFERS"
    return "pixels" if pixels(got.path) == TRUTH else "OTHER PIXELS"


# --- C-STORE: what the client leaves at storescp it leaves at the edge ---

def by_storescu(p, aet, port, files):
    for name, option in DCMTK.items():
        quietly("storescu", f"-{option}", "-aec", aet, "127.0.0.1", port, files[name])


def by_dcmsend(p, aet, port, files):
    quietly("dcmsend", "-nuc", "-dn", "-aec", aet, "127.0.0.1", port, *files.values())


def by_dcmjs(p, aet, port, files):
    for path in files.values():
        quietly("node", CLIENT, "store", port, "DCMJS", aet, path)


def by_orthanc(p, aet, port, files):
    for path in files.values():
        with open(path, "rb") as f:
            made = p.orthanc.ask("/instances", f.read())
        quietly_ask(p, f"/modalities/{'edge' if aet == p.edge.aet else 'scp'}/store", made["ID"].encode())


def quietly_ask(p, path, body):
    try:
        return p.orthanc.ask(path, body)
    except OSError:  # it answers 500: the peer did not take it
        return None


def by_dicom_send(p, aet, port, files):
    quietly(nodes.tool("dicom_send"), "127.0.0.1", port, "-c", aet, "-a", "SENDER", *files.values())


SENDERS = {"storescu": by_storescu, "dcmsend": by_dcmsend, "dcmjs-dimse": by_dcmjs, "Orthanc": by_orthanc,
           "dicom_send": by_dicom_send}


def store_rows(p, table):
    for number, (client, send) in enumerate(SENDERS.items(), 1):
        files = p.study(number, SYNTAXES)
        p.came("SCP")
        send(p, "SCP", p.ports["SCP"], files)
        theirs = p.came("SCP")
        send(p, p.edge.aet, p.edge.dicom, files)
        held = p.stored(number)
        for name, path in files.items():
            uid = uid_of(path)
            if uid not in theirs and uid not in held:
                continue
            if uid in theirs and uid in held and theirs[uid].key == held[uid].key:
                value = "same"
            else:  # another syntax was agreed on than storescp does
                value = compared(held.get(uid), path, theirs[uid].syntax if uid in theirs else None)
            table.put(f"C-STORE by {client}", name, value)


# --- C-GET and C-MOVE: in the stored syntax bit for bit, else plain ---

def keys(path):
    uid = uid_of(path)
    series = uid.rsplit(".", 1)[0]
    return {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": series.rsplit(".", 1)[0], "SeriesInstanceUID": series,
            "SOPInstanceUID": uid}


def dcmtk(p, tool, path, aet, *words):
    quietly(tool, "-S", *words, "-aet", aet, "-aec", p.edge.aet, "127.0.0.1", p.edge.dicom,
            *(w for k, v in keys(path).items() for w in ("-k", f"{k}={v}")))


def js(p, what, path, folder):
    words = [f"{k}={v}" for k, v in keys(path).items() if k != "QueryRetrieveLevel"]
    p.dcmjs(what, "DCMJS", p.edge.aet, "IMAGE", folder, *words)


def by_getscu(p, path, name):
    """It offers the syntax and the plain ones in one context: R31."""
    dcmtk(p, "getscu", path, "SCP", "+B", f"+{DCMTK[name]}", "-od", p.folder("got"))
    return p.came("got")


def by_getscu_as_proposed(p, path, name):
    if name == "implicit":
        return None  # it does not propose that, see below
    dcmtk(p, "getscu", path, "CHOOSER", "+B", f"+{DCMTK[name]}", "-od", p.folder("got"))
    return p.came("got")


def by_getscu_alone(p, path, name):
    """Of 3.6.7: whoever wants implicit alone gets a client that proposes explicit alone."""
    dcmtk(p, "getscu", path, "SCP", "+B", "+xi", "-od", p.folder("got"))
    return p.came("got")


def by_dcmjs_get(p, path, name):
    js(p, "get", path, p.folder("got"))
    return p.came("got")


def by_dicom_get(p, path, name):
    return p.stored(keys(path)["StudyInstanceUID"].rsplit(".", 1)[1])


def by_movescu(p, path, name):
    dcmtk(p, "movescu", path, "SCP", "-aem", "SCP")
    return p.came("SCP")


def by_movescu_implicit(p, path, name):
    dcmtk(p, "movescu", path, "SCP", "-aem", "PLAIN")
    return p.came("PLAIN")


def by_dcmjs_move(p, path, name):
    js(p, "move", path, "")
    return p.came("DCMJS")


def orthanc_has(p):
    """The files that Orthanc makes of what it took; it is empty afterwards."""
    for number in p.orthanc.ask("/instances"):
        url = ("-s", "-u", "b:b", f"http://127.0.0.1:{p.orthanc.http}/instances/{number}")
        quietly("curl", *url[:3], url[3] + "/file", "-o", os.path.join(p.folder("got"), number))
        quietly("curl", *url, "-X", "DELETE")
    return p.came("got")


def by_orthanc_move(p, path, name):
    """It is moved to itself; the same as when our own client brings it there."""
    orthanc_has(p)
    by_dicom_send(p, "ORTHANC", p.orthanc.dicom, {name: path})
    theirs = orthanc_has(p)
    quietly_ask(p, "/modalities/edge/move", json.dumps({
        "Level": "Instance", "Resources": [{k: v for k, v in keys(path).items() if k != "QueryRetrieveLevel"}],
        "TargetAet": "ORTHANC", "Timeout": 60}).encode())
    got = orthanc_has(p)
    for uid in got:
        if theirs[uid].key == got[uid].key:
            got[uid].key = check.Object(path, open(path, "rb").read()).key
    return got


# Row: how, and whether what comes is to be the same or (False) made plain; of dcmjs-dimse, which writes anew what it got,
# None: the same pixels.
UNKNOWN = {"htj2k"}  # to DCMTK 3.6.7 and Orthanc 1.10
RETRIEVERS = {"C-GET by getscu, that syntax and plain": (by_getscu, None),
              "C-GET by getscu, the same, as proposed": (by_getscu_as_proposed, True),
              "C-GET by getscu, explicit alone": (by_getscu_alone, False),
              "C-GET by dcmjs-dimse, plain ones": (by_dcmjs_get, False),
              "C-GET by dicom_get": (by_dicom_get, True),
              "C-MOVE by movescu to storescp, all": (by_movescu, True),
              "C-MOVE by movescu to storescp, implicit": (by_movescu_implicit, False),
              "C-MOVE by dcmjs-dimse to itself, plain": (by_dcmjs_move, False),
              "C-MOVE by Orthanc to itself, all": (by_orthanc_move, True)}


def retrieve_rows(p, table):
    files = p.study(90, SYNTAXES)
    by_dicom_send(p, p.edge.aet, p.edge.dicom, files)
    for row, (retrieve, exact) in RETRIEVERS.items():
        for name, path in files.items():
            if name in UNKNOWN and exact is not False and "dicom_get" not in row:
                continue
            got = retrieve(p, path, name)
            if got is not None:
                table.put(row, name, compared(got.get(uid_of(path)), path, SYNTAXES[name], exact))


def matrix__every_client_service_and_syntax():
    with Place() as p:
        table = Table("client and service, by syntax", SYNTAXES)
        store_rows(p, table)
        retrieve_rows(p, table)
        wrong = table.show()
        if wrong:
            raise nodes.Failed("\n".join(wrong))


# --- character sets ---

def find_by_dcmjs(p, number, name, key):
    events = p.dcmjs("find", "DCMJS", p.edge.aet, "STUDY", "", "StudyInstanceUID=", f"PatientID=C{number}",
                     f"PatientName={key}", "SpecificCharacterSet=ISO_IR 192")
    return [e["elements"].get("PatientName") for e in events if "elements" in e]


def find_by_orthanc(p, number, name, key):
    found = quietly_ask(p, "/modalities/edge/query", json.dumps({
        "Level": "Study", "Query": {"PatientID": f"C{number}", "PatientName": key}}).encode())
    answers = p.orthanc.ask(f"/queries/{found['ID']}/answers?expand&simplify") if found else []
    return [a.get("PatientName") for a in answers]


def find_by_findscu(p, number, name, key):
    found = charsets.asked(p.edge, p.folder("answers"), key, charsets_of(number), False, "SCP")
    return [found[f"C{number}"][0]] if f"C{number}" in found else []


def charsets_of(number):
    return list(charsets.NAMES)[number - 1]


def plain(names):
    """A name as a client tells it: an object of its components, or text."""
    out = []
    for n in names:
        n = n[0] if isinstance(n, list) and n else n
        if isinstance(n, dict):
            n = "=".join(v for v in (n.get(k, "") for k in ("Alphabetic", "Ideographic", "Phonetic")) if v)
        out.append(str(n).rstrip(" "))
    return out


FINDERS = {"C-FIND by findscu, in that set": find_by_findscu, "C-FIND by dcmjs-dimse, in UTF-8": find_by_dcmjs,
           "C-FIND by Orthanc, in UTF-8": find_by_orthanc}


def matrix__every_client_and_character_set():
    with Place() as p:
        columns = {name: str(n) for n, name in enumerate(charsets.NAMES, 1)}
        table = Table("client and service, by character set", columns.values())
        for name, n in columns.items():
            path = charsets.stored(p.folder("files"), int(n), name)
            held = check.Object(path, open(path, "rb").read())
            quietly("storescu", "-xe", "-aec", "SCP", "127.0.0.1", p.ports["SCP"], path)
            theirs = p.came("SCP").get(held.uid)
            quietly("storescu", "-xe", "-aec", p.edge.aet, "127.0.0.1", p.edge.dicom, path)
            for row, retrieve in (("C-STORE by storescu, C-GET by getscu", by_getscu),
                                  ("C-MOVE by movescu to storescp", by_movescu)):
                got = retrieve(p, path, "explicit").get(held.uid)
                table.put(row, n, "same" if got and theirs and got.key == theirs.key else "DIFFERS")
            for row, find in FINDERS.items():
                whole, key = charsets.NAMES[name]
                found = plain(find(p, int(n), whole, key))
                table.put(row, n, "same" if found == [whole] else f"{found}")
        wrong = table.show()
        print("| " + ", ".join(f"{n}: {name}" for name, n in columns.items()))
        if wrong:
            raise nodes.Failed("\n".join(wrong))


if __name__ == "__main__":
    sys.exit(nodes.play("matrix", globals()))
