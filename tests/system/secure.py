#!/usr/bin/python3
"""DICOM under TLS: real nodes, DCMTK's clients and openssl's, certificates made here.

Each test is a function named after the promise it holds; a test that fails prints why.
"""
import os
import re
import subprocess
import sys
import urllib.request
from datetime import datetime, timezone

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import dimse  # noqa: E402
import exact  # noqa: E402
import nodes  # noqa: E402
from nodes import expect  # noqa: E402

FAST = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Pki:
    """A CA in a folder, and certificates of it: as the README says, with openssl alone."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        os.makedirs(folder, exist_ok=True)
        nodes.run("openssl", "req", "-x509", *FAST, "-keyout", self.path(f"{name}.key"), "-out",
                  self.path(f"{name}.pem"), "-days", "3650", "-subj", f"/CN={name}")

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, names="IP:127.0.0.1", days="100", key=None):
        with open(self.path("san"), "w", encoding="ascii") as f:
            f.write(f"subjectAltName={names}\n")
        nodes.run("openssl", "req", *(key or FAST), "-keyout", self.path(f"{name}.key"), "-out", self.path("csr"),
                  "-subj", f"/O=Ward 3/CN={name}")
        nodes.run("openssl", "x509", "-req", "-in", self.path("csr"), "-CA", self.path(f"{self.name}.pem"), "-CAkey",
                  self.path(f"{self.name}.key"), "-CAcreateserial", "-days", days, "-extfile", self.path("san"),
                  "-out", self.path(f"{name}.pem"))

    def settings(self, name, listen):
        return {"tls_listen": f"127.0.0.1:{listen}", "tls_cert": self.path(f"{name}.pem"),
                "tls_key": self.path(f"{name}.key"), "tls_ca": self.path(f"{self.name}.pem")}

    def words(self, name, ca=None):
        """What DCMTK's tools want to hear."""
        return ["+tls", self.path(f"{name}.key"), self.path(f"{name}.pem"), "+cf", ca or self.path(f"{self.name}.pem")]


class Secure(dimse.Group):
    """The group, both nodes with a port for TLS, and a destination that takes nothing else."""

    def __init__(self, folder, **peer):
        self.pki = Pki(folder)
        self.pki.issue("node")
        self.pki.issue("viewer", "DNS:viewer.example")
        self.pki.issue("pacs")
        self.ports = {"north": nodes.port(), "central": nodes.port()}
        super().__init__(edge={"dicom": self.pki.settings("node", self.ports["north"])},
                         central={"dicom": self.pki.settings("node", self.ports["central"])})
        for node in (self.edge, self.central):
            node.config["peer SECURE"] = {"aet": "SECURE", "host": "127.0.0.1", "port": nodes.port(), "tls": "yes"}
            node.config["peer VIEWER"].update(peer)

    def port(self, node):
        return self.ports["north" if node is self.edge else "central"]

    def ask(self, tool, node, *words, who="viewer", ok=(0,), aet="VIEWER", ca=None):
        """A client of DCMTK by TLS: its exit code and what it printed."""
        done = subprocess.run([tool, *self.pki.words(who, ca), "-aet", aet, "-aec", node.aet, "127.0.0.1",
                               str(self.port(node)), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=120, check=False)
        out = done.stdout.decode("utf-8", "replace")
        if ok is not None and done.returncode not in ok:
            raise nodes.Failed(f"{tool} at {node.name}: exit {done.returncode}: {out[-800:]}")
        return done.returncode, out

    def openssl(self, node, *words, who="viewer"):
        """What the server says to a client that offers only so much; "": no handshake."""
        out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.port(node)}", "-cert",
                              self.pki.path(f"{who}.pem"), "-key", self.pki.path(f"{who}.key"), *words],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                             check=False).stdout.decode("utf-8", "replace")
        new = [line for line in out.splitlines() if line.startswith("New, ")]
        return new[0] if new and "(NONE)" not in new[0] else "", out


def secure_group(test, **peer):
    """Runs test(group) on a fresh one; the certificates lie beside its folder."""
    folder = nodes.run("mktemp", "-d")[1].strip()
    try:
        with Secure(os.path.join(folder, "pki"), **peer) as g:
            test(g)
    finally:
        nodes.run("rm", "-rf", folder)


def objects(g, count=5):
    folder = g.folder("sent")
    return [dimse.write(os.path.join(folder, f"{i}.dcm"), dimse.instance(i)) for i in range(1, count + 1)]


