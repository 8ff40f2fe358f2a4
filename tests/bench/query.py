#!/usr/bin/python3
"""How soon a viewer is answered, with 50,000 studies while 4 modalities send.

  query.py [--studies N] [--queries N] [--rounds N] [--rate IMAGES/S] [--only edge|middle|scale] [--large N]

One open association at the edge: patient ID, accession (hit and miss), today + modality, name
prefix: p50 and p99 to the first and to the last of about 100 answers, while four modalities
send CT slices, --rate each a second (20: a fast scanner), and once more while they send all
they can. Then: the last of 250 slices of a CT, from before it is sent until C-FIND counts 250.
middle: a wildcard in the middle of the name beside Orthanc's, on idle nodes, in interleaved
rounds; Orthanc is fed once, without flushing (50,000 studies: two to three minutes).
scale (only when asked for): the same queries on idle edges with --studies and with --large
(1,000,000) of them, of which as many match; in interleaved rounds, other ones in each; p99
and the ratio.
"""
import argparse
import re
import statistics
import subprocess
import sys

import time

from peers import Folder, Memory, Orthanc, bench, median_of, nodes, verdict

FIRST_WANTED, LAST_WANTED, MIDDLE_WANTED, SLICE_WANTED, SCALE_WANTED = 10, 50, 5, 1000, 2
KINDS = ("id", "hit", "miss", "day", "prefix")


def dimse(what, node, *options):
    return nodes.run(bench("bench_dimse"), what, "127.0.0.1", node.dicom, node.aet, *options, seconds=3600)[1]


def ask(node, studies, queries, *kinds, seed=7):
    """{kind: (first p50, first p99, last p50, last p99)} in ms."""
    out = dimse("ask", node, "-c", studies, "-q", queries, "-s", seed, *kinds)
    rows = {}
    for line in out.splitlines():
        rows[line.split()[0]] = [float(x) for x in re.findall(r"p\d\d ([\d.]+)", line)]
        if re.search(r"answers (\d+)", line).group(1) == "0" and not line.startswith("miss"):
            raise nodes.Failed(f"nothing was found: {line}")
    return rows


def while_sending(node, rate, args):
    sender = subprocess.Popen([bench("bench_dimse"), "modality", "127.0.0.1", str(node.dicom), node.aet, "-n", "4",
                               "-r", str(rate), "-t", "600"], stdout=subprocess.DEVNULL)
    try:
        rows = ask(node, args.studies, args.queries, *KINDS)
        if sender.poll() is not None:
            raise nodes.Failed("the modalities stopped")
        return rows
    finally:
        sender.kill()
        sender.wait()


def show(title, rows):
    print(f"{title}: ms, p50 and p99\n{'':10} {'first':>15} {'last':>15}")
    for kind, (first50, first99, last50, last99) in rows.items():
        short = [f"first < {FIRST_WANTED}" for _ in range(first99 >= FIRST_WANTED)] + \
            [f"last < {LAST_WANTED}" for _ in range(last99 >= LAST_WANTED)]
        print(f"{kind:10} {first50:7.2f} {first99:7.2f} {last50:7.2f} {last99:7.2f}"
              + (f"  (wanted: p99 {', '.join(short)})" if short else ""), flush=True)


def beside_orthanc(top, edge, args):
    orthanc = Orthanc(top, SyncStorageArea=False)  # for loading only: then it starts anew
    try:
        orthanc.start()
        dimse("load", orthanc, "-n", 8, "-c", args.studies)
        orthanc.stop()
        del orthanc.settings["SyncStorageArea"]
        orthanc.start()
        ours, theirs = median_of(args.rounds, *(
            lambda node=node: ask(node, args.studies, 5, "middle")["middle"][2] for node in (edge, orthanc)))
    finally:
        orthanc.kill()
    print(f"wildcard in the middle of the name: {ours:.1f} ms; Orthanc {theirs:.1f} ms:"
          f" {verdict(theirs / ours, MIDDLE_WANTED)}", flush=True)


def edge_alone(edge, args):
    show(f"{args.studies} studies, nothing else", ask(edge, args.studies, args.queries, *KINDS))
    for rate in (args.rate, 0):
        show(f"while 4 modalities send {f'{rate} images/s each' if rate else 'all they can'}", while_sending(edge, rate, args))
    last_slice(edge)


def last_slice(edge):
    p50, p99, _ = (float(x) for x in re.findall(r"(?:p\d\d|most) ([\d.]+)", dimse("last", edge, "-q", 5)))
    print(f"last of 250 slices sent -> 250 by C-FIND: median {p50:.1f} ms, most {p99:.1f} ms"
          + ("" if p99 < SLICE_WANTED else f"  (wanted: {SLICE_WANTED})"), flush=True)


def load(node, studies):
    start = time.monotonic()
    dimse("load", node, "-n", 8, "-c", studies)
    print(f"{studies} studies loaded in {time.monotonic() - start:.0f} s", flush=True)


def scale(sizes, nodes_of, args):
    """p99 of the second beside that of the first: medians of the rounds."""
    seen = {n: {kind: [] for kind in KINDS} for n in sizes}
    peaks = []
    for i in range(args.rounds):
        for n, node in zip(sizes, nodes_of):
            with Memory(node.process.pid) as memory:
                for kind, (_, first99, _, last99) in ask(node, n, args.queries, *KINDS, seed=i).items():
                    seen[n][kind].append((first99, last99))
            peaks.append(f"{memory.peak} MiB")
    for kind in KINDS:
        few, many = ([statistics.median(at) for at in zip(*seen[n][kind])] for n in sizes)
        ratios = [b / a for a, b in zip(few, many)]
        print(f"{kind:10} p99 to the first and to the last answer: {few[0]:.2f}, {few[1]:.2f} ms; {many[0]:.2f},"
              f" {many[1]:.2f} ms: {ratios[0]:.2f} and {ratios[1]:.2f} x"
              + ("" if max(ratios) <= SCALE_WANTED else f"  (wanted: {SCALE_WANTED})"), flush=True)
    print("own memory of the edges: " + ", ".join(peaks))


def two_sizes(top, args):
    sizes = (args.studies, args.large)
    edges = [nodes.edge(top, f"bench{n}", quota="32GiB") for n in sizes]
    try:
        for n, edge in zip(sizes, edges):
            load(edge.start(), n)
        scale(sizes, edges, args)
    finally:
        for edge in edges:
            edge.kill()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--studies", type=int, default=50000)
    p.add_argument("--queries", type=int, default=400)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--rate", type=int, default=20)
    p.add_argument("--only", choices=("edge", "middle", "scale"))
    p.add_argument("--large", type=int, default=1000000)
    args = p.parse_args()
    with Folder() as top:
        if args.only == "scale":
            two_sizes(top, args)
            return 0
        edge = nodes.edge(top, "bench", quota="32GiB")
        try:
            edge.start()
            dimse("load", edge, "-n", 8, "-c", args.studies)
            if args.only != "edge":  # first: the same studies at both
                beside_orthanc(top, edge, args)
            if args.only != "middle":
                edge_alone(edge, args)
        finally:
            edge.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
