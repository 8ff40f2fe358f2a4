#!/usr/bin/python3
"""Edge to central on loopback, durable at both ends, beside Orthanc's push to a peer.

  sync.py [--rounds N]

Ours: images are taken in while central is down; then central starts, and the clock runs from its
first answered hello until nothing is owed. Orthanc's: one Orthanc holds the same images and stores
them to another by POST /peers/<name>/store, one job for all. Medians of interleaved rounds, and
ratios; no threshold.
"""
import argparse
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402

CASES = (("CT 512x512", ("--count", 400, "--rows", 512)), ("8 KB objects", ("--count", 3000, "--rows", 60)))


def folder_size(folder):
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))


def ours(top, files):
    central = nodes.central(os.path.join(top, "central"))
    edge = nodes.edge(os.path.join(top, "edge"), "edge", quota="4GiB", central_port=central.http)
    try:
        edge.start()
        nodes.run(nodes.tool("dicom_send"), "-q", "-c", edge.aet, "-n", 4, "127.0.0.1", edge.dicom, files, seconds=600)
        count = len(os.listdir(files))
        central.start(wait=False)
        nodes.wait_for("hello", lambda: edge.status()["central"]["reachable"], 60)
        start = time.monotonic()

        def done():
            s = edge.status()
            return s["owed"]["instances"] == 0 and s["ledger"]["receipted"] == count
        nodes.wait_for("nothing is owed", done, 300)
        return time.monotonic() - start
    finally:
        edge.kill()
        central.kill()


class Orthanc:
    def __init__(self, top, name):
        self.top, self.name = os.path.join(top, name), name
        self.dicom, self.http, self.process = nodes.port(), nodes.port(), None

    def start(self, peers):
        os.makedirs(self.top)
        conf = os.path.join(self.top, "orthanc.json")
        with open(conf, "w", encoding="utf-8") as f:
            json.dump({"StorageDirectory": os.path.join(self.top, "data"), "DicomPort": self.dicom,
                       "HttpPort": self.http, "DicomAet": self.name.upper(), "DicomCheckCalledAet": False,
                       "DicomAlwaysAllowStore": True, "UnknownSopClassAccepted": True, "OrthancPeers": peers,
                       "RegisteredUsers": {"b": "b"}, "AuthenticationEnabled": True}, f)
        self.process = subprocess.Popen(["/usr/sbin/Orthanc", conf], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env={**os.environ, "TCP_NODELAY": "1"})
        nodes.wait_for("Orthanc", lambda: subprocess.run(["echoscu", "127.0.0.1", str(self.dicom)],
                                                         stderr=subprocess.DEVNULL, check=False).returncode == 0)

    def ask(self, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=body)
        request.add_header("Authorization", "Basic " + base64.b64encode(b"b:b").decode())
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.loads(answer.read())

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def theirs(top, files):
    far, near = Orthanc(top, "far"), Orthanc(top, "near")
    try:
        far.start({})
        near.start({"far": [f"http://127.0.0.1:{far.http}/", "b", "b"]})
        nodes.run(nodes.tool("dicom_send"), "-q", "-c", "NEAR", "-n", 4, "127.0.0.1", near.dicom, files, seconds=600)
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


def one(run, files):
    top = tempfile.mkdtemp(prefix="salamander-bench-")
    try:
        return run(top, files)
    finally:
        shutil.rmtree(top)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    top = tempfile.mkdtemp(prefix="salamander-bench-files-")
    try:
        for name, options in CASES:
            files = os.path.join(top, name.split()[0])
            nodes.run(nodes.tool("gen_dicom"), "--out", files, *options)
            count, size = len(os.listdir(files)), folder_size(files)
            times = {ours: [], theirs: []}
            for _ in range(args.rounds):
                for run, seconds in times.items():
                    seconds.append(one(run, files))
            a, b = (statistics.median(times[run]) for run in (ours, theirs))
            print(f"{name}: {size / a / 1e6:.0f} MB/s, {count / a:.0f} objects/s; Orthanc's peer push "
                  f"{size / b / 1e6:.0f} MB/s, {count / b:.0f} objects/s: {b / a:.1f} x", flush=True)
    finally:
        shutil.rmtree(top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