def take_in_and_retrieve(g):
    sent = objects(g)
    g.ask("storescu", g.edge, *sent, aet="MODALITY")
    g.drained()
    moved = g.folder("secured")
    port = g.edge.config["peer SECURE"]["port"]
    for node in (g.central, g.edge):
        key = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={dimse.ROOT}.1"]
        _, out = g.ask("findscu", node, "-d", "-S", *key)
        expect(f"{node.name}: answers", out.count("Received Find Response"), 1)
    scp = subprocess.Popen(["storescp", *g.pki.words("pacs"), "+B", "+xa", "-od", moved, "-aet", "SECURE",
                            str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        nodes.wait_for("storescp by TLS", lambda: subprocess.run(
            ["echoscu", *g.pki.words("viewer"), "127.0.0.1", str(port)], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False).returncode == 0)
        expect("C-MOVE", g.move(g.edge, f"StudyInstanceUID={dimse.ROOT}.1", to="SECURE")[:3], ("0x0000", len(sent), 0))
    finally:
        scp.kill()
        scp.wait()
    g.compare(sent, moved)
    for node in (g.edge, g.central):
        if not any(" association calling=VIEWER " in line and " tls=TLSv1." in line and
                   " certificate=CN=viewer,O=Ward_3 names=DNS:viewer.example" in line
                   for line in dimse.audit_lines(node)):
            raise nodes.Failed(f"{node.name}: R36: the certificate is not in the audit log")


def secure__R36_foreign_clients_store_find_and_are_moved_to():
    secure_group(take_in_and_retrieve)


def secure__every_object_is_the_same_that_goes_in_and_comes_out():
    with exact.Place() as p:
        pki, listen = Pki(p.fresh("pki")), nodes.port()
        pki.issue("node")
        pki.issue("modality")
        files = ":".join(pki.path(name) for name in ("modality.pem", "modality.key", "ca.pem"))
        p.edge.config["dicom"].update(pki.settings("node", listen))
        p.edge.start()
        folder, sent = p.material()
        nodes.run(nodes.tool("dicom_send"), "127.0.0.1", listen, "-t", files, "-c", p.edge.aet, "-a", "MODALITY", "-n", 4,
                  folder)
        got, hidden = p.fresh("got"), exact.nameless(sent)
        nodes.run(nodes.tool("dicom_get"), "127.0.0.1", listen, "-t", files, "-c", p.edge.aet, "-a", "VIEWER", "-o", got,
                  "--all")
        exact.compare("by TLS", [o for o in sent if o.path not in hidden], got)


def profiles(g):
    for profile in ("+py", "+px", "+pz"):
        g.ask("echoscu", g.edge, profile)
    g.pki.issue("rsa", key=["-newkey", "rsa:2048", "-nodes"])
    g.ask("echoscu", g.edge, who="rsa")
    for words, want in ((["-tls1_3"], "TLSv1.3"), (["-tls1_2"], "TLSv1.2"), (["-tls1_1"], ""), (["-tls1"], ""),
                        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "AES128-GCM"),
                        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"], ""),
                        (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], ""),
                        (["-tls1_2", "-cipher", "NULL:AES128-SHA:AES256-GCM-SHA384@SECLEVEL=0"], "")):
        got, out = g.openssl(g.edge, *words)
        if want not in got or (not want and got):
            raise nodes.Failed(f"openssl s_client {' '.join(words)}: {got!r}: {out[-300:]}")
    _, out = g.openssl(g.edge, "-tls1_2")
    if "Secure Renegotiation IS supported" not in out or "TLS session ticket:" in out:
        raise nodes.Failed(out[-1500:])


def secure__tls_is_1_2_at_least_with_the_suites_of_bcp_195():
    secure_group(profiles)


def strangers(g):
    other = Pki(os.path.join(g.top, "other"), "elsewhere")
    other.issue("viewer")
    g.pki.issue("late", days="0")
    before = g.edge.status()["refusals"]
    own = g.pki.path("ca.pem")
    mine, g.pki = g.pki, other
    expect("of another CA", g.ask("echoscu", g.edge, ok=None, ca=own)[0] != 0, True)
    g.pki = mine
    expect("out of its time", g.ask("echoscu", g.edge, who="late", ok=None)[0] != 0, True)
    anonymous = nodes.run("echoscu", "+tla", "-ic", "127.0.0.1", g.port(g.edge), ok=None)[0]
    expect("without a certificate", anonymous != 0, True)
    expect("plain, on that port", nodes.run("echoscu", "127.0.0.1", g.port(g.edge), ok=None)[0] != 0, True)
    nodes.wait_for("four are refused", lambda: g.edge.status()["refusals"] >= before + 4)
    for what in ("certificate", "expired", "peer did not return a certificate", "wrong version number"):
        if not any("dimse.no_association" in line and what in line for line in open(g.edge.log, encoding="utf-8")):
            raise nodes.Failed(f"the log does not say: {what}\n{g.edge.tail()}")
    # Who must come by TLS is refused where it is not.
    plain = nodes.run("echoscu", "-aet", "VIEWER", "-aec", g.edge.aet, "127.0.0.1", g.edge.dicom, ok=None)[0]
    expect("plain, though it must not be", plain != 0, True)
    g.ask("echoscu", g.edge)
    g.pki.issue("borrowed", "DNS:ct2.example")
    expect("with another's certificate", g.ask("echoscu", g.edge, who="borrowed", ok=None)[0] != 0, True)
    for why in ("tls-required", "certificate-name"):
        if not any(f" rejected why={why} calling=VIEWER " in line for line in dimse.audit_lines(g.edge)):
            raise nodes.Failed(f"R36: {why} is not in the audit log")


