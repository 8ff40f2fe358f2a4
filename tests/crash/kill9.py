#!/usr/bin/python3
"""kill -9 of both nodes while files stream in: every acknowledged image is there, nothing is half.

  kill9.py [--rounds N] [--seed N] [--seconds N]

Each round: images stream into the edge over several associations and on to central; the edge, central
or both are killed at a random moment and restarted. Every few rounds, and at the end, whatever was answered 0000
so far must come back from the edge by C-GET, byte for byte. At the end nothing is owed, all of it is in central's
packs, and central's log, ledgers and packs are whole and count what central counts.
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
import archive  # noqa: E402
import check  # noqa: E402
import nodes  # noqa: E402

LOOK, LIFE = 5, 40  # rounds from one look at everything to the next; rounds of one pair of nodes


class Crash:
    def __init__(self, top, seed):
        self.top, self.random = top, random.Random(seed)
        self.central = nodes.central(os.path.join(top, "central"))
        self.edge = nodes.edge(os.path.join(top, "edge"), "edge", quota="8GiB", central_port=self.central.http)
        self.acked = {}  # path -> key
        self.batch = 0

    def fresh_files(self):
        """New synthetic objects, none is sent twice as new: of mixed sizes, small (the journal's), or in groups."""
        self.batch += 1
        folder = os.path.join(self.top, "files", str(self.batch))
        what = self.random.choice([["--count", 40, "--mix"], ["--count", 200, "--rows", 32],
                                   ["--count", 4, "--frames", 12]])
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, *what, "--per-study", 20, "--seed", self.batch)
        return folder

    def from_journal(self):
        """Starts of the edge that found something in the journal alone."""
        with open(self.edge.log, encoding="utf-8", errors="replace") as f:
            return sum("store.journal records=" in line for line in f)

    def stream(self, folder):
        return subprocess.Popen([nodes.tool("dicom_send"), "127.0.0.1", str(self.edge.dicom), "-c", self.edge.aet,
                                 "-a", "MODALITY", "-n", "4", "-l", folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def some_moment(self, sender):
        """When the power goes is what the round varies; packs leave about a second later."""
        if self.random.random() < 0.5:  # just behind an answer, which the journal alone may hold
            return b"".join(sender.stdout.readline() for _ in range(self.random.randrange(1, 40)))
        time.sleep(self.random.uniform(0.0, 0.15) if self.random.random() < 0.6 else self.random.uniform(0.8, 1.4))
        return b""

    def collect(self, sender, out):
        """Lines of dicom_send: `0000 path` is an acknowledgement that we hold the edge to."""
        out += sender.stdout.read()
        sender.wait(timeout=60)
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
        sender = self.stream(self.fresh_files())
        victims = self.random.choice([[self.edge], [self.central], [self.edge, self.central]])
        said = self.some_moment(sender)
        for node in victims:
            node.kill()
        count = self.collect(sender, said)
        for node in victims:
            node.start()
        looked = number % LOOK == 0
        if looked:
            self.judge(self.fetched())
        print(f"round {number}: {'+'.join(v.role for v in victims)}: {count} acknowledged, {len(self.acked)} in all"
              f"{' are there' if looked else ''}", flush=True)

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
        sites = [s["of_site"] for s in self.central.status()["sites"]]
        if any(s["lost"] or s["owed"] or s["known"] != s["held"] for s in sites):
            raise nodes.Failed(f"central counts {sites}")
        wrong = archive.Archive(self.central.data).compare(self.central.status())
        if wrong:
            raise nodes.Failed("; ".join(wrong[:5]))

    def play(self, first, rounds, end):
        """Rounds of one life; how many there were."""
        self.central.start()
        self.edge.start()
        number = 0
        while number < rounds and not (end and time.monotonic() > end):
            self.round(first + number)
            number += 1
        self.judge(self.fetched())
        self.arrived()
        return number

    def stop(self):
        self.edge.kill()
        self.central.kill()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "20")))
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--seconds", type=float, default=0)
    args = p.parse_args()
    end = time.monotonic() + args.seconds if args.seconds else None
    done = acked = found = 0
    while done < args.rounds and not (end and time.monotonic() > end):
        # A long run is many lives: what is there is read again and again, so it must not grow for ever.
        top = tempfile.mkdtemp(prefix="salamander-kill9-")
        crash = Crash(top, args.seed + done)
        try:
            done += crash.play(done + 1, min(LIFE, args.rounds - done), end)
        except (nodes.Failed, subprocess.TimeoutExpired) as e:
            crash.stop()
            print(f"FAILED: seed {args.seed + done}: {e}\nlogs are below {top}", file=sys.stderr)
            return 1
        crash.stop()
        acked += len(crash.acked)
        found += crash.from_journal()
        shutil.rmtree(top)
    print(f"{done} rounds, {acked} acknowledged images, 0 lost; {found} starts found some in the journal alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
