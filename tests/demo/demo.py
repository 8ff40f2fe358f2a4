#!/usr/bin/python3
"""make demo: one central, two edges, two fires, on real DICOM files.

  DICOM=dir   the files to use (default: the samples of Debian's python3-pydicom; else generated ones)
  KEEP=1      leave the nodes running and say how to point a viewer at them

One line with its time per step. After each step every image is compared, byte for byte, with
what was sent. Exit 0 only when nothing was lost that is not listed.
"""
import csv
import io
import os
import shutil
import sys
import tempfile
import time
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import archive  # noqa: E402
import check  # noqa: E402
import nodes  # noqa: E402

SAMPLES = "/usr/lib/python3/dist-packages/pydicom/data/test_files"
MOST = 800  # images: more prove nothing more, and take longer


def usable(path):
    """The object in a file that a viewer can ask for: class, instance, study and series named; no DICOMDIR."""
    try:
        with open(path, "rb") as f:
            o = check.Object(path, f.read())
        if not (o.sop_class and o.uid and o.syntax) or o.sop_class == "1.2.840.10008.1.3.10":
            return None
        import pydicom
        named = pydicom.dcmread(path, stop_before_pixels=True)
        o.study = str(named.StudyInstanceUID)
        return o if 0 < len(o.study) <= 64 and 0 < len(str(named.SeriesInstanceUID)) <= 64 else None
    except ImportError:
        o.study = o.uid.rpartition(".")[0]
        return o
    except Exception:  # noqa: BLE001: the samples hold broken files on purpose
        return None


