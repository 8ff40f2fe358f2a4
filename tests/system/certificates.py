#!/usr/bin/python3
"""Certificates and their CA, with real nodes: renewed, given up, out of time, read again without a restart.

Each test is a function named after the promise it holds. Nothing here shares code with the product.
"""
import calendar
import json
import os
import shutil
import socket
import ssl
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check"), HERE]
import nodes  # noqa: E402
from nodes import expect  # noqa: E402
from identity import Archive, certificate, digest, said, sign  # noqa: E402
from sync import ROUTES, Certificates, ask, raw  # noqa: E402


def certificate_of(port):
    """What a server shows, DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as s, context.wrap_socket(s) as t:
        return t.getpeercert(binary_form=True)


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


if __name__ == "__main__":
    sys.exit(nodes.play("certificates", globals()))
