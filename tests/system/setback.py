#!/usr/bin/python3
"""Disks that were restored or copied, with real nodes: an edge, central, both, two of either (R8, R22).

Each test is a function named after the promise it holds; the judge is tests/check, which reads central's log and packs
by itself.
"""
import os
import shutil
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check"), HERE]
import archive  # noqa: E402
import nodes  # noqa: E402
import prometheus  # noqa: E402
from identity import Archive  # noqa: E402
from nodes import expect  # noqa: E402
from sync import Group  # noqa: E402


def copy(node):
    """A copy of its disk, of now; it goes on."""
    running = node.running()
    node.stop()
    shutil.rmtree(node.data + ".then", ignore_errors=True)
    shutil.copytree(node.data, node.data + ".then", symlinks=True)
    if running:
        node.start()


def restore(node):
    node.kill()
    shutil.rmtree(node.data)
    shutil.copytree(node.data + ".then", node.data, symlinks=True)


def clone(edge, folder, central_port):
    """Another machine with the same disk."""
    running = edge.running()
    edge.stop()
    twin = nodes.edge(folder, edge.name, central_port=central_port)
    shutil.copytree(edge.data, twin.data, symlinks=True)
    if running:
        edge.start()
    return twin


def hello(edge, ok=(0, 3)):
    """Says hello now, and compares all."""
    return edge.command("resync", ok=ok)


def of_site(g, name="north"):
    return next(x for x in g.central.status()["sites"] if x["name"] == name)["of_site"]


def judged(g, **row):
    """Central's folder, read by the judge, says what `status` says; sums of the site."""
    wrong = []

    def agree():  # an entry may come between the two looks
        wrong[:] = archive.Archive(g.central.data).compare(g.central.status())
        return not wrong
    try:
        nodes.wait_for("the judge agrees", agree, 10)
    except nodes.Failed:
        raise nodes.Failed("\n".join(wrong[:10])) from None
    site = of_site(g)
    for k, v in row.items():
        expect(k, site[k], v)


def edge__R8_a_restored_disk_goes_on_and_loses_only_what_it_had_alone():
    with Group(("north", "south")) as g:
        edge = g.edges["north"]
        a = g.generate("--count", 6)
        g.send("north", a)
        g.drained()
        copy(edge)
        g.drained()
        before = edge.status()["incarnation"]
        b = g.generate("--count", 5, "--seed", 2)
        g.send("north", b)
        g.drained()
        g.wan["north"].cut()
        restore(edge)
        edge.start()
        c = g.generate("--count", 20, "--seed", 3)  # past central's head, while it is cut off
        g.send("north", c)
        g.wan["north"].restore()
        hello(edge)
        g.drained(seconds=60)
        s = edge.status()
        expect("another incarnation", s["incarnation"] != before, True)
        expect("it waits for nobody", s["sync"]["waits_for"], None)
        g.in_vault(a, b, c)
        judged(g, known=31, held=31, owed=0, lost=0)
        # What was announced only, and never sent, burnt with the disk's later life: it is listed.
        copy(edge)
        hello(edge)
        g.wan["north"].rate = 20000
        d = g.generate("--count", 4, "--rows", 512, "--seed", 4)
        g.send("north", d)
        nodes.wait_for("announced", lambda: of_site(g)["known"] == 35)
        g.wan["north"].cut()
        restore(edge)
        g.wan["north"].rate = 0
        g.wan["north"].restore()
        edge.start()
        lost = nodes.wait_for("lost is listed", lambda: of_site(g)["lost"])
        judged(g, known=35, lost=lost)
        expect("loss", g.central.command("loss", ok=(3,))[1].split()[:3], [str(lost), "images", "lost,"])
        g.send("north", d)  # the modality has them still
        g.drained(seconds=60)
        g.in_vault(a, b, c, d)
        judged(g, known=35, held=35, owed=0, lost=0)


