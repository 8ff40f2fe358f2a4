#!/usr/bin/python3
"""Rejection notes (IHE IOCM) through real nodes: notes that pydicom makes and DCMTK's storescu sends; DCMTK's findscu and
getscu ask as different peers, before and after; and the notes that a node writes are read by pydicom.

Each test is a function named after the promise it holds; a test that fails prints why.
"""
import glob
import json
import os
import shutil
import subprocess
import sys

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check"), HERE]
import nodes  # noqa: E402
from nodes import expect  # noqa: E402
from sync import Group  # noqa: E402

KOS = "1.2.840.10008.5.1.4.1.1.88.59"
TITLES = {"quality": ("113001", "Rejected for Quality Reasons"), "safety": ("113037", "Rejected for Patient Safety Reasons"),
          "worklist": ("113038", "Incorrect Modality Worklist Entry"),
          "retention": ("113039", "Data Retention Policy Expired")}
READERS = {"peer VIEWER": {"aet": "VIEWER", "host": "127.0.0.1", "may": "find, get"},
           "peer QC": {"aet": "QC", "host": "127.0.0.1", "may": "find, get", "see_rejected": "yes"}}
SENDERS = {"peer MANAGER": {"aet": "MANAGER", "host": "127.0.0.1", "may": "store, reject"},
           "peer MODALITY": {"aet": "MODALITY", "host": "127.0.0.1", "may": "store"}}


def code(value, meaning):
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, "DCM", meaning
    return ds


