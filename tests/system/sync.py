#!/usr/bin/python3
"""Real edges and a real central: announced, sent, cut, resumed, burnt, listed, filled again.

Each test is a function named after the promise it holds; a test that fails prints why. The judge
is tests/check; nothing here shares code with the product.
"""
import csv
import io
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import check  # noqa: E402
import nodes  # noqa: E402
from nodes import expect  # noqa: E402


class Group:
    """One central, edges by name, a WAN relay for each."""

    def __init__(self, names=("north",), edge=None, central=None, wan=True):
        self.top = tempfile.mkdtemp(prefix="salamander-sync-")
        self.central = nodes.central(os.path.join(self.top, "central"), **(central or {}))
        self.wan = {n: nodes.Wan(self.central.http) for n in names} if wan else {}
        self.edges = {n: nodes.edge(os.path.join(self.top, n), n,
                                    central_port=self.wan[n].port if wan else self.central.http, **(edge or {}))
                      for n in names}
        self.files = 0

    def __enter__(self):
        try:
            self.central.start()
            for edge in self.edges.values():
                edge.start()
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for node in [self.central, *self.edges.values()]:
            node.kill()
        for wan in self.wan.values():
            wan.close()
        shutil.rmtree(self.top)

    def generate(self, *options):
        self.files += 1
        folder = os.path.join(self.top, f"files{self.files}")
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, *options)
        return folder

    def send(self, name, *paths, ok=(0,)):
        edge = self.edges[name]
        _, out = nodes.run(nodes.tool("dicom_send"), "127.0.0.1", edge.dicom, "-c", edge.aet, "-a", "CT1",
                           *paths, ok=ok)
        return out

    def drained(self, *names, seconds=40):
        epoch = self.central.status()["epoch"]
        for name in names or self.edges:
            def done(edge=self.edges[name]):
                s = edge.status()
                return s["central"]["epoch"] == epoch and s["owed"]["instances"] == 0 and \
                    s["ledger"]["announced_seq"] == s["ledger"]["last_seq"]
            nodes.wait_for(f"{name} owes nothing", done, seconds)

    def in_vault(self, *folders):
        wrong = []
        have = {o.key for p in check.packs(os.path.join(self.central.data, "vault"))
                for o in check.pack_members(p, wrong)}
        check.missing({o.key: o.path for o in check.objects(folders, wrong)}, have, wrong)
        if wrong:
            raise nodes.Failed("\n".join(wrong[:10]))

    def get(self, node, ok=(0,)):
        folder = os.path.join(self.top, "got")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        _, out = nodes.run(nodes.tool("dicom_get"), "127.0.0.1", node.dicom, "-c", node.aet, "-a", "VIEWER",
                           "-o", folder, "--all", ok=ok)
        return folder, out

    def served(self, node, *folders):
        wrong = []
        got = {o.key for o in check.objects([self.get(node, ok=(0, 1))[0]], wrong)}
        check.missing({o.key: o.path for o in check.objects(folders, wrong)}, got, wrong)
        if wrong:
            raise nodes.Failed("\n".join(wrong[:10]))


# --- the daily round ---

def sync__R6_R7_R14_images_arrive_byte_for_byte_and_central_serves_them():
    with Group(("north", "south")) as g:
        a, b = g.generate("--count", 30), g.generate("--count", 12, "--rows", 32, "--seed", 2)
        g.send("north", a)
        g.send("south", b)
        g.drained()
        g.in_vault(a, b)
        g.served(g.central, a, b)
        s = g.central.status()
        expect("sites", sorted((x["name"], x["known"], x["held"], x["owed"], x["lost"]) for x in s["sites"]),
               sorted([("north", 30, 30, 0, 0), ("south", 12, 12, 0, 0)]))
        north = g.edges["north"].status()
        expect("receipted", north["ledger"]["receipted"], 30)
        expect("reachable", north["central"]["reachable"], True)
        expect("epoch", north["central"]["epoch"], s["epoch"])
        pack = next(iter(check.packs(os.path.join(g.central.data, "vault"))))
        nodes.run("tar", "tf", pack)
        with open(pack, "rb") as f:
            manifest = f.read(512 * 64)
        if b"\x04\x09\x00\x00\x00127.0.0.1" not in manifest:  # side record (R1): the peer's address
            raise nodes.Failed("the manifest does not say who sent the images")


