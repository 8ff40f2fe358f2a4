"""Real nodes for tests that need them: start, stop, kill, ask.

Everything stays on loopback and below one temporary folder; every process that is started
here is ended here, by pid. Standard library only.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build"))


class Failed(Exception):
    """A promise did not hold; the text says which."""


class Skipped(Exception):
    """This machine does not let the test run; the text says why."""


SKIPPED = 77  # exit: all that was asked for was skipped


def expect(what, got, want):
    if got != want:
        raise Failed(f"{what}: {got!r}, not {want!r}")


BLOCK = 40  # ports that a program claims at a time, so that a node that restarts finds its own again
_ports, _claims, _taking = [], [], threading.Lock()


def _claim():
    """The next ports that no other test program has, below the ephemeral range; a claim ends with its program."""
    for first in range(21000, 32760, BLOCK):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0salamander-ports-{first}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return list(range(first + BLOCK - 1, first - 1, -1))
    raise Failed("no free ports")


def port():
    """A loopback TCP port that nobody listens on now, and no other test program will."""
    with _taking:
        while True:
            if not _ports:
                _ports.extend(_claim())
            number = _ports.pop()
            with socket.socket() as s:
                try:
                    s.bind(("127.0.0.1", number))
                except OSError:
                    continue
            return number


def wait_for(what, ask, seconds=30.0):
    """Asks until the answer is true; returns it."""
    end = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"waited {seconds:.0f} s for: {what}")
        time.sleep(0.05)


def run(*command, seconds=120, ok=(0,), quiet=True, env=None):
    """Runs a command to its end; returns (exit code, stdout)."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, env={**os.environ, **(env or {})},
                          stderr=subprocess.PIPE if quiet else None, timeout=seconds, check=False)
    out = done.stdout.decode("utf-8", "replace")
    if ok is not None and done.returncode not in ok:
        err = done.stderr.decode("utf-8", "replace") if done.stderr else ""
        raise Failed(f"exit {done.returncode}: {' '.join(map(str, command))}\n{out[-2000:]}{err[-2000:]}")
    return done.returncode, out


def tool(name):
    return os.path.join(BUILD, "tests", "tools", name)


