#!/usr/bin/python3
"""dcmjs-dimse, from npm, against a real edge: it queries, retrieves by C-GET and C-MOVE, and is the destination.

Its code comes by tests/interop/install; without it this fails.
"""
import glob
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy
import pydicom
from pydicom.filereader import read_dataset

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), HERE]
import nodes  # noqa: E402
import recode  # noqa: E402
import secure  # noqa: E402
from nodes import expect  # noqa: E402
from worker import Worker  # noqa: E402

INTEROP = os.path.join(HERE, "..", "interop")
CLIENT = os.path.join(INTEROP, "client.js")
ROOT = recode.ROOT
CT = "1.2.840.10008.5.1.4.1.1.2"
MANY = 60  # images of a study
SUCCESS, PENDING, KEYS = 0x0000, 0xff00, 0xff01


class Foreign(nodes.Place):
    """An edge, and dcmjs-dimse as DCMJS, which may find, get and move, and listens as DCMJS too."""

    def __init__(self, breaks=0, **peer):
        if not shutil.which("node") or not os.path.isdir(os.path.join(INTEROP, "node_modules")):
            raise nodes.Failed("no Node, or tests/interop/install did not bring the client")
        self.listen = nodes.port()
        super().__init__("interop", **{
            "peer DCMJS": {"aet": "DCMJS", "host": "127.0.0.1", "port": self.listen, "may": "find, get, move", **peer}})
        self.files, self.moved = self.folder("files"), self.folder("moved")
        self.scp, self.breaks = None, breaks

    def __enter__(self):
        super().__enter__()
        self.scp = subprocess.Popen(["node", CLIENT, "serve", str(self.listen), self.moved], stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, env={**os.environ, "BREAKS": str(self.breaks)})
        expect("it listens", json.loads(self.scp.stdout.readline()), {"listening": True})
        nodes.wait_for("the destination", lambda: nodes.run("echoscu", "127.0.0.1", self.listen, ok=None)[0] == 0)
        return self

    def __exit__(self, *_):
        if self.scp:
            self.scp.kill()
            self.scp.wait()
            self.scp.stdout.close()
        super().__exit__()

    def ask(self, what, level, *keys, folder="", to="DCMJS", extended="", tls="", port=None, **env):
        """Every event that it tells of; the last one has the final status."""
        done = subprocess.run(["node", CLIENT, what, str(port or self.edge.dicom), "DCMJS", self.edge.aet, level, folder,
                               *keys],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False,
                              env={**os.environ, "DESTINATION": to, "EXTENDED": extended, "TLS": tls, **env})
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]  # beside its log
        if done.returncode or not events:
            raise nodes.Failed(f"{what}: exit {done.returncode}: {done.stdout[-500:]!r}")
        return events

    def find(self, level, *keys, extended=""):
        events = self.ask("find", level, *keys, extended=extended)
        return [e["elements"] for e in events[:-1]], {e["status"] for e in events[:-1]}, events[-1]["status"]


def interop__dcmjs_finds_at_every_level():
    with Foreign() as f:
        recode.make(f.files, {})
        f.send(f.files)
        study = f"StudyInstanceUID={ROOT}"
        found, pending, status = f.find("STUDY", "StudyInstanceUID=", "PatientName=recode^t*", "ModalitiesInStudy=",
                                        "NumberOfStudyRelatedInstances=", "StudyDate=20260101-20260131")
        expect("study", (pending, status, len(found)), ({PENDING}, SUCCESS, 1))
        expect("its counts", (int(found[0]["NumberOfStudyRelatedInstances"]), found[0]["StudyInstanceUID"]), (24, ROOT))
        found, pending, status = f.find("SERIES", study, "SeriesInstanceUID=", "NumberOfSeriesRelatedInstances=")
        expect("series", (pending, status, sorted(int(a["NumberOfSeriesRelatedInstances"]) for a in found)),
               ({PENDING}, SUCCESS, [8, 16]))
        found, pending, status = f.find("IMAGE", study, f"SeriesInstanceUID={ROOT}.1", "SOPInstanceUID=", "Rows=",
                                        "PhotometricInterpretation=MONO*", "HighBit=")
        expect("images", (pending, status, len(found)), ({PENDING}, SUCCESS, 8))
        expect("their rows and, out of their headers, high bits", {(int(a["Rows"]), int(a["HighBit"])) for a in found},
               {(96, 11)})
        expect("wildcards in UIDs", f.find("STUDY", "StudyInstanceUID=1.2.*")[2], 0xa900)
        expect("a series without its study", f.find("SERIES", "SeriesInstanceUID=")[2], 0xa900)
        # It takes FF01 for the end, and may release before what follows: that it came is all that it can tell.
        told = f.ask("find", "STUDY", "StudyInstanceUID=", "Modality=CT")
        expect("FF01", KEYS in {e.get("status") for e in told}, True)


