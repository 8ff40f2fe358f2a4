#!/usr/bin/python3
"""Edge to central over long, slow, lossy lines, beside what else could have carried the files.

  wan.py [--cells 100,20,10] [--control bbr,cubic] [--loads ct,packed,small] [--peers] [--seconds N] [--cuts]
         [--delay]

Everything is taken in while the line is cut; the clock runs from the first answered hello after it was mended until
nothing is owed. Goodput: bytes of the files (of CT: not compressed) as a share of the line's rate. ct: 512 x 512,
three slices of a real series, varied, where DICOM_CORPUS is set, else made up (less of them is saved); packed:
objects that do not shrink; small: 8 KB each. A load is what the line carries in about N seconds (40), at most 4,000
objects; what a connection needs to begin, and the last packs on few of them, are in the figures. --peers: iperf3
with one stream (cubic: and 32, whether the line itself is the limit), curl -T and rsync over the same line, and for
small Orthanc's C-STORE to another Orthanc; they get the same congestion control as the system's. --cuts: then as
much again, while the line is cut for 30 s every 2 minutes, and what that costs beyond the time cut is told (N
should be 200 or more). --delay: how long 60 objects of 8 KB take, and how much later objects of 5 KB are receipted
while one large object is on its way. bbr: the system's is then Reno, Salamander's sockets choose for themselves.
cubic: they may not. No threshold; exit 77 where namespaces are not allowed.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "bench")]
import line as lines  # noqa: E402
import nodes  # noqa: E402
import peers  # noqa: E402

CELLS = {"100": (100, 50, 0.5), "20": (20, 200, 1), "10": (10, 200, 2)}  # Mbit/s, ms there and back, percent lost
# options of gen_dicom, bytes of a file, wanted with bbr and with cubic (percent of the line)
LOADS = {"ct": (("--rows", 512), 525312, 130, 100),
         "packed": (("--rows", 512, "--compressed"), 263168, 80, 60),
         "small": (("--rows", 60), 8192, None, None)}
OBJECTS_MAX, PEER_OBJECTS, SMALL_WANTED, CUTS_WANTED = 4000, 60, 20, 0.05
LARGE_MAX, DELAYED, DELAY_WANTED = 400 << 20, 9, 250


def say(text):
    print(text, flush=True)


SLICES = ("valid/dcmqi/01.dcm", "valid/dcmqi/02.dcm", "valid/dcmqi/03.dcm")


PIXELS = 512 * 512 * 2


def varied(data, i):
    """As well or badly to compress as before, but nothing that was seen in another one: low bytes are permuted."""
    out, low = bytearray(data), slice(len(data) - PIXELS, None, 2)
    out[low] = out[low].translate(bytes(b ^ i & 0xff for b in range(256)))
    return bytes(out)


def real_slices(top, count, seed):
    """Real CT, each with a SOP Instance UID of its own."""
    folder = os.path.join(top, f"ct{seed}")
    os.makedirs(folder)
    slices = []
    for name in SLICES:
        with open(os.path.join(os.environ["DICOM_CORPUS"], name), "rb") as f:
            data = f.read()
        slices.append((data, re.search(rb"\x08\x00\x18\x00(?:UI)?..(?:\x00\x00)?([0-9.]+)", data, re.S).group(1)))
    for i in range(count):
        data, uid = slices[i % len(slices)]
        with open(os.path.join(folder, f"{i:06}.dcm"), "wb") as f:
            f.write(varied(data.replace(uid, uid[:-7] + b"%d%d" % (seed, 100000 + i)), i // len(slices)))
    return folder


def files(top, load, bits, seconds, again=0):
    options, size, _, _ = LOADS[load]
    count = max(20, int(bits / 8 * seconds / size))
    count = min(count * 5 // 4 if load == "ct" else count, OBJECTS_MAX)
    if load == "ct" and os.environ.get("DICOM_CORPUS"):
        return real_slices(top, count, 1 + again)
    seed = list(LOADS).index(load) + 1 + len(LOADS) * again
    return peers.files(top, f"{load}{again}", "--count", count, "--seed", seed, *options)


UP_SECONDS, CUT_SECONDS = 90, 30


class Cuts:
    """The line is cut now and then while the block runs; `seconds`: how long in all."""

    def __init__(self, line, wanted):
        self.line, self.wanted, self.seconds, self.n = line, wanted, 0, 0
        self.over, self.thread = threading.Event(), threading.Thread(target=self.play)

    def play(self):
        while not self.over.wait(UP_SECONDS):
            start, self.n = time.monotonic(), self.n + 1
            self.line.cut()
            self.over.wait(CUT_SECONDS)
            self.line.mend()
            self.seconds += time.monotonic() - start

    def __enter__(self):
        if self.wanted:
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        if self.wanted:
            self.thread.join()


def ours(pair, folder, cuts):
    """Seconds that it took, bytes towards central meanwhile, and the cuts."""
    pair.line.cut()
    pair.take_in(folder)
    nodes.wait_for("the cut is seen", lambda: not pair.edge.status()["central"]["reachable"], 60)
    pair.line.mend()
    nodes.wait_for("hello", lambda: pair.edge.status()["central"]["reachable"], 60)
    start, before = time.monotonic(), pair.line.show()[0]
    with Cuts(pair.line, cuts) as c:
        nodes.wait_for("nothing is owed", pair.is_done, 1800)
        seconds = time.monotonic() - start
    return seconds, pair.line.show()[0] - before, c


# --- peers ---

SINK = """
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        while left and (got := len(self.rfile.read(min(left, 65536)))):
            left -= got
        self.send_response(201)
        self.end_headers()
