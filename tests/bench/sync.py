#!/usr/bin/python3
"""Edge to central on loopback, durable at both ends, beside Orthanc's push to a peer.

  sync.py [--rounds N] [--only push|entry|slow]

push: images are taken in while central is down; then central starts, and the clock runs from
its first answered hello until nothing is owed. Orthanc's: one Orthanc holds the same images and
stores them to another by POST /peers/<name>/store, one job for all. Medians of interleaved
rounds, and ratios. entry: while a long queue drains, images of new studies come in; from
the answer to the modality until C-FIND at central knows the study; the first of them apart, for it
waits until central has all the ledger before it. slow: 40 CT over a relay of 20
Mbit/s: what arrived as a share of the link, and of the bytes that crossed it. No threshold.
"""
import argparse
import json
import os
import re
import sys
import time
import urllib.request

from peers import Folder, Orthanc, bench, files, median_of, nodes, send, size_of, verdict

# title, options of gen_dicom, the ratio that is wanted
CASES = (("CT 512x512", ("--count", 400, "--rows", 512), 3), ("8 KB objects", ("--count", 4000, "--rows", 60), 10))
QUEUE = ("--count", 5000, "--rows", 512)
ENTRIES, ENTRY_WANTED = 60, 100
SLOW, SLOW_RATE = ("--count", 40, "--rows", 512), 2500000


class Pair:
    """A central that is not started, and an edge that is, with an HTTP port to ask it often."""

    def __init__(self, top, way=lambda port: port):
        self.central = nodes.central(top)
        self.http = nodes.port()
        self.edge = nodes.edge(top, "edge", quota="16GiB", central_port=way(self.central.http),
                               http={"listen": f"127.0.0.1:{self.http}"})

    def __enter__(self):
        self.edge.start()
        return self

    def __exit__(self, *_):
        self.edge.kill()
        self.central.kill()

    def status(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/status", timeout=60) as answer:
            return json.loads(answer.read())

    def meet(self):
        """Central starts; returns when it has answered the first hello."""
        self.central.start(wait=False)
        nodes.wait_for("hello", lambda: self.status()["central"]["reachable"], 60)

    def is_done(self, count):
        s = self.status()
        return s["owed"]["instances"] == 0 and s["ledger"]["receipted"] >= count


def ours(folder):
    with Folder() as top, Pair(top) as pair:
        send(pair.edge, folder, 4)
        pair.meet()
        start = time.monotonic()
        nodes.wait_for("nothing is owed", lambda: pair.is_done(len(os.listdir(folder))), 300)
        return time.monotonic() - start


def theirs(folder):
    with Folder() as top:
        far, near = Orthanc(top, "far"), Orthanc(top, "near")
        near.settings["OrthancPeers"] = {"far": [f"http://127.0.0.1:{far.http}/", "b", "b"]}
        try:
            far.start()
            near.start()
            send(near, folder, 4)
            all_of_it = near.ask("/instances")
            start = time.monotonic()
            near.ask("/peers/far/store", json.dumps({"Resources": all_of_it, "Synchronous": True}).encode())
            seconds = time.monotonic() - start
            if len(far.ask("/instances")) != len(all_of_it):
                raise nodes.Failed("the peer did not get all")
            return seconds
        finally:
            far.kill()
            near.kill()


def push(top, rounds):
    for name, options, wanted in CASES:
        folder = files(top, name.split()[0], *options)
        count, size = len(os.listdir(folder)), size_of(folder)
        a, b = median_of(rounds, lambda f=folder: ours(f), lambda f=folder: theirs(f))
        print(f"{name}: {size / a / 1e6:.0f} MB/s, {count / a:.0f} objects/s; Orthanc's peer push "
              f"{size / b / 1e6:.0f} MB/s, {count / b:.0f} objects/s: {verdict(b / a, wanted)}", flush=True)


def entries(pair, count):
    """That many new studies, one after the other: p50, p99 and most, in ms."""
    _, out = nodes.run(bench("bench_dimse"), "entry", "127.0.0.1", pair.edge.dicom, pair.edge.aet,
                       "127.0.0.1", pair.central.dicom, pair.central.aet, "-q", count, seconds=300)
    return [float(x) for x in re.findall(r"(?:p\d\d|most) ([\d.]+)", out)]


def entry(top):
    folder = files(top, "queue", *QUEUE)
    with Folder() as place, Pair(place) as pair:
        send(pair.edge, folder, 4)
        before = pair.status()["ledger"]["last_seq"]
        pair.meet()
        _, _, first = entries(pair, 1)
        p50, p99, most = entries(pair, ENTRIES)
        owed = pair.status()["owed"]["instances"]
    print(f"a new study at central after its commit, {owed} images still owed at the end: p50 {p50:.0f}, "
          f"p99 {p99:.0f}, most {most:.0f} ms" + ("" if most < ENTRY_WANTED else f"  (wanted: {ENTRY_WANTED})") +
          f"; the first, behind a ledger of {before} entries that central had none of: {first:.0f} ms", flush=True)


def slow(top):
    folder = files(top, "slow", *SLOW)
    wans = []

    def way(port):
        wans.append(nodes.Wan(port))
        wans[0].rate = SLOW_RATE
        return wans[0].port

    with Folder() as place, Pair(place, way) as pair:
        send(pair.edge, folder, 4)
        pair.meet()
        start, before = time.monotonic(), wans[0].sent
        nodes.wait_for("nothing is owed", lambda: pair.is_done(len(os.listdir(folder))), 300)
        seconds, crossed, size = time.monotonic() - start, wans[0].sent - before, size_of(folder)
    print(f"a link of {SLOW_RATE / 1e6:.1f} MB/s: {size / seconds / 1e6:.2f} MB/s of CT, "
          f"{100 * size / seconds / SLOW_RATE:.0f} % of it; {size / crossed:.2f} bytes in one that crossed", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", choices=("push", "entry", "slow"))
    args = p.parse_args()
    with Folder() as top:
        if args.only in (None, "push"):
            push(top, args.rounds)
        if args.only in (None, "entry"):
            entry(top)
        if args.only in (None, "slow"):
            slow(top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
