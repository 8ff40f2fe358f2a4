#!/usr/bin/python3
"""What central wants of edges, over real connections: heard at once, obeyed, kept; retract and restore (R15, R27).

Each test is a function named after the promise it holds; a test that fails prints why.
"""
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import nodes  # noqa: E402
from nodes import expect  # noqa: E402
from sync import Group, study_uid  # noqa: E402


def found(node, study):
    """Images of a study, as C-FIND counts them; None: it is not found."""
    done = subprocess.run(["findscu", "-v", "-S", "-aec", node.aet, "127.0.0.1", str(node.dicom), "-k",
                           "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "-k",
                           "NumberOfStudyRelatedInstances"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=True)
    count = re.search(r"\(0020,1208\) IS \[(\d+) *\]", done.stdout.decode("latin-1"))
    return int(count.group(1)) if count else None


def everywhere(g, study, count):
    for node in (g.central, *g.edges.values()):
        nodes.wait_for(f"{node.name} shows {count} images", lambda n=node: found(n, study) == count, 20)


def orders__retract_R15_hides_at_once_at_every_node_and_restore_shows_again():
    with Group(("north", "south"), wan=False) as g:
        images = g.generate("--count", 6, "--per-study", 6)
        study = study_uid(images)
        g.send("north", images)
        g.send("south", images)
        g.drained()
        expect("before", {found(n, study) for n in (g.central, *g.edges.values())}, {6})
        time_before = time.monotonic()
        out = g.central.command("retract", study, "--reason", "wrong patient")[1]
        expect("what it says", "hidden here" in out and "later" in out, True)
        expect("at once at central", found(g.central, study), None)
        everywhere(g, study, None)
        # A poll that waits hears of it when it is said, long before its time is up.
        expect("within a poll's time", time.monotonic() - time_before < 20, True)
        expect("listed", "wrong patient" in g.central.command("retracted")[1], True)
        expect("withdrawn", g.central.status()["sites"][0]["withdrawn"], 6)
        for node in g.edges.values():
            node.stop()
            node.start()
            expect("after a restart", found(node, study), None)
        g.central.command("restore", study, "--reason", "it was right")
        everywhere(g, study, 6)
        g.served(g.edges["south"], images)
        with open(os.path.join(g.central.data, "audit.log"), encoding="utf-8") as f:
            audit = f.read()
        expect("audited", (f" retract study={study} " in audit, f" restore study={study} " in audit), (True, True))
        expect("R35: no reason in a log", "wrong patient" in audit, False)


def orders__R15_R16_a_central_that_burnt_shows_nothing_that_was_retracted():
    with Group(wan=False) as g:
        images = g.generate("--count", 3, "--per-study", 3)
        study = study_uid(images)
        g.send("north", images)
        g.drained()
        g.central.command("retract", study, "--reason", "x")
        nodes.wait_for("the edge hides it", lambda: found(g.edges["north"], study) is None, 20)
        g.central.kill()
        g.central.burn()
        g.central.start()
        g.drained("north", seconds=60)
        nodes.wait_for("central hides it again", lambda: study in g.central.command("retracted")[1], 40)
        expect("not shown", found(g.central, study), None)
        expect("kept", g.central.status()["sites"][0]["withdrawn"], 3)


def orders__hold_R10_and_a_stop_with_edges_that_wait_takes_no_time():
    with Group(("north", "south"), wan=False) as g:
        g.central.command("hold", "on")
        for edge in g.edges.values():
            nodes.wait_for("on hold", lambda e=edge: e.status()["cache"]["hold"], 20)
        g.edges["north"].command("hold", "off")
        expect("a person ends it", g.edges["north"].status()["cache"]["hold"], False)
        g.central.command("hold", "off")
        nodes.wait_for("evicts again", lambda: not g.edges["south"].status()["cache"]["hold"], 20)
        g.central.stop(20)  # its polls are answered, not waited for
        g.central.start()
        g.central.command("hold", "on")
        nodes.wait_for("heard after a restart", lambda: g.edges["north"].status()["cache"]["hold"], 40)


def orders__chores_R7_R27_are_done_within_seconds_and_said_at_both_ends():
    with Group(("north", "south"), wan=False) as g:
        images = g.generate("--count", 4, "--per-study", 4)
        study = study_uid(images)
        g.send("north", images)
        g.drained()
        north, south = g.edges["north"], g.edges["south"]
        expect("not there", found(south, study), None)
        out = g.central.command("prefetch", study, "south")[1]
        expect("what it says", "south fetches the study" in out, True)
        nodes.wait_for("the study is there", lambda: found(south, study) == 4, 30)
        g.served(south, images)
        expect("not owed", south.status()["owed"]["instances"], 0)
        g.central.command("site", "verify", "north")
        g.central.command("site", "resend", "north")
        g.central.command("set", "keep_days", "90", "--site", "north")
        nodes.wait_for("central has heard", lambda: g.central.status()["orders"] == 0, 60)
        out = g.central.command("orders", "--all")[1]
        expect("how it went", ("done: 4 images read, 0 damaged" in out, "done: 4 images known" in out), (True, True))
        told = north.status()
        expect("its own word", {(o["kind"], o["state"], o["central_knows"]) for o in told["orders"]},
               {("verify", "done", True), ("resend", "done", True)})
        expect("settings", told["settings_of_central"], {"keep_days": "90"})
        north.kill()
        north.burn()
        north.start()
        g.central.command("site", "refill", "north")
        nodes.wait_for("it is back", lambda: found(north, study) == 4, 60)
        nodes.wait_for("central knows", lambda: g.central.status()["orders"] == 0, 60)
        g.served(north, images)
        expect("settings come again", north.status()["settings_of_central"], {"keep_days": "90"})


def change_a_pixel(folder):
    """The last byte of each file: another image under the same UID."""
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "r+b") as f:
            f.seek(-1, os.SEEK_END)
            last = f.read(1)[0]
            f.seek(-1, os.SEEK_END)
            f.write(bytes([last ^ 1]))


def orders__decisions_R3_are_heard_when_they_are_made():
    with Group(("north", "south"), wan=False) as g:
        first, other = g.generate("--count", 1), g.generate("--count", 1)
        change_a_pixel(other)
        g.send("north", first)
        g.drained()
        g.send("south", other)
        g.drained()
        expect("a conflict", g.central.status()["conflicts"], 1)
        listed = json.loads(g.central.command("conflicts", "--json", "--instances", ok=(3,))[1])
        one = listed[0]["list"][0]
        g.central.command("conflicts", "resolve", one["sop_instance_uid"], one["sha256"], "--reason", "x")
        north = g.edges["north"]

        def shown():
            try:
                g.served(north, other)
                return True
            except nodes.Failed:
                return False
        nodes.wait_for("north, which said nothing meanwhile, shows it", shown, 40)
        expect("nothing is open", g.central.status()["conflicts"], 0)


if __name__ == "__main__":
    sys.exit(nodes.play("orders", globals()))