def twins__R8_both_go_on_until_a_person_says_which_one_stays():
    with Group() as g:
        edge = g.edges["north"]
        a = g.generate("--count", 4)
        g.send("north", a)
        g.drained()
        twin = clone(edge, os.path.join(g.top, "twin"), g.central.http)
        for node in (edge, twin):
            node.http = nodes.port()
            node.config["http"] = {"listen": f"127.0.0.1:{node.http}"}
        edge.stop()
        edge.start()
        g.edges["twin"] = twin
        try:
            twin.start()
            b, c = g.generate("--count", 5, "--seed", 2), g.generate("--count", 5, "--seed", 3)
            g.send("north", b)
            g.send("twin", c)

            def both():
                for node in (edge, twin):
                    hello(node)
                return all(len(node.status()["central"]["twins"]) == 2 for node in (edge, twin))
            nodes.wait_for("both are told", both, 60)
            g.drained(seconds=60)
            g.in_vault(a, b, c)
            addresses = sorted(f"127.0.0.1:{n.dicom}" for n in (edge, twin))
            expect("addresses", sorted(edge.status()["central"]["twins"]), addresses)
            for node in (edge, twin):
                code, text = node.command("status", ok=(3,))
                expect("it says so", "TWIN: " in text and all(x in text for x in addresses), True)
                with urllib.request.urlopen(f"http://127.0.0.1:{node.http}/metrics") as r:
                    m = prometheus.samples(r.read().decode())
                expect("metric", m["salamander_edge_twins", None], 2)
            expect("sites", "TWIN" in g.central.command("sites", ok=(3,))[1], True)
            rows = [x for x in g.central.status()["sites"] if x["name"] == "north" and x["twin"]]
            expect("sites, JSON", sorted(x["address"] for x in rows), addresses)
            judged(g, known=14, held=14, lost=0)
            # The wrong address; then the twin stays, the other drains.
            g.central.command("site", "twin", "north", "--keep", "10.0.0.1", ok=(1,))
            g.wan["north"].cut()
            d = g.generate("--count", 3, "--seed", 4)
            g.send("north", d)  # owed when it hears of it
            g.central.command("site", "twin", "north", "--keep", f"127.0.0.1:{twin.dicom}")
            g.wan["north"].restore()
            nodes.wait_for("it drains", lambda: edge.status()["central"]["drains"], 40)
            g.send("north", g.generate("--count", 1, "--seed", 5), ok=(1,))
            g.drained(seconds=60)
            g.in_vault(a, b, c, d)
            g.served(edge, a, b, d)
            hello(twin)
            expect("it is alone", twin.status()["central"]["twins"], [])
            g.send("twin", g.generate("--count", 1, "--seed", 6))
            twin.command("status", ok=(0,))
            edge.command("status", ok=(3,))
            g.central.command("sites", ok=(0,))
            g.drained(seconds=60)
            judged(g, lost=0, owed=0)
        finally:
            twin.kill()
            del g.edges["twin"]


def edge__R18_one_that_cannot_start_closes_nobody():
    with Group() as g:
        edge = g.edges["north"]
        g.send("north", g.generate("--count", 2))
        g.drained()
        other = nodes.edge(os.path.join(g.top, "other"), "north", central_port=g.central.http)
        other.config["dicom"] = edge.config["dicom"]  # its port is taken
        other.start(wait=False)
        expect("it ends", other.process.wait(30), 1)
        rows = g.central.status()["sites"]
        expect("one incarnation, open", [(x["incarnation"], x["closed"]) for x in rows],
               [(edge.status()["incarnation"], False)])


