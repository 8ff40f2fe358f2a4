#!/usr/bin/python3
"""C-FIND, C-MOVE and C-GET of real nodes by foreign clients (DCMTK's), and what may be read about it afterwards.

Each test is a function named after the promise it holds; a test that fails prints why. The judge is tests/check;
nothing here shares code with the product.
"""
import glob
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
import check  # noqa: E402
import nodes  # noqa: E402
from nodes import expect  # noqa: E402

EXPLICIT = "1.2.840.10008.1.2.1"
CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
ROOT = "1.2.826.0.1.3680043.10.1571.77"
LONG = ("OB", "OW", "SQ", "UN", "UT", "UC", "UR")


# --- objects of our own ---

def element(tag, vr, value):
    data = value if isinstance(value, bytes) else value.encode("latin-1")
    data += (b"\0" if vr in ("UI", "OB", "UN") else b" ") * (len(data) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xffff, vr.encode())
    return head + (struct.pack("<HI", 0, len(data)) if vr in LONG else struct.pack("<H", len(data))) + data


def item(*elements):
    data = b"".join(elements)
    return struct.pack("<HHI", 0xfffe, 0xe000, len(data)) + data


def write(path, elements, preamble=b"\0" * 128, private=b""):
    """A Part 10 file, explicit little endian, of {tag: (vr, value)}."""
    meta = element(0x00020001, "OB", b"\0\1")
    meta += element(0x00020002, "UI", elements[0x00080016][1]) + element(0x00020003, "UI", elements[0x00080018][1])
    meta += element(0x00020010, "UI", EXPLICIT) + element(0x00020012, "UI", ROOT)
    if private:
        meta += element(0x00020100, "UI", ROOT) + element(0x00020102, "OB", private)
    with open(path, "wb") as f:
        f.write(preamble + b"DICM" + element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta)
        f.write(b"".join(element(tag, *elements[tag]) for tag in sorted(elements)))
    return path


def instance(number, sop_class=CT, study=1, series=1, **more):
    elements = {0x00080005: ("CS", "ISO_IR 100"), 0x00080016: ("UI", sop_class),
                0x00080018: ("UI", f"{ROOT}.{study}.{series}.{number}"), 0x00080020: ("DA", "20260105"),
                0x00080030: ("TM", "101500"), 0x00080050: ("SH", f"ACC{study}"),
                0x00080060: ("CS", "SR" if sop_class == SR else "CT"), 0x00081030: ("LO", "THORAX"),
                0x00100010: ("PN", f"M\xfcller^J\xf6rg{study}"), 0x00100020: ("LO", f"PID{study}"),
                0x00100030: ("DA", "19700101"), 0x00100040: ("CS", "O"), 0x0020000d: ("UI", f"{ROOT}.{study}"),
                0x0020000e: ("UI", f"{ROOT}.{study}.{series}"), 0x00200011: ("IS", str(series)),
                0x00200013: ("IS", str(number))}
    elements.update({int(k[1:], 16): v for k, v in more.items()})
    return elements


# --- nodes and clients ---