def note(path, reason, files, syntax=ExplicitVRLittleEndian):
    """A Key Object Selection Document that rejects these files, as pydicom writes it."""
    images = [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = KOS
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.is_little_endian, ds.is_implicit_VR = True, syntax == ImplicitVRLittleEndian
    for word in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate"):
        setattr(ds, word, images[0].get(word, ""))
    ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = "KO", generate_uid(), 1, 1
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [code(*TITLES[reason])]
    ds.CurrentRequestedProcedureEvidenceSequence = []
    for study in sorted({i.StudyInstanceUID for i in images}):
        of = Dataset()
        of.ReferencedSeriesSequence, of.StudyInstanceUID = [], study
        for series in sorted({i.SeriesInstanceUID for i in images if i.StudyInstanceUID == study}):
            one = Dataset()
            one.SeriesInstanceUID, one.ReferencedSOPSequence = series, []
            for i in images:
                if i.SeriesInstanceUID == series:
                    r = Dataset()
                    r.ReferencedSOPClassUID, r.ReferencedSOPInstanceUID = i.SOPClassUID, i.SOPInstanceUID
                    one.ReferencedSOPSequence.append(r)
            of.ReferencedSeriesSequence.append(one)
        ds.CurrentRequestedProcedureEvidenceSequence.append(of)
    pydicom.dcmwrite(path, ds, write_like_original=False)
    return path


class Archive(Group):
    """A central and two sites; all may be asked by VIEWER, and by QC, which sees what was rejected for quality."""

    def __init__(self):
        super().__init__(("north", "south"), edge={**READERS, **SENDERS}, central=READERS)

    def store(self, name, sender, *paths):
        edge = self.edges[name]
        nodes.run("storescu", "-R", "-aet", sender, "-aec", edge.aet, "127.0.0.1", edge.dicom, *paths)

    def found(self, node, peer, study):
        """What C-FIND counts at STUDY level, None: no such study; and how many images it lists."""
        counts, listed = [], 0
        for level, keys in (("STUDY", ("NumberOfStudyRelatedInstances",)), ("SERIES", ("SeriesInstanceUID",))):
            for answer in self.ask(node, peer, level, f"StudyInstanceUID={study}", *keys):
                if level == "STUDY":
                    counts.append(int(answer.NumberOfStudyRelatedInstances))
                else:
                    listed += len(self.ask(node, peer, "IMAGE", f"StudyInstanceUID={study}",
                                           f"SeriesInstanceUID={answer.SeriesInstanceUID}", "SOPInstanceUID"))
        return (counts[0] if counts else None), listed

    def ask(self, node, peer, level, *keys):
        folder = os.path.join(self.top, "answers")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        words = [w for k in (f"QueryRetrieveLevel={level}", *keys) for w in ("-k", k)]
        nodes.run("findscu", "-S", "-X", "-od", folder, "-aet", peer, "-aec", node.aet, "127.0.0.1", node.dicom, *words)
        return [pydicom.dcmread(p, force=True) for p in sorted(glob.glob(os.path.join(folder, "rsp*.dcm")))]

    def got(self, node, peer, study):
        """How many objects getscu gets of it."""
        folder = os.path.join(self.top, "got")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        subprocess.run(["getscu", "-S", "+B", "-od", folder, "-aet", peer, "-aec", node.aet, "127.0.0.1", str(node.dicom),
                        "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)
        return len(os.listdir(folder))

    def everywhere(self, what, study, viewer, quality):
        """As VIEWER and QC find and get it, at once at each node or soon; None: not at all."""
        for node in (self.edges["north"], self.central):
            for peer, n in (("VIEWER", viewer), ("QC", quality)):
                nodes.wait_for(f"{what}: {peer} finds {n} at {node.name}",
                               lambda: self.found(node, peer, study) == (n, n or 0))
                expect(f"{what}: {peer} gets", self.got(node, peer, study), n or 0)


def one_study(g, seed):
    """Four images of one study, sent to north by a modality and known at central."""
    files = sorted(glob.glob(os.path.join(g.generate("--count", 4, "--per-study", 4, "--rows", 32, "--seed", seed), "**", "*.dcm"),
                             recursive=True))
    study = pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
    expect("of one study", {pydicom.dcmread(f, stop_before_pixels=True).StudyInstanceUID for f in files}, {study})
    g.store("north", "MODALITY", *files)
    g.drained("north")
    return files, study


def reject__R20_R29_notes_that_pydicom_wrote_hide_for_each_reason_and_each_peer():
    folders = []
    with Archive() as g:
        for seed, reason in enumerate(TITLES, 1):
            files, study = one_study(g, seed)
            path = note(os.path.join(g.top, f"{reason}.dcm"), reason, files[:2],
                        ImplicitVRLittleEndian if seed % 2 else ExplicitVRLittleEndian)
            g.store("north", "MODALITY", path)  # which may not
            expect("stored as any object", g.found(g.edges["north"], "VIEWER", study), (5, 5))
            g.store("north", "MANAGER", path)
            quality = reason == "quality"
            expect("at once", g.found(g.edges["north"], "VIEWER", study), (2, 2))
            g.everywhere(reason, study, 2, 5 if quality else 2)
            for peer in ("VIEWER", "QC") if quality else ():
                (one,) = g.ask(g.central, peer, "STUDY", f"StudyInstanceUID={study}", "ModalitiesInStudy", "SOPClassesInStudy")
                expect(f"what {peer} sees of it", ("KO" in one.ModalitiesInStudy, KOS in one.SOPClassesInStudy),
                       (peer == "QC", peer == "QC"))
            g.store("north", "MODALITY", files[0])  # again
            folders.append(os.path.dirname(files[0]))
            g.everywhere(f"{reason}, sent again", study, 3 if reason == "retention" else 2,
                         5 if quality else 3 if reason == "retention" else 2)
        s = g.edges["north"].status()
        expect("counted", (s["notes_unheard"], s["rejected_again"], s["rejected"]), (4, 3, 11))
        g.drained("north")
        g.in_vault(*folders)  # nothing is lost


def reject__a_note_before_its_images_bites_at_whatever_site_they_come_to():
    with Archive() as g:
        folder = g.generate("--count", 4, "--per-study", 4, "--rows", 32, "--seed", 9)
        files = sorted(glob.glob(os.path.join(folder, "**", "*.dcm"), recursive=True))
        study = pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
        g.store("north", "MANAGER", note(os.path.join(g.top, "early.dcm"), "safety", files))
        g.drained("north")
        south = g.edges["south"]
        nodes.wait_for("south hears it", lambda: south.status()["rejected"] == 5)
        g.store("south", "MODALITY", *files)
        expect("hidden as they come", g.found(south, "VIEWER", study), (None, 0))
        expect("and not given", g.got(south, "VIEWER", study), 0)
        g.drained("south")
        expect("nor at central", g.found(g.central, "QC", study), (None, 0))
        g.in_vault(folder)  # kept by default


def reject__a_person_at_a_site_whose_wan_is_cut_and_the_note_is_one_that_pydicom_reads():
    with Archive() as g:
        files, study = one_study(g, 5)
        north = g.edges["north"]
        g.wan["north"].cut()
        _, out = north.command("reject", study, "--reason", "quality")
        expect("says", "4 of 4 images rejected" in out, True)
        expect("at once", g.found(north, "VIEWER", study), (None, 0))
        expect("listed", len(json.loads(north.command("rejected", "--json")[1])), 5)
        expect("QC gets them, and the note", g.got(north, "QC", study), 5)
        notes = [d for d in (pydicom.dcmread(p) for p in glob.glob(os.path.join(g.top, "got", "*")))
                 if d.SOPClassUID == KOS]
        expect("one note", len(notes), 1)
        ds = notes[0]
        expect("its title", ds.ConceptNameCodeSequence[0].CodeValue, "113001")
        expect("its patient", ds.PatientID, pydicom.dcmread(files[0]).PatientID)
        named = {r.ReferencedSOPInstanceUID for s in ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
                 for r in s.ReferencedSOPSequence}
        expect("its evidence", named, {pydicom.dcmread(f).SOPInstanceUID for f in files})
        expect("its content", {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in ds.ContentSequence}, named)
        expect("its template", ds.ContentTemplateSequence[0].TemplateIdentifier, "2010")
        g.wan["north"].restore()
        g.everywhere("it travels", study, None, 5)
        north.stop()
        north.command("restore", study, "--reason", "quality")  # without a server
        north.start()
        g.everywhere("restored", study, 4, 5)


def reject__a_person_at_central_hides_and_restores_for_foreign_clients_at_every_node():
    with Archive() as g:
        files, study = one_study(g, 6)
        images = [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
        g.store("north", "MANAGER", note(os.path.join(g.top, "one.dcm"), "worklist", files[:1]))
        central = g.central
        expect("says", "1 of 1 images rejected (quality)" in
               central.command("reject", images[1].SOPInstanceUID, "--reason", "quality")[1], True)
        g.everywhere("an image", study, 2, 3)
        central.command("reject", images[2].SeriesInstanceUID, "--reason", "safety")
        g.everywhere("its series", study, None, None)
        expect("listed", {r["uid"] for r in json.loads(central.command("rejected", "--json")[1])} >=
               {i.SOPInstanceUID for i in images}, True)
        central.stop()
        central.command("restore", study, "--reason", "safety")  # without a server
        central.start()
        g.everywhere("restored, but for what other reasons hide", study, 2, 3)
        for word in ("quality", "worklist"):
            central.command("restore", study, "--reason", word)
        g.everywhere("all restored", study, 4, 4)
        for node in (g.edges["north"], central):
            answer, = g.ask(node, "VIEWER", "STUDY", f"StudyInstanceUID={study}", "SOPClassesInStudy", "ModalitiesInStudy")
            expect(f"{node.name}: nothing of the note", (KOS in str(answer.SOPClassesInStudy), "KO" in str(
                answer.ModalitiesInStudy)), (False, False))


if __name__ == "__main__":
    sys.exit(nodes.play("reject", globals()))
