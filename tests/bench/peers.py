"""What the benches share: Debian's Orthanc, memory while it runs, rounds, medians.

Orthanc runs with its default fsync, and with TCP_NODELAY=1 in its environment so that it
shows its best.
"""
import base64
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402

SLOW_FLUSH = {"LD_PRELOAD": os.path.join(nodes.BUILD, "tests", "bench", "slow_flush.so"), "SLOW_FLUSH_US": "5000"}


def bench(name):
    return os.path.join(nodes.BUILD, "tests", "bench", name)


class Orthanc:
    def __init__(self, folder, name="orthanc", **settings):
        self.folder, self.aet = os.path.join(folder, name), name.upper()
        self.dicom, self.http, self.process, self.env = nodes.port(), nodes.port(), None, {}
        self.settings, self.within = settings, []  # within: as nodes.Node's

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        conf = os.path.join(self.folder, "orthanc.json")
        with open(conf, "w", encoding="utf-8") as f:
            json.dump({"StorageDirectory": os.path.join(self.folder, "data"), "DicomPort": self.dicom,
                       "HttpPort": self.http, "DicomAet": self.aet, "DicomCheckCalledAet": False,
                       "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True, "UnknownSopClassAccepted": True,
                       "RegisteredUsers": {"b": "b"}, "AuthenticationEnabled": True, **self.settings}, f)
        self.process = subprocess.Popen([*self.within, "/usr/sbin/Orthanc", conf], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env={**os.environ, "TCP_NODELAY": "1", **self.env})
        nodes.wait_for("Orthanc", lambda: subprocess.run([*self.within, "echoscu", "127.0.0.1", str(self.dicom)],
                                                         stderr=subprocess.DEVNULL, check=False).returncode == 0)
        return self

    def ask(self, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=body)
        request.add_header("Authorization", "Basic " + base64.b64encode(b"b:b").decode())
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.loads(answer.read())

    def stop(self):
        self.process.terminate()
        self.process.wait(120)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


class Memory:
    """The most memory of its own that a process had while the block ran, in MiB."""

    def __init__(self, pid):
        self.pid, self.peak, self.over = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def look(self):
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as f:
            self.peak = max(self.peak, int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1)) // 1024)

    def watch(self):
        while not self.over.wait(0.02):
            self.look()

    def __enter__(self):
        self.look()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.look()


class Folder:
    """A folder that is gone afterwards."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="salamander-bench-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)


def files(top, name, *options):
    """Synthetic DICOM files; returns their folder."""
    folder = os.path.join(top, name)
    nodes.run(nodes.tool("gen_dicom"), "--out", folder, *options)
    return folder


def size_of(folder):
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))


def seconds_of(out):
    """Of what dicom_send and plain_loop print."""
    failed, seconds = re.search(r"failed (\d+) seconds ([\d.]+)", out).groups()
    if failed != "0":
        raise nodes.Failed(out)
    return float(seconds)


def send(target, folder, associations):
    _, out = nodes.run(nodes.tool("dicom_send"), "-q", "-c", target.aet, "-a", "BENCH", "-n", associations,
                       "127.0.0.1", target.dicom, folder, seconds=600)
    return seconds_of(out)


def median_of(rounds, *runs):
    """Runs all of them in each round, one after the other; the median of each."""
    seen = [[] for _ in runs]
    for _ in range(rounds):
        for run, results in zip(runs, seen):
            results.append(run())
    return [statistics.median(r) for r in seen]


def verdict(ratio, wanted):
    return f"{ratio:6.2f} x" + ("" if ratio >= wanted else f"  (wanted: {wanted:g})")