http.server.HTTPServer(("10.9.0.2", int(sys.argv[1])), H).serve_forever()
"""


class Far:
    """A process at the far end while the block runs."""

    def __init__(self, line, *command):
        self.command = [*line.far, *map(str, command)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def timed(line, *command):
    start = time.monotonic()
    nodes.run(*line.near, *command, seconds=900)
    return time.monotonic() - start


def iperf(line, streams):
    port = nodes.port()
    with Far(line, "iperf3", "-s", "-p", port):
        _, out = nodes.run(*line.near, "iperf3", "-J", "-c", lines.FAR, "-p", port, "-t", 15, "-P", streams, seconds=60)
    return json.loads(out)["end"]["sum_received"]["bits_per_second"] / line.bits


def curl(line, top, folder, part, zstd=False):
    port, path, left = nodes.port(), os.path.join(top, "body"), part
    with open(path, "wb") as out:
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as f:
                left -= out.write(f.read())
            if left <= 0:
                break
    size = os.path.getsize(path)
    if zstd:
        nodes.run("zstd", "-q", "-1", "-f", "--rm", path)
    with Far(line, sys.executable, "-c", SINK, port):
        seconds = timed(line, "curl", "-s", "-T", path + ".zst" * zstd, f"http://{lines.FAR}:{port}/")
    return size * 8 / seconds / line.bits


def rsync(line, top, folder, part, *options):
    port, target = nodes.port(), tempfile.mkdtemp(dir=top)
    conf, names, left = os.path.join(target, "conf"), os.path.join(target, "names"), part
    os.makedirs(os.path.join(target, "files"))
    with open(conf, "w", encoding="utf-8") as f:
        f.write(f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n"
                f"[m]\npath = {target}/files\nread only = no\n")
    with open(names, "w", encoding="utf-8") as f:
        for name in sorted(os.listdir(folder)):
            f.write(name + "\n")
            left -= os.path.getsize(os.path.join(folder, name))
            if left <= 0:
                break
    with Far(line, "rsync", "--daemon", "--no-detach", "--address", lines.FAR, "--port", port, "--config", conf):
        seconds = timed(line, "rsync", "-a", *options, "--files-from", names, folder, f"rsync://{lines.FAR}:{port}/m/")
    return peers.size_of(os.path.join(target, "files")) * 8 / seconds / line.bits


class Orthanc(peers.Orthanc):
    """In a namespace: asked by curl from there."""

    def __init__(self, within, folder, name, **settings):
        super().__init__(folder, name, **settings)
        self.within = within

    def ask(self, path, body=None):
        data = ["-d", body.decode()] if body else []
        _, out = nodes.run(*self.within, "curl", "-sf", "-u", "b:b", *data, f"http://127.0.0.1:{self.http}{path}",
                           seconds=900)
        return json.loads(out)


def c_store(line, top, folder):
    """Objects per second of 8 KB, one Orthanc to another."""
    work = tempfile.mkdtemp(dir=top)
    few = os.path.join(work, "few")
    os.makedirs(few)
    for name in sorted(os.listdir(folder))[:PEER_OBJECTS]:
        os.link(os.path.join(folder, name), os.path.join(few, name))
    far = Orthanc(line.far, work, "far")
    near = Orthanc(line.near, work, "near", DicomModalities={"far": ["FAR", lines.FAR, far.dicom]})
    try:
        far.start()
        near.start()
        nodes.run(*line.near, nodes.tool("dicom_send"), "-q", "-c", "NEAR", "-a", "B", "127.0.0.1", near.dicom, few)
        all_of_it = near.ask("/instances")
        start = time.monotonic()
        near.ask("/modalities/far/store", json.dumps({"Resources": all_of_it, "Synchronous": True}).encode())
        seconds = time.monotonic() - start
        if len(far.ask("/instances")) != len(all_of_it):
            raise nodes.Failed("Orthanc's peer did not get all")
        return len(all_of_it) / seconds
    finally:
        far.kill()
        near.kill()


# --- the matrix ---

def percent(share):
    return f"{100 * share:.0f} %"


def beside(line, top, load, folder, part):
    out = [f"curl -T {percent(curl(line, top, folder, part))}", f"rsync {percent(rsync(line, top, folder, part))}"]
    if load == "ct":
        out += [f"rsync -z {percent(rsync(line, top, folder, part, '-z'))}",
                f"zstd -1 in one curl body {percent(curl(line, top, folder, part, zstd=True))}"]
    return out


def with_cuts(pair, folder, before):
    seconds, _, cuts = ours(pair, folder, True)
    beyond = (seconds - cuts.seconds) / before - 1
    say(f"         {cuts.n} cuts, {cuts.seconds:.0f} s in all, cost {100 * beyond:+.1f} % beyond that"
        + ("" if beyond <= CUTS_WANTED else f" (wanted: {100 * CUTS_WANTED:.0f} %)"))


def one(line, pair, top, load, control, args, theirs):
    options = LOADS[load]
    folder = files(top, load, line.bits, args.seconds)
    size, count = peers.size_of(folder), len(os.listdir(folder))
    line.use("reno" if control == "bbr" else control)
    seconds, crossed, _ = ours(pair, folder, False)
    share, wanted = size * 8 / seconds / line.bits, options[2 if control == "bbr" else 3]
    short = f" (wanted: {wanted})" if wanted and 100 * share < wanted else ""
    say(f"  {load:6} {percent(share)} of the line{short}, {count / seconds:.1f} objects/s, {seconds:.1f} s; "
        f"{crossed * 8 / seconds / line.bits * 100:.0f} % of it in use, {size / crossed:.2f} of image in a byte")
    if theirs and load == "packed" and control == "bbr":
        say(f"         {percent(share / theirs)} of what one stream of iperf3 brought")
    if args.cuts:
        with_cuts(pair, files(top, load, line.bits, args.seconds, 1), seconds)
    say(f"         sent although central had it: {pair.central.status()['repeated_bytes']} bytes")
    if not args.peers:
        return
    line.use(control)
    part = min(size, line.bits / 8 * args.seconds * (1 if control == "bbr" else 0.05))
    said = beside(line, top, load, folder, part)
    if load == "small":
        theirs = c_store(line, top, folder)
        said.append(f"Orthanc's C-STORE {theirs:.1f} objects/s: ours {count / seconds / theirs:.0f} x"
                    + ("" if count / seconds / theirs >= SMALL_WANTED else f" (wanted: {SMALL_WANTED})"))
    say("         beside: " + ", ".join(said))


def receipted_after(pair, top, seed, count):
    """Milliseconds from the answer to a modality to central's receipt, of one object after the other."""
    out = []
    for i in range(count):
        folder = peers.files(top, f"one{seed + i}", "--count", 1, "--rows", 50, "--seed", seed + i)
        before = pair.edge.status()["ledger"]["receipted"]
        pair.take_in(folder, 1)
        start = time.monotonic()
        nodes.wait_for("its receipt", lambda: pair.edge.status()["ledger"]["receipted"] > before, 120)
        out.append((time.monotonic() - start) * 1000)
    return out


