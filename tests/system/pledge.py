#!/usr/bin/python3
"""`commit`: nodes ask archives to commit to their images (storage commitment as SCU, PS3.4 annex J).

The archives are Debian's Orthanc, which answers on an association of its own, and edges of ours, which answer late, or
on the association of the request. Each test is a function named after the promise it holds; a test that fails prints why.
"""
import glob
import json
import os
import sys
import urllib.request

import pydicom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
sys.path.append(os.path.join(HERE, "..", "bench"))
import check  # noqa: E402
import nodes  # noqa: E402
from metrics import scrape  # noqa: E402
from nodes import expect  # noqa: E402
from peers import Orthanc  # noqa: E402
from sync import Group  # noqa: E402


def uids(folder, attribute):
    """Of the files of a folder, each once."""
    paths = sorted(glob.glob(os.path.join(folder, "*")))
    return sorted({str(getattr(pydicom.dcmread(p, stop_before_pixels=True), attribute)) for p in paths})


class Asking(Group):
    """Two edges and a central: north asks, south is its archive, and so is an Orthanc where it is wanted."""

    def __init__(self, orthanc=False, **south):
        super().__init__(("north", "south"))
        self.north, self.south = self.edges["north"], self.edges["south"]
        self.north.config["peer south"] = {"aet": self.south.aet, "host": "127.0.0.1", "port": self.south.dicom}
        self.south.config["peer north"] = {"aet": self.north.aet, "host": "127.0.0.1", "port": self.north.dicom,
                                           "may": "store, commit", **south}
        self.orthanc = None
        if orthanc:
            asker = {"north": [self.north.aet, "127.0.0.1", self.north.dicom],
                     "central": [self.central.aet, "127.0.0.1", self.central.dicom]}
            self.orthanc = Orthanc(self.top, "vna", DicomModalities=asker)
            peer = {"aet": self.orthanc.aet, "host": "127.0.0.1", "port": self.orthanc.dicom}
            self.north.config["peer vna"] = self.central.config["peer vna"] = peer

    def __enter__(self):
        if self.orthanc:
            self.orthanc.start()
        return super().__enter__()

    def __exit__(self, *what):
        if self.orthanc:
            self.orthanc.kill()
        return super().__exit__(*what)

    def images(self, count=4, *options):
        """New ones, at north; returns their folder."""
        folder = self.generate("--count", count, "--rows", 16, *options)
        self.send("north", folder)
        return folder


def commit(node, *words, ok=(0,)):
    """What the command says of the images, as JSON."""
    return json.loads(node.command("commit", *words, "--json", ok=ok)[1])


def figures(said):
    return {k: said[k] for k in ("asked", "open", "committed", "refused", "ran_out", "not_sent")}


def archives(node):
    return {a.pop("archive"): a for a in node.status()["archives"]}


def counted(**more):
    return {**dict.fromkeys(("open", "committed", "refused", "ran_out", "not_sent", "not_looked_at"), 0), **more}


def commit__a_foreign_archive_has_nothing_then_what_is_sent():
    with Asking(orthanc=True) as g:
        folder = g.images(5)
        study, instances = uids(folder, "StudyInstanceUID"), uids(folder, "SOPInstanceUID")
        said = commit(g.north, "vna", *study, ok=(3,))
        expect("it has none", figures(said), {**figures(said), "asked": 5, "refused": 5, "committed": 0, "open": 0})
        expect("each by its reason", sorted((i["sop_instance"], i["reason"]) for i in said["instances"]),
               [(i, "0112") for i in instances])
        expect("counted", archives(g.north), {"vna": counted(refused=5, not_looked_at=5)})
        code, out = g.north.command("status", ok=(3,))
        expect("status says what to do", "5 NOT LOOKED AT: see `commit vna`" in out, True)
        g.north.command("commit", "vna", ok=(3,))
        g.north.command("commit", "vna", "--seen")
        g.north.command("status")
        expect("looked at", archives(g.north), {"vna": counted(refused=5)})
        # A series is enough to name them, and an image more counts once.
        said = commit(g.north, "vna", *uids(folder, "SeriesInstanceUID"), instances[0], "--send")
        expect("all of it", figures(said), {**figures(said), "asked": 5, "committed": 5, "refused": 0, "open": 0})
        expect("it has them", len(g.orthanc.ask("/instances")), 5)
        expect("counted anew", archives(g.north), {"vna": counted(committed=5)})
        # It is believed when it takes its word back.
        gone = g.orthanc.ask("/tools/lookup", instances[0].encode())[0]["ID"]
        urllib.request.urlopen(delete(g.orthanc, f"/instances/{gone}")).close()
        said = commit(g.north, "vna", *study, ok=(3,))
        expect("but one", [i["sop_instance"] for i in said["instances"] if i["state"] == "refused"], instances[:1])
        # It says itself what it lacks: that one goes there, and no other.
        expect("again", commit(g.north, "vna", *study, "--send")["committed"], 5)
        with open(os.path.join(g.north.data, "audit.log"), encoding="utf-8") as f:
            sent = [line.split(" instances=")[1].split()[0] for line in f if " pledge.sent peer=vna " in line]
        expect("sent", sent, ["5", "1"])


def delete(orthanc, path):
    request = urllib.request.Request(f"http://127.0.0.1:{orthanc.http}{path}", method="DELETE")
    request.add_header("Authorization", "Basic Yjpi")
    return request


def commit__central_asks_as_well():
    with Asking(orthanc=True) as g:
        folder = g.images(3)
        g.drained("north")
        said = commit(g.central, "vna", *uids(folder, "StudyInstanceUID"), "--send")
        expect("all of it", figures(said), {**figures(said), "asked": 3, "committed": 3, "open": 0})
        expect("counted", archives(g.central), {"vna": counted(committed=3)})


