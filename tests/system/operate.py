#!/usr/bin/python3
"""What an operator does: settings, commands with and without a server, starts and stops, certificates.

Each test is a function named after the promise it holds; a test that fails prints why.
"""
import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import check  # noqa: E402
import nodes  # noqa: E402
from nodes import expect  # noqa: E402
from sync import Certificates, Group, ask, raw, routes, study_uid  # noqa: E402

CHARSETS = "/usr/lib/python3/dist-packages/pydicom/data/charset_files"
HEX, TIME = r"[0-9a-f]{32}", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def said(node, *words):
    """(exit code, stdout, stderr) of a command."""
    done = subprocess.run([node.binary, "--config", node.conf, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


# --- status ---

COUNT = r"\d+"
EDGE_STATUS = {
    "role": '"edge"', "site": '"north"', "incarnation": f'"{HEX}"',
    "central.reachable": "true|false", "central.epoch": f'"{HEX}"|null', "central.last_contact": f'"{TIME}"|null',
    "central.protocol": COUNT,
    "ledger.last_seq": COUNT, "ledger.announced_seq": COUNT, "ledger.receipted": COUNT,
    "owed.instances": COUNT, "owed.bytes": COUNT, "owed.oldest_seconds": COUNT,
    "cache.instances": COUNT, "cache.studies": COUNT, "cache.bytes": COUNT, "cache.quota_bytes": COUNT,
    "cache.evictable_bytes": COUNT, "cache.hours_left": r"\d+(\.\d+)?|null",
    "cache.not_released_studies": COUNT, "cache.not_released_why": '"[a-z\' ]*"', "lanes.fresh.retry": f'"{TIME}"|null',
    "sync.images_per_second": r"\d+\.\d", "sync.bytes_per_second": r"\d+\.\d", "sync.in_step_seconds": r"\d+|null",
    "sync.waits_for": r'"[a-z ]+"|null', "sync.retry": f'"{TIME}"|null',
    "parked": COUNT, "variants": COUNT, "revisions": COUNT, "conflicts": COUNT, "unconfirmed": COUNT, "refusals": COUNT,
    "unaudited": COUNT, "committed_here_only": COUNT, "commitments": COUNT, "rejected": COUNT, "rejected_again": COUNT, "notes_unheard": COUNT, "resync.last_good": f'"{TIME}"|null', "resync.age_seconds": r"\d+|null"}
CENTRAL_STATUS = {
    "role": '"central"', "epoch": f'"{HEX}"', "instances": COUNT, "studies": COUNT, "bytes": COUNT, "packs": COUNT,
    "variants": COUNT, "revisions": COUNT, "conflicts": COUNT, "failed_joins": COUNT,
    "refusals": COUNT, "unaudited": COUNT, "damaged": COUNT, "disk_free_bytes": COUNT, "returned": r"\[\]"}
SITE = {"name": '"north"', "incarnation": f'"{HEX}"', "known": COUNT, "held": COUNT, "owed": COUNT, "lost": COUNT,
        "withdrawn": COUNT, "of_site.known": COUNT, "of_site.lost": COUNT,
        "lag.instances": COUNT, "lag.bytes": COUNT, "lag.oldest_seconds": COUNT, "exposure.instances": COUNT, "exposure.bytes": COUNT, "exposure.committed": COUNT, "exposure.oldest_seconds": COUNT, "reopened": "null", "turning": "false", "ledger_seq": COUNT, "last_contact": f'"{TIME}"|null',
        "state": '"(active|invited|suspended|removed)"', "policy": '"(all|own)"', "key": r'"[0-9a-f]{64}"|null',
        "protocol": COUNT, "software": r'"(\d+\.\d+\.\d+)?"',
        "certificate_until": f'"{TIME}"|null', "code_until": f'"{TIME}"|null', "refused_key": r'"[0-9a-f]{64}"|null',
        "older_ca": "false", "unvouched": "false"}


def fits(what, document, contract):
    for path, pattern in contract.items():
        value = document
        for key in path.split("."):
            if key not in value:
                raise nodes.Failed(f"{what}: {path} is missing")
            value = value[key]
        if not re.fullmatch(pattern, json.dumps(value)):
            raise nodes.Failed(f"{what}: {path} is {json.dumps(value)}")


def status__has_its_keys_and_types_with_and_without_central():
    with Group() as g:
        edge = g.edges["north"]
        g.send("north", g.generate("--count", 3, "--rows", 16))
        g.drained()
        for node, contract in ((edge, EDGE_STATUS), (g.central, CENTRAL_STATUS)):
            fits(node.name, node.status(), contract)
        fits("a site", g.central.status()["sites"][0], SITE)
        fits("a row of sites", json.loads(g.central.command("sites", "--json")[1])[0], SITE)
        last = edge.status()
        edge.stop()
        g.central.stop()
        kept = edge.status()  # nobody serves: what the last serve knew
        fits("without a server", kept, EDGE_STATUS)
        for key in ("ledger", "owed"):
            expect(f"{key} without a server", kept[key], last[key])
        expect("reachable without a server", kept["central"]["reachable"], False)
        edge.start()
        nodes.wait_for("the edge says why", lambda: "does not answer (" in edge.command("status", ok=(0, 3))[1])
        dark = edge.status()
        fits("central is down", dark, EDGE_STATUS)
        expect("reachable", dark["central"]["reachable"], False)
        expect("the last epoch is known", dark["central"]["epoch"], last["central"]["epoch"])
        expect("the last contact is known", bool(dark["central"]["last_contact"]), True)
        expect("acknowledged is remembered", dark["owed"]["instances"], 0)
        g.send("north", g.generate("--count", 2, "--rows", 16, "--seed", 2))
        expect("owed in the dark", edge.status()["owed"]["instances"], 2)


def status__is_null_where_nothing_is_known_yet():
    top = tempfile.mkdtemp(prefix="salamander-new-")
    edge = nodes.edge(os.path.join(top, "north"), "north", central_port=nodes.port())
    try:
        edge.start()
        s = edge.status()
        fits("a new edge", s, EDGE_STATUS)
        expect("unknown", [s["central"]["epoch"], s["central"]["last_contact"], s["cache"]["hours_left"]],
               [None, None, None])
        expect("its first ledger entry is not acknowledged", s["owed"]["instances"], 1)
    finally:
        edge.kill()
        shutil.rmtree(top)


# --- commands ---

ACTS = {"edge": (["hold", "on"], ["hold", "off"], ["pin", "STUDY", "--until", "2199-12-31"], ["unpin", "STUDY"],
                 ["pin", "STUDY"], ["unpin", "STUDY"], ["retry"], ["resync"], ["resync", "--verify", "--subset", "1/3"], ["evict", "--study", "STUDY"],
                 ["refill", "--group", "--days", "30", "--bytes", "1GiB"], ["refill"], ["evict"], ["refill"],
                 ["reload"], ["rebuild"]),
        "central": (["verify"], ["verify", "--ledger"], ["reload"], ["rebuild"], ["site", "lost", "gone"])}
READS = {"edge": (["status"], ["conflicts"], ["conflicts", "--instances"]),
         "central": (["status"], ["sites"], ["loss"], ["loss", "--site", "north"], ["loss", "--instances"],
                     ["conflicts"], ["conflicts", "--instances"])}
JSON = {"edge": (["status", "--json"], ["conflicts", "--json"], ["conflicts", "--json", "--instances"]),
        "central": (["status", "--json"], ["sites", "--json"], ["loss", "--json"], ["conflicts", "--json"],
                    ["loss", "--json", "--site", "north", "--instances"])}


def commands__each_works_with_and_without_a_server_and_prints_its_result():
    with Group(("north", "gone")) as g:
        a = g.generate("--count", 4, "--rows", 16)
        g.send("north", a)
        g.send("gone", g.generate("--count", 1, "--rows", 16, "--seed", 7))
        g.drained()
        g.edges["gone"].kill()
        study = study_uid(a)

        def all_of(node):
            for words in (*READS[node.role], *ACTS[node.role]):
                words = [study if w == "STUDY" else w for w in words]
                code, out, err = said(node, *words)
                if code != 0 and not (words == ["rebuild"] and "torn" in out) or not out.endswith("\n"):
                    raise nodes.Failed(f"{words}: {code}, {out!r}, {err!r}")
                if node.role == "edge" and words[0] == "rebuild" and node.running():
                    g.drained("north")  # before anything may be evicted again
            for words in JSON[node.role]:
                code, out, err = said(node, *words)
                json.loads(out)
                expect(f"{words}", (code, out.count("\n"), err), (0, 1, ""))
        all_of(g.edges["north"])
        all_of(g.central)
        g.drained("north")  # central's rebuild took a new epoch
        g.edges["north"].stop()
        all_of(g.edges["north"])
        g.edges["north"].start()
        g.drained("north")
        g.edges["north"].stop()
        g.central.stop()
        all_of(g.central)
        g.central.start()
        g.edges["north"].start()
        g.drained("north")
        g.served(g.edges["north"], a)


def commands__a_pin_holds_and_a_day_that_is_over_pins_nothing():
    with Group() as g:
        a = g.generate("--count", 2, "--rows", 16)
        g.send("north", a)
        g.drained()
        edge, study = g.edges["north"], study_uid(a)
        edge.command("pin", study)
        expect("a pinned study is evicted", edge.command("evict", "--study", study, ok=None)[0], 1)
        edge.command("evict")
        expect("here", edge.status()["cache"]["instances"], 2)
        expect("a day that is over", edge.command("pin", study, "--until", "2001-01-01", ok=None)[0], 2)
        for day in ("tomorrow", "2199-02-30", "2199-13-01"):
            expect(f"no day: {day}", edge.command("pin", study, "--until", day, ok=None)[0], 2)
        edge.command("unpin", study)
        edge.command("evict")
        expect("here", edge.status()["cache"]["instances"], 0)


WRONG = {"edge": (["status", "now"], ["evict", "1.2.3"], ["evict", "--json"], ["hold"], ["hold", "perhaps"], ["pin"],
                  ["refill", "--days", "0"], ["refill", "--bytes", "much"], ["retry", "--group"], ["fly"],
                  ["status", "--csv"], ["serve", "now"], ["resync", "all"],
                  ["resync", "--subset", "1/3"], ["resync", "--verify", "--subset", "4/3"],
                  ["resync", "--verify", "--subset", "1/"], ["evict", "--study"], ["reload", "x"], []),
         "central": (["status", "now"], ["verify", "x"], ["verify", "--json"], ["loss", "--csv", "--json"],
                     ["site", "lost"], ["site", "found", "north"], ["sites", "--csv"], ["loss", "north"], ["fly"],
                     ["rebuild", "all"], ["status", "--accept-missing"], [])}


def commands__what_is_not_understood_does_nothing_and_exits_2():
    with Group() as g:
        a = g.generate("--count", 2, "--rows", 16)
        g.send("north", a)
        g.drained()
        for node in (g.edges["north"], g.central):
            for words in WRONG[node.role]:
                code, out, err = said(node, *words)
                if code != 2 or out or not err:
                    raise nodes.Failed(f"{node.role} {words}: {code}, {out!r}, {err!r}")
        expect("nothing was evicted", g.edges["north"].status()["cache"]["instances"], 2)


def commands__reload_waits_and_says_what_is_wrong():
    with Group() as g:
        for node in (g.edges["north"], g.central):
            good = dict(node.config)
            node.config["peer WS"] = {"aet": "WS", "host": "127.0.0.1"}
            node.write_config()
            expect("reload", said(node, "reload")[0], 0)
            with open(node.log, "rb") as f:
                expect("read before the end", f.read().count(b"info reloaded"), 1)
            for row in ({"aet": "WS"}, {"aet": "WS", "host": "127.0.0.1", "may": "fly"},
                        {"aet": "A" * 17, "host": "127.0.0.1"}, {"aet": "WS", "host": "127.0.0.1", "prot": "104"}):
                node.config["peer WS"] = row
                node.write_config()
                for where in ("served", "stopped"):
                    code, _, err = said(node, "reload")
                    if code != 1 or node.conf not in err:
                        raise nodes.Failed(f"{where}, {row}: {code}, {err}")
            node.config = good
            node.write_config()


def commands__a_reader_that_pauses_gets_all_of_the_answer():
    """`loss | less`: the server is not held up, and nothing is cut off."""
    with Group() as g:
        g.wan["north"].rate = 150000
        g.send("north", g.generate("--count", 3000, "--rows", 64, "--per-study", 500))
        edge = g.edges["north"]
        nodes.wait_for("announced", lambda: edge.status()["ledger"]["announced_seq"] ==
                       edge.status()["ledger"]["last_seq"], 60)
        g.wan["north"].cut()
        edge.kill()
        g.central.command("site", "lost", "north")
        want = g.central.command("loss", "--csv", "--instances", ok=(3,))[1]
        if len(want) < 300000:
            raise nodes.Failed(f"the list has {len(want)} bytes: too short for this test")
        with subprocess.Popen([g.central.binary, "--config", g.central.conf, "loss", "--csv", "--instances"],
                              stdout=subprocess.PIPE) as slow:
            got = slow.stdout.read(1000)
            time.sleep(7)  # longer than the server waits for a stuck reader
            begin = time.monotonic()
            g.central.stop(10)
            if time.monotonic() - begin > 10:
                raise nodes.Failed("a paused reader kept the server from stopping")
            got += slow.stdout.read()
        expect("all of it", got.decode() == want, True)
        expect("exit", slow.returncode, 3)


def settings__each_is_explained_and_a_sample_is_a_configuration():
    named = {"edge": "site.name site.issuer data.dir data.quota dicom.aet dicom.listen dicom.unlisted "
                     "dicom.answer_timeout http.listen tls.cert tls.key tls.ca central.url peer.aet peer.host "
                     "peer.port peer.from peer.may peer.syntaxes peer.issuer peer.foreign peer.strict peer.on_limit "
                     "cache.keep_days cache.dark",
             "central": "data.dir dicom.aet dicom.listen dicom.unlisted dicom.answer_timeout http.listen tls.cert "
                        "tls.key tls.ca peer.aet peer.host peer.port peer.from peer.may peer.syntaxes peer.issuer "
                        "peer.foreign peer.strict peer.on_limit"}
    for role, names in named.items():
        _, out = nodes.run(os.path.join(nodes.BUILD, f"salamander-{role}"), "--explain-config")
        section, found = "", {}
        for line in out.splitlines():
            if line.startswith("["):
                section = line.strip("[]").split()[0]
            elif "=" in line and not line.startswith("# "):
                found[f"{section}.{line.lstrip('#').split(' =')[0]}"] = before
            before = line
        for name in names.split():
            if not found.get(name, "").startswith("# "):
                raise nodes.Failed(f"{role}: {name} is not explained")
        bounds = [n for n, text in found.items() if re.search(r" \d+( \w+)? to \d+( \w+)?\.", text)]
        if role == "edge" and not {"data.quota", "peer.port", "cache.keep_days"} <= set(bounds):
            raise nodes.Failed(f"bounds are missing: {bounds}")


def settings__mistakes_are_named_by_file_and_line():
    with Group(wan=False) as g:
        edge = g.edges["north"]
        with open(edge.conf, encoding="utf-8") as f:
            good = f.read()
        for more, wanted in (("[data]\nqouta = 1GiB\n", "qouta"), ("[dta]\n", "no section [dta]"),
                             ("[cache]\ndark = perhaps\n", "one of: free keep"),
                             ("[cache]\nkeep_days = 3 ; days\n", "line of its own"),
                             ("[peer A]\naet = A\nhost = h\nmay = find, fly\n", "'fly'"),
                             ("[http]\nmax_connections = 0\n", "not within"),
                             ("[central] url = https://central:8443\n", "a line of its own"),
                             ("[peer A]\n" + "a" * 60 + " = 1\n", "a name of"),
                             ("[cache]\nkeep_days = " + "1" * 200 + "\n", "a line of more than")):
            with open(edge.conf, "w", encoding="utf-8") as f:
                f.write(good + more)
            code, _, err = said(edge, "status")
            if code != 1 or wanted not in err or not re.search(r"north\.conf:\d+: ", err):
                raise nodes.Failed(f"{more!r}: {code}, {err}")
        for section, row in (("data", {"quota": "1MiB"}), ("http", {"listen": "0.0.0.0"}),
                             ("tls", {"cert": "/x.pem"}), ("central", {"url": "http://192.0.2.1:80"}),
                             ("central", {"url": "http://127.example.org:80"}),
                             ("central", {"url": "http://127.0.0.1:80@192.0.2.1:80"}),
                             ("site", {"name": "n" * 65}), ("data", {"dir": ""}), ("data", {"quota": "65TiB"}),
                             ("dicom", {"listen": "104"}), ("dicom", {"listen": "127.0.0.1:http"})):
            kept = edge.config.get(section, {})
            edge.config[section] = {**kept, **row}
            edge.write_config()
            code, _, err = said(edge, "status")
            if code != 1 or edge.conf not in err or f"[{section}]" not in err:
                raise nodes.Failed(f"{section} {row}: {code}, {err}")
            edge.config[section] = kept


def mistakes__are_told_with_the_reason_and_what_is_meant():
    """At 3 a.m.: one line, the file or the word, and why."""
    with Group(wan=False) as g:
        edge = g.edges["north"]
        for words, wanted in ((["fly"], "salamander-edge fly: no such command"),
                              (["evict", "1.2.3"], "usage: salamander-edge evict [--study UID]")):
            if wanted not in said(edge, *words)[2]:
                raise nodes.Failed(f"{words}: {said(edge, *words)[2]!r}")
        for node in (edge, g.central):
            done = subprocess.run([node.binary, "--config", "/nowhere.conf", "status"], stderr=subprocess.PIPE, check=False)
            expect(f"{node.role}, no settings", (done.returncode, done.stderr.decode()),
                   (1, f"salamander-{node.role}: cannot read /nowhere.conf: No such file or directory\n"))
            node.stop()
            os.chmod(node.data, 0)
            # root may read anything unless it gives that right away
            may_not = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
            for verb in ("serve", "status"):
                done = subprocess.run([*may_not, node.binary, "--config", node.conf, verb], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, timeout=30, check=False)
                if done.returncode != 1 or b"Permission denied" not in done.stdout or b"mounted" in done.stdout:
                    raise nodes.Failed(f"{node.role} {verb} in a folder of somebody else: {done.stdout}")
            os.chmod(node.data, 0o700)
            with socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(("127.0.0.1", node.dicom))
                taken.listen()
                code, _, err = said(node, "serve")
            if code != 1 or "Address already in use" not in err or f"127.0.0.1:{node.dicom}" not in err:
                raise nodes.Failed(f"{node.role} on a port in use: {code}, {err}")


def mistakes__with_certificates_keep_no_edge_from_serving_and_are_told():
    with tempfile.TemporaryDirectory(prefix="salamander-tls-") as top:
        certs = Certificates(os.path.join(top, "certs"))
        own = certs.node("north", "ca")
        edge = nodes.edge(os.path.join(top, "north"), "north", tls=own,
                          central={"url": f"https://127.0.0.1:{nodes.port()}"})
        edge.write_config()
        edge.command("init")
        for wrong, wanted in (({"key": certs.node("other", "ca")["key"]}, "do not match"), ({"cert": f"{top}/none.pem"}, "none.pem: No such file"),
                              ({"cert": own["key"]}, own["key"]), ({"ca": own["key"]}, "holds no CA certificate")):
            edge.config["tls"] = {**own, **wrong}
            edge.start()
            try:
                code, out, _ = said(edge, "status")
                if code != 3 or "OUR CERTIFICATE" not in out or wanted not in out:
                    raise nodes.Failed(f"{wrong}: {code}, {out}")
                if "error tls " not in edge.tail():
                    raise nodes.Failed(f"{wrong} is not in the log: {edge.tail()}")
                nodes.run("echoscu", "-aec", edge.aet, "127.0.0.1", edge.dicom)
            finally:
                edge.kill()
        edge.config["tls"] = own
        edge.write_config()
        expect("with our own", said(edge, "status")[0], 0)


def settings__the_samples_are_configurations():
    with tempfile.TemporaryDirectory(prefix="salamander-sample-") as top:
        for role in ("edge", "central"):
            with open(os.path.join(nodes.TOP, "deploy", f"{role}.conf"), encoding="utf-8") as f:
                text = re.sub(r"(?m)^dir +=.*", f"dir = {top}/{role}", f.read())
            with open(os.path.join(top, f"{role}.conf"), "w", encoding="utf-8") as f:
                f.write(text)
            nodes.run(os.path.join(nodes.BUILD, f"salamander-{role}"), "-c", f.name, "init")


# --- start and stop ---

def serve__says_ready_to_systemd_and_in_one_log_line():
    for make in (lambda top: nodes.edge(os.path.join(top, "north"), "north"),
                 lambda top: nodes.central(os.path.join(top, "central"))):
        top = tempfile.mkdtemp(prefix="salamander-ready-")
        node = make(top)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                s.bind(os.path.join(top, "notify"))
                s.settimeout(30)
                node.env = {"NOTIFY_SOCKET": os.path.join(top, "notify")}
                node.start()
                expect("systemd is told", s.recv(100), b"READY=1")
                node.stop()
                expect("systemd is told of the end", s.recv(100), b"STOPPING=1")
            with open(node.log, encoding="utf-8") as f:
                expect("lines", [line.split()[1] for line in f].count("ready"), 1)
            expect("the socket is gone", os.path.exists(os.path.join(node.data, "ctl")), False)
        finally:
            node.kill()
            shutil.rmtree(top)


def serve__opens_ctl_then_http_then_dicom():
    """Whatever comes first is what it stumbles over, when all three are taken."""
    top = tempfile.mkdtemp(prefix="salamander-order-")
    try:
        for node in (nodes.central(os.path.join(top, "central")), nodes.edge(os.path.join(top, "north"), "north")):
            node.config["http"] = {"listen": f"127.0.0.1:{nodes.port()}"}
            node.start().stop()
            ctl, steps = os.path.join(node.data, "ctl"), []
            os.makedirs(os.path.join(ctl, "taken"))
            with socket.socket() as http, socket.socket() as dicom:
                for s, section in ((http, "http"), (dicom, "dicom")):
                    s.bind(("127.0.0.1", int(node.config[section]["listen"].rpartition(":")[2])))
                    s.listen()
                steps.append(said(node, "serve"))
                shutil.rmtree(ctl)
                steps.append(said(node, "serve"))
                http.close()
                steps.append(said(node, "serve"))
            wanted = ["/ctl", node.config["http"]["listen"], node.config["dicom"]["listen"]]
            for (code, _, err), want in zip(steps, wanted):
                expect(f"{node.name}: stumbles over {want}", (code, want in err), (1, True))
    finally:
        shutil.rmtree(top)


def serve__stops_within_ten_seconds_whoever_stalls():
    with Group() as g:
        g.send("north", g.generate("--count", 30))
        g.drained()
        for node in (g.central, g.edges["north"]):
            held = []
            if node is g.central:
                for sent in (b"", b"POST /sync/v1/hel", raw("POST", "/sync/v1/hello", "Salamander-Site: n",
                                                            body=b"x" * 20)[:-10]):
                    held.append(socket.create_connection(("127.0.0.1", node.http)))
                    held[-1].sendall(sent)
            for sent in (b"", b"\x01\x00\x00\x00"):
                held.append(socket.create_connection(("127.0.0.1", node.dicom)))
                held[-1].sendall(sent)
            ctl = socket.socket(socket.AF_UNIX)
            ctl.connect(os.path.join(node.data, "ctl"))
            ctl.sendall(b"\x40\x00\x00\x00status")  # the rest never comes
            held.append(ctl)
            getter = subprocess.Popen([nodes.tool("dicom_get"), "127.0.0.1", str(node.dicom), "-c", node.aet, "-a",
                                       "VIEWER", "--all", "-o", g.top], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
            try:
                nodes.wait_for("the retrieve has begun", lambda: any(n.endswith(".dcm") for n in os.listdir(g.top))
                               or getter.poll() is not None)
                getter.send_signal(signal.SIGSTOP)
                begin = time.monotonic()
                node.stop(20)
                if time.monotonic() - begin > 10:
                    raise nodes.Failed(f"{node.name} stopped after {time.monotonic() - begin:.1f} s")
            finally:
                getter.kill()
                getter.wait()
                for s in held:
                    s.close()


def serve__R23_an_empty_or_foreign_folder_is_refused_with_the_way_out():
    top = tempfile.mkdtemp(prefix="salamander-id-")
    certs = Certificates(os.path.join(top, "tls"))
    tls = certs.node("central")
    central = nodes.central(os.path.join(top, "central"), tls=tls)
    edge = nodes.edge(os.path.join(top, "north"), "north", tls=tls)
    try:
        for node, parts in ((central, ("vault", "vault/log")), (edge, ("store",))):
            node.write_config()
            os.makedirs(node.data)
            with open(os.path.join(node.data, "holiday.txt"), "w", encoding="utf-8") as f:
                f.write("not ours")
            expect("init in a folder that holds something", said(node, "init")[0], 1)
            os.remove(os.path.join(node.data, "holiday.txt"))
            code, _, err = said(node, "serve")
            expect("an empty folder", (code, "`init`" in err), (1, True))
            expect("init", said(node, "init")[0], 0)
            born = node.status()
            born = born["epoch"] if node is central else born["incarnation"]
            if not re.fullmatch(HEX, born):
                raise nodes.Failed(f"{node.name} was born without an identity: {born}")
            for part in parts:
                folder = os.path.join(node.data, part)
                os.rename(folder, folder + ".away")
                os.makedirs(folder)
                code, _, err = said(node, "serve")
                expect(f"{part} is not mounted", (code, "`init`" in err), (1, True))
                other = os.path.join(top, "other")
                shutil.copytree(folder + ".away", folder, dirs_exist_ok=True)
                with open(os.path.join(folder, "id"), encoding="utf-8") as f:
                    text = f.read()
                with open(os.path.join(folder, "id"), "w", encoding="utf-8") as f:
                    f.write(re.sub(r"(?m)^id \w+", "id " + "7" * 32, text))
                code, _, err = said(node, "serve")
                expect(f"{part} is another's", (code, "another node" in err, "`init`" in err), (1, True, True))
                shutil.rmtree(folder)
                os.rename(folder + ".away", folder)
                shutil.rmtree(other, ignore_errors=True)
            node.start()
            expect("as init made it", node.status()["epoch" if node is central else "incarnation"], born)
            node.stop()
            code, _, err = said(node, "init")
            expect("init of a node that is there", code, 1)
        edge.config["central"] = {"url": f"http://127.0.0.1:{nodes.port()}"}
        for node, why in ((central, "no CA"), (edge, "TLS only")):  # R24: an identity never speaks plainly
            node.config["tls"] = {}
            node.config["http"] = {"listen": f"127.0.0.1:{nodes.port()}"}
            node.write_config()
            code, _, err = said(node, "serve")
            expect("plain http with an identity", (code, why in err), (1, True))
    finally:
        central.kill()
        edge.kill()
        shutil.rmtree(top)


# --- lists for people ---

def archive__R25_R26_its_kit_its_codes_and_a_new_ca_with_and_without_a_server():
    top = tempfile.mkdtemp(prefix="salamander-archive-")
    central = nodes.central(os.path.join(top, "central"))
    kits = [os.path.join(top, name) for name in ("first.kit", "second.kit")]
    try:
        central.write_config()
        said_at_birth = central.command("init", "--kit", kits[0])[1]
        expect("where the kit is", kits[0] in said_at_birth, True)
        passphrase = re.search(r"shown this once: ([0-9a-f-]{39})\n", said_at_birth).group(1)
        expect("mode of the kit", os.stat(kits[0]).st_mode & 0o777, 0o600)
        codes = []
        for round_, serves in enumerate((False, True)):
            if serves:
                central.start()
            code, out, err = said(central, "site", "add", "north")
            expect("a code", (code, bool(re.fullmatch(r"([a-z2-7]{8}-){9}[a-z2-7]{5}\n", out))), (0, True))
            expect("how to use it", "salamander-edge join" in err, True)
            codes.append(out)
            row = json.loads(central.command("sites", "--json")[1])[0]
            fits("an invited site", row, {**SITE, "incarnation": "null", "state": '"invited"', "code_until": f'"{TIME}"'})
            expect("a name of central's", said(central, "site", "add", "central.x")[0], 1)
            expect("no place for the kit", said(central, "ca", "renew")[0], 2)
            expect("a kit is not overwritten", said(central, "ca", "renew", "--kit", kits[round_])[0], 1)
            bundle = os.path.join(central.data, "tls", "ca.pem")
            with open(bundle, encoding="ascii") as f:
                before = f.read()
            if serves:
                continue
            with open(os.path.join(top, "word"), "w", encoding="ascii") as f:
                f.write(passphrase + "\n")
            central.command("ca", "renew", "--kit", kits[1], "--passphrase-file", os.path.join(top, "word"))
            with open(bundle, encoding="ascii") as f:
                after = f.read()
            expect("the old CA is trusted still", after.endswith(before) and after != before, True)
        expect("each code is its own, and names the CA", [codes[0] == codes[1], codes[0][-45:] == codes[1][-45:]],
               [False, False])
        central.burn()
        expect("another passphrase", said(central, "init", "--recover", kits[1], "--passphrase-file", central.conf)[0], 1)
        central.command("init", "--recover", kits[1], "--passphrase-file", os.path.join(top, "word"))
        with open(bundle, encoding="ascii") as f:
            expect("the CAs are back", f.read(), after)
        central.start()
    finally:
        central.kill()
        shutil.rmtree(top)


def loss__R18_names_are_as_dicom_writes_them_in_utf8():
    with Group() as g:
        g.wan["north"].rate = 2000
        files = [os.path.join(CHARSETS, n) for n in ("chrGerm.dcm", "chrH31.dcm", "chrRuss.dcm")]
        g.send("north", *files)
        edge = g.edges["north"]
        nodes.wait_for("announced", lambda: edge.status()["ledger"]["announced_seq"] ==
                       edge.status()["ledger"]["last_seq"], 60)
        g.wan["north"].cut()
        edge.kill()
        g.central.command("site", "lost", "north")
        rows = list(csv.DictReader(io.StringIO(g.central.command("loss", "--csv", ok=(3,))[1])))
        document = json.loads(g.central.command("loss", "--json", ok=(3,))[1])
        for names in ({r["patient_name"] for r in rows}, {s["patient_name"] for s in document["studies"]}):
            for name in ("Äneas^Rüdiger", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Люкceмбypг"):
                if name not in names:
                    raise nodes.Failed(f"{name} is not in {names}")
        expect("to the UID", all(i["sop_instance_uid"] for s in document["studies"] for i in s["list"]), True)
        expect("lost", document["lost"], 3)
        g.central.stop()
        expect("the same without a server", json.loads(g.central.command("loss", "--json", ok=(3,))[1]), document)


def conflicts__are_told_alike_with_and_without_a_server():
    with Group() as g:
        import pydicom
        a = g.generate("--count", 1, "--rows", 16)
        path = next(iter(check.files([a])))
        g.send("north", path)
        other = pydicom.dcmread(path)
        other.PixelData = bytes(len(other.PixelData))
        other.StudyDescription = "ANOTHER"
        os.makedirs(os.path.join(g.top, "changed"))
        other.save_as(os.path.join(g.top, "changed", "x.dcm"))
        g.send("north", os.path.join(g.top, "changed"))
        g.drained()
        for node in (g.edges["north"], g.central):
            served = [said(node, *w) for w in (["conflicts"], ["conflicts", "--json", "--instances"], ["status"])]
            expect("a person is needed", [s[0] for s in served], [3, 3, 3])
            document = json.loads(served[1][1])
            expect("kind", document[0]["kind"], "conflict")
            if "00081030" not in document[0]["attributes"] or len(document[0]["list"]) != 1:
                raise nodes.Failed(served[1][1])
            node.stop()
            alone = [said(node, *w) for w in (["conflicts"], ["conflicts", "--json", "--instances"])]
            expect("without a server", alone, served[:2])


# --- certificates ---

def tls__R24_nothing_below_1_3_on_either_end():
    top = tempfile.mkdtemp(prefix="salamander-tls12-")
    certs = Certificates(os.path.join(top, "tls"))
    own = certs.node("north")
    central = nodes.central(os.path.join(top, "central"), tls=certs.node("central"))
    edge = nodes.edge(os.path.join(top, "north"), "north", tls=own)
    listener = socket.create_server(("127.0.0.1", nodes.port()))
    edge.config["central"] = {"url": f"https://127.0.0.1:{listener.getsockname()[1]}"}
    edge.config["http"] = {"listen": f"127.0.0.1:{nodes.port()}"}
    seen = []

    def old_server():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certs.path("central.ca.pem"), certs.path("central.ca.key"))
        while True:
            try:
                s, _ = listener.accept()
                s.settimeout(5)
                with context.wrap_socket(s, server_side=True):
                    seen.append("spoken to")
            except ssl.SSLError as e:
                seen.append(e.reason)
            except OSError:
                return
    threading.Thread(target=old_server, daemon=True).start()
    try:
        for node in (central, edge):
            node.write_config()
            node.command("init")
            node.start()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(own["cert"], own["key"])
        expect("1.3", ask(central.http, raw("GET", "/sync/v1/hello"), own), 405)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", central.http)) as s:
            try:
                context.wrap_socket(s)
                raise nodes.Failed("central spoke TLS 1.2")
            except (ssl.SSLError, ConnectionError):
                pass
        expect("no certificate, no such path", ask(central.http, raw("GET", "/nothing"), {}) in (0, 403), True)
        expect("ours, no such path", ask(central.http, raw("GET", "/nothing"), own), 404)
        port = int(edge.config["http"]["listen"].split(":")[1])
        for method, path in routes("edge/web.c"):
            expect("nobody", ask(port, raw(method, path), {}) in (0, 403), True)
            expect("a foreign certificate", ask(port, raw(method, path), certs.node("x", "foreign")) in (0, 403), True)
            expect("ours", ask(port, raw(method, path), own), 200)
        nodes.wait_for("the edge has called", lambda: len(seen) >= 2)
        if "spoken to" in seen or edge.status()["central"]["reachable"]:
            raise nodes.Failed(f"the edge spoke TLS 1.2: {seen}")
    finally:
        listener.close()
        central.kill()
        edge.kill()
        shutil.rmtree(top)


def readme__its_two_sites_and_central_work_as_written():
    """The commands and the configurations of README.md, on loopback addresses and high ports."""
    with open(os.path.join(nodes.TOP, "README.md"), encoding="utf-8") as f:
        part = f.read().split("## Two sites and a central")[1].split("\n## ")[0]
    blocks, block = [], []
    for line in part.splitlines() + ["end"]:
        if line.startswith("    ") or (block and not line):
            block.append(line[4:])
        elif block:
            blocks.append("\n".join(block))
            block = []
    central_text, at_central, edge_text, at_edge = blocks[:4]
    top = tempfile.mkdtemp(prefix="salamander-readme-")
    ports = {name: nodes.port() for name in ("http", "central", "north", "south")}
    running, codes = [], {}

    def adapted(text, name):
        for old, new in (("/etc/salamander", top), ("0.0.0.0:8443", f"127.0.0.1:{ports['http']}"),
                         ("central.example.org:8443", f"127.0.0.1:{ports['http']}"),
                         ("0.0.0.0:104, [::]:104", f"127.0.0.1:{ports[name]}"),
                         ("0.0.0.0:104", f"127.0.0.1:{ports[name]}"), ("/srv/salamander", f"{top}/data.{name}"),
                         ("/var/lib/salamander", f"{top}/data.{name}"), ("200GiB", "1GiB")):
            text = text.replace(old, new)
        return text

    def play(role, name, text, commands):
        node = nodes.Node(role, name, top, {})
        node.data, node.dicom, node.aet = f"{top}/data.{name}", ports[name], name.upper()
        node.write_config = lambda: open(node.conf, "w", encoding="utf-8").write(adapted(text, name))
        node.write_config()
        for line in commands.strip().splitlines():
            program, _, _, *words = adapted(line, name).replace("CODE", codes.get(name, "CODE")).split()
            expect("whose command", program, f"salamander-{role}")
            if words == ["serve"]:
                running.append(node.start())
                continue
            out = node.command(*words)[1]
            if words[:2] == ["site", "add"]:
                codes[words[2]] = out.strip()
        return node
    try:
        central = play("central", "central", central_text, at_central)
        edges = [play("edge", name, edge_text.replace("north", name).replace("NORTH", name.upper()), at_edge)
                 for name in ("north", "south")]
        for seed, edge in enumerate(edges):
            files = os.path.join(top, f"files{seed}")
            nodes.run(nodes.tool("gen_dicom"), "--out", files, "--count", 3, "--seed", seed)
            nodes.run(nodes.tool("dicom_send"), "127.0.0.1", edge.dicom, "-c", edge.aet, files)
        nodes.wait_for("all is at central", lambda: central.status()["instances"] == 6)
        nodes.wait_for("nothing is owed", lambda: not any(e.status()["owed"]["instances"] for e in edges))
        expect("sites", sorted(s["name"] for s in central.status()["sites"]), ["north", "south"])
        for node in running:
            node.stop()
    finally:
        for node in running:
            node.kill()
        shutil.rmtree(top)


if __name__ == "__main__":
    sys.exit(nodes.play("operate", globals()))