class Group:
    """A central, an edge, a WAN between them, and a destination for C-MOVE."""

    def __init__(self, level="info", edge=None, central=None):
        self.top = tempfile.mkdtemp(prefix="salamander-dimse-")
        self.listen, self.scp = nodes.port(), None
        peers = {"peer PACS": {"aet": "PACS", "host": "127.0.0.1", "port": self.listen},
                 "peer VIEWER": {"aet": "VIEWER", "host": "127.0.0.1", "may": "find, get, move"},
                 "log": {"level": level}}
        self.central = nodes.central(os.path.join(self.top, "central"), **peers, **(central or {}))
        self.wan = nodes.Wan(self.central.http)
        self.edge = nodes.edge(os.path.join(self.top, "edge"), "north", central_port=self.wan.port, **peers,
                               **(edge or {}))

    def __enter__(self):
        try:
            self.central.start()
            self.edge.start()
            self.moved = self.folder("moved")
            self.scp = subprocess.Popen(["storescp", "+B", "+xa", "-od", self.moved, "-aet", "PACS", str(self.listen)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            nodes.wait_for("storescp", self.destination_listens)
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.scp:
            self.scp.kill()
            self.scp.wait()
        self.edge.kill()
        self.central.kill()
        self.wan.close()
        shutil.rmtree(self.top)

    def folder(self, name):
        path = os.path.join(self.top, name)
        os.makedirs(path)
        return path

    def destination_listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.listen)) == 0

    def send(self, *paths):
        nodes.run(nodes.tool("dicom_send"), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", "MODALITY", *paths)

    def drained(self):
        def done():
            s = self.edge.status()
            return s["owed"]["instances"] == 0 and s["ledger"]["announced_seq"] == s["ledger"]["last_seq"]
        nodes.wait_for("nothing is owed", done, 60)

    def client(self, tool, node, *words, level="STUDY", keys=()):
        """One of DCMTK's clients; returns what it printed."""
        done = subprocess.run([tool, "-d", *words, "-aet", "VIEWER", "-aec", node.aet, "127.0.0.1", str(node.dicom),
                               "-k", f"QueryRetrieveLevel={level}", *(w for k in keys for w in ("-k", k))],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
        return done.stdout.decode("utf-8", "replace")

    def find(self, node, *keys, level="STUDY", model="-S", words=()):
        """The answers as a list of {tag: value}; their final status in self.final."""
        out, answers = self.client("findscu", node, model, *words, level=level, keys=keys), []
        found = re.findall(r"DIMSE Status +: (0x[0-9a-f]{4})", out)
        self.final, self.pending = (found or [out[-300:]])[-1], set(found[:-1])
        for line in out.splitlines():
            if "Received Find Response" in line:
                answers.append({})
            match = re.match(r"D: +\(([0-9a-f]{4}),([0-9a-f]{4})\) .. (?:\[(.*?)\]|=(\S+)|\(no value|([-0-9.\\]+) )", line)
            if match and answers:
                value = (match.group(3) or match.group(4) or match.group(5) or "").strip(" \0")
                answers[-1].setdefault(match.group(1) + match.group(2), value)  # also of items
        return answers

    def move(self, node, *keys, level="STUDY", model="-S", to="PACS"):
        """The final answer of a C-MOVE: status, counters, how many failed UIDs are listed."""
        out = self.client("movescu", node, model, "-aem", to, level=level, keys=keys)
        last = out[out.rfind("C-MOVE RSP"):]

        def number(name):
            found = re.search(rf"{name} Suboperations +: (\d+)", last)
            return int(found.group(1)) if found else None
        status = re.findall(r"DIMSE Status +: (0x[0-9a-f]{4})", out)
        listed = re.search(r"\(0008,0058\) UI .*?# +(\d+), *(\d+)", last)
        return (status or [out[-400:]])[-1], number("Completed"), number("Failed"), \
            int(listed.group(2)) if listed else 0

    def compare(self, sent, got):
        wrong = []
        have = {o.key for o in check.objects([got], wrong)}
        want = {o.key: o.path for o in check.objects(sent, wrong)}
        check.missing(want, have, wrong)
        if wrong or len(have) != len(want):
            raise nodes.Failed(f"{len(want)} sent, {len(have)} back: {wrong[:5]}")


def audit_lines(node):
    """Every line of the audit log; raises where the chain breaks (R36)."""
    with open(os.path.join(node.data, "audit.log"), "rb") as f:
        lines = f.read().splitlines()
    chain = b"0" * 32
    for number, line in enumerate(lines, 1):
        text, _, told = line.rpartition(b" ")
        chain = hashlib.sha256(chain + text).hexdigest()[:32].encode()
        if told != chain:
            raise nodes.Failed(f"{node.name}: the audit chain breaks at line {number}")
    return [line.decode() for line in lines]


def command(node, *words, stderr=subprocess.STDOUT):
    return subprocess.run([node.binary, "--config", node.conf, *words], stdout=subprocess.PIPE, stderr=stderr,
                          timeout=60, check=False)


def procedure(code):
    return "SQ", item(element(0x00080100, "SH", code), element(0x00080102, "SH", "99S"))


def requested(*steps):
    return "SQ", b"".join(item(element(0x00400009, "SH", step), element(0x00401001, "SH", request))
                          for step, request in steps)


def find_by_items(g, node):
    """PS3.4 C.2.2.2.6: keys in sequences match item by item, and the items are answered."""
    request, code = "RequestAttributesSequence[0].", "ProcedureCodeSequence[0]."
    series = (f"StudyInstanceUID={ROOT}.2", "SeriesInstanceUID")
    for keys, want in ((("STEP21", ""), 1), (("STEP*", "RQ2"), 1), (("STEP21", "RQ2"), 0), (("STEP", ""), 2),
                       (("STEP31", ""), 0), (("", ""), 2)):
        found = g.find(node, *series, f"{request}ScheduledProcedureStepID={keys[0]}",
                       f"{request}RequestedProcedureID={keys[1]}", level="SERIES")
        expect(f"{node.name}: {keys}", (len(found), g.final, g.pending <= {"0xff00"}), (want, "0x0000", True))
    found = g.find(node, *series, f"{request}ScheduledProcedureStepID=STEP2?", f"{request}RequestedProcedureID",
                   level="SERIES")  # of three items two match, in another series each
    expect(f"{node.name}: what matches alone is answered", sorted((a["00400009"], a["00401001"]) for a in found),
           [("STEP21", "RQ1"), ("STEP22", "RQ1")])
    found = g.find(node, *series, f"{request}ScheduledProcedureStepID=STEP21", level="SERIES")
    expect(f"{node.name}: what was asked for alone is answered", ["00401001" in a for a in found], [False])
    issuer = "IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID"
    for value, want in (("HOSP", 1), ("NORTH", 2), ("OTHER", 0)):
        found = g.find(node, "StudyInstanceUID", f"{issuer}={value}")
        expect(f"{node.name}: R33 accessions of {value}", (len(found), g.pending <= {"0xff00"},
                                                           {a["00400031"] for a in found}),
               (want, True, {value} if want else set()))
    found = g.find(node, "StudyInstanceUID", f"{code}CodeValue=P?", f"{code}CodingSchemeDesignator=99S")
    expect(f"{node.name}: codes", sorted(a["00080100"] for a in found), ["P1", "P2", "P3"])
    expect(f"{node.name}: what no index keeps of items", len(g.find(node, "StudyInstanceUID", f"{code}ContextUID=1.2")), 0)
    g.find(node, "PatientID", f"{request}ReasonForTheRequestedProcedure=X")
    expect(f"{node.name}: R34 FF01 for a series' at STUDY level", g.pending, {"0xff01"})
    expect(f"{node.name}: another code", len(g.find(node, "StudyInstanceUID", f"{code}CodeValue=P2")), 1)


def find_in_headers(g, node, evicted):
    """PS3.4 C.6.1.1.5: whatever an image says is a key of its level, though no index keeps it."""
    who, series = node.name, (f"StudyInstanceUID={ROOT}.7", f"SeriesInstanceUID={ROOT}.7.1", "SOPInstanceUID")
    asked = ("SliceThickness", "AcquisitionMatrix", "AcquisitionDuration", "DerivationDescription", "KVP",
             "TableHeight=")
    for syntax in ("-x=", "-xi"):
        found = g.find(node, *series, *asked, level="IMAGE", words=(syntax,))
        told = [(a["00200013" if "00200013" in a else "00180050"], a["00181310"], a["00189073"], a["00082111"],
                 a["00180060"], a["00181130"]) for a in sorted(found, key=lambda a: a["00080018"])]
        full = [("1.5", "0\\256\\128\\0", "0.25", "Größe 1", "", ""), ("3", "0\\256\\128\\0", "0.25", "Größe 2", "", "")]
        expect(f"{who} {syntax}: told", (told, g.pending), ([("",) * 6] * 2, {"0xff01"}) if evicted
               else (full, {"0xff00"}))
        for key, want in (("SliceThickness=3", 1), ("SliceThickness=4", 0), ("DerivationDescription=Gr*2", 1),
                          ("DerivationDescription=gr*2", 0), ("KVP=120", 0), ("SliceThickness=1.5", 1)):
            expect(f"{who} {syntax}: {key}", len(g.find(node, *series, key, level="IMAGE", words=(syntax,))),
                   2 if evicted else want)
    sequences_in_headers(g, node, evicted)
    for level, keys in (("STUDY", series[:1]), ("SERIES", (series[0], "SeriesInstanceUID"))):
        asked = ("RequestingService", "RequestingPhysician", "SoftwareVersions")[:2 if level == "STUDY" else 3]
        for syntax in ("-x=", "-xi"):
            found = g.find(node, *keys, *asked, level=level, words=(syntax,))
            expect(f"{who} {syntax}: {level}", ([(a["00321033"], a["00321032"], a.get("00181020", "")) for a in found], g.pending),
                   ([("", "", "")], {"0xff01"}) if evicted else
                   ([("Ärzte", "Gräf^Ina", "1.0\\b" if level == "SERIES" else "")], {"0xff00"}))
            for key, want in (("RequestingService=\u00c4rz*", 1), ("RequestingService=X*", 0),
                              ("RequestingPhysician=graf*", 1)):
                expect(f"{who} {syntax}: {level}, {key}", len(g.find(node, *keys, key, level=level, words=(
                    syntax, "-k", "SpecificCharacterSet=ISO_IR 192"))), 1 if evicted else want)
    g.find(node, *series, "AlternateRepresentationSequence", level="IMAGE")
    expect(f"{who}: no other representation is known, which is an answer", g.pending, {"0xff00"})
    for level, keys in (("STUDY", series[:1]), ("SERIES", series[:2])):
        g.find(node, *keys, "AlternateRepresentationSequence", level=level)
        expect(f"{who}: R34 FF01 for an image's at {level} level", g.pending, {"0xff01"})
    found = g.find(node, *series, "0009,0010=MAKER", "0009,1001", level="IMAGE")
    expect(f"{who}: R34 FF01 for private ones, which are empty", ([a.get("00091001") for a in found], g.pending),
           ([""] * 2, {"0xff01"}))
    regions_in_headers(g, node, evicted)
    g.find(node, *series[:1], "SoftwareVersions")
    expect(f"{who}: R34 FF01 for a series' at STUDY level", g.pending, {"0xff01"})
    g.find(node, "StudyInstanceUID", "SliceThickness=3")
    expect(f"{who}: R34 FF01 at other levels", g.pending, {"0xff01"})


def regions_in_headers(g, node, evicted):
    """PS3.4 table C.6-2: the anatomic regions of a study are those of its images."""
    who, sequence = node.name, "AnatomicRegionsInStudyCodeSequence"
    for syntax in ("-x=", "-xi"):
        for value, want in (("R2", 1), ("R?", 1), ("X", 0)):
            found = g.find(node, f"StudyInstanceUID={ROOT}.7", f"{sequence}[0].CodeValue={value}", f"{sequence}[0].CodeMeaning",
                           words=(syntax,))
            told = [(a.get("00080100"), a.get("00080104")) for a in found]
            expect(f"{who} {syntax}: regions {value}", (told, g.pending), ([(None, None)], {"0xff01"}) if evicted else
                   ([(value.replace("?", "1"), "L\u00e4nge")], {"0xff00"}) if want else ([], set()))
    g.find(node, f"StudyInstanceUID={ROOT}.7", f"{sequence}[0].ContextUID")
    expect(f"{who}: R34 FF01 for more of a region than its code", g.pending, {"0xff01"})
    g.find(node, f"StudyInstanceUID={ROOT}.7", "SeriesInstanceUID", sequence, level="SERIES")
    expect(f"{who}: R34 FF01 for a study's at SERIES level", g.pending, {"0xff01"})


def sequences_in_headers(g, node, evicted):
    """PS3.4 C.2.2.2.6, of sequences that no index keeps: at every level, whatever the syntax."""
    who, series = node.name, (f"StudyInstanceUID={ROOT}.7", f"SeriesInstanceUID={ROOT}.7.1", "SOPInstanceUID")
    image = "ReferencedImageSequence[0]."
    code = "RequestingServiceCodeSequence[0]."
    for syntax in ("-x=", "-xi"):
        def ask(*keys, level="IMAGE", model="-S"):
            return g.find(node, *keys, level=level, model=model, words=(syntax, "-k", "SpecificCharacterSet=ISO_IR 192"))
        found = ask(*series, "ReferencedImageSequence")
        told = [(a.get("00081155", ""), a.get("00189073", ""), a.get("0008103e", "")) for a in found]
        expect(f"{who} {syntax}: a sequence is told whole", (told, g.pending),
               ([("",) * 3] * 2, {"0xff01"}) if evicted else ([(ROOT, "0.5", "Gr\u00f6\u00dfe")] * 2, {"0xff00"}))
        for key, want in ((f"ReferencedSOPInstanceUID={ROOT}", 2), ("ReferencedSOPInstanceUID=1.2", 0),
                          (f"ReferencedSOPInstanceUID=1.2\\{ROOT}", 2), ("SeriesDescription=Gr\u00f6*", 2),
                          ("SeriesDescription=gr*", 0), ("AcquisitionDuration=0.5", 2), ("AcquisitionDuration=0.25", 0)):
            found = ask(*series, image + key)
            expect(f"{who} {syntax}: {key}", len(found), 2 if evicted else want)
            expect(f"{who} {syntax}: {key} alone is told", {a.get("00081155", "") for a in found} <= {ROOT, ""} and
                   all(("0008103e" in a) == ("SeriesDescription" in key) for a in found if not evicted), True)
        ask(*series, "SourceImageSequence")
        expect(f"{who} {syntax}: R34 FF01 for sequences in items", g.pending, {"0xff01"})
        for level, keys in (("STUDY", series[:1]), ("SERIES", (series[0], "SeriesInstanceUID"))):
            found = ask(*keys, f"{code}CodeValue=S?", f"{code}CodeMeaning", level=level)
            expect(f"{who} {syntax}: {level}", ([(a.get("00080100"), a.get("00080104")) for a in found], g.pending),
                   ([(None, None)], {"0xff01"}) if evicted else ([("S1", "\u00c4rzte")], {"0xff00"}))
            expect(f"{who} {syntax}: {level}, another", len(ask(*keys, f"{code}CodeValue=X", level=level)), int(evicted))
        of_series, step, reason = (series[0], "SeriesInstanceUID"), *(f"RequestAttributesSequence[0].{word}" for word in (
            "ScheduledProcedureStepID", "ReasonForTheRequestedProcedure"))
        found = ask(*of_series, f"{step}=STEP7", reason, level="SERIES")  # one is in the index, the other is not
        expect(f"{who} {syntax}: more of a sequence", ([(a["00400009"], a.get("00401002")) for a in found], g.pending),
               ([("STEP7", None)], {"0xff01"}) if evicted else ([("STEP7", "Gr\u00fcnde")], {"0xff00"}))
        for asked, want in ((("", "Gr\u00fc*"), 1), (("STEP7", "X"), int(evicted)), (("OTHER", "Gr\u00fc*"), 0)):
            expect(f"{who} {syntax}: {asked}",
                   len(ask(*of_series, f"{step}={asked[0]}", f"{reason}={asked[1]}", level="SERIES")), want)
        asked = ("PatientMotherBirthName", "PatientSpeciesDescription", "PatientSpeciesCodeSequence")
        found = ask("PatientID=PID7", *asked, level="PATIENT", model="-P")
        expect(f"{who} {syntax}: PATIENT", ([(a["00101060"], a["00102201"], a.get("00080100")) for a in found], g.pending),
               ([("", "", None)], {"0xff01"}) if evicted else ([("Gr\u00e4f", "Homo", "H1")], {"0xff00"}))
        for key, want in (("PatientMotherBirthName=graf", 1), ("PatientSpeciesDescription=X", 0)):
            expect(f"{who} {syntax}: PATIENT, {key}", len(ask("PatientID=PID7", key, level="PATIENT", model="-P")),
                   1 if evicted else want)
        ask("PatientID=PID7", "RequestingService", level="PATIENT", model="-P")
        expect(f"{who} {syntax}: R34 FF01 for a study's at PATIENT level", g.pending, {"0xff01"})


# --- what is promised ---

def find__both_nodes_answer_every_level_to_a_foreign_client():
    with Group() as g:
        for study in (1, 2, 3):
            files = g.folder(f"files{study}")
            for series, kind in ((1, CT), (2, SR)):
                for number in (1, 2):
                    write(os.path.join(files, f"{series}{number}.dcm"), instance(
                        number, kind, study, series, x00081032=procedure(f"P{study}"),
                        **({"x00080051": ("SQ", item(element(0x00400031, "UT", "HOSP")))} if study == 3 else {}),
                        x00400275=requested((f"STEP{study}{series}", "RQ1"), ("STEP", f"RQ{series}"))))
            g.send(files)
        g.drained()
        for node in (g.edge, g.central):
            who = node.name
            find_by_items(g, node)
            found = g.find(node, "StudyInstanceUID", "PatientName", "ModalitiesInStudy", "SOPClassesInStudy",
                           "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "InstanceAvailability")
            expect(f"{who}: newest first", [a["0020000d"] for a in found], [f"{ROOT}.{n}" for n in (3, 2, 1)])
            expect(f"{who}: counts", {(a["00201206"], a["00201208"]) for a in found}, {("2", "4")})
            expect(f"{who}: modalities", {frozenset(a["00080061"].split("\\")) for a in found},
                   {frozenset(("CT", "SR"))})
            expect(f"{who}: R21", {a["00080056"] for a in found}, {"ONLINE"})
            expect(f"{who}: R30", {a["00080054"] for a in found}, {node.aet})
            expect(f"{who}: character set", {(a["00080005"], a["00100010"]) for a in found},
                   {("ISO_IR 192", f"Müller^Jörg{n}") for n in (1, 2, 3)})
            for keys, want in ((("IssuerOfPatientID=NORTH",), 3), (("IssuerOfPatientID=SOUTH",), 0),
                               (("ModalitiesInStudy=SR",), 3), (("ModalitiesInStudy=MR",), 0),
                               (("PatientName=MULLER*",), 3), (("PatientName=m?ller^JORG2",), 1),
                               (("PatientID=PID2",), 1), (("PatientID=pid2",), 0), (("PatientID=PID?",), 3),
                               (("AccessionNumber=ACC3",), 1), (("StudyDate=20260101-20260105",), 3),
                               (("StudyDate=20260106-",), 0), (("StudyDate=-20260105", "StudyTime=1000-1030"), 3),
                               (("StudyTime=1030-1100",), 0), (("StudyDescription=*HOR*",), 3)):
                expect(f"{who}: {keys}", len(g.find(node, "StudyInstanceUID", *keys)), want)
                expect(f"{who}: {keys}", g.final, "0x0000")
            expect(f"{who}: UID list", len(g.find(node, f"StudyInstanceUID={ROOT}.1\\{ROOT}.3\\1.2.3")), 2)
            series = g.find(node, f"StudyInstanceUID={ROOT}.2", "SeriesInstanceUID", "Modality",
                            "NumberOfSeriesRelatedInstances", level="SERIES")
            expect(f"{who}: series", sorted((a["00080060"], a["00201209"]) for a in series), [("CT", "2"), ("SR", "2")])
            images = g.find(node, f"StudyInstanceUID={ROOT}.2", f"SeriesInstanceUID={ROOT}.2.2", "SOPInstanceUID",
                            "SOPClassUID", "InstanceNumber", "AvailableTransferSyntaxUID", level="IMAGE")
            expect(f"{who}: images", [(a["00080018"], a["00200013"]) for a in images],
                   [(f"{ROOT}.2.2.{n}", str(n)) for n in (1, 2)])
            patients = g.find(node, "PatientID", "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedInstances",
                              level="PATIENT", model="-P")
            expect(f"{who}: patients", sorted((a["00100020"], a["00201200"], a["00201204"]) for a in patients),
                   [(f"PID{n}", "1", "4") for n in (1, 2, 3)])
            found = g.find(node, "StudyInstanceUID", "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedInstances")
            expect(f"{who}: table C.6-5", ([(a["00201200"], a["00201204"]) for a in found], g.pending),
                   ([("1", "4")] * 3, {"0xff00"}))
            expect(f"{who}: patient root", len(g.find(node, "PatientID=PID1", "StudyInstanceUID", model="-P")), 1)
            for keys, level, model in ((("StudyInstanceUID",), "STUDY", "-P"),
                                       (("PatientID",), "PATIENT", "-S"),
                                       ((f"StudyInstanceUID={ROOT}.*",), "STUDY", "-S"),
                                       ((f"StudyInstanceUID={ROOT}.1", "SOPInstanceUID"), "IMAGE", "-S"),
                                       (("SeriesInstanceUID",), "SERIES", "-S")):
                expect(f"{who}: {keys} {level}", (g.find(node, *keys, level=level, model=model), g.final),
                       ([], "0xa900"))
            g.find(node, "StudyInstanceUID", "Modality=CT")
            expect(f"{who}: R34 FF01", g.pending, {"0xff01"})


def find__R34_keys_of_images_that_no_index_keeps_are_in_their_headers():
    pixels = {"x7fe00010": ("OW", b"\1\2" * 40000)}
    with Group(edge={"dicom": {"max_answers": "100"}}) as g:
        files = g.folder("files")
        for number, thickness in ((1, "1.5"), (2, "3")):
            write(os.path.join(files, f"{number}.dcm"), instance(
                number, study=7, x00180050=("DS", thickness), x00181310=("US", struct.pack("<4H", 0, 256, 128, 0)),
                x00090010=("LO", "MAKER"), x00091001=("LO", "P2"), x00189073=("FD", struct.pack("<d", 0.25)),
                x00082111=("ST", f"Gr\xf6\xdfe {number}"),
                x00081140=("SQ", item(element(0x0008103e, "LO", "Gr\xf6\xdfe"), element(0x00081155, "UI", ROOT),
                                      element(0x00189073, "FD", struct.pack("<d", 0.5)))),
                x00082218=("SQ", item(element(0x00080100, "SH", f"R{number}"), element(0x00080104, "LO", "L\xe4nge"))),
                x00082112=("SQ", item(element(0x0040a170, "SQ", item(element(0x00080100, "SH", "X"))))),
                x00321034=("SQ", item(element(0x00080100, "SH", "S1"), element(0x00080104, "LO", "\xc4rzte"))),
                x00400275=("SQ", item(element(0x00400008, "SQ", item(element(0x00080100, "SH", "X"))),
                                      element(0x00400009, "SH", "STEP7"), element(0x00401002, "LO", "Gr\xfcnde"))),
                x00101060=("PN", "Gr\xe4f"), x00102201=("LO", "Homo"),
                x00102202=("SQ", item(element(0x00080100, "SH", "H1"))), x00181020=("LO", "1.0\\b"),
                x00321032=("PN", "Gr\xe4f^Ina"), x00321033=("LO", "\xc4rzte"), **(pixels if number == 2 else {})))
        g.send(files)
        g.drained()
        for node in (g.edge, g.central):
            find_in_headers(g, node, False)
        g.edge.command("evict", "--study", f"{ROOT}.7")
        find_in_headers(g, g.edge, True)
    with Group(edge={"dicom": {"max_answers": "10"}}) as g:
        files = g.folder("files")
        for number in range(1, 25):
            write(os.path.join(files, f"{number}.dcm"), instance(number, study=7, x00180050=("DS", str(number))))
        g.send(files)
        series = (f"StudyInstanceUID={ROOT}.7", f"SeriesInstanceUID={ROOT}.7.1", "SOPInstanceUID")
        expect("few are looked into", (len(g.find(g.edge, *series, "SliceThickness=1?", level="IMAGE")) < 10, g.final),
               (True, "0xa700"))


def retrieve__R20_central_gives_what_arrived_and_counts_the_rest():
    with Group() as g:
        files, late = g.folder("files"), g.folder("late")
        for number in range(1, 6):
            write(os.path.join(files, f"{number}.dcm"), instance(number))
        g.send(files)
        g.drained()
        study = f"StudyInstanceUID={ROOT}.1"
        expect("move", g.move(g.central, study), ("0x0000", 5, 0, 0))
        g.compare([files], g.moved)
        got = g.folder("got")
        g.client("getscu", g.central, "-S", "+B", "-od", got, keys=[study])
        g.compare([files], got)
        expect("a series", g.move(g.edge, study, f"SeriesInstanceUID={ROOT}.1.1", level="SERIES")[:2], ("0x0000", 5))
        expect("a patient", g.move(g.central, "PatientID=PID1", level="PATIENT", model="-P")[:2], ("0x0000", 5))
        expect("another's study", g.move(g.central, "PatientID=PID9", study, model="-P")[:2], ("0x0000", 0))
        expect("nowhere", g.move(g.central, study, to="NOWHERE")[0], "0xa801")
        # known at the edge only: central has not heard of it; then a pack rots at central
        g.wan.cut()
        write(os.path.join(late, "9.dcm"), instance(9))
        g.send(late)
        expect("the edge has all", g.move(g.edge, study)[:3], ("0x0000", 6, 0))
        g.central.stop()
        pack = sorted(check.packs(os.path.join(g.central.data, "vault")))[0]
        with open(pack, "r+b") as f:
            data = f.read()
            at = data.index(b"THORAX")
            f.seek(at)
            f.write(b"THOMAX")
        g.central.start()
        expect("a damaged one is not given away", g.move(g.central, study), ("0xb000", 4, 1, 1))
        # R19: it lost its bit; the edge, which still has it, sends it again
        g.wan.restore()

        def healed():
            status = g.central.status()
            return status["sites"][0]["held"] == 6 and status["sites"][0]["owed"] == 0
        nodes.wait_for("the edge healed it", healed, 60)
        expect("healed", g.move(g.central, study), ("0x0000", 6, 0, 0))


def retrieve__R20_R21_an_evicted_study_and_its_new_sr_with_the_wan_cut():
    with Group() as g:
        files = g.folder("files")
        for number in range(1, 251):
            write(os.path.join(files, f"{number}.dcm"), instance(number))
        g.send(files)
        g.drained()
        study = f"StudyInstanceUID={ROOT}.1"
        g.edge.command("evict", "--study", f"{ROOT}.1")
        expect("evicted", g.edge.status()["cache"]["instances"], 0)
        sr = write(os.path.join(g.folder("sr"), "sr.dcm"), instance(1, SR, series=2))
        g.send(sr)
        counted = ("NumberOfStudyRelatedInstances", "InstanceAvailability")
        expect("with the WAN", [(a["00201208"], a["00080056"]) for a in g.find(g.edge, study, *counted)],
               [("251", "NEARLINE")])
        g.drained()
        expect("central has all", [(a["00201208"], a["00080056"]) for a in g.find(g.central, study, *counted)],
               [("251", "ONLINE")])
        g.wan.cut()
        nodes.wait_for("the edge knows", lambda: not g.edge.status()["central"]["reachable"], 60)
        expect("the WAN is cut", [(a["00201208"], a["00080056"]) for a in g.find(g.edge, study, *counted)],
               [("251", "UNAVAILABLE")])
        expect("B000, 250 listed", g.move(g.edge, study), ("0xb000", 1, 250, 250))
        g.compare([sr], g.moved)


def audit__R36_both_nodes_tell_what_happened_in_a_whole_chain():
    with Group() as g:
        path = write(os.path.join(g.folder("files"), "1.dcm"), instance(1))
        g.send(path)
        g.drained()
        for node in (g.edge, g.central):
            g.find(node, "StudyInstanceUID", "PatientName=MULLER*")
            g.move(node, f"StudyInstanceUID={ROOT}.1")
            g.move(node, f"StudyInstanceUID={ROOT}.1", to="NOWHERE")
            nodes.run("echoscu", "-aec", "WRONG", "127.0.0.1", node.dicom, ok=None)
            node.stop()
            node.start()
            nodes.run("echoscu", "-aec", node.aet, "127.0.0.1", node.dicom)
            lines = "\n".join(audit_lines(node))
            for told in (r" association calling=VIEWER ", r" query calling=VIEWER .* keys=00080052,00100010 matches=1 ",
                         rf" retrieve calling=VIEWER .* destination=PACS study={re.escape(ROOT)}.1 instances=1 "
                         r"failed=0 end=whole ", " refused what=move status=a801 ", " rejected why=called-title "):
                if not re.search(told, lines):
                    raise nodes.Failed(f"{node.name}: {told} is not in the audit log:\n{lines}")


def audit__R36_a_user_of_storescu_is_accepted_and_named():
    with Group() as g:
        path = write(os.path.join(g.folder("files"), "1.dcm"), instance(1))
        # It insists on a positive answer.
        nodes.run("storescu", "-aec", g.edge.aet, "--user", "night reader", "--password", "ZQXPASS", "--pos-response",
                  "127.0.0.1", g.edge.dicom, path)
        expect("stored", g.edge.status()["cache"]["instances"], 1)
        lines = "\n".join(audit_lines(g.edge))
        expect("named", " user=night_reader " in lines, True)
        expect("no password", "ZQXPASS" in lines, False)


def logs__R35_no_value_of_any_text_attribute_leaves_the_data_folder():
    marker = "ZQXMARK"
    texts = {0x00080050: "SH", 0x00080080: "LO", 0x00080081: "ST", 0x00080090: "PN", 0x00081010: "SH", 0x00081030: "LO",
             0x0008103e: "LO", 0x00081048: "PN", 0x00081050: "PN", 0x00081060: "PN", 0x00081070: "PN", 0x00081080: "LO",
             0x00081090: "LO", 0x00100010: "PN", 0x00100020: "LO", 0x00100021: "LO", 0x00101000: "LO", 0x00101001: "PN",
             0x00101040: "LO", 0x00102160: "SH", 0x00102180: "SH", 0x001021b0: "LT", 0x00104000: "LT", 0x00181030: "LO",
             0x00200010: "SH", 0x00204000: "LT", 0x00321060: "LO", 0x00400253: "SH", 0x00400254: "LO",
             0x0040a160: "UT", 0x00091001: "LO", 0x00091002: "UC", 0x00091003: "UR"}
    more = {f"x{tag:08x}": (vr, f"{marker}{n}") for n, (tag, vr) in enumerate(texts.items())}
    more["x00090010"] = ("LO", marker)
    more["x00101002"] = ("SQ", item(element(0x00100020, "LO", marker), element(0x00100021, "LO", marker)))
    more["x00400275"] = requested((marker, marker))
    more["x00081032"] = procedure(marker)
    more["x00080051"] = ("SQ", item(element(0x00400031, "UT", marker)))
    with Group(level="debug") as g:
        files, printed = g.folder("files"), []
        for number in range(1, 4):
            write(os.path.join(files, f"{number}.dcm"), instance(number, **more),
                  preamble=marker.encode().ljust(128, b"\0"), private=marker.encode())
        # a revision, a conflict without Series UID, one that ends too early, one that is none
        write(os.path.join(files, "5.dcm"), instance(1, **{**more, "x00081030": ("LO", marker + "NEW")}))
        write(os.path.join(files, "6.dcm"), instance(6, **{**more, "x0020000e": ("UI", marker)}))
        # text where UIDs belong: what is none is no more welcome in a log line than a name
        write(os.path.join(files, "8.dcm"), instance(8, **{**more, "x00080018": ("UI", f"{marker}.8")}))
        write(os.path.join(files, "9.dcm"), instance(9, **{**more, "x0020000d": ("UI", marker)}))
        write(os.path.join(files, "10.dcm"), instance(10, **{**more, "x00080018": ("UI", f"{marker} 10")}))
        with open(os.path.join(files, "1.dcm"), "rb") as f:
            data = f.read()
        with open(os.path.join(files, "7.dcm"), "wb") as f:
            f.write(data.replace(f"{ROOT}.1.1.1".encode(), f"{ROOT}.1.1.7".encode())[:-30])
        for path in sorted(glob.glob(os.path.join(files, "*.dcm"))):
            subprocess.run(["storescu", "-aet", "VIEWER2", "-aec", g.edge.aet, "127.0.0.1", str(g.edge.dicom), path],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)
            nodes.run(nodes.tool("dicom_send"), "127.0.0.1", g.edge.dicom, "-c", g.edge.aet, "-a", "MODALITY", path,
                      ok=None)
        g.drained()
        for node in (g.edge, g.central):
            for keys in ((f"PatientName={marker}*", f"AccessionNumber={marker}0"), (f"StudyInstanceUID={marker}*",),
                         (f"PatientID=*{marker}*", f"StudyDate={marker}", f"StudyDescription={marker}1*")):
                g.find(node, *keys)
            g.find(node, f"PatientID={marker}14", "StudyInstanceUID", model="-P")
            g.find(node, f"PatientID={marker}14", level=marker)
            g.move(node, f"StudyInstanceUID={ROOT}.1")
            g.move(node, f"PatientID={marker}14", level="PATIENT", model="-P")
            g.move(node, f"StudyInstanceUID={marker}*")
            g.move(node, f"StudyInstanceUID={marker}")
            got = g.folder(f"got-{node.role}")
            g.client("getscu", node, "-S", "+B", "-od", got, keys=[f"StudyInstanceUID={ROOT}.1"])
            if not any(marker.encode() in open(p, "rb").read() for p in glob.glob(os.path.join(got, "*"))):
                raise nodes.Failed(f"{node.name}: the markers did not get through at all")
        for path in (f"/sync/v1/objects/00?PatientName={marker}", f"/studies?PatientName={marker}", "/metrics"):
            with socket.create_connection(("127.0.0.1", g.central.http)) as s:
                s.settimeout(10)
                s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                while s.recv(4096):
                    pass
        for node, commands in ((g.edge, (["status"], ["status", "--json"], ["retry"], ["refill"], ["evict"])),
                               (g.central, (["status"], ["status", "--json"], ["sites"], ["verify"]))):
            for words in commands:
                printed.append((f"{node.name} {words}", command(node, *words).stdout))
        g.central.burn()
        g.central.start()
        g.drained()
        # a site burns and owes two images; what is for a person's eyes alone has the names, and only there
        g.wan.rate = 2000
        noise = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(4000))
        for number in (11, 12):
            write(os.path.join(files, f"{number}.dcm"), instance(number, study=2, **more, x7fe00010=("OB", noise)))
        g.send(*(os.path.join(files, f"{number}.dcm") for number in (11, 12)))
        nodes.wait_for("announced", lambda: g.edge.status()["ledger"]["announced_seq"] ==
                       g.edge.status()["ledger"]["last_seq"], 60)
        g.wan.cut()
        printed.append((f"audit of {g.edge.name}, burnt", open(os.path.join(g.edge.data, "audit.log"), "rb").read()))
        g.edge.burn()
        g.wan.restore()
        printed.append(("site lost", command(g.central, "site", "lost", "north").stdout))
        for words in (["loss"], ["loss", "--csv"], ["loss", "--json", "--instances"], ["conflicts"],
                      ["conflicts", "--instances"]):
            shown = command(g.central, *words, stderr=subprocess.PIPE)
            printed.append((f"what {words} complains of", shown.stderr))
            if marker.encode() not in shown.stdout.upper() and words[0] == "loss":
                raise nodes.Failed(f"{words} lists nobody: {shown.stdout!r}")
        g.edge.start()
        for node, commands in ((g.edge, (["refill"], ["rebuild"], ["status"], ["status", "--json"])),
                               (g.central, (["verify"], ["rebuild"], ["sites"], ["status"], ["status", "--json"]))):
            for words in commands:
                printed.append((f"{node.name} {words}", command(node, *words).stdout))
        g.edge.stop()
        g.central.stop()
        for node in (g.edge, g.central):
            audit_lines(node)
            printed.append((node.log, open(node.log, "rb").read()))
            printed.append(("audit", open(os.path.join(node.data, "audit.log"), "rb").read()))
        for folder in (g.edge.folder, g.central.folder):
            if {n.split(".")[0] for n in os.listdir(folder)} - {"north", "central"}:
                raise nodes.Failed(f"more was written than is read here: {os.listdir(folder)}")
        lines = 0
        for where, text in printed:
            lines += text.count(b"\n")
            if marker.encode() in text.upper() or b"19700101" in text or b"THORAX" in text:
                at = max(text.upper().find(marker.encode()), text.find(b"19700101"), text.find(b"THORAX"))
                raise nodes.Failed(f"R35: {where}: ...{text[max(0, at - 150):at + 80]!r}")
        if lines < 50:
            raise nodes.Failed(f"only {lines} lines were written: nothing was tested")


def serve__R35_no_core_is_dumped_and_no_signal_reaches_an_association():
    with Group() as g:
        for node in (g.edge, g.central):
            with socket.create_connection(("127.0.0.1", node.dicom)):
                pid = node.process.pid
                with open(f"/proc/{pid}/limits", encoding="utf-8") as f:
                    core = re.search(r"Max core file size +(\d+) +(\d+)", f.read())
                expect(f"{node.name}: core", core.groups(), ("0", "0"))
                threads = 0
                for path in glob.glob(f"/proc/{pid}/task/*/status"):
                    if f"/task/{pid}/" in path:
                        continue  # it waits for them
                    try:
                        with open(path, encoding="utf-8") as f:
                            blocked = int(re.search(r"SigBlk:\s*([0-9a-f]+)", f.read()).group(1), 16)
                    except (FileNotFoundError, ProcessLookupError):
                        continue
                    threads += 1
                    for number in (1, 2, 13, 15):
                        if not blocked >> (number - 1) & 1:
                            raise nodes.Failed(f"{node.name}: a thread takes signal {number}")
                if threads < 4:
                    raise nodes.Failed(f"{node.name}: only {threads} threads seen")


def associations__caps_in_total_are_for_both_nodes():
    limits = {"dicom": {"max_associations": "2"}}
    with Group(edge=limits, central=limits) as g:
        for node in (g.edge, g.central):
            held = [socket.create_connection(("127.0.0.1", node.dicom)) for _ in range(2)]

            def refused(number=node.dicom):
                with socket.create_connection(("127.0.0.1", number)) as s:
                    s.settimeout(0.5)
                    try:
                        return s.recv(1) == b""
                    except TimeoutError:
                        return False
            nodes.wait_for(f"{node.name}: two are held", refused)
            for s in held:
                s.close()
            nodes.wait_for(f"{node.name}: room again", lambda n=node: nodes.run(
                "echoscu", "-aec", n.aet, "127.0.0.1", n.dicom, ok=None)[0] == 0)
            if not any(" refused what=association why=cap " in line for line in audit_lines(node)):
                raise nodes.Failed(f"{node.name}: R36: the cap is not in the audit log")
            if not node.status()["refusals"]:
                raise nodes.Failed(f"{node.name}: R29: refusals are not counted")


if __name__ == "__main__":
    sys.exit(nodes.play("dimse", globals()))