def central__R22_a_restored_central_takes_a_new_epoch_and_gets_all_again():
    with Group(("north", "south")) as g:
        a = g.generate("--count", 5)
        g.send("north", a)
        g.drained()
        copy(g.central)
        g.drained()
        b, c = g.generate("--count", 6, "--seed", 2), g.generate("--count", 6, "--seed", 3)
        g.send("north", b)
        g.send("south", c)
        g.drained()
        before, own = g.central.status()["epoch"], {n: e.status()["incarnation"] for n, e in g.edges.items()}
        restore(g.central)
        g.central.start()
        nodes.wait_for("a new epoch", lambda: g.central.status()["epoch"] != before, 40)
        g.drained(seconds=60)
        g.in_vault(a, b, c)
        judged(g, known=11, held=11, owed=0, lost=0)
        expect("the edges are what they were", {n: e.status()["incarnation"] for n, e in g.edges.items()}, own)
        for edge in g.edges.values():
            edge.command("status", ok=(0,))


def both__R8_R22_restored_at_once():
    for further in ("edge", "central"):
        with Group() as g:
            edge = g.edges["north"]
            first, second = (g.central, edge) if further == "central" else (edge, g.central)
            a, b, c, d = (g.generate("--count", 4, "--seed", n) for n in range(1, 5))
            g.send("north", a)
            g.drained()
            copy(first)
            g.drained()
            g.send("north", b)
            g.drained()
            copy(second)
            g.drained()
            g.send("north", c)  # nobody remembers these
            g.drained()
            edge.stop()
            g.central.stop()
            restore(g.central)
            restore(edge)
            g.central.start()
            edge.start()
            g.send("north", d)
            hello(edge)
            g.drained(seconds=60)
            g.in_vault(a, b, d)
            judged(g, known=12, held=12, owed=0, lost=0)


def central__R22_two_of_them_are_noticed_and_nothing_is_freed():
    with Group(edge={"data": {"quota": "64MiB"}, "cache": {"keep_days": 0}}) as g:
        edge, wan = g.edges["north"], g.wan["north"]
        a = g.generate("--count", 20, "--rows", 512)
        g.send("north", a)
        g.drained()
        copy(g.central)
        other = nodes.central(os.path.join(g.top, "other"))
        shutil.copytree(g.central.data + ".then", other.data, symlinks=True)
        other.start()
        try:
            ports = [other.http, g.central.http]

            def alternate():
                ports.reverse()
                wan.cut()
                wan.target = ports[0]
                wan.restore()
                hello(edge, ok=(0, 1, 3))
                return edge.status()["central"]["two_centrals"]
            nodes.wait_for("two centrals", alternate, 60)
            expect("status", "TWO CENTRALS" in edge.command("status", ok=(3,))[1], True)
            here = edge.status()["cache"]["instances"]
            for n in range(4):  # more than the cache holds
                g.send("north", g.generate("--count", 30, "--rows", 512, "--seed", 10 + n), ok=(0, 1))
            s = edge.status()["cache"]
            expect("nothing was freed", s["instances"] >= here and s["instances"] < here + 120, True)
            g.served(edge, a)
        finally:
            other.kill()


def join__R8_R26_a_copied_folder_and_a_rejoin():
    with Archive() as g:
        edge = g.edges["north"]
        a = g.send_and_see("north")
        other = clone(edge, os.path.join(g.top, "other"), None)
        g.edges["other"] = other
        g.wan["other"] = nodes.Wan(g.central.http)
        try:
            b = g.generate("--count", 3, "--seed", 2)
            g.send("north", b)
            g.drained("north")
            other.write_config()
            before = edge.status()["incarnation"]
            # The copy gets the key: the former machine is turned away, and loses nothing that it sent.
            g.join("other", g.code("north", "--rejoin"))
            other.start()
            c = g.generate("--count", 3, "--seed", 3)
            g.send("other", c)
            g.drained("other", seconds=60)
            g.why("north", "another key")
            expect("another incarnation", other.status()["incarnation"] != before, True)
            expect("no twin", other.status()["central"]["twins"], [])
            g.in_vault(a, b, c)
            judged(g, owed=0, lost=0)
            rows = {x["incarnation"]: x["closed"] for x in g.central.status()["sites"]}
            expect("closed", rows, {before: True, other.status()["incarnation"]: False})
        finally:
            other.kill()
            del g.edges["other"]


if __name__ == "__main__":
    sys.exit(nodes.play("setback", globals()))
