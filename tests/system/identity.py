#!/usr/bin/python3
"""Who may talk, with real nodes: init, join, suspended, removed; the CA changed: certificates.py, burnt: recovered.py.

Each test is a function named after the promise it holds. Nothing here shares code with the product.
"""
import glob
import hashlib
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import tempfile

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
