#!/usr/bin/python3
"""Who may talk, with real nodes: init, join, suspended, removed, rejoined, the CA burnt or renewed.

Each test is a function named after the promise it holds. Nothing here shares code with the product.
"""
import calendar
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check"), HERE]
import nodes  # noqa: E402
from nodes import expect  # noqa: E402
from sync import ROUTES, Certificates, Group, ask, raw  # noqa: E402

ENROL = ("POST", "/join/v1/enrol")


class Archive(Group):
    """A central made by `init`, with its kit; edges that join it through a relay each."""

    def __init__(self, names=("north",), join=True):  # noqa: the nodes are others than Group's
        self.top, self.files, self.joining = tempfile.mkdtemp(prefix="salamander-id-"), 0, join
        self.central = nodes.central(os.path.join(self.top, "central"))
        self.wan = {n: nodes.Wan(self.central.http) for n in names}
        self.edges = {n: nodes.edge(os.path.join(self.top, n), n) for n in names}
        for edge in self.edges.values():
            edge.http = nodes.port()
            edge.config["http"] = {"listen": f"127.0.0.1:{edge.http}"}
        self.kit, self.passphrase = (os.path.join(self.top, x) for x in ("kit", "passphrase"))
        with open(self.passphrase, "w", encoding="utf-8") as f:
            f.write("correct horse battery staple\n")

    def __enter__(self):
        try:
            self.init("--kit", self.kit)
            for name, edge in self.edges.items():
                edge.write_config()
                if self.joining:
                    self.join(name)
                    edge.start()
        except Exception:
            self.__exit__()
            raise
        return self

    def init(self, *words):
        self.central.write_config()
        self.central.command("init", *words, "--passphrase-file", self.passphrase)
        self.central.start()

    def code(self, name, *words):
        return self.central.command("site", "add", name, *words)[1].strip()

    def join(self, name, code=None, ok=(0,)):
        return self.edges[name].command("join", f"https://127.0.0.1:{self.wan[name].port}",
                                        code or self.code(name), ok=ok)

    def site(self, name):
        out = self.central.command("sites", "--json", ok=(0, 3))[1]
        return next(s for s in json.loads(out) if s["name"] == name)

    def why(self, name, text, seconds=40):
        """Waits until the edge says of central that ... text ..."""
        nodes.wait_for(f"{name} says '{text}'",
                       lambda: text in self.edges[name].status()["central"]["why"], seconds)

    def tls(self, name):
        folder = os.path.join(self.edges[name].data, "tls")
        return {x: os.path.join(folder, f) for x, f in (("cert", "edge.pem"), ("key", "edge.key"), ("ca", "ca.pem"))}

    def send_and_see(self, name, *options):
        folder = self.generate("--count", 3, *options)
        self.send(name, folder)
        self.drained(name)
        self.in_vault(folder)
        return folder


