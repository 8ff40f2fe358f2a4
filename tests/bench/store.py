#!/usr/bin/python3
"""What the store alone does: a cache that is turned over, and studies that are read cold.

  store.py [--rounds N] [--only turn|cold]

turn: a cache of 512 MiB, 90 % full, a site's mix of sizes, filled, idle for a moment as edges
are, turned over five times: the last turn's rate beside the first's, and what the file grew by
since it was full. cold: a study of 250 CT slices, kept beside others, read from the store and
from plain files, each with nothing of it in memory (posix_fadvise drops the kernel's copies, of
both alike), five times in turn; then both once more out of memory.
"""
import argparse
import re
import statistics
import sys

from peers import Folder, bench, nodes, verdict

TURN_WANTED, COLD_WANTED = 0.9, 0.8


def numbers(out, *names):
    return [float(re.search(rf"{name} ([\d.]+)", out).group(1)) for name in names]


def run(rounds, *words):
    """The output of each round."""
    outs = []
    for _ in range(rounds):
        with Folder() as top:
            outs.append(nodes.run(bench("bench_store"), top, *words, seconds=600)[1])
    return outs


def turn(rounds):
    seen = [numbers(out, "first", "last", "grew") for out in run(rounds, "turn", 0)]
    first, last, grew = (statistics.median(x) for x in zip(*seen))
    print(f"turned over 5 times: first turn {first:.0f} MB/s, last {last:.0f} MB/s:"
          f" {verdict(statistics.median(l / f for f, l, _ in seen), TURN_WANTED)}; the file grew by {grew:.0f} MB",
          flush=True)


def cold(rounds):
    lines = [line for out in run(rounds, "cold") for line in out.splitlines()]
    for at, title, wanted in ((0, "cold read of a study", COLD_WANTED), (1, "once more, out of memory", 0)):
        seen = [numbers(line.split(";")[at], "store", "files") for line in lines]
        ours, files = (statistics.median(x) for x in zip(*seen))
        print(f"{title}: {ours:.0f} MB/s, plain files {files:.0f} MB/s:"
              f" {verdict(statistics.median(o / f for o, f in seen), wanted)}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", choices=("turn", "cold"))
    args = p.parse_args()
    if args.only != "cold":
        turn(args.rounds)
    if args.only != "turn":
        cold(args.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
