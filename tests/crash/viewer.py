#!/usr/bin/python3
"""A viewer reads at 10 MB/s while four modalities send all they can: no MAP_FULL, no refusal (R12).

  viewer.py [--seconds N] [--quota MiB] [--hold]

Central is up, the cache is turned over many times, evicted studies make room for new ones, and whole studies are
read all the while by C-GET on several associations, 10 MB/s together: read transactions of a slow reader pin pages
(TRAPS 3). Every store must be answered 0000, the edge's log must know of no full map, what the viewer got must be
whole, and at the end all that was sent is at central. --hold: fails if the viewer had less than its 10 MB/s.
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import archive  # noqa: E402
import check  # noqa: E402
import nodes  # noqa: E402

MB = 1000000
RATE, HELD = 10 * MB, 9.5  # bytes a second; MB/s that count as it
SLICE = 526000  # bytes of a modality's CT
STREAMS = 3  # associations of one viewer: one reads while another looks for a study, or at what it got
NEWEST = 12  # studies of which it opens one


class Viewer:
    """Reads whole studies, one after the other, through a relay that lets 10 MB/s through."""

    def __init__(self, edge, top):
        self.edge, self.top, self.over, self.failed, self.images = edge, top, False, [], 0
        self.line = nodes.Wan(edge.dicom)
        self.line.rate_back, self.line.slack = RATE, 1.0
        self.streams = [threading.Thread(target=self.read, args=(n,), daemon=True) for n in range(STREAMS)]
        for stream in self.streams:
            stream.start()

    def get(self, *options, port=None):
        return nodes.run(nodes.tool("dicom_get"), "127.0.0.1", port or self.edge.dicom, "-c", self.edge.aet, "-a",
                         "VIEWER", *options, ok=(0, 1), seconds=300)[1]

    def read(self, number):
        got, chance = os.path.join(self.top, str(number)), random.Random(number)
        try:
            while not self.over:
                studies = self.get("--find").split()[:NEWEST]
                os.makedirs(got)
                if studies:  # evicted while it is read: a failed sub-operation (R20), never half an image
                    self.get("--study", chance.choice(studies), "-o", got, port=self.line.port)
                self.images += sum(1 for _ in check.objects([got], self.failed))
                shutil.rmtree(got)
        except (nodes.Failed, OSError, subprocess.TimeoutExpired) as e:
            self.failed.append(str(e))

    def bytes(self):
        return self.line.back

    def stop(self):
        self.over, self.line.rate_back = True, 0
        for stream in self.streams:
            stream.join(300)
        self.line.close()

    def judge(self):
        if self.failed or not self.images:
            raise nodes.Failed(f"the viewer got {self.images} images; {self.failed[:3]}")


class Cache:
    """A small one, and its central."""

    def __init__(self, top, args):
        self.top, self.args = top, args
        self.central = nodes.central(os.path.join(top, "central"))
        self.edge = nodes.edge(os.path.join(top, "edge"), "edge", quota=f"{args.quota}MiB",
                               central_port=self.central.http, cache={"keep_days": 0})

    def disagreements(self, seconds):
        """Nothing is owed within so long: in what central's folder and its status differ then."""
        nodes.wait_for("nothing is owed", lambda: self.edge.status()["owed"]["instances"] == 0, seconds)
        for _ in range(10):  # making room is announced as well: two looks must agree
            wrong = archive.Archive(self.central.data).compare(self.central.status())
            if not wrong:
                break
            time.sleep(1)
        return wrong

    def stop(self):
        self.edge.kill()
        self.central.kill()


def run(kind, args):
    """What a program exits with: 0, or 1 and its folder stays."""
    top = tempfile.mkdtemp(prefix=f"salamander-{kind.__name__.lower()}-")
    cache = kind(top, args)
    try:
        cache.play()
    except (nodes.Failed, subprocess.TimeoutExpired) as e:
        print(f"FAILED: {e}\nlogs are below {top}", file=sys.stderr)
        return 1
    finally:
        cache.stop()
    shutil.rmtree(top)
    return 0


class Reading(Cache):
    def sender(self):
        """Four modalities, all they can; a store that is not answered 0000 ends them."""
        return subprocess.Popen([os.path.join(nodes.BUILD, "tests", "bench", "bench_dimse"), "modality", "127.0.0.1",
                                 str(self.edge.dicom), self.edge.aet, "-n", "4", "-r", "0", "-t",
                                 str(self.args.seconds)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def play(self):
        self.central.start()
        self.edge.start()
        viewer, sender = Viewer(self.edge, os.path.join(self.top, "viewed")), self.sender()
        nodes.wait_for("the viewer reads", viewer.bytes, 60)
        start, before = time.monotonic(), viewer.bytes()
        out = sender.communicate(timeout=self.args.seconds + 120)[0].decode()
        seconds, read = time.monotonic() - start, viewer.bytes() - before
        viewer.stop()
        if sender.returncode:
            raise nodes.Failed(f"{out}{self.edge.tail()}")
        sent = int(re.search(r"sent (\d+)", out).group(1))
        self.judge(viewer, sent)
        rate, turns = read / seconds / MB, sent * SLICE / (self.args.quota << 20)
        print(f"viewer: {rate:.1f} MB/s read for {seconds:.0f} s while {sent} CT came in ({sent / seconds:.0f} a second, "
              f"{turns:.1f} turns of {self.args.quota} MiB); {viewer.images} images whole, 0 refused, 0 lost")
        if self.args.hold and rate < HELD:
            raise nodes.Failed(f"the viewer had {rate:.1f} MB/s")

    def judge(self, viewer, sent):
        viewer.judge()
        if self.edge.log_count("MAP_FULL"):
            raise nodes.Failed(f"the map was full:\n{self.edge.tail()}")
        wrong = self.disagreements(300)
        nodes.expect("images at central", self.central.status()["instances"], sent)
        if wrong:
            raise nodes.Failed("\n".join(wrong[:10]))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=int, default=6)
    p.add_argument("--quota", type=int, default=256, help="MiB")
    p.add_argument("--hold", action="store_true")
    return run(Reading, p.parse_args())


if __name__ == "__main__":
    sys.exit(main())