def said(node, *words):
    """(exit code, stderr)"""
    done = subprocess.run([node.binary, "--config", node.conf, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False)
    return done.returncode, done.stderr.decode()


def answer_on(s):
    """One answer, head and body, on a connection that stays."""
    got = b""
    while not (whole := re.match(rb"(?is)(.*?\r\ncontent-length: (\d+)\r\n(?:.*?\r\n)?\r\n)", got)) or \
            len(got) < len(whole.group(1)) + int(whole.group(2)):
        more = s.recv(4096)
        if not more:
            raise nodes.Failed(f"hung up after {got!r}")
        got += more
    return got


def certificate_of(port):
    """What a server shows, DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as s, context.wrap_socket(s) as t:
        return t.getpeercert(binary_form=True)


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def certificate(g, name, begin, end):
    """Another one for the edge's own key, as central's CA would have made it in other years."""
    ca, tls = os.path.join(g.central.data, "tls"), g.tls(name)
    sign(tempfile.mkdtemp(dir=g.top), os.path.join(ca, "ca.pem"), os.path.join(ca, "ca.key"), name, tls, begin, end)


def sign(work, ca, ca_key, name, tls, begin, end):
    for file, text in (("index", ""), ("serial", "77\n"), ("config",
                       "[ca]\ndefault_ca = c\n[c]\ndatabase = index\nserial = serial\nnew_certs_dir = .\n"
                       "default_md = sha256\npolicy = p\nx509_extensions = x\n[p]\ncommonName = supplied\n"
                       "[x]\nauthorityKeyIdentifier = keyid\nextendedKeyUsage = clientAuth\n")):
        with open(os.path.join(work, file), "w", encoding="utf-8") as f:
            f.write(text)
    script = ('openssl req -new -key "$1" -subj "/CN=$2" -out csr && openssl ca -batch -notext -config config '
              '-cert "$3" -keyfile "$4" -startdate "$5" -enddate "$6" -in csr -out "$7"')
    subprocess.run(["sh", "-c", script, "sh", tls["key"], name, ca, ca_key, f"{begin}0101000000Z", f"{end}0101000000Z",
                    tls["cert"]], cwd=work, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# --- joining ---

def join__R24_R26_two_sites_and_a_central_without_openssl():
    with Archive(("north", "south")) as g:
        for name, seed in (("north", 1), ("south", 2)):
            g.send_and_see(name, "--seed", seed)
            s = g.edges[name].status()
            expect(name, (s["identity"]["state"], s["central"]["reachable"], s["central"]["why"]), ("joined", True, ""))
            expect("the key that central knows", g.site(name)["key"], s["identity"]["key"])
            tls = os.path.join(g.edges[name].data, "tls")
            for secret in ("edge.key", "edge.pem", "ca.pem"):
                mode = stat.S_IMODE(os.stat(os.path.join(tls, secret)).st_mode)
                if mode & 0o077 and secret == "edge.key":
                    raise nodes.Failed(f"{secret} can be read by others: {mode:o}")
            # its own web server shows the certificate, and wants one of the archive
            expect("with a certificate", ask(g.edges[name].http, raw("GET", "/status"), g.tls("north")), 200)
            expect("without", ask(g.edges[name].http, raw("GET", "/status"), {}), 403)
            expect("plainly", ask(g.edges[name].http, raw("GET", "/status")), 0)


def join__R26_while_serve_runs_counts_at_once():
    with Archive(join=False) as g:
        edge = g.edges["north"]
        edge.command("init")
        edge.start()
        folder = g.generate("--count", 3)
        g.send("north", folder)  # R24: it takes in, serves, and speaks with nobody
        g.served(edge, folder)
        s = json.loads(edge.command("status", "--json", ok=(3,))[1])
        expect("not joined", s["identity"]["state"], "not joined")
        g.why("north", "not joined")
        exit_code, err = said(edge, "refill")
        expect("nobody to ask", (exit_code, "not joined" in err), (1, True))
        with socket.socket() as s:
            expect("plain http of an identity", s.connect_ex(("127.0.0.1", edge.http)) != 0, True)
        g.join("north")
        g.drained("north")
        g.in_vault(folder)
        nodes.wait_for("its web server", lambda: ask(edge.http, raw("GET", "/status"), g.tls("north")) == 200)
        expect("a person is not needed", edge.command("status")[0], 0)


def join__R26_a_code_is_for_one_site_one_key_and_one_archive():
    with Archive(("north", "south"), join=False) as g:
        north, south = g.edges["north"], g.edges["south"]
        url = f"https://127.0.0.1:{g.wan['north'].port}"
        code = g.code("north")
        for wrong, text in ((code[:-9], "mistyped"), (code[:4] + ("a" if code[4] != "a" else "b") + code[5:], "refuses"),
                            (code[:-4] + ("aaaa" if code[-4:] != "aaaa" else "baaa"), "not the central of this code")):
            exit_code, err = said(north, "join", url, wrong)
            if exit_code != 1 or text not in err:
                raise nodes.Failed(f"{wrong}: {exit_code}, {err}")
        exit_code, err = said(south, "join", url, code)
        expect("another site's code", (exit_code, "refuses" in err), (1, True))
        g.join("north", code)
        key = digest(g.tls("north")["key"])
        g.join("north", code)  # as after a lost answer
        expect("the same key", digest(g.tls("north")["key"]), key)
        thief = nodes.edge(os.path.join(g.top, "thief"), "north")
        thief.write_config()
        exit_code, err = said(thief, "join", url, code)
        expect("a second key", (exit_code, "refuses" in err), (1, True))
        expect("a person is told", g.central.command("sites", ok=(3,))[0], 3)
        north.start()
        g.send_and_see("north")
        exit_code, err = said(g.central, "site", "add", "north")
        expect("a site that has joined", (exit_code, "--rejoin" in err), (1, True))
        expect("a name like central's", said(g.central, "site", "add", "central.x")[0], 1)


# --- the gate ---

def gate__R24_R25_every_route_turns_away_whoever_has_no_right():
    with Archive(("north", "south")) as g:
        port = g.central.http
        north, south = g.tls("north"), g.tls("south")
        foreign = Certificates(os.path.join(g.top, "foreign"))
        routes = [r for r in ROUTES if r != ENROL]
        expect("routes", len(routes) > 15, True)
        g.central.command("site", "suspend", "south")
        for method, path in routes:
            for who, tls, headers in (("nobody", {}, ()), ("a foreign CA", foreign.node("north", "foreign"), ()),
                                      ("a suspended site", south, ()),
                                      ("another site's name", north, ("Salamander-Site: south",))):
                expect(f"{who} at {method} {path}", ask(port, raw(method, path, *headers), tls), 403)
            expect("plain http", ask(port, raw(method, path)), 0)
            expect("two lengths", ask(port, raw(method, path, "Content-Length: 3", "Content-Length: 4"), north), 400)
            expect(f"its own at {method} {path}", ask(port, raw(method, path), north) in (0, 403), False)
        g.edges["north"].stop()
        certificate(g, "north", 2018, 2020)
        for method, path in routes:  # R25: a known key with a certificate that ran out
            late = path in ("/sync/v1/hello", "/sync/v1/ledger", "/sync/v1/renew")
            expect(f"out of time at {method} {path}", ask(port, raw(method, path), north) in (0, 403), not late)
        g.join("north", g.code("north", "--rejoin"))
        # the one route without a certificate gives nobody anything
        expect("no request", ask(port, raw(*ENROL), {}) in (400, 403), True)
        expect("two lengths", ask(port, raw(*ENROL, "Content-Length: 3", "Content-Length: 4"), {}), 400)
        expect("no such path", (ask(port, raw("GET", "/nothing"), north), ask(port, raw("GET", "/nothing"), {})), (404, 403))


def site__R24_a_suspension_does_not_wait():
    with Archive() as g:
        edge = g.edges["north"]
        g.send_and_see("north")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(g.tls("north")["cert"], g.tls("north")["key"])
        with socket.create_connection(("127.0.0.1", g.central.http), 5) as plain, context.wrap_socket(plain) as s:
            s.settimeout(10)
            s.sendall(raw("GET", "/nothing"))
            expect("let in", answer_on(s).split()[1], b"404")
            g.central.command("site", "suspend", "north")
            s.sendall(raw("POST", "/sync/v1/hello"))
            answer = answer_on(s)
            expect("on a standing connection", (answer.split()[1], b"suspended" in answer), (b"403", True))
        folder = g.generate("--count", 2, "--seed", 5)
        g.send("north", folder)
        nodes.wait_for("turned away", lambda: edge.status()["central"]["turned_away"])
        s = json.loads(edge.command("status", "--json", ok=(3,))[1])
        expect("why", (s["central"]["why"], s["owed"]["instances"]), ("it turns this edge away: suspended", 2))
        g.served(edge, folder)
        g.central.command("site", "readmit", "north")
        g.drained("north", seconds=90)
        g.in_vault(folder)


def site__R26_who_owes_is_not_removed_unless_the_list_is_kept():
    with Archive() as g:
        g.wan["north"].rate = 20000
        g.send("north", g.generate("--count", 8))
        edge = g.edges["north"]
        nodes.wait_for("announced", lambda: edge.status()["ledger"]["announced_seq"] ==
                       edge.status()["ledger"]["last_seq"], 60)
        g.wan["north"].cut()
        expect("owed", g.central.command("site", "remove", "north", ok=(3,))[0], 3)
        expect("nothing done", g.site("north")["state"], "active")
        g.central.command("site", "remove", "north", "--abandon")
        lists = glob.glob(os.path.join(g.central.data, "*north*.csv"))
        with open(lists[0], encoding="utf-8") as f:
            expect("whom to call back", len(f.read().splitlines()) > 1, True)
        g.wan["north"].restore()
        g.wan["north"].rate = 0
        g.why("north", "removed")
        g.join("north", g.code("north", "--rejoin"))  # and everything it has arrives after all
        g.drained("north")


# --- the CA burns, or changes ---

def init__R22_R25_a_central_from_the_kit_is_the_same_archive():
    with Archive(("north", "south")) as g:
        folders = [g.send_and_see(n, "--seed", i) for i, n in enumerate(g.edges, 1)]
        before = {n: (digest(g.tls(n)["key"]), e.status()["incarnation"]) for n, e in g.edges.items()}
        g.wan["south"].cut()
        g.edges["south"].stop()
        g.central.burn()
        g.init("--recover", g.kit)
        g.wan["south"].restore()
        g.edges["south"].start()
        g.send("north", g.generate("--count", 1, "--seed", 6))
        g.drained(seconds=90)
        g.in_vault(*folders)
        for n, e in g.edges.items():
            expect("untouched", (digest(g.tls(n)["key"]), e.status()["incarnation"]), before[n])
        nodes.wait_for("each has told who may call: they read all", lambda: not any(g.site(n)["unvouched"] for n in g.edges), 90)


def init__R25_R26_who_was_removed_or_suspended_is_so_after_a_fire():
    with Archive(("north", "south", "west")) as g:
        for seed, name in enumerate(g.edges, 1):
            g.send_and_see(name, "--seed", seed)
        nodes.wait_for("north has heard who belongs to the archive", lambda: g.edges["north"].log_count("kind=20") >= 3, 60)
        before = g.edges["north"].log_count("kind=20")
        g.central.command("site", "remove", "south")
        g.central.command("site", "suspend", "west")
        nodes.wait_for("north has heard both", lambda: g.edges["north"].log_count("kind=20") == before + 2, 60)
        g.edges["west"].stop()
        g.wan["north"].cut()
        g.central.burn()
        g.init("--recover", g.kit)
        # its certificate is of this archive's CA, and nobody is there who knows better
        nodes.wait_for("the removed one calls first, and reads what it delivers, until another has said who was removed",
                       lambda: any(s["name"] == "south" and s["unvouched"] for s in g.central.status()["sites"]), 60)
        expect("so `status` says", "1 sites read only what they delivered" in g.central.command("status")[1], True)
        expect("so `sites` says", "south: came in by its certificate alone" in g.central.command("sites")[1], True)
        g.wan["north"].restore()
        g.why("south", "removed", seconds=90)
        expect("who may call", [g.site(n)["state"] for n in ("north", "south", "west")],
               ["active", "removed", "suspended"])
        g.edges["west"].start()
        g.why("west", "suspended", seconds=60)
        g.central.command("site", "readmit", "west")  # by its old certificate: nothing else was taken from it
        g.drained("west", seconds=90)
        nodes.wait_for("west has said who was removed: north reads all", lambda: not g.site("north")["unvouched"], 90)
        g.join("south")  # a person lets it in again, and that outlives the next fire
        g.drained("south", seconds=90)
        nodes.wait_for("north has heard that", lambda: g.edges["north"].log_count("kind=20") >= before + 7, 60)
        g.wan["south"].cut()
        g.central.burn()
        g.init("--recover", g.kit)
        nodes.wait_for("north gave it back", lambda: g.central.log_count("site.back") >= 6, 60)
        g.wan["south"].restore()
        g.send("south", g.generate("--count", 1, "--seed", 9))
        g.drained(seconds=90)
        expect("everybody", [g.site(n)["state"] for n in g.edges], ["active"] * 3)


def join__R25_R26_without_the_kit_a_rejoin_replaces_keys_only():
    with Archive() as g:
        edge = g.edges["north"]
        folder = g.send_and_see("north")
        before, archive = edge.status()["incarnation"], edge.status()["identity"]["archive"]
        g.central.burn()
        g.init("--kit", g.kit + "2")
        g.send("north", g.generate("--count", 2, "--seed", 7))
        g.why("north", "not the central of this archive")
        g.join("north")
        g.drained("north", seconds=90)
        g.in_vault(folder)
        s = edge.status()
        expect("its ledger goes on", s["incarnation"], before)
        expect("another archive", s["identity"]["archive"] != archive, True)


def ca__R25_a_new_one_reaches_edges_that_run_and_that_were_cut_off():
    with Archive(("north", "south")) as g:
        g.edges["south"].stop()
        had = {n: digest(g.tls(n)["ca"]) for n in g.edges}
        g.central.command("ca", "renew", "--kit", g.kit + "2", "--passphrase-file", g.passphrase)
        nodes.wait_for("north has the new CA", lambda: digest(g.tls("north")["ca"]) != had["north"], 40)
        g.send_and_see("north", "--seed", 3)
        g.edges["south"].start()
        g.send_and_see("south", "--seed", 4)
        nodes.wait_for("south has it as well", lambda: digest(g.tls("south")["ca"]) != had["south"], 40)
        keys = {n: e.status()["identity"]["key"] for n, e in g.edges.items()}
        g.central.burn()
        g.init("--recover", g.kit + "2")
        for n in g.edges:
            nodes.wait_for(f"{n} connects", lambda n=n: g.edges[n].status()["central"]["reachable"], 40)
        expect("untouched", {n: e.status()["identity"]["key"] for n, e in g.edges.items()}, keys)


def ca__R25_an_older_one_is_given_up_once_each_site_has_shown_the_newest():
    with Archive(("north", "south")) as g:
        def retire(kit, *words):
            return said(g.central, "ca", "retire", "--kit", g.kit + kit, "--passphrase-file", g.passphrase, *words)

        def bundle():
            with open(os.path.join(g.central.data, "tls", "ca.pem"), encoding="ascii") as f:
                return f.read().count("BEGIN")

        expect("nothing to give up", retire("0"), (1, "salamander-central: no older CA is believed here\n"))
        g.edges["south"].stop()
        old = {k: os.path.join(g.top, k) for k in ("cert", "key")}
        for k, path in old.items():
            shutil.copy(g.tls("north")[k], path)
        g.central.command("ca", "renew", "--kit", g.kit + "2", "--passphrase-file", g.passphrase)
        expect("until when the old one is good", ask(g.central.http, raw("POST", "/sync/v1/hello"), old), 426)
        nodes.wait_for("north shows the new one", lambda: not g.site("north")["older_ca"], 60)
        expect("south does not", (g.site("south")["older_ca"], bundle()), (True, 3))
        out = g.central.command("ca", "retire", "--kit", g.kit + "3", "--passphrase-file", g.passphrase, ok=(3,))[1]
        expect("who would be cut off", ("newest CA: south\n" in out, bundle(), os.path.exists(g.kit + "3")), (True, 3, False))
        expect("sites says so", "south: has not called with a certificate of the newest CA" in
               g.central.command("sites")[1], True)
        g.edges["south"].start()
        nodes.wait_for("south as well", lambda: not g.site("south")["older_ca"], 60)
        expect("a word too many", said(g.central, "ca", "renew", "--kit", g.kit + "3", "--abandon")[0], 2)
        expect("given up", (retire("3"), bundle()), ((0, ""), 1))
        expect("what the old one signed", ask(g.central.http, raw("POST", "/sync/v1/hello"), old), 403)
        now = digest(os.path.join(g.central.data, "tls", "ca.pem"))
        for seed, name in enumerate(g.edges, 5):
            nodes.wait_for(f"{name} believes the new one alone", lambda n=name: digest(g.tls(n)["ca"]) == now, 60)
            g.send_and_see(name, "--seed", seed)
        g.central.burn()
        g.init("--recover", g.kit + "3")
        g.drained(seconds=90)
        expect("from the kit", (bundle(), [g.site(n)["held"] for n in g.edges]), (1, [3, 3]))


def renew__R25_out_of_time_and_across_a_new_ca_an_edge_says_hello_renews_and_goes_on():
    years = (("north", 2018, 2020), ("south", 2100, 2102))  # cut off; a clock at 2100 or 1970, here or there
    with Archive(("north", "south")) as g:
        for name, begin, end in years:
            g.edges[name].stop()
            certificate(g, name, begin, end)
        g.central.command("ca", "renew", "--kit", g.kit + "2", "--passphrase-file", g.passphrase)
        for name, begin, end in years:
            edge, folder = g.edges[name], g.generate("--count", 2, "--seed", begin)
            expect("out of time", ask(g.central.http, raw("POST", "/sync/v1/refill"), g.tls(name)), 403)
            # Past the gate, and told that it names no version: an empty body is no hello.
            expect("hello is heard", ask(g.central.http, raw("POST", "/sync/v1/hello"), g.tls(name)), 426)
            edge.start()
            g.send(name, folder)
            g.drained(name)
            g.in_vault(folder)
            if edge.status()["identity"]["certificate_until"][:4] in (str(end), str(begin)):
                raise nodes.Failed(f"{name} was not renewed")
            nodes.wait_for("its web server shows it", lambda e=edge, n=name: ssl.DER_cert_to_PEM_cert(
                certificate_of(e.http)).strip() in open(g.tls(n)["cert"], encoding="utf-8").read())


def wrong_clock(node, year):
    """From now on its processes live in that year, on the first of January."""
    to = calendar.timegm((year, 1, 1, 0, 1, 0))
    node.env = {"LD_PRELOAD": nodes.tool("wrong_clock.so"), "WRONG_CLOCK_S": str(to - int(time.time()))}


def clocks__R25_R28_edges_at_1970_and_at_2100_join_renew_say_hello_and_deliver():
    years = {"north": 1970, "south": 2100}
    with Archive(("north", "south"), join=False) as g:
        for name, year in years.items():
            edge = g.edges[name]
            wrong_clock(edge, year)
            g.join(name)
            edge.start()
            folder = g.send_and_see(name, "--seed", year)
            g.served(edge, folder)
            s = json.loads(edge.command("status", "--json", ok=(3,))[1])  # off by more than a day: a person is told
            off = s["central"]["clock_skew_seconds"]
            expect(f"{year} is told", (off > 0) == (year == 1970) and abs(off) > 24 * 3600 * 365, True)
        before = {n: digest(g.tls(n)["cert"]) for n in years}
        g.central.command("ca", "renew", "--kit", g.kit + "2", "--passphrase-file", g.passphrase)
        for name, year in years.items():
            edge = g.edges[name]
            nodes.wait_for(f"{name} was renewed", lambda n=name: digest(g.tls(n)["cert"]) != before[n], 40)
            edge.stop()
            g.wan[name].cut()
            edge.start()  # nobody has told it the time yet
            expect("its web server", ask(edge.http, raw("GET", "/status"), g.tls(name)), 200)
            g.wan[name].restore()
            folder = g.send_and_see(name, "--seed", year + 1)
            # its own web server judges others' certificates by its own clock, and shows one all the same
            expect("its web server", ask(edge.http, raw("GET", "/status"), g.tls(name)), 200)
            expect("in step", edge.command("resync", ok=(0,))[0], 0)
            # and what it has is kept, listed and released by central's word alone
            expect("known, held", [g.site(name)[k] for k in ("known", "held", "owed", "lost")], [6, 6, 0, 0])
        g.central.burn()  # R22: the edges fill another one
        g.init("--recover", g.kit + "2")
        for name, year in years.items():
            g.send(name, g.generate("--count", 1, "--seed", year + 2))
        g.drained(seconds=90)
        for name in years:
            expect("filled", [g.site(name)[k] for k in ("known", "held")], [7, 7])


# --- files without a restart ---

def reload__R24_own_certificates_are_read_again_without_a_restart():
    top = tempfile.mkdtemp(prefix="salamander-reload-")
    certs = Certificates(os.path.join(top, "tls"))
    central = nodes.central(os.path.join(top, "central"), tls=certs.node("central"))
    edge = nodes.edge(os.path.join(top, "north"), "north", tls=certs.node("north"))
    edge.config["central"] = {"url": f"https://127.0.0.1:1, https://127.0.0.1:{central.http}"}
    edge.http = nodes.port()
    edge.config["http"] = {"listen": f"127.0.0.1:{edge.http}"}
    try:
        for node in (central, edge):
            node.write_config()
            node.command("init")
            node.start()
        nodes.wait_for("the second address", lambda: edge.status()["central"]["reachable"], 40)
        for node, name, port in ((central, "central", central.http), (edge, "north", edge.http)):
            before = certificate_of(port)
            certs.node(name)  # written over
            expect("not yet", certificate_of(port), before)
            node.command("reload")
            expect("the new one", certificate_of(port) != before, True)
            with open(certs.path(f"{name}.ca.key"), "w", encoding="utf-8") as f:
                f.write("half a file")
            now = certificate_of(port)
            exit_code, err = said(node, "reload")
            expect("half a file", (exit_code, "no PEM certificate and its key" in err), (1, True))
            expect("the last good one stays", certificate_of(port), now)
            node.stop()
            expect("nor by itself", said(node, "reload"), (exit_code, err))
            if node is central:  # R25: who is still of a CA that the new file gives up
                certs.ca("next")
                certs.node(name)
                shutil.copy(certs.path("ca.pem"), certs.path("kept.pem"))
                shutil.copy(certs.path("next.pem"), certs.path("ca.pem"))
                code, out = node.command("reload", ok=(3,))
                expect("told", "north: its certificate is of a CA that is believed no more" in out, True)
                shutil.copy(certs.path("kept.pem"), certs.path("ca.pem"))
            certs.node(name)
            expect("good again", "certificate files are good" in node.command("reload")[1], True)
        expect("a code of ours", said(central, "site", "add", "south")[0], 1)
        expect("a join", said(edge, "join", f"https://127.0.0.1:{central.http}", "x")[0], 1)
    finally:
        central.kill()
        edge.kill()
        shutil.rmtree(top)


def gate__R25_the_operator_s_expired_certificate_says_hello_only_with_a_known_key():
    top = tempfile.mkdtemp(prefix="salamander-late-")
    certs = Certificates(os.path.join(top, "tls"))
    central = nodes.central(os.path.join(top, "central"), tls=certs.node("central"))
    tls, other = certs.node("north"), dict(certs.node("stranger"))

    def expired(who, name):
        work = tempfile.mkdtemp(dir=top)
        sign(work, certs.path("ca.pem"), certs.path("ca.key"), name, who, 2018, 2020)

    def walk(who, what, let_in):
        for method, path in ROUTES:
            got = ask(central.http, raw(method, path), who)
            expect(f"{what} at {method} {path}", got not in (0, 403), path in let_in)

    try:
        central.write_config()
        central.command("init")
        central.start()
        hello = raw("POST", "/sync/v1/hello")
        valid = dict(tls, cert=certs.path("valid.pem"))
        shutil.copy(tls["cert"], valid["cert"])
        expired(tls, "north")
        expired(other, "north")
        walk(tls, "never seen", ())
        expect("valid", ask(central.http, hello, valid), 426)  # heard, and no version in it
        walk(tls, "known", ("/sync/v1/hello", "/sync/v1/ledger", "/sync/v1/renew"))
        walk(other, "another key of this name", ())
        central.stop()
        central.start()
        expect("known after a restart", ask(central.http, hello, tls), 426)
        expect("and nothing more", ask(central.http, raw("POST", "/sync/v1/refill"), tls), 403)
        central.command("site", "suspend", "north")
        walk(tls, "suspended", ())
    finally:
        central.kill()
        shutil.rmtree(top)


def rebuild__R16_R26_sites_and_keys_come_back_from_the_log():
    with Archive(("north", "south")) as g:
        folder = g.send_and_see("north")
        g.central.command("site", "suspend", "south")
        before = [{k: g.site(n)[k] for k in ("state", "policy", "key")} for n in g.edges]
        g.central.command("rebuild")
        expect("as before", [{k: g.site(n)[k] for k in ("state", "policy", "key")} for n in g.edges], before)
        g.send_and_see("north", "--seed", 9)
        g.in_vault(folder)


if __name__ == "__main__":
    sys.exit(nodes.play("identity", globals()))