def commit__another_node_of_ours_is_an_archive():
    with Asking(commit="edge") as g:
        folder = g.images(6)
        g.north.config["dicom"]["archive_references"] = 4  # two requests
        g.north.stop()
        g.north.start()
        said = commit(g.north, "south", *uids(folder, "StudyInstanceUID"), "--send")
        expect("all of it", (said["requests"], said["committed"]), (2, 6))
        wrong = []
        got = {o.key for o in check.objects([g.get(g.south)[0]], wrong)}
        check.missing({o.key: o.path for o in check.objects([folder], wrong)}, got, wrong)
        expect("bit for bit", wrong, [])
        # Both sides' audit logs tell of it.
        for node, event in ((g.north, " pledge.result peer=south"), (g.south, " commit.result peer=north")):
            with open(os.path.join(node.data, "audit.log"), encoding="utf-8") as f:
                expect(event, f.read().count(event), 2)


def commit__a_late_result_survives_kill_9_of_who_asked():
    with Asking() as g:
        folder = g.images(3)
        g.wan["south"].cut()  # south says nothing before central has them
        g.wan["north"].cut()
        study = uids(folder, "StudyInstanceUID")
        said = commit(g.north, "south", *study, "--send", "--no-wait")
        expect("nothing yet", figures(said), {**figures(said), "asked": 3, "open": 3})
        nodes.wait_for("it was asked", lambda: g.south.status()["commitments"] == 1)
        nodes.wait_for("and knows", lambda: "waits for the result" in g.north.command("commit", "south")[1])
        g.north.kill()
        g.north.start()
        g.wan["south"].restore()
        nodes.wait_for("the result", lambda: archives(g.north) == {"south": counted(committed=3)})
        nodes.wait_for("settled", lambda: g.south.status()["commitments"] == 0)
        g.north.command("status")


def commit__what_gets_no_answer_runs_out():
    with Asking() as g:
        folder = g.images(2)
        g.south.stop()
        g.north.config["dicom"]["archive_wait"] = "2s"
        g.north.stop()
        g.north.start()
        said = commit(g.north, "south", *uids(folder, "SOPInstanceUID"), ok=(3,))
        expect("ran out", figures(said), {**figures(said), "asked": 2, "ran_out": 2, "open": 0})
        expect("counted", archives(g.north), {"south": counted(ran_out=2, not_looked_at=2)})
        with urllib.request.urlopen(f"http://127.0.0.1:{g.central.http}/metrics") as answer:
            expect("central asked nobody", "archive_images" in answer.read().decode(), False)


def commit__what_is_not_understood_asks_nobody():
    with Asking() as g:
        folder = g.images(1)
        study = uids(folder, "StudyInstanceUID")
        for words, code in ((("south", "1.2.3"), 1), (("nobody", *study), 1), (("nobody",), 1),
                            (("nobody", "--seen"), 1), (("nobody", "--json"), 1), (("south", *study, "--seen"), 2),
                            (("south", "--send"), 2), (("--seen",), 2), (("south", "1.2.*"), 1),
                            (("a" * 60000,), 1), (("a" * 60000, "--seen"), 1), (("a" * 60000, *study), 1)):
            g.north.command("commit", *words, ok=(code,))
        expect("nobody", g.north.status()["archives"], [])
        g.north.stop()
        g.north.command("commit", "south", *study, ok=(1,))  # nobody would ask
        said = commit(g.north, "south", *study, "--send", "--no-wait")
        expect("for later", said["open"], 1)
        g.north.start()
        g.wan["south"].restore()
        nodes.wait_for("the result", lambda: archives(g.north) == {"south": counted(committed=1)})


def commit__R29_what_the_archive_does_not_take_or_answer():
    with Asking(may="commit", commit="edge") as g:  # north may not store there
        study = uids(g.images(2), "StudyInstanceUID")
        said = commit(g.north, "south", *study, "--send", ok=(3,))
        expect("not sent", figures(said), {**figures(said), "asked": 2, "not_sent": 2, "open": 0})
        expect("and not asked for", g.south.status()["commitments"], 0)
        g.south.config["peer north"]["may"] = "store"
        g.south.write_config()
        g.south.command("reload")
        said = commit(g.north, "south", *study, ok=(3,))
        expect("it may not ask", {(i["state"], i["reason"]) for i in said["instances"]}, {("refused", "0124")})


def commit__R9_R10_frees_nothing_and_survives_a_rebuild():
    """What another's archive says is no release: only central's word frees."""
    with Asking(commit="edge") as g:
        g.wan["north"].cut()
        study = uids(g.images(2), "StudyInstanceUID")
        commit(g.north, "south", *study, "--send")
        g.north.command("evict", "--study", *study, ok=(1,))
        s = g.north.status()
        expect("here, and owed to central still", (s["cache"]["instances"], s["owed"]["instances"]), (2, 2))
        g.north.command("rebuild", ok=(0, 3))
        expect("known still", archives(g.north), {"south": counted(committed=2)})


def metrics__tell_what_archives_said():
    http = nodes.port()
    with Asking(commit="edge") as g:
        g.north.config["http"] = {"listen": f"127.0.0.1:{http}"}
        g.north.stop()
        g.north.start()
        commit(g.north, "south", *uids(g.images(2), "StudyInstanceUID"), "--send")
        seen = scrape(http)[1]
        expect("metrics", {state: seen[("salamander_edge_archive_images", "south", state)]
                           for state in ("open", "committed", "refused")}, {"open": 0, "committed": 2, "refused": 0})
        expect("nothing to look at", seen[("salamander_edge_archive_images_not_looked_at", "south")], 0)


if __name__ == "__main__":
    sys.exit(nodes.play("pledge", globals()))
