#!/usr/bin/python3
"""Durable take-in beside Debian's Orthanc and a plain loop, in interleaved rounds.

  take_in.py [--rounds N] [--only plain|central|slow]

All get the same files, the two nodes from the same sender over loopback, and make them durable
before they answer. The loop has a thread for each association; it writes, fdatasyncs,
renames and fsyncs one file an object. Both nodes stand idle for a while first, as nodes do:
the edge makes the next part of its file ready then. Three settings: central stopped; central up on the same
machine (beside the peers' figures without it); 5 ms more for every flush (slow_flush.so, fewer
files). Medians and ratios; what was wanted is printed where it was not met. No threshold:
speed is reported, not tested.
"""
import argparse
import os
import sys
import time

from peers import Folder, Memory, Orthanc, SLOW_FLUSH, bench, files, median_of, nodes, seconds_of, send, size_of

# title, folder, associations, the ratio to Orthanc that is wanted
CASES = (("CT 512x512, 1 association: /s", "ct", 1, 2), ("CT 512x512, 8 associations: /s", "ct", 8, 3),
         ("8 KB objects, 4 associations: /s", "small", 4, 6), ("8 KB objects, 8 associations: /s", "small", 8, 6),
         ("400 MB multi-frame: MB/s", "big", 1, 4))
FILES = (("ct", 400, 200, ("--rows", 512)), ("small", 4000, 1500, ("--rows", 60)),
         ("big", 1, 1, ("--rows", 1024, "--frames", 200)))
LOOP_WANTED, MEMORY_WANTED, IDLE = 0.5, 200, 4
SETTINGS = (("plain", "central stopped"), ("central", "central up on this machine"),
            ("slow", "central stopped, 5 ms more for every flush"))


class Case:
    def __init__(self, folder, associations, setting):
        self.folder, self.associations, self.setting = folder, associations, setting
        self.env = SLOW_FLUSH if setting == "slow" else {}
        self.memory = {"edge": 0, "orthanc": 0}

    def rate(self, seconds):
        count = len(os.listdir(self.folder))
        return (count if count > 1 else size_of(self.folder) / 1e6) / seconds

    def into(self, name, node):
        node.env = self.env
        try:
            node.start()
            time.sleep(IDLE)
            with Memory(node.process.pid) as memory:
                seconds = send(node, self.folder, self.associations)
            self.memory[name] = max(self.memory[name], memory.peak)
            return self.rate(seconds)
        finally:
            node.kill()

    def edge(self):
        with Folder() as top:
            central = nodes.central(top)
            if self.setting == "central":
                central.start()
            try:
                return self.into("edge", nodes.edge(top, "bench", quota="8GiB", central_port=central.http))
            finally:
                central.kill()

    def orthanc(self):
        with Folder() as top:
            return self.into("orthanc", Orthanc(top))

    def loop(self):
        with Folder() as top:
            env = [f"{key}={value}" for key, value in self.env.items()]
            _, out = nodes.run("env", *env, bench("plain_loop"), "-n", self.associations, self.folder, top, seconds=600)
            return self.rate(seconds_of(out))


def show(name, wanted, case, a, b, c):
    short = [f"Orthanc x {wanted}" for _ in range(a < wanted * b)] + \
        [f"loop x {LOOP_WANTED}" for _ in range(a < LOOP_WANTED * c)] + \
        [f"RssAnon < {MEMORY_WANTED}" for _ in range(case.memory["edge"] >= MEMORY_WANTED)]
    print(f"{name:33} {a:8.1f} {b:8.1f} {c:8.1f} {a / b:8.2f} {a / c:8.2f}  {case.memory['edge']} / "
          f"{case.memory['orthanc'] or '-'}" + (f"  (wanted: {', '.join(short)})" if short else ""), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", choices=[name for name, _ in SETTINGS])
    args = p.parse_args()
    peers = {}  # without central, for the setting with it
    with Folder() as top:
        for name, many, few, options in FILES:
            files(top, name, "--count", many, *options)
            files(top, f"{name}-slow", "--count", few, *options)
        for setting, title in SETTINGS:
            if args.only not in (None, setting):
                continue
            print(f"durable take-in, {title}\n{'':33} {'ours':>8} {'Orthanc':>8} {'loop':>8}"
                  f" {'x Orth.':>8} {'x loop':>8}  RssAnon MiB", flush=True)
            for name, folder, associations, wanted in CASES:
                folder += "-slow" if setting == "slow" else ""
                case = Case(os.path.join(top, folder), associations, setting)
                if setting == "central" and name in peers:
                    a, = median_of(args.rounds, case.edge)
                    b, c = peers[name]
                else:
                    a, b, c = median_of(args.rounds, case.edge, case.orthanc, case.loop)
                    peers[name] = b, c
                show(name, wanted, case, a, b, c)
    return 0


if __name__ == "__main__":
    sys.exit(main())