def sixty(pair, top):
    folder = peers.files(top, "sixty", "--count", 60, "--rows", 60, "--seed", 98)
    pair.take_in(folder)
    start = time.monotonic()
    nodes.wait_for("nothing is owed", pair.is_done, 300)
    say(f"  60 objects of 8 KB: receipts after {time.monotonic() - start:.1f} s")


def delay(line, pair, top, args):
    """A large object holds one connection and delays a small one by a piece at most (DESIGN 6)."""
    frames = int(min(line.bits / 8 * args.seconds * 2, LARGE_MAX) / 263168)
    receipted_after(pair, top, 900, 2)  # the first ones find no connection
    sixty(pair, top)
    alone = receipted_after(pair, top, 910, DELAYED)
    pair.take_in(peers.files(top, "large", "--count", 1, *LOADS["packed"][0], "--frames", frames, "--seed", 99), 1)
    nodes.wait_for("it is on its way", lambda: line.show()[0] > line.bits / 8, 60)
    beside = receipted_after(pair, top, 930, DELAYED)
    left = pair.edge.status()["owed"]["instances"]
    more = statistics.median(beside) - statistics.median(alone)
    say(f"  5 KB: receipt after {statistics.median(alone):.0f} ms ({min(alone):.0f} to {max(alone):.0f}); beside one of "
        f"{frames * 263168 >> 20} MiB {statistics.median(beside):.0f} ({min(beside):.0f} to {max(beside):.0f}): "
        f"{more:+.0f} ms" + ("" if more <= DELAY_WANTED else f" (wanted: {DELAY_WANTED})")
        + ("" if left else "; the large one ended too soon"))


