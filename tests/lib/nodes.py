"""Real nodes for tests that need them: start, stop, kill, burn, ask; and a WAN that can be cut.

Everything stays on loopback and below one temporary folder; every process that is started
here is ended here, by pid. Standard library only.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build"))


class Failed(Exception):
    """A promise did not hold; the text says which."""


_taken = set()


def port():
    """A loopback TCP port that nobody listens on now, outside the ephemeral range in use."""
    for number in range(21000 + os.getpid() % 500 * 20, 60000):
        if number in _taken:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", number))
            except OSError:
                continue
        _taken.add(number)
        return number
    raise Failed("no free port")


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


def run(*command, seconds=120, ok=(0,), quiet=True):
    """Runs a command to its end; returns (exit code, stdout)."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE,
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
            self.process = subprocess.Popen([self.binary, "--config", self.conf, "serve"],
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
        """The building is gone: process and disks."""
        self.kill()
        shutil.rmtree(self.data)

    def command(self, *words, ok=(0,), seconds=120, quiet=True):
        return run(self.binary, "--config", self.conf, *words, ok=ok, seconds=seconds, quiet=quiet)

    def status(self):
        return json.loads(self.command("status", "--json", ok=(0, 3))[1])


def central(folder, dicom=None, http=None, name="central", **sections):
    dicom, http = dicom or port(), http or port()
    config = {"data": {"dir": os.path.join(folder, name)},
              "dicom": {"aet": "CENTRAL", "listen": f"127.0.0.1:{dicom}"},
              "http": {"listen": f"127.0.0.1:{http}"}}
    config.update(sections)
    node = Node("central", name, folder, config)
    node.dicom, node.http, node.aet = dicom, http, "CENTRAL"
    return node


def edge(folder, name, central_port, quota="2GiB", dicom=None, **sections):
    dicom, aet = dicom or port(), f"EDGE_{name.upper()}"[:16]
    config = {"site": {"name": name, "issuer": f"{name.upper()}"},
              "data": {"dir": os.path.join(folder, name), "quota": quota},
              "dicom": {"aet": aet, "listen": f"127.0.0.1:{dicom}"},
              "http": {"listen": f"127.0.0.1:{port()}"},
              "central": {"url": f"http://127.0.0.1:{central_port}"}}
    for section, rows in sections.items():
        config.setdefault(section, {}).update(rows)
    node = Node("edge", name, folder, config)
    node.dicom, node.aet = dicom, aet
    return node


class Wan:
    """A TCP relay on loopback that can be cut, restored and slowed."""

    def __init__(self, target):
        self.target, self.port = target, port()
        self.up, self.rate = True, 0
        self.links, self.mu = set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        with self.mu:
            self.up = False
            links = list(self.links)
        for s in links:
            self._drop(s)

    def restore(self):
        with self.mu:
            self.up = True

    def close(self):
        self.cut()
        self.listener.close()

    @staticmethod
    def _drop(s):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _accept(self):
        while True:
            try:
                a, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._link, args=(a,), daemon=True).start()

    def _link(self, a):
        with self.mu:
            up = self.up
        if not up:
            a.close()
            return
        try:
            b = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            a.close()
            return
        b.settimeout(None)
        for s in (a, b):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.mu:
            self.links |= {a, b}
        back = threading.Thread(target=self._pump, args=(b, a, False), daemon=True)
        back.start()
        self._pump(a, b, True)
        back.join()
        with self.mu:
            self.links -= {a, b}
        a.close()
        b.close()

    def _pump(self, source, sink, limited):
        try:
            while True:
                data = source.recv(16384 if self.rate else 262144)
                if not data:
                    break
                sink.sendall(data)
                if limited and self.rate:
                    time.sleep(len(data) / self.rate)
        except OSError:
            pass
        self._drop(sink)
        self._drop(source)