class Node:
    """One edge or central with a folder of its own."""

    def __init__(self, role, name, folder, config):
        self.role, self.name, self.folder = role, name, folder
        self.binary = os.path.join(BUILD, f"salamander-{role}")
        self.conf = os.path.join(folder, f"{name}.conf")
        self.data = os.path.join(folder, name)
        self.log = os.path.join(folder, f"{name}.log")
        self.config, self.process, self.env = config, None, {}
        self.within = []  # what runs it elsewhere: a command and its options
        os.makedirs(folder, exist_ok=True)

    def write_config(self):
        with open(self.conf, "w", encoding="utf-8") as f:
            for section, rows in self.config.items():
                f.write(f"[{section}]\n")
                f.writelines(f"{key} = {value}\n" for key, value in rows.items())

    def start(self, wait=True):
        self.write_config()
        mark = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.within, self.binary, "--config", self.conf, "serve"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **self.env})
        if wait:
            wait_for(f"{self.name} ready", lambda: self.is_ready(mark))
        return self

    def is_ready(self, mark):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
        with open(self.log, "rb") as f:
            f.seek(mark)
            return any(line.split()[1:2] == [b"ready"] for line in f)

    def tail(self, lines=20):
        with open(self.log, "rb") as f:
            return b"\n".join(f.read().splitlines()[-lines:]).decode("utf-8", "replace")

    def log_count(self, words):
        """How many lines of its log hold these words."""
        with open(self.log, "rb") as f:
            return sum(words.encode() in line for line in f)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds=15):
        """SIGTERM; clean within 10 s is promised."""
        if not self.running():
            return
        self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as e:
            self.kill()
            raise Failed(f"{self.name} did not stop within {seconds} s") from e
        if code != 0:
            raise Failed(f"{self.name} stopped with {code}:\n{self.tail()}")

    def kill(self):
        if self.running():
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def burn(self):
        """Killed, and its disks are gone."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def command(self, *words, ok=(0,), seconds=120, quiet=True):
        return run(*self.within, self.binary, "--config", self.conf, *words, ok=ok, seconds=seconds, quiet=quiet,
                   env=self.env)

    def status(self):
        return json.loads(self.command("status", "--json", ok=(0, 3))[1])


def edge(folder, name, quota="2GiB", central_port=None, **sections):
    dicom, aet = port(), f"EDGE_{name.upper()}"[:16]
    config = {"site": {"name": name, "issuer": f"{name.upper()}"},
              "data": {"dir": os.path.join(folder, name), "quota": quota},
              "dicom": {"aet": aet, "listen": f"127.0.0.1:{dicom}"}}
    if central_port:
        config["central"] = {"url": f"http://127.0.0.1:{central_port}"}
    for section, rows in sections.items():
        config.setdefault(section, {}).update(rows)
    node = Node("edge", name, folder, config)
    node.dicom, node.aet = dicom, aet
    return node


class Place:
    """`with`: an edge in a folder of its own, started, and gone afterwards."""

    def __init__(self, name, quota="2GiB", **sections):
        self.top = tempfile.mkdtemp(prefix=f"salamander-{name}-")
        self.edge = edge(os.path.join(self.top, "edge"), "north", quota=quota, **sections)

    def __enter__(self):
        self.edge.start()
        return self

    def __exit__(self, *_):
        self.edge.kill()
        shutil.rmtree(self.top)

    def folder(self, name):
        path = os.path.join(self.top, name)
        os.makedirs(path)
        return path

    def send(self, *paths):
        run(tool("dicom_send"), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", "MODALITY", *paths)


def central(folder, name="central", **sections):
    dicom, http = port(), port()
    config = {"data": {"dir": os.path.join(folder, name), "catalogue": "4GiB"},
              "dicom": {"aet": "CENTRAL", "listen": f"127.0.0.1:{dicom}"},
              "http": {"listen": f"127.0.0.1:{http}"}}
    for section, rows in sections.items():
        config.setdefault(section, {}).update(rows)
    node = Node("central", name, folder, config)
    node.dicom, node.aet, node.http = dicom, "CENTRAL", http
    return node


class Wan:
    """A TCP relay on loopback between an edge and central: cut, restored, slowed down.

    fuse: so many bytes from now, either way, all connections are cut in the middle of what they say. again: what
    gives the next fuse; then the relay is up again at once, else it stays down until restore(). stalls: what would
    be cut stays connected, and nothing more gets through. deny: requests that hold these bytes end their
    connection: a WAN that lets only others through.
    """

    STEP = 0.05

    def __init__(self, target):
        self.target, self.port, self.up, self.rate = target, port(), True, 0
        self.rate_back = 0  # as rate, the other way
        self.slack = self.STEP  # seconds that a thread which woke late may make good
        self.sent = self.back = 0  # bytes towards central, and from it
        self.due = {True: 0.0, False: 0.0}  # when the next bytes may leave, by way
        self.fuse = self.again = self.deny = None
        self.stalls = False
        self.lock, self.pairs = threading.Lock(), []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.up:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target), 2)
            except OSError:
                near.close()
                continue
            far.settimeout(None)  # 2 s were for the connection only: an idle one lives on
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                alive = self.up  # cut meanwhile: nothing may get through any more
                if alive:
                    self.pairs.append((near, far))
            if not alive:
                near.close()
                far.close()
                continue
            threading.Thread(target=self.pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, False), daemon=True).start()

    def pace(self, way, n, rate):
        """Sleeps until n bytes may leave: the rate holds over time, however late a thread wakes."""
        with self.lock:
            now = time.monotonic()
            self.due[way] = max(self.due[way], now - self.slack) + n / rate
            wait = self.due[way] - now
        if wait > 0:
            time.sleep(wait)

    def pump(self, source, sink, limited):
        """Bytes from source to sink; towards central at most `rate` bytes a second, all together."""
        try:
            while True:
                rate = self.rate if limited else self.rate_back  # another thread may change it
                size = max(1, int(rate * self.STEP)) if rate else 1 << 16
                data = source.recv(size)
                if not data:
                    break
                if rate:
                    self.pace(limited, len(data), rate)
                if limited and self.deny and self.deny in data:
                    break
                if limited:
                    self.sent += len(data)
                else:
                    self.back += len(data)
                data, over = self.spend(data)
                sink.sendall(data)
                if over and self.stalls:
                    return
                if over:
                    self.cut()
                    self.up = self.again is not None
                    return
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def spend(self, data):
        """What of data still gets through, and whether that was all."""
        if self.fuse is None:
            return data, False
        with self.lock:
            if self.fuse is None or len(data) < self.fuse:
                self.fuse = None if self.fuse is None else self.fuse - len(data)
                return data, False
            part, self.fuse = data[:self.fuse], self.again() if self.again else None
            return part, True

    def cut(self):
        with self.lock:
            self.up = False
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()

    def restore(self):
        self.fuse = self.again = None
        self.up = True

    def close(self):
        self.cut()
        self.listener.close()


def play(title, namespace):
    """Runs the tests of a file (its functions with a double underscore), or those whose names hold a word of argv."""
    wanted, done, failed, skipped = sys.argv[1:], 0, 0, 0
    for name, function in list(namespace.items()):
        if "__" not in name or name.startswith("_") or not callable(function) or function.__module__ != "__main__":
            continue
        if wanted and not any(w in name for w in wanted):
            continue
        done += 1
        try:
            function()
            print(f"ok   {name}", flush=True)
        except Skipped as e:
            skipped += 1
            print(f"skip {name}: {e}", flush=True)
        except Exception as e:  # noqa: BLE001: each test says what went wrong, the others still run
            failed += 1
            print(f"FAIL {name}: {e}", flush=True)
            if not isinstance(e, Failed):
                traceback.print_exc()
    print(f"{title}: {done - failed - skipped} promises hold, {failed} wrong, {skipped} skipped")
    if done and skipped == done:
        return SKIPPED
    return 0 if done and not failed else 1