def sync__R7_the_ledger_does_not_wait_for_bytes():
    with Group() as g:
        g.wan["north"].rate = 400000
        g.send("north", g.generate("--count", 40))
        status = g.edges["north"].status

        def announced():
            s = status()
            return s["ledger"]["announced_seq"] == s["ledger"]["last_seq"] and s
        s = nodes.wait_for("the ledger is announced", announced, 30)
        if s["owed"]["instances"] == 0:
            raise nodes.Failed("nothing was owed any more: the link was too fast for this test")
        site = g.central.status()["sites"][0]
        expect("known at central before the bytes", site["known"], 40)
        # R20: what is known and not here yet is a failed sub-operation, never left out
        _, out = g.get(g.central, ok=(0, 1))
        if "b000" not in out.lower() and "a702" not in out.lower() and "a900" not in out.lower():
            raise nodes.Failed(f"central said nothing of what is missing: {out[-300:]}")


def sync__R14_an_upload_goes_on_where_it_was_cut():
    with Group() as g:
        wan = g.wan["north"]
        wan.rate = 12 << 20
        files = g.generate("--count", 1, "--rows", 2048, "--frames", 5)
        size = sum(os.path.getsize(p) for p in check.files([files]))
        g.send("north", files)
        nodes.wait_for("half of it is on its way", lambda: wan.sent > size * 0.6, 30)
        wan.cut()
        wan.restore()
        g.drained()
        g.in_vault(files)
        if wan.sent > size * 1.45:
            raise nodes.Failed(f"{wan.sent} bytes were sent for {size}: it began anew")


def sync__the_wan_is_cut_and_viewers_do_not_notice():
    with Group() as g:
        a = g.generate("--count", 8)
        g.send("north", a)
        g.wan["north"].cut()
        b = g.generate("--count", 8, "--seed", 3)
        g.send("north", b)
        g.served(g.edges["north"], a, b)
        nodes.wait_for("the edge knows it", lambda: not g.edges["north"].status()["central"]["reachable"], 30)
        g.wan["north"].restore()
        g.drained()
        g.in_vault(a, b)


def sync__R22_central_restarts_and_nothing_is_sent_again():
    with Group() as g:
        a = g.generate("--count", 20)
        g.send("north", a)
        g.drained()
        packs = g.central.status()["packs"]
        g.central.stop()
        g.central.start()
        b = g.generate("--count", 5, "--seed", 9)
        g.send("north", b)
        g.drained()
        s = g.central.status()
        expect("instances", s["instances"], 25)
        if s["packs"] > packs + 5:
            raise nodes.Failed("what central held was sent again")


# --- room ---

