#!/usr/bin/python3
"""DCMTK's tools on a real edge, where only clients of our own would look: destinations that take one syntax alone.

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


class Place(nodes.Place):
    """An edge; VIEWER may find, get and move, and DEST is a destination."""

    def __init__(self, peer=None, **sections):
        self.listen = nodes.port()
        super().__init__("foreign", **{
            "peer VIEWER": {"aet": "VIEWER", "host": "127.0.0.1", "may": "find, get, move"},
            "peer DEST": {"aet": "DEST", "host": "127.0.0.1", "port": self.listen, **(peer or {})}, **sections})

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

    def ask(self, tool, *words, level="STUDY", keys=(STUDY,)):
        """One of DCMTK's clients; every status that it was answered, and what it printed."""
        done = subprocess.run([tool, "-d", *words, "-aet", "VIEWER", "-aec", self.edge.aet, "127.0.0.1",
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
    classes = 150
    with Place() as p:
        p.send(p.make("files", *(instance(n, f"{ROOT}.88.{n}") for n in range(1, classes + 1))))
        for accepts in ("+xi", "+xe"):
            with p.storescp(f"got{accepts}", accepts) as out:
                expect(accepts, p.move(), ("0x0000", classes, 0))
            expect(f"{accepts}: they are there", len(os.listdir(out)), classes)


if __name__ == "__main__":
    sys.exit(nodes.play("foreign", globals()))
