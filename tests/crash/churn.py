#!/usr/bin/python3
"""A small cache turned over many times, central up, a viewer reading: nothing is refused, nothing grows.

  churn.py [--turns N] [--seconds N] [--seed N] [--quota MiB]

Mixed sizes come in over four associations as fast as they are taken, evicted ones make room, and one viewer reads at
10 MB/s all the while. Every answer must be 0000; the edge's file stays within its map, its memory stays flat; at the
end all of it is at central, byte for byte, and what the viewer got was whole.
"""
import argparse
import os
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import check  # noqa: E402
import nodes  # noqa: E402
from viewer import MB, Cache, Viewer, run  # noqa: E402


class Churn(Cache):
    def __init__(self, top, args):
        super().__init__(top, args)
        self.sent, self.bytes, self.batch, self.marks = {}, 0, 0, []

    def send(self):
        self.batch += 1
        folder = os.path.join(self.top, "files")
        shutil.rmtree(folder, ignore_errors=True)
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, "--count", 60, "--mix", "--per-study", 6, "--seed",
                  self.args.seed + self.batch)
        _, out = nodes.run(nodes.tool("dicom_send"), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", "CT1",
                           "-n", 4, folder, ok=(0, 1), seconds=300)
        refused = [line for line in out.splitlines() if line[4:5] == " " and not line.startswith(("0000", "sent"))]
        if refused:
            raise nodes.Failed(f"{len(refused)} were refused with central up: {refused[0]}\n{self.edge.tail()}")
        for o in check.objects([folder], []):
            self.sent[o.key] = o.uid
            self.bytes += os.path.getsize(o.path)

    def memory(self):
        """RssAnon of the edge in KiB."""
        with open(f"/proc/{self.edge.process.pid}/status", encoding="utf-8") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))

    def measure(self, start):
        size = os.path.getsize(os.path.join(self.edge.data, "store", "data.mdb"))
        room = (self.args.quota << 20) + max(64 << 20, (self.args.quota << 20) // 50)
        self.marks.append((size, self.memory(), time.monotonic() - start))
        if size > room:
            raise nodes.Failed(f"data.mdb is {size} bytes, quota and reserve are {room}")

    def play(self):
        self.central.start()
        self.edge.start()
        viewer = Viewer(self.edge, os.path.join(self.top, "viewed"))
        start, turn = time.monotonic(), self.args.quota << 20
        while self.bytes < self.args.turns * turn or time.monotonic() < start + self.args.seconds:
            before = self.bytes // turn
            self.send()
            if self.bytes // turn > before:
                self.measure(start)
        seconds = time.monotonic() - start
        viewer.stop()
        self.judge(viewer)
        sizes, memory = [m[0] for m in self.marks], [m[1] for m in self.marks]
        print(f"churn: {len(self.sent)} images, {self.bytes / turn:.1f} turns of {self.args.quota} MiB in {seconds:.0f} s, "
              f"0 refused, 0 lost; a viewer read {viewer.bytes() / seconds / MB:.1f} MB/s; data.mdb {sizes[0] >> 20} MiB after the first "
              f"turn, {sizes[-1] >> 20} at the end, RssAnon {memory[0] >> 10} and {memory[-1] >> 10} MiB")

    def judge(self, viewer):
        viewer.judge()
        wrong = self.disagreements(120)
        have = {o.key for p in check.packs(os.path.join(self.central.data, "vault"))
                for o in check.pack_members(p, wrong)}
        wrong += [f"lost {uid}" for key, uid in self.sent.items() if key not in have]
        if wrong:
            raise nodes.Failed("\n".join(wrong[:10]))
        sizes = [m[0] for m in self.marks]
        if len(sizes) >= 8 and sizes[-1] > 1.1 * sizes[len(sizes) // 2]:
            raise nodes.Failed(f"data.mdb grows: {[s >> 20 for s in sizes]} MiB")
        if self.marks[-1][1] > 200 << 10:
            raise nodes.Failed(f"the edge's memory: {self.marks[-1][1]} KiB")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--turns", type=int, default=2)
    p.add_argument("--seconds", type=float, default=0, help="at least")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--quota", type=int, default=64, help="MiB")
    return run(Churn, p.parse_args())


if __name__ == "__main__":
    sys.exit(main())
