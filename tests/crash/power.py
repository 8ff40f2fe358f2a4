#!/usr/bin/python3
"""Power cuts of an edge and of a central, replayed: what was answered holds, whatever the disk had not flushed.

  power.py [--states N] [--seed N] [--seconds N] [--only edge|large|central]

A node runs with recorder.so (every call that changes a file is written to a trace) while images come in over four
associations; behind each answer a mark is appended to the same trace: of an edge what it acknowledged, of central,
before the edge hears of it, each epoch, ledger head and receipt. replay then makes the disks that a power cut in the
middle may leave, each unsynced write kept, dropped or torn, opens each with the product and looks for everything
that was answered. It is shown first that it would find a loss: with flushes that do nothing it must.
With --seconds: recording after recording, on seeds that follow from the first, until they are over, two at a time.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import archive  # noqa: E402
import nodes  # noqa: E402

MARK, HEAD = 10, struct.Struct("<IHHQQII")  # as in trace.h
SENDERS = 4


def crash_tool(name):
    return os.path.join(nodes.BUILD, "tests", "crash", name)


class Recording:
    """One life of a node: its trace, and the disk that was recorded."""

    role, lies = "edge", ("sync", "through", "folders", "journal")

    def __init__(self, top, seed):
        self.top, self.seed = top, seed
        self.disk, self.trace = os.path.join(top, "recorded"), os.path.join(top, "trace")
        self.files = os.path.join(top, "files")
        os.makedirs(self.disk)
        os.makedirs(self.files)
        self.set_up()
        self.node.data = self.node.config["data"]["dir"] = os.path.join(self.disk, self.role)
        self.node.env = {"LD_PRELOAD": crash_tool("recorder.so"), "RECORD_DIR": self.disk, "RECORD_TO": self.trace}

    def set_up(self):
        self.node = self.edge = nodes.edge(self.top, "edge", quota="64MiB")
        self.edge.config["data"]["journal"] = "256KiB"  # full at times; and each state writes it

    def generate(self, name, *options):
        folder = os.path.join(self.files, name)
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, "--seed", self.seed % 100000 + 1, *options)
        return [os.path.join(folder, file) for file in sorted(os.listdir(folder))]

    def send(self, path):
        nodes.run(nodes.tool("dicom_send"), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", "MODALITY", path)
        self.sent(path)

    def sent(self, path):
        self.mark(path)

    def mark(self, text):
        """Appended with one write, as every record: behind all that came before the answer."""
        text = text.encode()
        record = HEAD.pack(HEAD.size + len(text), MARK, 0, 0, 0, len(text), 0) + text
        fd = os.open(self.trace, os.O_WRONLY | os.O_APPEND)
        try:
            if os.write(fd, record) != len(record):
                raise nodes.Failed("the mark was cut short")
        finally:
            os.close(fd)

    def stream(self, paths):
        """Marked as the answers come, so that some of them lie in the journal alone."""
        sender = [nodes.tool("dicom_send"), "127.0.0.1", str(self.edge.dicom), "-c", self.edge.aet, "-a", "MODALITY",
                  "-n", str(SENDERS), "-l", *paths]
        with subprocess.Popen(sender, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line.startswith("0000 "):
                    self.sent(line[5:].rstrip("\n"))
        if process.returncode:
            raise nodes.Failed("not everything was taken")

    def make(self):
        try:
            self.live()
        finally:
            self.node.kill()
            self.edge.kill()
        return self

    def live(self):
        """Small ones in company; other bytes under UIDs that are there (R3); some twice (R4); a second start."""
        small = self.generate("small", "--count", 40, "--rows", 32, "--per-study", 8)
        medium = self.generate("medium", "--count", 4, "--rows", 256)
        self.edge.start()
        self.stream(small[:20] + medium[:2])
        self.edge.stop()
        self.edge.start()
        self.stream(small[20:30] + medium[2:] + small[:4] + small[30:])
        self.edge.stop()


class Large(Recording):
    """An object that is written in groups before it is whole: its disks are large, so these states are fewer."""

    lies = ()

    def live(self):
        small = self.generate("small", "--count", 6, "--rows", 64)
        huge = self.generate("largest", "--count", 1, "--rows", 512, "--frames", 18)
        self.edge.start()
        self.stream(huge + small)
        self.edge.stop()


class Tap(nodes.Wan):
    """Reads what central answers, and says it to `told` before the edge hears of it."""

    def __init__(self, target, told):
        self.told, self.asked = told, {}
        super().__init__(target)

    def pump(self, source, sink, limited):
        if limited:
            super().pump(Asking(source, self.asked), sink, True)
        else:
            super().pump(Answering(source, self.asked.get, id(sink), self.told), sink, False)


class Asking:
    """The edge's end: notes what the last request was; requests begin where curl begins to write."""

    def __init__(self, socket, asked):
        self.socket, self.asked, self.shutdown = socket, asked, socket.shutdown

    def recv(self, size):
        data = self.socket.recv(size)
        match = re.match(rb"(\w+ /sync/v1/\w+)", data)
        if match:
            self.asked[id(self.socket)] = match.group(1).decode()
        return data


