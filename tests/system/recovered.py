#!/usr/bin/python3
"""The archive made again after a fire, with real nodes: by its recovery kit, or without; who may call then.

Each test is a function named after the promise it holds. Nothing here shares code with the product.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check"), HERE]
import nodes  # noqa: E402
from nodes import expect  # noqa: E402
from identity import Archive, digest  # noqa: E402


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


if __name__ == "__main__":
    sys.exit(nodes.play("recovered", globals()))