class FullDisk:
    """A copy of a folder on a disk of its own with no byte left, in the folder's place, for whoever enters."""

    SCRIPT = """set -e; cp -a "$0" "$0.copy"; mount -t tmpfs -o size=64m none "$0"; cp -a "$0.copy/." "$0"
        dd if=/dev/zero of="$0/fill" bs=4096 2>/dev/null || echo full; cat"""

    def __init__(self, folder):
        self.folder, root = folder, os.getuid() == 0
        self.holder = subprocess.Popen(["unshare", "-m" if root else "-rm", "sh", "-c", self.SCRIPT, folder],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "full\n":
            raise nodes.Skipped(self.holder.communicate()[1].strip())
        self.within = ["nsenter", "-t", str(self.holder.pid), "-m", *([] if root else ["-U", "--preserve-credentials"])]

    def room(self):
        nodes.run(*self.within, "rm", os.path.join(self.folder, "fill"))

    def close(self):
        self.holder.communicate()


def central__R12_starts_and_serves_on_a_full_disk_and_takes_the_rest_when_there_is_room():
    with Group() as g:
        a, b = g.generate("--count", 12), g.generate("--count", 6, "--seed", 3)
        g.send("north", a)
        g.drained()
        g.central.stop()
        disk = FullDisk(g.central.data)
        try:
            g.central.within = disk.within
            g.central.start()
            g.served(g.central, a)
            g.send("north", b)
            g.served(g.central, a)
            expect("nothing of b is given away", g.edges["north"].status()["owed"]["instances"], 6)
            disk.room()
            if not g.central.running():
                g.central.start()
            g.drained(seconds=90)
            g.served(g.central, a, b)
            g.central.stop()
        finally:
            g.central.kill()
            disk.close()
        g.central.within = []


def keep__R9_R12_a_full_cache_makes_room_of_what_central_released():
    with Group(edge={"data": {"quota": "64MiB"}, "cache": {"keep_days": 0}}, wan=False) as g:
        for seed in range(5):  # about 27 MiB each
            g.send("north", g.generate("--count", 54, "--seed", seed + 20))
        g.drained()
        expect("instances", g.central.status()["instances"], 270)
        s = g.edges["north"].status()
        if s["cache"]["instances"] >= 270 or s["cache"]["bytes"] > 64 << 20:
            raise nodes.Failed(f"nothing was freed: {s['cache']}")


def keep__R10_in_the_dark_a_full_cache_refuses_and_frees_nothing():
    g = Group(edge={"data": {"quota": "64MiB"}})
    g.wan["north"].cut()  # before the edge can have heard of central
    with g:
        files = g.generate("--count", 160)
        out = g.send("north", files, ok=(0, 1))
        kept = [line.split(" ", 1)[1] for line in out.splitlines() if line.startswith("0000 ")]
        if "a700 " not in out or len(kept) < 80:
            raise nodes.Failed(f"{len(kept)} of 160 were kept")
        g.served(g.edges["north"], *kept)
        before = g.edges["north"].status()["cache"]["instances"]
        g.edges["north"].command("evict", ok=None)
        expect("evict in the dark", g.edges["north"].status()["cache"]["instances"], before)
        g.wan["north"].restore()
        g.drained()
        g.in_vault(*kept)


def keep__hold_pin_and_evict_by_hand():
    with Group() as g:
        a = g.generate("--count", 4)
        g.send("north", a)
        g.drained()
        edge = g.edges["north"]
        study = study_uid(a)
        edge.command("hold", "on")
        expect("on hold", edge.command("evict", "--study", study, ok=None)[0], 1)
        edge.command("hold", "off")
        edge.command("pin", study, "--until", "2099-01-01")
        edge.command("unpin", study)
        expect("a foreign study", edge.command("pin", "1.2.3", ok=None)[0], 1)
        edge.command("evict", "--study", study)
        expect("here", edge.status()["cache"]["instances"], 0)
        _, out = g.get(edge, ok=(0, 1))
        if "a702" not in out.lower() and "b000" not in out.lower():
            raise nodes.Failed(f"R20: {out[-200:]}")
        edge.command("refill")
        g.served(edge, a)
        edge.command("evict")
        expect("here", edge.status()["cache"]["instances"], 0)
        expect("nothing had to go", edge.command("status", ok=None)[0], 0)
        edge.command("retry")
        edge.command("reload")


def study_uid(folder):
    """(0020,000D) of the first file, by pydicom."""
    import pydicom
    return str(pydicom.dcmread(next(iter(check.files([folder]))), stop_before_pixels=True).StudyInstanceUID)


# --- fires ---

def fire__R18_R22_both_fires_and_a_second_refill():
    with Group(("north", "south")) as g:
        a, b = g.generate("--count", 6), g.generate("--count", 6, "--seed", 5)
        g.send("north", a)
        g.send("south", b)
        g.drained()
        g.central.burn()
        c = g.generate("--count", 3, "--seed", 6)
        g.send("south", c)
        g.central.start()
        g.drained()
        g.in_vault(a, b, c)
        g.wan["south"].rate = 300000
        d = g.generate("--count", 10, "--seed", 8)
        g.send("south", d)
        south = g.edges["south"]

        def announced():
            s = south.status()["ledger"]
            return s["announced_seq"] == s["last_seq"]
        nodes.wait_for("south announced all", announced, 30)
        g.wan["south"].cut()
        south.burn()
        g.central.command("site", "lost", "south")
        expect("an unknown site", g.central.command("site", "lost", "nobody", ok=None)[0], 1)
        code, out = g.central.command("loss", "--site", "south", "--csv", ok=None)
        rows = list(csv.DictReader(io.StringIO(out)))
        lost = sum(int(r["instances"]) for r in rows if r["state"] == "lost")
        expect("exit of loss", code, 3 if lost else 0)
        listed = sum({s["name"]: s["of_site"]["lost"] for s in g.central.status()["sites"]}.values())
        expect("lost in sites", listed, lost)
        if not lost or any(not r["patient_name"] for r in rows):
            raise nodes.Failed(f"{lost} lost, rows: {rows[:2]}")
        doc = json.loads(g.central.command("loss", "--json", "--instances", ok=(3,))[1])
        expect("instances in json", sum(len(s["list"]) for s in doc["studies"] if s["state"] == "lost"), lost)
        if "CT1" not in doc["horizon"][-1]["ask"] and "CT1" not in doc["horizon"][0]["ask"]:
            raise nodes.Failed(f"the horizon does not say whom to ask: {doc['horizon']}")
        text = g.central.command("loss", ok=(3,))[1]
        if "images taken later are in no list" not in text:
            raise nodes.Failed(text)
        g.wan["south"].rate = 0
        g.wan["south"].restore()
        g.edges["south"] = south = nodes.edge(os.path.join(g.top, "south2"), "south",
                                              central_port=g.wan["south"].port)
        south.start()
        south.command("refill")
        g.served(south, b, c)
        # and central burns again: what came by refill is owed like any other
        g.edges["north"].burn()
        g.central.burn()
        g.central.start()
        g.drained("south")
        g.in_vault(b, c)


# --- an operator ---

def sites__R18_a_row_for_each_incarnation_counts_what_that_one_announced():
    with Group() as g:
        edge = g.edges["north"]
        a, b = g.generate("--count", 4, "--rows", 16), g.generate("--count", 2, "--rows", 16, "--seed", 2)
        g.send("north", a)
        g.drained()
        first = edge.status()["incarnation"]
        edge.burn()
        edge.start()
        g.send("north", b, os.path.join(a, sorted(os.listdir(a))[0]))  # one of them both had
        g.drained()
        rows = {s["incarnation"]: s for s in json.loads(g.central.command("sites", "--json")[1])}
        expect("of each", {i: (s["name"], s["known"], s["held"], s["lost"]) for i, s in rows.items()},
               {first: ("north", 4, 4, 0), edge.status()["incarnation"]: ("north", 3, 3, 0)})
        expect("of the site, each image once", {s["of_site"]["known"] for s in rows.values()}, {6})


def central__commands_work_with_and_without_a_server():
    with Group() as g:
        a = g.generate("--count", 10)
        g.send("north", a)
        g.drained()
        c = g.central
        before = c.status()
        c.command("verify")
        c.command("rebuild")
        after = c.status()
        for s in (before, after):
            for site in s["sites"]:
                for told in ("address", "last_contact", "protocol", "software", "sync"):  # by the last hello
                    site.pop(told)
        if before["epoch"] == after["epoch"]:
            raise nodes.Failed("rebuild takes a new epoch")
        for s in (before, after):
            s.pop("epoch"), s.pop("disk_free_bytes")  # others write on that disk, too
        expect("after rebuild", after, before)
        g.served(c, a)
        g.drained()
        c.command("reload")
        g.edges["north"].stop()
        c.stop()
        for words in (["status"], ["sites"], ["sites", "--json"], ["loss"], ["loss", "--csv"], ["conflicts"],
                      ["conflicts", "--json"], ["verify"], ["rebuild"], ["status", "--json"]):
            c.command(*words)
        for words in (["status"], ["status", "--json"], ["conflicts"], ["retry"], ["hold", "on"], ["hold", "off"]):
            g.edges["north"].command(*words)
        for binary in (c.binary, g.edges["north"].binary):
            nodes.run(binary, "--help")
            nodes.run(binary, "--version")
            nodes.run(binary, "--explain-config")
        c.start()
        g.served(c, a)


def edge__R13_rebuild_while_it_serves():
    with Group() as g:
        a = g.generate("--count", 6)
        g.send("north", a)
        g.drained()
        edge = g.edges["north"]
        before = edge.status()["incarnation"]
        _, out = edge.command("rebuild")
        if not out.startswith("6 images found again"):
            raise nodes.Failed(out)
        if edge.status()["incarnation"] == before:
            raise nodes.Failed("a rebuilt edge begins a new incarnation")
        g.served(edge, a)
        g.drained()
        b = g.generate("--count", 3, "--seed", 4)
        g.send("north", b)
        g.drained()
        g.in_vault(a, b)
        edge.stop()
        edge.command("rebuild")
        edge.start()
        g.served(edge, a, b)
        g.drained()
        expect("packs hold it once", g.central.status()["instances"], 9)


def edge__refill_and_evict_work_without_a_server():
    with Group() as g:
        a = g.generate("--count", 4)
        g.send("north", a)
        g.drained()
        edge = g.edges["north"]
        edge.burn()
        edge.start()
        edge.stop()
        if "4 came" not in edge.command("refill")[1]:
            raise nodes.Failed("refill by itself brought nothing")
        edge.start()
        g.served(edge, a)
        g.drained()
        edge.stop()
        if not edge.command("evict")[1].startswith("4 images"):
            raise nodes.Failed("evict by itself freed nothing")
        edge.start()
        expect("here", edge.status()["cache"]["instances"], 0)


def resync__R19_compares_all_and_queues_what_is_missing_with_and_without_a_server():
    with Group() as g:
        a = g.generate("--count", 5, "--rows", 16)
        g.send("north", a)
        g.drained()
        edge = g.edges["north"]

        def resync(*words):
            return json.loads(edge.command("resync", "--json", *words)[1])
        expect("never yet", edge.status()["resync"], {"last_good": None, "age_seconds": None})
        for serving in (True, False):
            if not serving:
                edge.stop()
            r = resync("--verify")
            expect("in step", [r[k] for k in ("compared", "in_step", "held", "queued", "owed_after", "person")],
                   [True, True, 5, 0, 0, False])
            expect("read", [r["verify"][k] for k in ("images", "damaged", "unread")], [5, 0, 0])
            expect("the last good one is remembered", bool(edge.status()["resync"]["last_good"]), True)
            g.central.burn()
            g.central.start()
            r = resync()
            expect("all is queued", [r["compared"], r["held"] + r["owed_after"]], [True, 5])
            if not serving:
                expect("and it is owed", [r["queued"], edge.status()["owed"]["instances"]], [5, 5])
                edge.start()
            g.drained()
            g.in_vault(a)
            expect("in step again", resync()["in_step"], True)


def ctl__a_long_path_is_no_obstacle():
    top = tempfile.mkdtemp(prefix="salamander-long-")
    node = nodes.edge(os.path.join(top, "x" * 120), "north")
    try:
        node.start()
        expect("reachable", node.status()["central"]["reachable"], False)
        node.command("hold", "on")
        expect("hold", node.status()["cache"]["hold"], True)
    finally:
        node.kill()
        shutil.rmtree(top)


def verify__R19_finds_damage_and_says_what_healed_it():
    with Group() as g:
        a = g.generate("--count", 6)
        g.send("north", a)
        g.drained()
        pack = max(check.packs(os.path.join(g.central.data, "vault")), key=os.path.getsize)
        with open(pack, "r+b") as f:
            f.seek(os.path.getsize(pack) - 20000)
            f.write(b"rotten")
        code, out = g.central.command("verify", ok=None)
        expect("exit", code, 3)
        if "healed" not in out or "from north" not in out:
            raise nodes.Failed(out)
        g.served(g.central, a)


# --- who talks (R24) ---

class Certificates:
    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        self.ca("ca")
        self.ca("foreign")

    def path(self, name):
        return os.path.join(self.folder, name)

    def ca(self, name):
        nodes.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                  "-days", "30", "-subj", f"/CN={name}", "-keyout", self.path(f"{name}.key"),
                  "-out", self.path(f"{name}.pem"))

    def node(self, name, ca="ca"):
        key, req, pem = (self.path(f"{name}.{ca}.{x}") for x in ("key", "csr", "pem"))
        nodes.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                  "-subj", f"/CN={name}", "-keyout", key, "-out", req)
        nodes.run("openssl", "x509", "-req", "-in", req, "-CA", self.path(f"{ca}.pem"), "-CAkey",
                  self.path(f"{ca}.key"), "-CAcreateserial", "-days", "30", "-out", pem)
        return {"cert": pem, "key": key, "ca": self.path("ca.pem")}


