#!/usr/bin/python3
"""DCMTK's tools on a real edge, in what only clients of our own would try elsewhere: destinations that take one syntax
alone or break off, cancels, Patient/Study Only, limits.

One edge for all of them, with two studies: STUDY, of CLASSES images, and one of one image.
Each test is a function named after the promise it holds; a test that fails prints why.
"""
import contextlib
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check"), HERE]
import dimse  # noqa: E402
import nodes  # noqa: E402
from dimse import ROOT, instance  # noqa: E402
from nodes import expect  # noqa: E402

STUDY = f"StudyInstanceUID={ROOT}.1"
ONE = (STUDY, f"SeriesInstanceUID={ROOT}.1.1", f"SOPInstanceUID={ROOT}.1.1.1")
CLASSES = 150  # a study of an image of each: more than an association has contexts
PDU, ANSWERS = 8192, 100


class Place(nodes.Place):
    """An edge; VIEWER may find, get and move, and DEST is a destination."""

    def __init__(self, **sections):
        self.listen = nodes.port()
        super().__init__("foreign", **{
            "peer VIEWER": {"aet": "VIEWER", "host": "127.0.0.1", "may": "find, get, move"},
            "peer DEST": {"aet": "DEST", "host": "127.0.0.1", "port": self.listen}, **sections})

    def make(self, name, *instances):
        """Files of these, in a folder of this name."""
        folder = self.folder(name)
        for number, one in enumerate(instances, 1):
            dimse.write(os.path.join(folder, f"{number}.dcm"), one)
        return folder

    @contextlib.contextmanager
    def storescp(self, name, *words):
        """A destination; what it says is in the file `name`.log when it has ended."""
        out, log = self.folder(name), os.path.join(self.top, f"{name}.log")
        with open(log, "wb") as said:
            scp = subprocess.Popen(["storescp", "-d", "-pm", *words, "-od", out, "-aet", "DEST", str(self.listen)],
                                   stdout=said, stderr=subprocess.STDOUT, env={**os.environ, "TCP_NODELAY": "1"})
            try:
                nodes.wait_for("storescp", lambda: nodes.run("echoscu", "127.0.0.1", self.listen, ok=None)[0] == 0)
                yield out
            finally:
                scp.kill()
                scp.wait()

    def said(self, name):
        with open(os.path.join(self.top, f"{name}.log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def ask(self, tool, *words, level="STUDY", keys=(STUDY,), calling="VIEWER"):
        """One of DCMTK's clients; every status that it was answered, and what it printed."""
        done = subprocess.run([tool, "-d", *words, "-aet", calling, "-aec", self.edge.aet, "127.0.0.1",
                               str(self.edge.dicom), "-k", f"QueryRetrieveLevel={level}",
                               *(w for k in keys for w in ("-k", k))],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        out = done.stdout.decode("utf-8", "replace")
        return re.findall(r"DIMSE Status +: (0x[0-9a-f]{4})", out), out

    def move(self, *words, **more):
        """The final answer of a C-MOVE to DEST: status, completed, failed."""
        status, out = self.ask("movescu", "-S", "-aem", "DEST", *words, **more)
        last = out[out.rfind("C-MOVE RSP"):]
        counts = [re.search(rf"{what} Suboperations +: (\d+)", last) for what in ("Completed", "Failed")]
        return (status or [out[-400:]])[-1], *(int(c.group(1)) if c else None for c in counts)


def move__more_classes_than_contexts_reach_who_takes_one_syntax_alone():
    """PS3.5 10.1: the plain syntaxes are proposed with each class, on however many associations that takes."""
    for accepts in ("+xi", "+xe"):
        with PLACE.storescp(f"got{accepts}", accepts) as out:
            expect(accepts, PLACE.move(), ("0x0000", CLASSES, 0))
        expect(f"{accepts}: they are there", len(os.listdir(out)), CLASSES)


def associations__max_pdu_is_what_both_kinds_take():
    with PLACE.storescp("small") as out:
        status, said = PLACE.ask("movescu", "-S", "-aem", "DEST", level="IMAGE", keys=ONE)
        expect("moved", (status[-1], len(os.listdir(out))), ("0x0000", 1))
    for who, text in (("what is asked of us", said), ("what we ask for", PLACE.said("small"))):
        expect(who, re.findall(r"Their Max PDU Receive Size: +(\d+)", text)[-1], str(PDU))


def move__a_cancel_of_movescu_ends_it_with_fe00():
    with PLACE.storescp("slow", "--sleep-after", "1") as out:
        status, completed, failed = PLACE.move("--cancel", "1")
        expect("cancelled", (status, failed, 0 < completed < CLASSES), ("0xfe00", 0, True))
    expect("no more are there", len(os.listdir(out)) <= completed + 1, True)


def move__what_storescp_breaks_off_is_tried_again_on_new_associations():
    with PLACE.storescp("broken", "--abort-after"):
        expect("and given up", PLACE.move(level="IMAGE", keys=ONE), ("0xa702", 0, 1))
    said = PLACE.said("broken")  # one association is an echo's, to see whether it listens
    expect("tried", (said.count("Received Store Request"), said.count("I: Association Received")), (3, 4))


def patient_study_only__is_found_moved_and_got_by_DCMTK():
    patient = ("PatientID=PID2",)
    study = (*patient, f"StudyInstanceUID={ROOT}.2")
    for level, keys in (("PATIENT", patient), ("STUDY", study)):
        statuses, _ = PLACE.ask("findscu", "-O", level=level, keys=keys)
        expect(f"find, {level}", (statuses[-1], len(statuses)), ("0x0000", 2))
        with PLACE.storescp(f"moved-{level}") as out:
            statuses, _ = PLACE.ask("movescu", "-O", "-aem", "DEST", level=level, keys=keys)
            expect(f"move, {level}", (statuses[-1], len(os.listdir(out))), ("0x0000", 1))
        out = PLACE.folder(f"got-{level}")
        statuses, _ = PLACE.ask("getscu", "-O", "-od", out, level=level, keys=keys)
        expect(f"get, {level}", (statuses[-1], len(os.listdir(out))), ("0x0000", 1))
    for tool, more in (("findscu", ()), ("movescu", ("-aem", "DEST")), ("getscu", ())):
        statuses, _ = PLACE.ask(tool, "-O", *more, level="SERIES", keys=(*study, f"SeriesInstanceUID={ROOT}.2.1"))
        expect(f"{tool}: there is no SERIES level", statuses[-1], "0xa900")


def find__umlauts_are_found_as_they_are_spelt_without():
    for name, want in (("Mueller*", 2), ("MULLER*", 2), ("Moller*", 0)):
        statuses, _ = PLACE.ask("findscu", "-S", keys=("StudyInstanceUID", f"PatientName={name}"))
        expect(name, (statuses[-1], statuses.count("0xff00")), ("0x0000", want))


def find__R34_the_limit_is_a700_or_what_the_peer_wants():
    keys = (STUDY, f"SeriesInstanceUID={ROOT}.1.1", "SOPInstanceUID")
    for calling, want in (("VIEWER", "0xa700"), ("LENIENT", "0x0000")):
        statuses, said = PLACE.ask("findscu", "-S", level="IMAGE", keys=keys, calling=calling)
        expect(calling, (statuses[-1], statuses.count("0xff00")), (want, ANSWERS))
        expect(f"{calling}: how many there are", f"first {ANSWERS} of {CLASSES}; narrow the query" in said, want != "0x0000")


def audit__R36_a_refused_storescu_is_in_the_log():
    path = dimse.write(os.path.join(PLACE.folder("odd"), "1.dcm"), instance(9, study=9, x0020000d=("UI", "")))
    done = subprocess.run(["storescu", "-d", "-aet", "STRICT", "-aec", PLACE.edge.aet, "127.0.0.1", str(PLACE.edge.dicom),
                           path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    expect("refused", re.findall(rb"DIMSE Status +: (0x[0-9a-f]{4})", done.stdout), [b"0xc000"])
    told = [line for line in dimse.audit_lines(PLACE.edge) if " refused what=store status=c000 calling=STRICT " in line]
    expect("told", len(told), 1)


def main():
    global PLACE  # the edge that all share
    viewer = {"host": "127.0.0.1", "may": "find, get, move"}
    with Place(**{"dicom": {"max_pdu": str(PDU), "max_answers": str(ANSWERS), "move_retries": "2", "umlauts": "yes"},
                  "peer LENIENT": {"aet": "LENIENT", **viewer, "on_limit": "success"},
                  "peer STRICT": {"aet": "STRICT", "host": "127.0.0.1", "may": "store", "strict": "yes"}}) as PLACE:
        PLACE.send(PLACE.make("files", *(instance(n, f"{ROOT}.88.{n}") for n in range(1, CLASSES + 1)),
                              instance(1, study=2)))
        return nodes.play("foreign", globals())


if __name__ == "__main__":
    sys.exit(main())