class Answering:
    """Central's end: whole answers only, each told first."""

    def __init__(self, socket, asked, near, told):
        self.socket, self.asked, self.near, self.told = socket, asked, near, told
        self.shutdown, self.buffer = socket.shutdown, b""

    def recv(self, size):
        while True:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            match = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            n = int(match.group(1)) if match else 0
            if end and len(rest) >= n:
                answer, self.buffer = head + end + rest[:n], rest[n:]
                if head.split()[1] == b"200":
                    self.told(self.asked(self.near, ""), rest[:n])
                return answer
            data = self.socket.recv(size)
            if not data:
                return data
            self.buffer += data


class Central(Recording):
    """The vault, the log, the catalogue: fed by an edge that is not recorded."""

    # without "through": a catalogue that loses its last commit is made good from log and packs (R16)
    role, lies = "central", ("sync", "folders")

    def set_up(self):
        self.node = nodes.central(self.top)
        self.node.config["data"]["catalogue"] = "64MiB"
        self.tap = Tap(self.node.http, self.told)
        self.edge = nodes.edge(self.top, "edge", central_port=self.tap.port)
        self.incarnation = None

    def sent(self, path):
        """An edge's acknowledgement promises nothing of central."""

    def told(self, asked, body):
        m = archive.message(body)
        if asked == "POST /sync/v1/hello":
            self.mark(f"epoch {m[3].hex()}")
        elif asked == "POST /sync/v1/ledger" and m.get(1):
            self.mark(f"ledger {self.incarnation} {m[1]} {m[2].hex()}")
        elif asked == "PATCH /sync/v1/packs" and m.get(2):
            receipt = archive.message(m[2], (5,))
            for r in map(archive.message, receipt[5]):
                self.mark(f"receipt {receipt[2].hex()} {r[1]} {r[2]} {r[3].hex()}")

    def drained(self):
        def done():
            s = self.edge.status()
            return s["owed"]["instances"] == 0 and s["ledger"]["announced_seq"] == s["ledger"]["last_seq"]
        nodes.wait_for("nothing is owed", done, 60)

    def live(self):
        """Packs of one and of many; the same image twice at the edge; central starts again."""
        self.edge.start()
        self.incarnation = self.edge.status()["incarnation"]
        small = self.generate("small", "--count", 60, "--rows", 32, "--per-study", 8)
        medium = self.generate("medium", "--count", 4, "--rows", 256)
        self.node.start()
        self.send(small[0])
        self.drained()
        for part in (small[1:20] + medium[:2], small[20:25], small[25:40] + small[:4]):
            self.stream(part)
            self.drained()
        self.node.stop()
        self.stream(small[40:50])
        self.node.start()
        self.stream(small[50:] + medium[2:])
        self.drained()
        self.edge.stop()
        self.node.stop()
        self.tap.close()


KINDS = {"edge": Recording, "large": Large, "central": Central}
SHARE = {"edge": 0.5, "large": 0.1, "central": 0.4}  # of the states


def replay(recording, work, *options):
    """Runs replay to its end; its exit code and what it says."""
    os.makedirs(work, exist_ok=True)
    done = subprocess.run([crash_tool("replay"), "--trace", recording.trace, "--work", work, "--node",
                           recording.role, *map(str, options)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def expect(title, result):
    code, text = result
    print(f"{title}: {text}", flush=True)
    if code != 0:
        raise nodes.Failed(f"{title}: exit {code}")


def loses(recording, work):
    """The test itself: a disk that forgets what was flushed must be found out."""
    for lie in recording.lies:
        code, text = replay(recording, work, "--lie", lie, "--states", 50)
        print(f"{recording.role}, lie {lie}: {text.splitlines()[-1] if text else ''}", flush=True)
        if code != 0:
            raise nodes.Failed(f"{recording.role}: a disk that forgets ({lie}) lost nothing: the test sees nothing")


def one(kind, top, work, seed, states, test):
    folder, work = os.path.join(top, f"{kind}{seed}"), os.path.join(work, kind)
    recording = KINDS[kind](folder, seed).make()
    if test:
        loses(recording, work)
    states = max(1, int(states * SHARE[kind]))
    early = max(1, states // 10)
    expect(f"{kind}, seed {seed}, before the first answer", replay(recording, work, "--states", early, "--seed", seed,
                                                                  "--early"))
    expect(f"{kind}, seed {seed}", replay(recording, work, "--states", states, "--seed", seed, "--compare",
                                          recording.disk))
    shutil.rmtree(folder)
    return early + states


def play(top, work, args):
    """Two kinds at a time; in a long run, seed after seed."""
    end, seed, total = time.monotonic() + args.seconds, args.seed % 2 ** 31, 0
    kinds = [args.only] if args.only else ["central", "edge", "large"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        while total == 0 or time.monotonic() < end:
            test = total == 0
            total += sum(pool.map(lambda kind: one(kind, top, work, seed, args.states, test), kinds))
            seed += 1
    print(f"power cuts: {total} states of {seed - args.seed % 2 ** 31} lives of edge and central, 0 lost")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--states", type=int, default=2000, help="of all kinds, for each seed")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--seconds", type=float, default=0)
    p.add_argument("--only", choices=list(KINDS))
    args = p.parse_args()
    top = tempfile.mkdtemp(prefix="salamander-power-")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # states are many and need no disk
    work = tempfile.mkdtemp(prefix="salamander-power-", dir=memory)
    try:
        play(top, work, args)
    except nodes.Failed as e:
        print(f"FAILED: {e}\nthe recording is below {top}, the state in {work}", file=sys.stderr)
        return 1
    shutil.rmtree(top)
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