def routes(path):
    """The rows of a node's one table of routes, as its source has them; paths may have names in proto/."""
    def source(*names):
        return "".join(open(os.path.join(nodes.TOP, n), encoding="utf-8").read() for n in names)
    named = dict(re.findall(r'#define ([A-Z_]+_PATH) "(/[^"]+)"', source("proto/orders.h")))
    found = re.findall(r'\{"([A-Z]+)", (?:"(/[^"]+)"|([A-Z_]+)), RIGHT_', source(path))
    expect(f"rows of {path}", len(found), len(re.findall(r", RIGHT_[\w |]+,", source(path))))
    paths = [(method, p or named[name]) for method, p, name in found]
    return [(m, p + "0" * (1 if "orders" in p else 64) if p.endswith("/") else p) for m, p in paths]


ROUTES = routes("central/intake.c")


def ask(port, request, tls=None):
    """The status of a raw request; 0: the connection was refused or cut without an answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.settimeout(10)
            if tls is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                if tls:
                    context.load_cert_chain(tls["cert"], tls["key"])
                s = context.wrap_socket(s)
            s.sendall(request)
            answer = s.recv(4096)
            return int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0
    except (OSError, ssl.SSLError):
        return 0


def raw(method, path, *headers, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: central", *headers]
    if body or method in ("POST", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def gate__R24_only_certificates_of_this_archive_get_in():
    top = tempfile.mkdtemp(prefix="salamander-tls-")
    certs = Certificates(os.path.join(top, "tls"))
    central = nodes.central(os.path.join(top, "central"), tls=certs.node("central"))
    edge = nodes.edge(os.path.join(top, "north"), "north", tls=certs.node("north"))
    edge.config["central"] = {"url": f"https://127.0.0.1:{central.http}"}
    try:
        for node in (central, edge):
            node.write_config()
            expect("serve without init", node.command("serve", ok=None)[0], 1)
            node.command("init")
            expect("init twice", node.command("init", ok=None)[0], 1)
            node.start()
        files = os.path.join(top, "files")
        nodes.run(nodes.tool("gen_dicom"), "--out", files, "--count", 5)
        nodes.run(nodes.tool("dicom_send"), "127.0.0.1", edge.dicom, "-c", edge.aet, files)
        nodes.wait_for("all has arrived over TLS", lambda: central.status()["instances"] == 5, 30)
        own, foreign = certs.node("north"), certs.node("north", "foreign")
        expect("the table of routes is found", len(ROUTES) >= 17, True)
        for method, path in ROUTES:
            for who, tls in (("nobody", {}), ("a foreign certificate", foreign)):
                got = ask(central.http, raw(method, path), tls)
                if got not in (0, 403):
                    raise nodes.Failed(f"{who}: {method} {path} was answered {got}")
            if path.startswith("/join/"):  # codes are of a CA of our own
                expect("joining with the operator's certificates", ask(central.http, raw(method, path), own), 403)
            elif ask(central.http, raw(method, path), own) in (0, 403):
                raise nodes.Failed(f"its own certificate was turned away from {method} {path}")
            expect("another site's name", ask(central.http, raw(method, path, "Salamander-Site: south"), own), 403)
            expect("plain http on the TLS port", ask(central.http, raw(method, path)), 0)
            expect(f"two lengths at {path}",
                   ask(central.http, raw(method, path, "Content-Length: 0", "Content-Length: 0"), own), 400)
        expect("two lengths", ask(central.http, raw("POST", "/sync/v1/hello", "Content-Length: 3"), own), 400)
        expect("length and chunks", ask(central.http, raw("POST", "/sync/v1/hello", "Transfer-Encoding: chunked"),
                                        own), 400)
    finally:
        central.kill()
        edge.kill()
        shutil.rmtree(top)


def gate__R24_plain_http_is_for_loopback_and_not_forwarded():
    with Group(wan=False) as g:
        port = g.central.http
        for header in ("Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4", "Via: 1.1 proxy"):
            for method, path in ROUTES:
                expect(header, ask(port, raw(method, path, "Salamander-Site: north", header)), 403)
        for method, path in ROUTES:
            expect(f"{path} without a name", ask(port, raw(method, path)), 200 if path == "/metrics" else 403)
        expect("two lengths", ask(port, raw("POST", "/sync/v1/hello", "Salamander-Site: n", "Content-Length: 3")), 400)
        expect("no such path", ask(port, raw("GET", "/")), 404)
        expect("no such method", ask(port, raw("GET", "/sync/v1/hello")), 405)
        expect("too large", ask(port, raw("POST", "/sync/v1/hello", "Salamander-Site: n", body=b"x" * 100000)), 413)
        g.central.stop()
        g.central.config["http"]["listen"] = "0.0.0.0:" + str(port)
        g.central.write_config()
        expect("plain http beyond loopback", g.central.command("serve", ok=None)[0], 1)
        edge = g.edges["north"]
        edge.config["central"]["url"] = "http://192.0.2.1:8080"
        edge.write_config()
        expect("plain http to afar", edge.command("status", ok=None)[0], 1)


def http__slow_and_hostile_clients_hold_nobody_up():
    with Group(central={"http": {"header_timeout": "2s", "max_per_address": "40"}}, wan=False) as g:
        stalled = [socket.create_connection(("127.0.0.1", g.central.http)) for _ in range(30)]
        for s in stalled[:10]:
            s.sendall(b"POST /sync/v1/hello HTTP/1.1\r\nHost: c\r\nSalamander-Site: north\r\n")
        a = g.generate("--count", 3)
        g.send("north", a)
        g.drained()
        g.in_vault(a)

        def dripped(s):
            """A byte now and then: inactivity alone would never end it."""
            try:
                s.sendall(b"X")
                s.settimeout(0.2)
                return s.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True
        nodes.wait_for("a dripping header is cut", lambda: dripped(stalled[0]), 20)
        for s in stalled:
            s.close()


# --- what is written where (R35) ---

def logs__R35_hold_no_patient_data_on_any_node():
    markers = ("PATIENT", "ID1000", "A1000", "REFERRER", "SYNTHETIC", "19700101")
    level = {"log": {"level": "debug"}}
    with Group(edge=level, central=level) as g:
        g.send("north", g.generate("--count", 4, "--rows", 16))
        g.drained()
        g.get(g.central)
        g.get(g.edges["north"])
        commands = [g.central.command(*w)[1] for w in (["status"], ["status", "--json"], ["sites"], ["verify"],
                                                       ["conflicts"], ["rebuild"])]
        commands += [g.edges["north"].command(*w)[1] for w in (["status"], ["status", "--json"], ["conflicts"],
                                                               ["evict"], ["refill"])]
        g.central.stop()
        g.edges["north"].stop()
        texts = {"a command": "".join(commands)}
        for node in (g.central, g.edges["north"]):
            for path in (node.log, os.path.join(node.data, "audit.log")):
                with open(path, encoding="utf-8") as f:
                    texts[path] = f.read()
        for where, text in texts.items():
            for marker in markers:
                if marker in text:
                    raise nodes.Failed(f"{marker} is in {where}")


if __name__ == "__main__":
    sys.exit(nodes.play("sync", globals()))
