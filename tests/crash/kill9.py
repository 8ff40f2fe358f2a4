#!/usr/bin/python3
"""kill -9 of both nodes while files stream in: every acknowledged image is there, nothing is half.

  kill9.py [--rounds N] [--seed N] [--seconds N]

Each round: images stream into the edge over several associations and on to central; the edge, central
or both are killed at a random moment, restarted, and whatever was answered 0000 so far must come back
from the edge by C-GET, byte for byte. At the end nothing is owed and all of it is in central's packs.
The judge shares no code with the product.
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import check  # noqa: E402
import nodes  # noqa: E402


class Crash:
    def __init__(self, top, seed):
        self.top, self.random = top, random.Random(seed)
        self.central = nodes.central(os.path.join(top, "central"))
        self.edge = nodes.edge(os.path.join(top, "edge"), "edge", quota="8GiB", central_port=self.central.http)
        self.acked = {}  # path -> key
        self.batch = 0

    def fresh_files(self, count):
        """New synthetic objects of mixed sizes; none is sent twice as new."""
        self.batch += 1
        folder = os.path.join(self.top, "files", str(self.batch))
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, "--count", count, "--mix", "--seed", self.batch)
        return folder

    def stream(self, folder):
        return subprocess.Popen([nodes.tool("dicom_send"), "127.0.0.1", str(self.edge.dicom), "-c", self.edge.aet,
                                 "-a", "MODALITY", "-n", "4", folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def collect(self, sender):
        """Lines of dicom_send: `0000 path` is an acknowledgement that we hold the edge to."""
        out, _ = sender.communicate(timeout=60)
        count = 0
        for line in out.decode().splitlines():
            status, _, path = line.partition(" ")
            if status == "0000" and os.path.isfile(path):
                with open(path, "rb") as f:
                    self.acked[path] = check.Object(path, f.read()).key
                count += 1
        return count

    def fetched(self):
        got = os.path.join(self.top, "got")
        shutil.rmtree(got, ignore_errors=True)
        os.makedirs(got)
        nodes.run(nodes.tool("dicom_get"), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", "VIEWER",
                  "--all", "-o", got, seconds=120)
        wrong = []
        have = {o.key for o in check.objects([got], wrong)}
        if wrong:
            raise nodes.Failed("half an object: " + "; ".join(wrong[:5]))
        return have

    def judge(self, have):
        gone = [p for p, key in self.acked.items() if key not in have]
        if gone:
            raise nodes.Failed(f"{len(gone)} acknowledged images are gone: {gone[:5]}")

    def round(self, number):
        sender = self.stream(self.fresh_files(60))
        victims = self.random.choice([[self.edge], [self.central], [self.edge, self.central]])
        # When the power goes is what the round varies; packs leave about a second later.
        time.sleep(self.random.uniform(0.0, 0.15) if self.random.random() < 0.6 else self.random.uniform(0.8, 1.4))
        for node in victims:
            node.kill()
        count = self.collect(sender)
        for node in victims:
            node.start()
        self.judge(self.fetched())
        print(f"round {number}: {'+'.join(v.role for v in victims)}: {count} acknowledged, "
              f"{len(self.acked)} in all are there", flush=True)

    def arrived(self):
        """Central's packs, read by the judge and nobody else."""
        epoch = self.central.status()["epoch"]

        def done():
            s = self.edge.status()
            return s["central"]["epoch"] == epoch and s["owed"]["instances"] == 0
        nodes.wait_for("nothing is owed", done, 60)
        wrong = []
        have = {o.key for p in check.packs(os.path.join(self.central.data, "vault"))
                for o in check.pack_members(p, wrong)}
        if wrong:
            raise nodes.Failed("; ".join(wrong[:5]))
        self.judge(have)
        sites = self.central.status()["sites"]
        if any(s["lost"] or s["owed"] or s["known"] != s["held"] for s in sites):
            raise nodes.Failed(f"central counts {sites}")

    def play(self, rounds, seconds):
        self.central.start()
        self.edge.start()
        end = time.monotonic() + seconds if seconds else None
        number = 0
        while number < rounds and not (end and time.monotonic() > end):
            number += 1
            self.round(number)
        self.arrived()
        print(f"{number} rounds, {len(self.acked)} acknowledged images, 0 lost")

    def stop(self):
        self.edge.kill()
        self.central.kill()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "20")))
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--seconds", type=float, default=0)
    args = p.parse_args()
    top = tempfile.mkdtemp(prefix="salamander-kill9-")
    crash = Crash(top, args.seed)
    try:
        crash.play(args.rounds, args.seconds)
    except nodes.Failed as e:
        crash.stop()
        print(f"FAILED: {e}\nlogs are below {top}", file=sys.stderr)
        return 1
    crash.stop()
    shutil.rmtree(top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
