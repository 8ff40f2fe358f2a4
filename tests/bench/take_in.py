#!/usr/bin/python3
"""Durable take-in beside Debian's Orthanc, in interleaved rounds; prints medians and ratios.

  take_in.py [--rounds N]

Both receive the same files from the same sender over loopback and make them durable before they
answer; Orthanc runs with its default fsync and TCP_NODELAY=1 in its environment, so that it shows
its best. No threshold: speed is reported, not tested.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402

CASES = (("CT 512x512, 1 association", "ct", 1), ("CT 512x512, 8 associations", "ct", 8),
         ("8 KB objects, 4 associations", "small", 4), ("8 KB objects, 8 associations", "small", 8),
         ("400 MB multi-frame, 1 association", "big", 1))


class Orthanc:
    def __init__(self, top):
        self.top, self.dicom, self.process, self.aet = top, nodes.port(), None, "ORTHANC"

    def start(self):
        os.makedirs(self.top)
        conf = os.path.join(self.top, "orthanc.json")
        with open(conf, "w", encoding="utf-8") as f:
            json.dump({"StorageDirectory": os.path.join(self.top, "data"), "DicomPort": self.dicom,
                       "HttpPort": nodes.port(), "DicomAet": self.aet, "DicomCheckCalledAet": False,
                       "DicomAlwaysAllowStore": True, "UnknownSopClassAccepted": True}, f)
        self.process = subprocess.Popen(["/usr/sbin/Orthanc", conf], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env={**os.environ, "TCP_NODELAY": "1"})
        nodes.wait_for("Orthanc", lambda: subprocess.run(["echoscu", "127.0.0.1", str(self.dicom)],
                                                         stderr=subprocess.DEVNULL, check=False).returncode == 0)

    def kill(self):
        self.process.kill()
        self.process.wait()


def rss_anon(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1)) // 1024


def send(target, folder, associations):
    _, out = nodes.run(nodes.tool("dicom_send"), "-q", "-c", target.aet, "-a", "BENCH", "-n", associations,
                       "127.0.0.1", target.dicom, folder, seconds=600)
    sent, failed, seconds = re.search(r"sent (\d+) failed (\d+) seconds ([\d.]+)", out).groups()
    if failed != "0":
        raise nodes.Failed(out)
    return int(sent) / float(seconds)


def one(make, folder, associations):
    top = tempfile.mkdtemp(prefix="salamander-bench-")
    target = make(os.path.join(top, "node"))
    try:
        target.start()
        rate = send(target, folder, associations)
        return rate, rss_anon(target.process.pid)
    finally:
        target.kill()
        shutil.rmtree(top)


def materials(top):
    for name, options in (("ct", ("--count", 400, "--rows", 512)), ("small", ("--count", 4000, "--rows", 60)),
                          ("big", ("--count", 1, "--rows", 1024, "--frames", 200))):
        nodes.run(nodes.tool("gen_dicom"), "--out", os.path.join(top, name), *options)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    top = tempfile.mkdtemp(prefix="salamander-bench-")
    materials(top)
    print(f"{'durable take-in, objects/s (median)':38} {'ours':>9} {'Orthanc':>9} {'ratio':>6} {'RssAnon MiB':>12}")
    try:
        for title, folder, associations in CASES:
            ours, theirs = [], []
            for _ in range(args.rounds):
                ours.append(one(lambda t: nodes.edge(t, "bench", quota="8GiB"), os.path.join(top, folder), associations))
                theirs.append(one(Orthanc, os.path.join(top, folder), associations))
            a, b = (statistics.median(r for r, _ in x) for x in (ours, theirs))
            print(f"{title:38} {a:9.1f} {b:9.1f} {a / b:6.1f} {max(m for _, m in ours):5} / {max(m for _, m in theirs):5}",
                  flush=True)
    finally:
        shutil.rmtree(top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
