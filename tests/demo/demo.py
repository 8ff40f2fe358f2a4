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

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import check  # noqa: E402
import nodes  # noqa: E402

SAMPLES = "/usr/lib/python3/dist-packages/pydicom/data/test_files"


def usable(path):
    """The object in a file that any archive takes: class, instance and syntax stated; no DICOMDIR."""
    try:
        with open(path, "rb") as f:
            o = check.Object(path, f.read())
    except Exception:  # noqa: BLE001: the samples hold broken files on purpose
        return None
    if not (o.sop_class and o.uid and o.syntax) or o.sop_class == "1.2.840.10008.1.3.10":
        return None
    return o


class Demo:
    def __init__(self, top):
        self.top, self.began, self.steps = top, time.monotonic(), 0
        self.sent = {}  # folder of files -> objects
        self.central = nodes.central(os.path.join(top, "central"))
        self.wan = {name: nodes.Wan(self.central.http) for name in ("north", "south")}
        self.edges = {name: self.new_edge(name) for name in self.wan}

    def new_edge(self, name):
        return nodes.edge(os.path.join(self.top, name), name, central_port=self.wan[name].port)

    def step(self, text, work, *args):
        start = time.monotonic()
        said = work(*args)
        self.steps += 1
        print(f"{self.steps:2}. {text}: {said} ({time.monotonic() - start:.1f} s)", flush=True)

    # --- the material ---

    def gather(self):
        source = os.environ.get("DICOM") or (SAMPLES if os.path.isdir(SAMPLES) else self.generate())
        by_study = {}
        seen = set()
        for path in check.files([source]):
            o = usable(path)
            if o and o.uid not in seen:
                seen.add(o.uid)
                by_study.setdefault(os.path.dirname(path) + o.uid.rsplit(".", 2)[0], []).append(path)
        parts = {part: os.path.join(self.top, "files", part) for part in "abcde"}
        for folder in parts.values():
            os.makedirs(folder)
        for n, (_, paths) in enumerate(sorted(by_study.items())):
            for path in paths:
                o = usable(path)
                shutil.copyfile(path, os.path.join(parts["abcde"[n % 5]], f"{o.key[2][:16]}.dcm"))
        self.parts = parts
        return f"{len(seen)} images from {source}"

    def generate(self):
        folder = os.path.join(self.top, "generated")
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, "--count", "100")
        return folder

    # --- what people do ---

    def send(self, name, part):
        edge = self.edges[name]
        nodes.run(nodes.tool("dicom_send"), "127.0.0.1", edge.dicom, "-c", edge.aet, "-a", "MODALITY",
                  self.parts[part])
        self.sent.setdefault(name, []).append(self.parts[part])
        return f"{len(os.listdir(self.parts[part]))} images acknowledged by {name}"

    def fetch(self, node, folders, more=False):
        """C-GET of every study that was sent, then the judge."""
        got = os.path.join(self.top, "got")
        shutil.rmtree(got, ignore_errors=True)
        os.makedirs(got)
        nodes.run(nodes.tool("dicom_get"), "127.0.0.1", node.dicom, "-c", node.aet, "-a", "VIEWER",
                  "--all", "-o", got, seconds=60)
        return self.compare(folders, [got], more)

    def compare(self, sent, got, more):
        wrong = []
        have = {o.key for o in check.objects(got, wrong)}
        want = {o.key: o.path for o in check.objects(sent, wrong)}
        check.missing(want, have, wrong)
        if not more and len(have) != len(want):
            wrong.append(f"{len(have)} came back, {len(want)} were sent")
        if wrong:
            raise nodes.Failed("\n".join(wrong[:20]))
        return f"{len(want)} images compared byte for byte"

    def in_vault(self, folders):
        wrong = []
        have = {o.key for p in check.packs(os.path.join(self.central.data, "vault"))
                for o in check.pack_members(p, wrong)}
        want = {o.key: o.path for o in check.objects(folders, wrong)}
        check.missing(want, have, wrong)
        if wrong:
            raise nodes.Failed("\n".join(wrong[:20]))
        return f"{len(want)} images in central's packs, byte for byte"

    def all_sent(self):
        return [f for folders in self.sent.values() for f in folders]

    def drained(self, *names):
        epoch = self.central.status()["epoch"]
        for name in names:
            nodes.wait_for(f"{name} has met this central",
                           lambda n=name: self.edges[n].status()["central"]["epoch"] == epoch, 40)
            nodes.wait_for(f"{name} owes nothing",
                           lambda n=name: self.edges[n].status()["owed"]["instances"] == 0, 60)

    # --- the story ---

    def start(self):
        self.central.start()
        for edge in self.edges.values():
            edge.start()
        return "central, north and south are ready"

    def replicate(self):
        self.drained("north", "south")
        return self.in_vault(self.all_sent())

    def cut(self):
        for wan in self.wan.values():
            wan.cut()
        self.send("north", "c")
        owed = self.edges["north"].status()["owed"]["instances"]
        if owed == 0:
            raise nodes.Failed("north owes nothing although the WAN is cut")
        return f"{self.fetch(self.edges['north'], self.sent['north'])}; north owes {owed}"

    def restore(self):
        for wan in self.wan.values():
            wan.restore()
        return self.replicate()

    def burn_central(self):
        self.central.burn()
        self.send("south", "d")
        return "its disks are gone; " + self.fetch(self.edges["south"], self.sent["south"])

    def new_central(self):
        self.central.start()
        return self.replicate()

    def burn_south(self):
        """South announces its last images but burns before their bytes have travelled."""
        self.wan["south"].rate = 40000
        self.send("south", "e")
        edge = self.edges["south"]
        nodes.wait_for("south announced all", lambda: self.announced(edge), 20)
        self.wan["south"].cut()
        owed = edge.status()["owed"]["instances"]
        edge.burn()
        self.central.command("site", "lost", "south")
        if owed == 0:
            raise nodes.Failed("south owed nothing when it burnt")
        return f"with {owed} images that had not travelled"

    @staticmethod
    def announced(edge):
        ledger = edge.status()["ledger"]
        return ledger["announced_seq"] == ledger["last_seq"]

    def call_back(self):
        site = [s for s in self.central.status()["sites"] if s["name"] == "south"]
        lost = sum(s["lost"] for s in site)
        _, out = self.central.command("loss", "--site", "south", "--csv", ok=(0, 3))
        rows = list(csv.reader(io.StringIO(out)))
        got = os.path.join(self.top, "got")
        shutil.rmtree(got, ignore_errors=True)
        os.makedirs(got)
        nodes.run(nodes.tool("dicom_get"), "127.0.0.1", self.central.dicom, "-c", "CENTRAL", "-a", "VIEWER",
                  "--all", "-o", got, seconds=60, ok=(0, 1))
        wrong = []
        have = {o.key for o in check.objects([got], wrong)}
        want = {o.key for o in check.objects(self.all_sent(), wrong)}
        if len(want - have) != lost or lost == 0 or wrong:
            raise nodes.Failed(f"{len(want - have)} images are gone, {lost} are listed; {wrong[:5]}")
        self.lost = want - have
        print("\n".join("      " + ", ".join(r) for r in rows[:6]))
        return f"central serves {len(have)}, lists {lost} lost images of {len(rows) - 1} studies to call back"

    def new_south(self):
        self.wan["south"].rate = 0
        self.wan["south"].restore()
        edge = self.edges["south"] = self.new_edge("south")
        edge.start()
        edge.command("refill")
        wrong, got = [], os.path.join(self.top, "got")
        shutil.rmtree(got)
        os.makedirs(got)
        self.wan["south"].cut()
        nodes.run(nodes.tool("dicom_get"), "127.0.0.1", edge.dicom, "-c", edge.aet, "-a", "VIEWER",
                  "--all", "-o", got, seconds=60, ok=(0, 1))
        have = {o.key for o in check.objects([got], wrong)}
        want = {o.key for o in check.objects(self.sent["south"], wrong)} - self.lost
        self.wan["south"].restore()
        if want - have or wrong:
            raise nodes.Failed(f"{len(want - have)} images did not come back; {wrong[:5]}")
        return f"{len(want)} images are back, compared byte for byte with the WAN cut"

    def play(self):
        self.step("files", self.gather)
        self.step("start", self.start)
        self.step("send", self.send, "north", "a")
        self.step("send", self.send, "south", "b")
        self.step("replicate", self.replicate)
        self.step("cut the WAN, send, find and retrieve at north", self.cut)
        self.step("restore the WAN, the queue drains", self.restore)
        self.step("BURN CENTRAL, south goes on", self.burn_central)
        self.step("a new, empty central fills by itself", self.new_central)
        self.step("BURN SOUTH", self.burn_south)
        self.step("the call-back list", self.call_back)
        self.step("a new south is refilled", self.new_south)
        print(f"nothing was lost that is not listed ({time.monotonic() - self.began:.1f} s)")

    def keep(self):
        """The relays end with this program: the edges talk to central directly from now on."""
        for edge in self.edges.values():
            edge.stop()
            edge.config["central"]["url"] = f"http://127.0.0.1:{self.central.http}"
            edge.start()
        print("Point a viewer on this machine at any of them (C-FIND, C-GET, C-MOVE):")
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
    except nodes.Failed as e:
        print(f"FAILED: {e}", file=sys.stderr)
        for node in [demo.central, *demo.edges.values()]:
            node.kill()
        print(f"logs are below {demo.top}", file=sys.stderr)
        return 1
    demo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
