#!/usr/bin/python3
"""C-GET and C-MOVE beside Debian's Orthanc and dcmqrscp: a CT of 250 slices, and one object of 400 MB.

  retrieve.py [--rounds N] [--only ct|large] [--how get|move] [--control bbr|cubic|...]

The same viewer (bench_retrieve, one association) fetches from each, in turn, what it holds in memory already: MB a
second, and the most memory of its own that the server took meanwhile. dcmqrscp serves with a process for each
association. All are on this machine, without a disk in the way: what is measured is the path from store to socket.
--control: with this congestion control for all of them, in a network namespace (root); else the machine's own. BBR
paces by timers, which on loopback is most of what a sender waits for.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys

from peers import Folder, Memory, Orthanc, bench, files, nodes, send, verdict

WANTED = {"ct": 1.2, "large": 1.5}
KINDS = {"ct": ("a CT of 250 slices", ("--count", 250, "--rows", 512, "--per-study", 250)),
         "large": ("an object of 400 MB", ("--count", 1, "--rows", 512, "--frames", 800))}


class Dcmqrscp:
    def __init__(self, folder, listen):
        self.folder, self.aet, self.dicom = os.path.join(folder, "dcmqrscp"), "DCMQR", nodes.port()
        self.listen, self.process = listen, None

    def start(self):
        os.makedirs(os.path.join(self.folder, "area"))
        conf = os.path.join(self.folder, "dcmqrscp.cfg")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(f'NetworkTCPPort = {self.dicom}\nMaxPDUSize = 131072\nMaxAssociations = 16\nHostTable BEGIN\n'
                    f'bench = (BENCH, 127.0.0.1, {self.listen})\nHostTable END\nVendorTable BEGIN\nVendorTable END\n'
                    f'AETable BEGIN\n{self.aet} {self.folder}/area RW (100, 4096mb) ANY\nAETable END\n')
        self.process = subprocess.Popen(["dcmqrscp", "-c", conf], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env={**os.environ, "TCP_NODELAY": "1"})
        nodes.wait_for("dcmqrscp", lambda: subprocess.run(["echoscu", "-aec", self.aet, "127.0.0.1", str(self.dicom)],
                                                          stderr=subprocess.DEVNULL, check=False).returncode == 0)
        return self

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def fetch(node, study, how, listen):
    """MB a second."""
    words = ("-l", listen) if how == "move" else ()
    _, out = nodes.run(bench("bench_retrieve"), how, "127.0.0.1", node.dicom, node.aet, *words, study, seconds=300)
    return float(re.search(r"MB/s ([\d.]+)", out).group(1)), int(re.search(r"objects (\d+)", out).group(1))


def compare(top, kind, hows, args):
    title, options = KINDS[kind]
    folder, listen = files(top, kind, *options), nodes.port()
    edge = nodes.edge(os.path.join(top, f"edge-{kind}"), "north", **{
        "peer BENCH": {"aet": "BENCH", "host": "127.0.0.1", "port": listen, "may": "store, find, get, move"}})
    orthanc = Orthanc(top, f"orthanc-{kind}", DicomModalities={"bench": ["BENCH", "127.0.0.1", listen]},
                      DicomAlwaysAllowGet=True, DicomAlwaysAllowMove=True)
    peers = {"Salamander": edge, "Orthanc": orthanc, "dcmqrscp": Dcmqrscp(os.path.join(top, kind), listen)}
    try:
        for node in peers.values():
            node.start()
            send(node, folder, 1)
        study = nodes.run(nodes.tool("dicom_get"), "127.0.0.1", edge.dicom, "-c", edge.aet, "-a", "BENCH",
                          "--find")[1].split()[0]
        for how in hows:
            rates = {name: [] for name in peers}
            peak = {name: 0 for name in peers}
            for _ in range(args.rounds):
                for name, node in peers.items():
                    with Memory(node.process.pid) as m:
                        rate, came = fetch(node, study, how, listen)
                    nodes.expect("all came", came, options[1])
                    rates[name].append(rate)
                    peak[name] = max(peak[name], m.peak)
            us, *them = (statistics.median(r) for r in rates.values())
            print(f"{title}, C-{how.upper()}: " + ", ".join(
                f"{name} {statistics.median(r):.0f} MB/s" for name, r in rates.items()) +
                f"; {verdict(us / max(them), WANTED[kind])} the better; own memory {peak['Salamander']} MiB, "
                f"Orthanc {peak['Orthanc']}", flush=True)
    finally:
        for node in peers.values():
            node.kill()


def under(control):
    """This program again, where connections over loopback have that congestion control."""
    routes = " && ".join(f"ip route replace local {to} dev lo table local src 127.0.0.1 congctl {control}"
                         for to in ("127.0.0.0/8", "127.0.0.1"))
    os.execvp("unshare", ["unshare", "-n", "sh", "-c", f'ip link set lo up && {routes} && exec "$@"', "sh",
                          sys.executable, *sys.argv, "--under", control])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", choices=KINDS)
    p.add_argument("--how", choices=("get", "move"))
    p.add_argument("--control")
    p.add_argument("--under", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.control and not args.under:
        under(args.control)
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as f:
        print(f"congestion control: {args.under or f.read().strip()}", flush=True)
    with Folder() as top:
        for kind in [args.only] if args.only else KINDS:
            compare(top, kind, [args.how] if args.how else ["get", "move"], args)


if __name__ == "__main__":
    main()
