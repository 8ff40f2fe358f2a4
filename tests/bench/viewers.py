#!/usr/bin/python3
"""8 viewers that retrieve and 4 modalities that send at once, over a link of 1 Gbit/s, beside Debian's Orthanc.

  viewers.py [--seconds N] [--peer]

Node and clients stand in two network namespaces, joined by a pair of veth devices shaped to 1 Gbit/s each way;
small packets (acknowledgements, answers) go first, as Debian's own queue, fq_codel, lets them. The viewers
ask for one study of 50 CT slices after the other by C-GET, the modalities send CT slices all they can. First
the modalities alone, into an empty node; then all of them, into another. --peer: Orthanc too. Where namespaces or
shaping are not allowed it says so and measures nothing.
"""
import argparse
import os
import re
import subprocess
import sys

from peers import Folder, Memory, Orthanc, bench, files, nodes

RATE, VIEWERS, MODALITIES, STUDIES, SLICES = 1000, 8, 4, 20, 50
LINK = RATE / 8  # MB/s
SMALL = 256  # bytes
FULL_WANTED, FIRST_WANTED, TAKE_IN_WANTED = 0.9, 150, 0.8
NODE, CLIENTS = "10.9.1.1", "10.9.1.2"


class Wire:
    """Two namespaces and the link between them; they end with the processes that hold them."""

    def __init__(self):
        self.holders = [subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
                        for _ in range(2)]
        self.ends = [["nsenter", "-t", str(h.pid), "-n"] for h in self.holders]

    def make(self):
        nodes.wait_for("two namespaces", lambda: all(
            h.poll() is not None or os.readlink(f"/proc/{h.pid}/ns/net") != os.readlink("/proc/self/ns/net")
            for h in self.holders))
        self.say(0, "ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns",
                 str(self.holders[1].pid))
        for end, address in enumerate((NODE, CLIENTS)):
            self.say(end, "ip", "link", "set", "lo", "up")
            self.say(end, "ip", "address", "add", f"{address}/24", "dev", "wire")
            self.say(end, "ip", "link", "set", "wire", "up")
            self.say(end, "tc", "qdisc", "add", "dev", "wire", "root", "handle", "1:", "htb", "default", "20")
            self.shape(end, "1:", "1:1", RATE, 0)
            self.shape(end, "1:1", "1:10", RATE // 10, 0)
            self.shape(end, "1:1", "1:20", RATE - RATE // 10, 1)
            self.say(end, "tc", "filter", "add", "dev", "wire", "parent", "1:", "protocol", "ip", "u32",
                     "match", "u16", "0", f"0x{0x10000 - SMALL:04x}", "at", "2", "flowid", "1:10")

    def shape(self, end, parent, number, rate, prio):
        self.say(end, "tc", "class", "add", "dev", "wire", "parent", parent, "classid", number, "htb",
                 "rate", f"{rate}mbit", "ceil", f"{RATE}mbit", "prio", str(prio), "burst", "128k", "cburst", "128k", "quantum", "65536")

    def say(self, end, *words):
        done = subprocess.run([*self.ends[end], *words], stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise nodes.Skipped(f"no link of this rate here: {' '.join(words)}: {done.stderr.strip()}")

    def __enter__(self):
        try:
            self.make()
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for holder in self.holders:
            holder.stdin.close()
            holder.wait(10)


def edge(top):
    node = nodes.edge(top, "bench", quota="16GiB", **{
        "peer BENCH": {"aet": "BENCH", "from": f"127.0.0.1, {CLIENTS}", "may": "store, find, get"}})
    node.config["dicom"]["listen"] = f"127.0.0.1:{node.dicom}, {NODE}:{node.dicom}"
    return node


def client(wire, program, what, node, *words):
    return subprocess.Popen([*wire.ends[1], bench(program), what, NODE, str(node.dicom), node.aet, *map(str, words)],
                            stdout=subprocess.PIPE, text=True)


def said(process, pattern):
    out = process.communicate()[0]
    if process.returncode != 0:
        raise nodes.Failed(f"exit {process.returncode}: {out}")
    return [float(x) for x in re.search(pattern, out, re.S).groups()]


def modalities(wire, node, seconds):
    return client(wire, "bench_dimse", "modality", node, "-n", MODALITIES, "-t", seconds)


def taken(process, seconds):
    """Images a second of all modalities, and of the slowest of them."""
    all_of_them, least = said(process, r"sent (\d+).*least (\d+)")
    return all_of_them / seconds, least / seconds


def fresh(wire, folder, make):
    """A node of its own at its end of the link, which holds the studies."""
    node = make()
    node.within = wire.ends[0]
    try:
        node.start()
        nodes.run(*wire.ends[0], nodes.tool("dicom_send"), "-q", "-c", node.aet, "-a", "BENCH", "-n", 4, "127.0.0.1",
                  node.dicom, folder, seconds=600)
    except Exception:
        node.kill()
        raise
    return node


def studies_of(wire, node):
    out = nodes.run(*wire.ends[0], nodes.tool("dicom_get"), "127.0.0.1", node.dicom, "-c", node.aet, "-a", "BENCH",
                    "--find")[1]
    return sorted(line.split()[0] for line in out.splitlines())


def alone(wire, folder, make, seconds):
    node = fresh(wire, folder, make)
    try:
        return taken(modalities(wire, node, seconds), seconds)
    finally:
        node.kill()


def together(wire, folder, make, seconds):
    node = fresh(wire, folder, make)
    try:
        studies = studies_of(wire, node)
        with Memory(node.process.pid) as memory:
            sending = modalities(wire, node, seconds)
            viewing = client(wire, "bench_retrieve", "get", node, "-n", VIEWERS, "-t", seconds, *studies)
            rate, p50, most = said(viewing, r"MB/s ([\d.]+) first p50 ([\d.]+) max ([\d.]+)")
            return (rate, p50, most, memory.peak, *taken(sending, seconds))
    finally:
        node.kill()


def show(name, before, seen):
    rate, p50, most, memory, images, least = seen
    short = [f"link {FULL_WANTED:.0%} full" for _ in range(rate < FULL_WANTED * LINK)] + \
        [f"first image < {FIRST_WANTED} ms" for _ in range(most >= FIRST_WANTED)] + \
        [f"take-in {TAKE_IN_WANTED} x alone" for _ in range(least < TAKE_IN_WANTED * before[1])]
    print(f"{name}: {VIEWERS} viewers {rate:.0f} MB/s ({rate / LINK:.0%} of the link), first image p50 {p50:.0f} ms, "
          f"most {most:.0f}; {MODALITIES} modalities {images:.0f} images/s, {before[0]:.0f} alone "
          f"({images / before[0]:.2f} x; the slowest {least / before[1]:.2f} x); RssAnon {memory} MiB"
          + (f"  (wanted: {', '.join(short)})" if short else ""), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=int, default=15)
    p.add_argument("--peer", action="store_true")
    args = p.parse_args()
    makers = {"Salamander": edge}
    if args.peer:
        makers["Orthanc"] = lambda top: Orthanc(top, DicomAlwaysAllowGet=True)
    with Folder() as top, Wire() as wire:
        folder = files(top, "ct", "--count", STUDIES * SLICES, "--rows", 512, "--per-study", SLICES)
        for name, make in makers.items():
            with Folder() as one, Folder() as other:
                before = alone(wire, folder, lambda: make(one), args.seconds)
                show(name, before, together(wire, folder, lambda: make(other), args.seconds))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except nodes.Skipped as e:
        print(f"viewers.py: {e}")
