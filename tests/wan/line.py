"""Two network namespaces of our own and the line between them, and real nodes at both ends.

The line is tests/tools/wan_relay.c: a rate, a delay, loss, a queue. Nothing leaves the machine: neither namespace has
any other way out. Where namespaces or TUN devices are not allowed, nodes.Skipped says so.
"""
import os
import subprocess
import sys
import tempfile
import shutil

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402

NEAR, FAR = "10.9.0.1", "10.9.0.2"


class Line:
    """rate: Mbit/s each way; rtt: ms; loss: percent of packets, each way."""

    def __init__(self, rate, rtt, loss):
        self.bits = int(rate * 1e6)
        self.relay = subprocess.Popen([nodes.tool("wan_relay"), str(self.bits), str(rtt // 2), str(int(loss * 1e4))],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = self.relay.stdout.readline().split()
        if not said:
            raise nodes.Skipped(self.relay.communicate()[1].strip())
        self.near, self.far = (self.enter(pid) for pid in said[1:])

    @staticmethod
    def enter(pid):
        users = [] if os.getuid() == 0 else ["-U", "--preserve-credentials"]
        return ["nsenter", "-t", pid, "-n", *users]

    def say(self, word):
        self.relay.stdin.write(word + "\n")
        self.relay.stdin.flush()

    def cut(self):
        self.say("cut")

    def mend(self):
        self.say("mend")

    def show(self):
        """Bytes, packets, drops: towards far, then towards near."""
        self.say("show")
        return [int(x) for x in self.relay.stdout.readline().split()]

    def use(self, control):
        """Congestion control of connections from now on whose sockets do not choose their own, at both ends.

        CUBIC by the route: a namespace may take as its default only what the machine lets anybody use.
        """
        of_route = ["congctl", control] if control == "cubic" else []
        for end, peer in ((self.near, FAR), (self.far, NEAR)):
            subprocess.run([*end, "ip", "route", "replace", peer, "dev", "wan", *of_route], check=True)
            if not of_route:
                subprocess.run([*end, "sh", "-c", f"echo {control} >/proc/sys/net/ipv4/tcp_congestion_control"],
                               check=True)

    def close(self):
        self.relay.stdin.close()
        self.relay.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Pair:
    """A central at the far end, made by `init`, and an edge at the near end that joined it."""

    def __init__(self, line, congestion="auto"):
        self.line, self.top, self.sent = line, tempfile.mkdtemp(prefix="salamander-wan-"), 0
        self.central = nodes.central(os.path.join(self.top, "central"))
        self.central.config["http"]["listen"] = f"{FAR}:{self.central.http}"
        self.central.config["http"]["congestion"] = congestion
        self.central.within = line.far
        self.edge = nodes.edge(os.path.join(self.top, "edge"), "edge", quota="4GiB",
                               http={"congestion": congestion})
        self.edge.within = line.near

    def __enter__(self):
        try:
            word = os.path.join(self.top, "passphrase")
            with open(word, "w", encoding="utf-8") as f:
                f.write("correct horse battery staple\n")
            self.central.write_config()
            self.central.command("init", "--kit", os.path.join(self.top, "kit"), "--passphrase-file", word)
            self.central.start()
            self.edge.write_config()
            code = self.central.command("site", "add", "edge")[1].strip()
            self.edge.command("join", f"https://{FAR}:{self.central.http}", code)
            self.edge.start()
            nodes.wait_for("the first hello", lambda: self.edge.status()["central"]["reachable"])
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.edge.kill()
        self.central.kill()
        shutil.rmtree(self.top)

    def take_in(self, folder, associations=4):
        """As modalities would, without the line."""
        nodes.run(*self.line.near, nodes.tool("dicom_send"), "-q", "-c", self.edge.aet, "-a", "CT1", "-n", associations,
                  "127.0.0.1", self.edge.dicom, folder, seconds=600)
        self.sent += len(os.listdir(folder))

    def is_done(self):
        s = self.edge.status()
        return s["owed"]["instances"] == 0 and s["ledger"]["receipted"] >= self.sent