def cell(name, control, args):
    rate, rtt, loss = CELLS[name]
    say(f"{rate} Mbit/s, {rtt} ms, {loss} % lost, {control}")
    congestion = "auto" if control == "bbr" else "system"
    with tempfile.TemporaryDirectory(prefix="salamander-files-") as top, lines.Line(rate, rtt, loss) as line:
        line.use(control)
        theirs = iperf(line, 1) if args.peers else 0
        if args.peers:
            say(f"  iperf3, one stream: {percent(theirs)} of the line"
                + (f"; 32: {percent(iperf(line, 32))}" if control == "cubic" else ""))
        with lines.Pair(line, congestion) as pair:
            for load in filter(None, args.loads.split(",")):
                one(line, pair, top, load, control, args, theirs)
            if args.delay:
                delay(line, pair, top, args)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cells", default="100,20,10")
    p.add_argument("--control", default="bbr,cubic")
    p.add_argument("--loads", default="ct,packed,small")
    p.add_argument("--peers", action="store_true")
    p.add_argument("--cuts", action="store_true")
    p.add_argument("--delay", action="store_true")
    p.add_argument("--seconds", type=float, default=40)
    args = p.parse_args()
    try:
        for name in args.cells.split(","):
            for control in args.control.split(","):
                cell(name, control, args)
    except nodes.Skipped as e:
        say(f"skipped: {e}")
        return nodes.SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