def interop__dcmjs_gets_by_tls():
    with Foreign() as f:
        pki, listen, truth = secure.Pki(f.folder("pki")), nodes.port(), {}
        pki.issue("node")
        pki.issue("viewer")
        f.edge.config["dicom"].update(pki.settings("node", listen))
        f.edge.config["peer DCMJS"]["tls"] = "required"
        f.edge.stop()
        f.edge.start()
        recode.make(f.files, truth)
        f.send(f.files)
        got = f.folder("got")
        tls = ":".join(pki.path(name) for name in ("viewer.pem", "viewer.key", "ca.pem"))
        events = f.ask("get", "STUDY", f"StudyInstanceUID={ROOT}", folder=got, tls=tls, port=listen)
        expect("all by TLS", (events[-1]["status"], {e["stored"] for e in events if "stored" in e}),
               (SUCCESS, set(truth)))
        expect("not without it", "rejected" in f.ask("get", "STUDY", f"StudyInstanceUID={ROOT}", folder=got)[-1], True)


def interop__what_was_negotiated_beyond_the_baseline():
    """Relational queries and retrieves, moments, fuzzy names and time zones, asked for and answered by dcmjs-dimse."""
    with Foreign() as f:
        for number, zone in ((1, "+0100"), (2, "-0500")):
            ds = recode.image(f"{ROOT}.9.{number}", "slice")
            ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.{number}", f"{ROOT}.{number}.1"
            ds.StudyDate, ds.StudyTime, ds.TimezoneOffsetFromUTC = "20260301", "0030", zone
            ds.PatientName, ds.SeriesDescription = f"Van der Berg^Jan{number}", "SCOUT"
            ds.save_as(os.path.join(f.files, f"{number}.dcm"), write_like_original=False)
        f.send(f.files)
        alone = (f"SOPInstanceUID={ROOT}.9.2", "StudyInstanceUID=", "PatientName=")
        expect("hierarchical", f.find("IMAGE", *alone)[2], 0xa900)
        found, pending, status = f.find("IMAGE", *alone, extended="01")
        expect("relational", ([a["StudyInstanceUID"] for a in found], pending, status),
               ([f"{ROOT}.2"], {PENDING}, SUCCESS))
        expect("relational: a series' key", len(f.find("STUDY", "StudyInstanceUID=", "SeriesDescription=SC*",
                                                       extended="01")[0]), 2)
        got = f.folder("got")
        last = f.ask("get", "IMAGE", f"SOPInstanceUID={ROOT}.9.2", folder=got)[-1]
        expect("a hierarchical retrieve", last["status"], 0xa900)
        last = f.ask("get", "IMAGE", f"SOPInstanceUID={ROOT}.9.2", folder=got, extended="01")[-1]
        expect("a relational one", (last["status"], last["completed"], len(os.listdir(got))), (SUCCESS, 1, 1))
        night = ("StudyInstanceUID=", "StudyDate=20260228-20260301", "StudyTime=2200-0200")
        expect("a night", (len(f.find("STUDY", *night)[0]), len(f.find("STUDY", *night, extended="0001")[0])), (0, 2))
        names = ("StudyInstanceUID=", "PatientName=berg jan1")
        expect("fuzzy", (len(f.find("STUDY", *names)[0]), len(f.find("STUDY", *names, extended="000001")[0])), (0, 1))
        found, _, status = f.find("STUDY", "StudyInstanceUID=", "StudyTime=", "StudyDate=20260228",
                                  "TimezoneOffsetFromUTC=+0000", extended="00000001")
        expect("in Greenwich", [(a["StudyInstanceUID"], a["StudyDate"], a["StudyTime"], a["TimezoneOffsetFromUTC"])
                                for a in found], [(f"{ROOT}.1", "20260228", "2330", "+0000")])


def one_without_a_listener(f, study):
    """The destination ends: no image can be sent, and each is a failed sub-operation."""
    f.scp.kill()
    f.scp.wait()
    last = f.ask("move", "STUDY", study)[-1]
    expect("all have failed", (last["completed"], last["failures"]), (0, 24))
    return last["status"]


