#!/usr/bin/python3
"""Power cuts of an edge, replayed: what was answered is there, whatever the disk had not flushed.

  power.py [--states N] [--seed N] [--seconds N]

An edge runs with recorder.so (every call that changes a file is written to a trace) while images
come in over four associations; behind each answer a mark is appended to the same trace. replay
then makes the disks that a power cut in the middle may leave, each unsynced write kept, dropped or
torn, opens each with the product and looks for everything that was answered. It is shown first
that it would find a loss: with flushes that do nothing it must.
With --seconds: recording after recording, on seeds that follow from the first, until they are over.
"""
import argparse
import concurrent.futures
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402

MARK, HEAD = 10, struct.Struct("<IHHQQII")  # as in trace.h
SENDERS = 4


def crash_tool(name):
    return os.path.join(nodes.BUILD, "tests", "crash", name)


class Recording:
    """One life of an edge: its trace, and the disk that was recorded."""

    def __init__(self, top, seed):
        self.top, self.seed = top, seed
        self.disk, self.trace = os.path.join(top, "recorded"), os.path.join(top, "trace")
        self.files = os.path.join(top, "files")
        os.makedirs(self.disk)
        os.makedirs(self.files)
        self.edge = nodes.edge(top, "edge", quota="64MiB")
        self.edge.data = self.edge.config["data"]["dir"] = os.path.join(self.disk, "edge")
        self.edge.env = {"LD_PRELOAD": crash_tool("recorder.so"), "RECORD_DIR": self.disk, "RECORD_TO": self.trace}

    def generate(self, name, *options):
        folder = os.path.join(self.files, name)
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, "--seed", self.seed % 100000 + 1, *options)
        return [os.path.join(folder, file) for file in sorted(os.listdir(folder))]

    def send(self, path):
        nodes.run(nodes.tool("dicom_send"), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", "MODALITY", path)
        self.mark(path)

    def mark(self, path):
        """Appended with one write, as every record: behind all that came before the answer."""
        name = path.encode()
        record = HEAD.pack(HEAD.size + len(name), MARK, 0, 0, 0, len(name), 0) + name
        fd = os.open(self.trace, os.O_WRONLY | os.O_APPEND)
        try:
            if os.write(fd, record) != len(record):
                raise nodes.Failed("the mark was cut short")
        finally:
            os.close(fd)

    def stream(self, paths):
        with concurrent.futures.ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(self.send, paths))

    def make(self):
        """Small ones in company; other bytes under UIDs that are there (R3); some twice (R4); one that is written
        in groups before it is whole; and a second start."""
        small = self.generate("small", "--count", 40, "--rows", 32, "--per-study", 8)
        large = self.generate("large", "--count", 4, "--rows", 256)
        huge = self.generate("largest", "--count", 1, "--rows", 512, "--frames", 18)
        try:
            self.edge.start()
            self.stream(small[:20] + large[:2])
            self.edge.stop()
            self.edge.start()
            self.stream(small[20:30] + large[2:] + small[:4] + huge + small[30:])
            self.edge.stop()
        finally:
            self.edge.kill()
        return self


def replay(recording, work, *options):
    """Runs replay to its end; its exit code and what it says."""
    os.makedirs(work, exist_ok=True)
    done = subprocess.run([crash_tool("replay"), "--trace", recording.trace, "--work", work, *map(str, options)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def expect(title, result):
    code, text = result
    print(f"{title}: {text}", flush=True)
    if code != 0:
        raise nodes.Failed(f"{title}: exit {code}")


def loses(recording, work):
    """The test itself: a disk that forgets what was flushed must be found out."""
    for lie in ("sync", "through", "folders"):
        code, text = replay(recording, work, "--lie", lie, "--states", 200)
        print(f"lie {lie}: {text.splitlines()[-1] if text else ''}", flush=True)
        if code != 0:
            raise nodes.Failed(f"with a disk that forgets ({lie}) nothing was lost: the test sees nothing")


def play(top, work, args):
    end = time.monotonic() + args.seconds
    seed, total = args.seed % 2 ** 31, 0
    while total == 0 or time.monotonic() < end:
        folder = os.path.join(top, str(seed))
        recording = Recording(folder, seed).make()
        if total == 0:
            loses(recording, work)
        expect(f"seed {seed}", replay(recording, work, "--states", args.states, "--seed", seed, "--compare",
                                      recording.disk))
        shutil.rmtree(folder)
        total += 1
        seed += 1
    print(f"power cuts: {total} recordings, {total * args.states} states, 0 lost")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--states", type=int, default=2000, help="of each recording")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--seconds", type=float, default=0)
    args = p.parse_args()
    top = tempfile.mkdtemp(prefix="salamander-power-")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # states are many and need no disk
    work = tempfile.mkdtemp(prefix="salamander-power-", dir=memory)
    try:
        play(top, work, args)
    except nodes.Failed as e:
        print(f"FAILED: {e}\nthe recording is below {top}, the state in {work}/disk", file=sys.stderr)
        return 1
    shutil.rmtree(top)
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