def secure__R29_strangers_are_refused_and_listed():
    secure_group(strangers, tls="required", tls_name="viewer.example")


def until(path):
    """As openssl says it."""
    text = nodes.run("openssl", "x509", "-in", path, "-noout", "-enddate")[1].strip().partition("=")[2]
    return datetime.strptime(text, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=timezone.utc)


def told(g, node):
    """What status, status --json and /metrics say: until when, and whether somebody must renew it."""
    code, text = nodes.run(node.binary, "--config", node.conf, "status", ok=None)
    line = [x for x in text.splitlines() if x.startswith("DICOM by TLS, certificate until ")]
    when = node.status()["dicom_certificate_until"]
    expect(f"{node.name}: one line", len(line) == 1 and when in line[0], True)
    if hasattr(node, "http"):
        name = f"salamander_{node.role}_dicom_certificate_until_timestamp_seconds"
        with urllib.request.urlopen(f"http://127.0.0.1:{node.http}/metrics", timeout=20) as f:
            got = re.search(rf"^{name} (\d+)$", f.read().decode(), re.M)
        expect(f"{node.name}: /metrics", int(got.group(1)), datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp())
    return datetime.fromisoformat(when.replace("Z", "+00:00")), "RENEW IT" in line[0] and code == 3


def expiry(g):
    before = until(g.pki.path("node.pem"))  # which both were started with
    for node in (g.edge, g.central):
        expect(f"{node.name}: its certificate", told(g, node), (before, False))
        g.pki.issue("node", days="20")
        expect("until a reload the one that is shown", told(g, node), (before, False))
        dimse.command(node, "reload")
        expect("within a month", told(g, node), (until(g.pki.path("node.pem")), True))
        node.stop()
        expect("without a server", told_offline(node), until(g.pki.path("node.pem")))
        g.pki.issue("node")
        node.start()
    plain = nodes.edge(g.folder("plain"), "south")
    plain.start()
    try:
        expect("without TLS", plain.status()["dicom_certificate_until"], None)
    finally:
        plain.kill()


def told_offline(node):
    text = nodes.run(node.binary, "--config", node.conf, "status", ok=None)[1]
    return datetime.fromisoformat(re.search(r"certificate until (\S+?)(?::? |$)", text, re.M).group(1).replace("Z", "+00:00"))


def secure__its_expiry_is_told_before_it_bites():
    secure_group(expiry)


def serial(g, node):
    _, out = g.openssl(node, "-showcerts")
    return out.split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0]


def renewal(g):
    for node in (g.edge, g.central):
        before = serial(g, node)
        g.pki.issue("node")
        expect("before a reload", serial(g, node), before)
        dimse.command(node, "reload")
        if serial(g, node) == before:
            raise nodes.Failed(f"{node.name}: the new certificate is not shown")
        g.ask("echoscu", node)
        # Half of a renewal is said, and the old one goes on.
        os.rename(g.pki.path("node.key"), g.pki.path("node.kept"))
        code, out = nodes.run(node.binary, "--config", node.conf, "reload", ok=None)
        expect("a reload without the key", code, 1)
        g.ask("echoscu", node)
        os.rename(g.pki.path("node.kept"), g.pki.path("node.key"))


def secure__a_reload_takes_a_new_certificate():
    secure_group(renewal)


def broken(g):
    node = g.edge
    node.stop()
    os.rename(g.pki.path("node.key"), g.pki.path("node.kept"))
    done = subprocess.run([node.binary, "--config", node.conf, "serve"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    expect("without the key", done.returncode, 1)
    if f"cannot read {g.pki.path('node.key')}".encode() not in done.stdout:
        raise nodes.Failed(done.stdout.decode())
    os.rename(g.pki.path("node.kept"), g.pki.path("node.key"))
    del node.config["dicom"]["tls_key"]
    node.write_config()
    done = subprocess.run([node.binary, "--config", node.conf, "serve"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    expect("without naming it", done.returncode != 0, True)
    if b"tls_cert, tls_key and tls_ca" not in done.stdout:
        raise nodes.Failed(done.stdout.decode())


def secure__a_start_without_its_key_says_which_file():
    secure_group(broken)


if __name__ == "__main__":
    sys.exit(nodes.play("secure", globals()))