def interop__dcmjs_gets_and_is_moved_to_pixel_for_pixel():
    truth = {}
    with Foreign() as f:
        recode.make(f.files, truth)
        f.send(f.files)
        study = f"StudyInstanceUID={ROOT}"
        events = f.ask("move", "STUDY", study)
        expect("C-MOVE", {k: events[-1][k] for k in ("status", "completed", "failures", "warnings")},
               {"status": SUCCESS, "completed": 24, "failures": 0, "warnings": 0})
        recode.judge(f.moved, truth, None)  # in one of the plain ones: that of the context that fits best
        got = f.folder("got")
        events = f.ask("get", "STUDY", study, folder=got)
        expect("C-GET", (events[-1]["status"], events[-1]["completed"]), (SUCCESS, 24))
        expect("all came", len({e["stored"] for e in events if "stored" in e}), 24)
        for path in glob.glob(os.path.join(got, "*")):
            uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
            expect("no other", uid in truth, True)
        expect("pendings count", all(e["completed"] + e["remaining"] == 24 for e in events
                                     if e.get("status") == PENDING), True)
        one = next(iter(truth))
        events = f.ask("move", "IMAGE", study, f"SeriesInstanceUID={ROOT}.1", f"SOPInstanceUID={one}")
        expect("an image", (events[-1]["status"], events[-1]["completed"]), (SUCCESS, 1))
        expect("an unknown destination", f.ask("move", "STUDY", study, to="NOWHERE")[-1]["status"], 0xa801)
        expect("nobody listens there", one_without_a_listener(f, study), 0xa702)


def committed(f, transaction, *instances):
    """How the N-ACTION was answered, and its result where that came on the same association."""
    done = nodes.run("node", CLIENT, "commit", f.edge.dicom, "DCMJS", f.edge.aet, transaction, CT, *instances)[1]
    events = [json.loads(line) for line in done.splitlines() if line.startswith("{")]
    told = [e for e in events if "event" in e]
    failed = [e["elements"].get("FailedSOPSequence", []) for e in told]
    return events[0]["status"], [e["event"] for e in told], [int(i["FailureReason"]) for items in failed for i in items]


def interop__a_large_move_several_at_once_a_cancel_a_window_and_a_commitment():
    with Foreign(breaks=1, move_associations="2", may="store, find, get, move, commit", commit="edge") as f:
        nodes.run(nodes.tool("gen_dicom"), "--out", f.files, "--count", MANY, "--per-study", MANY, "--rows", 16)
        f.send(f.files)
        uid = f.find("STUDY", "StudyInstanceUID=")[0][0]["StudyInstanceUID"]
        study = f"StudyInstanceUID={uid}"
        last = f.ask("move", "STUDY", study)[-1]
        expect("two at once, of which one breaks", (last["status"], last["completed"], len(os.listdir(f.moved))),
               (SUCCESS, MANY, MANY))
        f.scp.kill()
        associations = sum(b'"association"' in line for line in f.scp.stdout)
        expect("and another in its place", associations, 3)
        last = f.ask("get", "STUDY", study, folder=f.folder("got"), CANCEL="5")[-1]
        expect("a C-GET is cancelled", (last["status"], last["completed"] + last["remaining"]), (0xfe00, MANY))
        expect("soon", 5 <= last["completed"] < MANY, True)
        events = f.ask("find", "STUDY", study, ASYNC="4")  # all four go out before an answer comes
        expect("a window is not used, and harms nobody", [e["status"] for e in events], [PENDING, SUCCESS] * 4)
        one, other = (a["SOPInstanceUID"] for a in f.find(
            "IMAGE", study, "SeriesInstanceUID=", "SOPInstanceUID=", extended="01")[0][:2])
        expect("committed", committed(f, "1.2.3.1", one, other), (SUCCESS, [1], []))
        expect("what is not here yet is waited for", committed(f, "1.2.3.2", one, "1.2.3"), (SUCCESS, [], []))
        expect("another request of its number", committed(f, "1.2.3.2", other), (SUCCESS, [2], [0x0131]))


def interop__HTJ2K_has_the_pixels_that_another_decoder_gives():
    """OpenJPH, in dcmjs-codecs: the same where it is lossless, within rounding where it is not."""
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        raise nodes.Skipped("DICOM_CORPUS is not set")
    paths = sorted(glob.glob(os.path.join(corpus, "valid", "**", "HTJ2K*.dcm"), recursive=True))
    expect("files", len(paths), 2)
    with tempfile.TemporaryDirectory() as folder, Worker() as w:
        for path in paths:
            data, why = w.recode(path)
            expect(path, why, None)
            out = os.path.join(folder, "plain.dcm")
            nodes.run("node", CLIENT, "transcode", path, out, "1.2.840.10008.1.2.1")
            ours, theirs = (recode.pixels_of(ds).astype(int) for ds in
                            (read_dataset(io.BytesIO(data), False, True), pydicom.dcmread(out)))
            most = 0 if "Lossless" in path else 1
            expect(path, (ours.shape, bool(numpy.abs(ours - theirs).max() <= most)), (theirs.shape, True))


if __name__ == "__main__":
    sys.exit(nodes.play("interop", globals()))