class Demo:
    def __init__(self, top):
        self.top, self.began, self.steps, self.compared = top, time.monotonic(), 0, 0
        self.sent = {}  # key -> path of all that was acknowledged
        self.holds = {"north": set(), "south": set(), "central": set()}  # keys that a viewer must get there
        self.central = nodes.central(os.path.join(top, "central"))
        self.wan = {name: nodes.Wan(self.central.http) for name in ("north", "south")}
        self.edges = {name: self.new_edge(name) for name in self.wan}

    def new_edge(self, name):
        return nodes.edge(os.path.join(self.top, name), name, central_port=self.wan[name].port)

    def step(self, text, work):
        """One line: what happens, what was seen, and that each living node gives each image as it was sent."""
        start, before = time.monotonic(), self.compared
        said = work()
        for node in [self.central, *self.edges.values()]:
            if node.running() and self.holds[node.name]:
                self.compare(node)
        count = self.compared - before
        if count:
            said += f"; {count} images given to viewers, each as it was sent"
        self.steps += 1
        print(f"{self.steps:2}. {text}: {said} ({time.monotonic() - start:.1f} s)", flush=True)

    # --- the material ---

    def gather(self):
        warnings.simplefilter("ignore")  # pydicom's, of samples that are odd on purpose
        source = os.environ.get("DICOM") or (SAMPLES if os.path.isdir(SAMPLES) else self.generate())
        studies, seen = {}, set()
        for path in check.files([source]):
            o = usable(path) if len(seen) < MOST else None
            if o and o.uid not in seen:
                seen.add(o.uid)
                studies.setdefault(o.study, []).append(o)
        if len(seen) < 6:
            raise nodes.Failed(f"{len(seen)} usable images in {source}: the story needs 6")
        dealt = [studies[s] for s in sorted(studies)]
        if len(dealt) < 6:  # then both sites have images of one study
            dealt = [[o] for objects in dealt for o in objects]
        self.parts = {part: os.path.join(self.top, "files", part) for part in "abcdef"}
        for folder in self.parts.values():
            os.makedirs(folder)
        for n, objects in enumerate(dealt):
            for o in objects:
                shutil.copyfile(o.path, os.path.join(self.parts["abcdef"[n % 6]], f"{o.key[2][:16]}.dcm"))
        return f"{len(seen)} images of {len(studies)} studies from {source}" + \
            (" (more there were not taken)" if len(seen) == MOST else "")

    def generate(self):
        folder = os.path.join(self.top, "generated")
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, "--count", "120", "--per-study", "10", "--mix")
        return folder

    # --- what people do ---

    def send(self, name, part):
        """Only what was answered with success is anybody's promise."""
        edge, folder = self.edges[name], self.parts[part]
        _, out = nodes.run(nodes.tool("dicom_send"), "127.0.0.1", edge.dicom, "-c", edge.aet, "-a", "MODALITY", folder,
                           ok=(0, 1))
        taken = [line[5:] for line in out.splitlines() if line.startswith("0000 ")]
        new = {o.key: o.path for o in check.objects(taken, [])}
        self.sent.update(new)
        self.holds[name] |= new.keys()
        refused = len(os.listdir(folder)) - len(new)
        return f"{name} acknowledged {len(new)}" + (f" and refused {refused}" if refused else "")

    def compare(self, node):
        """C-FIND, C-GET of every study: all that it must have, nothing that was never sent."""
        got, wrong = os.path.join(self.top, "got"), []
        shutil.rmtree(got, ignore_errors=True)
        os.makedirs(got)
        # R20: central answers for what it only knows of as well, as failed
        nodes.run(nodes.tool("dicom_get"), "127.0.0.1", node.dicom, "-c", node.aet, "-a", "VIEWER", "--all", "-o", got,
                  seconds=60, ok=(0, 1) if node is self.central or node.name in self.lost_at else (0,))
        have = {o.key for o in check.objects([got], wrong)}
        must = {key: self.sent[key] for key in self.holds[node.name]}
        check.missing(must, have, wrong)
        wrong += [f"never sent: {key[0]}" for key in have - self.sent.keys()]
        if wrong:
            raise nodes.Failed(f"{node.name}: " + "\n".join(wrong[:20]))
        self.compared += len(must)

    lost_at = ()

    def drained(self, *names):
        """The edges owe nothing to this central, and an independent reader finds all of it in its packs."""
        epoch = self.central.status()["epoch"]
        for name in names:
            nodes.wait_for(f"{name} has met this central",
                           lambda n=name: self.edges[n].status()["central"]["epoch"] == epoch, 40)
            nodes.wait_for(f"{name} owes nothing",
                           lambda n=name: self.edges[n].status()["owed"]["instances"] == 0, 60)
            self.holds["central"] |= self.holds[name]
        wrong = []
        check.missing({key: self.sent[key] for key in self.holds["central"]}, self.in_vault(wrong), wrong)
        if wrong:
            raise nodes.Failed("\n".join(wrong[:20]))
        return f"nothing is owed, {len(self.holds['central'])} images are in central's packs"

    def in_vault(self, wrong):
        return {o.key for p in check.packs(os.path.join(self.central.data, "vault"))
                for o in check.pack_members(p, wrong)}

    # --- the story ---

    def start(self):
        self.central.start()
        for edge in self.edges.values():
            edge.start()
        return "central, north and south, each with its own disk"

    def modalities(self):
        return f"{self.send('north', 'a')}, {self.send('south', 'b')}"

    def replicate(self):
        return self.drained("north", "south")

    def cut(self):
        for wan in self.wan.values():
            wan.cut()
        said = self.send("north", "c")
        owed = self.edges["north"].status()["owed"]["instances"]
        if owed == 0:
            raise nodes.Failed("north owes nothing although the WAN is cut")
        return f"{said} more, which it owes; find and retrieve go on"

    def restore(self):
        for wan in self.wan.values():
            wan.restore()
        return self.replicate()

    def burn_central(self):
        self.central.burn()
        self.holds["central"] = set()
        return f"its disks are gone; {self.send('north', 'd')} more, {self.send('south', 'e')} more"

    def new_central(self):
        """Newest first, seen from outside: which images lie in its packs when. The wires are slow enough to see it."""
        new = self.sent.keys() & {o.key for part in "de" for o in check.objects([self.parts[part]], [])}
        size = sum(os.path.getsize(p) for p in self.sent.values())
        for wan in self.wan.values():
            wan.rate = max(2500000, size // 4)
        begin, newest = time.monotonic(), None
        self.central.start()
        while newest is None:
            if time.monotonic() - begin > 60:
                raise nodes.Failed("the newest images have not come after 60 s")
            time.sleep(0.02)
            newest = time.monotonic() - begin if new <= self.in_vault([]) else None
        said = self.drained("north", "south")
        for wan in self.wan.values():
            wan.rate = 0
        return f"newest first: the {len(new)} of the last minute after {newest:.1f} s, " \
            f"all after {time.monotonic() - begin:.1f} s; {said}"

    def burn_south(self):
        """South announces its last images but burns before their bytes have travelled."""
        wan, edge = self.wan["south"], self.edges["south"]
        wan.deny = b"PATCH /sync/v1/packs/"
        self.send("south", "f")
        nodes.wait_for("south announced all", lambda: self.announced(edge), 20)
        owed = edge.status()["owed"]["instances"]
        edge.burn()
        wan.deny = None
        self.central.command("site", "lost", "south")
        if owed == 0:
            raise nodes.Failed("south owed nothing when it burnt")
        return f"it had announced {owed} images whose bytes had not travelled; central serves all others"

    @staticmethod
    def announced(edge):
        ledger = edge.status()["ledger"]
        return ledger["announced_seq"] == ledger["last_seq"]

    def call_back(self):
        """What is listed is what burnt, to the image."""
        self.lost_at = ("south",)
        burnt = self.sent.keys() - self.holds["north"] - self.holds["central"]
        digests = {check.Object(p, open(p, "rb").read()).uid for p in (self.sent[k] for k in burnt)}
        _, out = self.central.command("loss", "--site", "south", "--csv", "--instances", ok=(3,))
        listed = {r["sop_instance_uid"] for r in csv.DictReader(io.StringIO(out)) if r["state"] == "lost"}
        if listed != digests or not burnt:
            raise nodes.Failed(f"{len(burnt)} images burnt, {len(listed)} are listed")
        _, out = self.central.command("loss", "--site", "south", "--csv", ok=(3,))
        rows = list(csv.DictReader(io.StringIO(out)))
        print("    whom to call (salamander-central loss --site south --csv):")
        for r in rows[:6]:
            name = " ".join(x for x in reversed(r["patient_name"].split("^")) if x) or "without a name"
            print(f"      {name[:28]:28}  ID {r['patient_id'] or '-':16}  born {r['birth_date'] or '-':8}  "
                  f"{r['modalities'] or '-':6} of {r['study_date'] or '-':8}  {r['instances']:>3} images")
        if len(rows) > 6:
            print(f"      and {len(rows) - 6} more studies")
        self.holds["south"] -= burnt
        return f"{len(burnt)} images of {len(rows)} studies burnt, and exactly these are listed"

    def new_south(self):
        edge = self.edges["south"] = self.new_edge("south")
        edge.start()
        edge.command("refill")
        self.wan["south"].cut()  # a viewer there needs nobody else
        return f"{len(self.holds['south'])} images are back, served with the WAN cut"

    def judged(self):
        """Central's log and packs, read by a program that shares no code with it."""
        self.wan["south"].restore()
        self.drained("north")
        nodes.wait_for("south owes nothing", lambda: self.edges["south"].status()["owed"]["instances"] == 0, 40)
        a = archive.Archive(self.central.data)
        wrong = a.compare(self.central.status())
        if wrong:
            raise nodes.Failed("\n".join(wrong[:20]))
        known = a.announced()
        held, lost = len(known & a.members), len(a.lost())
        if held + lost != len(known) or len(known) < len(self.sent):
            raise nodes.Failed(f"{len(self.sent)} sent, {len(known)} known, {held} held, {lost} lost")
        return f"known {len(known)} = held {held} + owed 0 + lost {lost} + withdrawn 0, every pack and chain is whole"

    def play(self):
        print("Two hospitals, north and south, each with an edge, and one central archive: all on this machine, over "
              "loopback.\nAfter each step every image is fetched from every node that must have it and compared, byte "
              "for byte, with what was sent.")
        self.step("DICOM files", self.gather)
        self.step("a central and two sites start", self.start)
        self.step("modalities send to both sites", self.modalities)
        self.step("the sites send on to central", self.replicate)
        self.step("THE WAN IS CUT", self.cut)
        self.step("the WAN is back, the queue drains", self.restore)
        self.step("CENTRAL BURNS, both sites go on", self.burn_central)
        self.step("a new, empty central is filled by the sites, by itself", self.new_central)
        self.step("SOUTH BURNS while it still owes", self.burn_south)
        self.step("the call-back list", self.call_back)
        self.step("a new, empty south is refilled", self.new_south)
        self.step("an independent reader counts", self.judged)
        print(f"Nothing was lost that is not listed: {len(self.sent)} images sent, {self.compared} compared byte for "
              f"byte along the way ({time.monotonic() - self.began:.1f} s).")

    def keep(self):
        """The relays end with this program: the edges talk to central directly from now on."""
        for edge in self.edges.values():
            edge.stop()
            edge.config["central"]["url"] = f"http://127.0.0.1:{self.central.http}"
            edge.start()
        print("Point a viewer on this machine at any of them: C-FIND and C-GET work at once; for C-MOVE name the viewer in a\n"
              "[peer NAME] section (aet, host, port) of the node's configuration and say `reload`.")
        for node in [self.central, *self.edges.values()]:
            print(f"  {node.name}: AE title {node.aet}, 127.0.0.1 port {node.dicom}, for instance\n"
                  f"    findscu -S -aec {node.aet} -k QueryRetrieveLevel=STUDY -k PatientName -k StudyInstanceUID "
                  f"127.0.0.1 {node.dicom}\n    {node.binary} --config {node.conf} status")
        pids = " ".join(str(n.process.pid) for n in [self.central, *self.edges.values()])
        print(f"End them with: kill {pids}; their files are below {self.top}")

    def stop(self):
        if os.environ.get("KEEP") == "1":
            self.keep()
            return
        for node in [self.central, *self.edges.values()]:
            node.kill()
        shutil.rmtree(self.top)


def main():
    demo = Demo(tempfile.mkdtemp(prefix="salamander-demo-"))
    try:
        demo.play()
    except BaseException as e:  # whatever it was, no node stays behind
        for node in [demo.central, *demo.edges.values()]:
            node.kill()
        print(f"FAILED: {e or type(e).__name__}\nlogs are below {demo.top}", file=sys.stderr)
        if isinstance(e, nodes.Failed):
            return 1
        raise
    demo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
