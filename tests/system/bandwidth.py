#!/usr/bin/python3
"""Real edges and a real central: what a site may use of its link, said at central, kept to at the edge; how it is shared.

Each test is a function named after the promise it holds; a test that fails prints why. Speed is not judged: bytes are
counted, and at most as many may have gone as the time that really passed allows.
"""
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import nodes  # noqa: E402
from nodes import expect  # noqa: E402
from sync import Group  # noqa: E402


def hears(g, name, limit):
    """The edge says hello, and has central's table from then on."""
    g.edges[name].command("resync", ok=(0, 3))
    return nodes.wait_for(f"a limit of {limit}",
                          lambda: g.edges[name].status()["sync"]["limit_bytes_per_second"] == limit)


def bandwidth__R7_an_hour_of_nothing_holds_images_and_neither_entries_nor_stat():
    stat = {"stat urgent": {"calling": "URGENT"}}
    port = nodes.port()
    with Group(edge={**stat, "http": {"listen": f"127.0.0.1:{port}"}}) as g:
        edge = g.edges["north"]
        g.drained()
        out = g.central.command("site", "bandwidth", "north", "0", "mon-sun")[1]
        expect("the table", out.splitlines()[1:4], ["  0 mon-sun 00:00-24:00", "before:", "  none"])
        hears(g, "north", 0)
        g.send("north", g.generate("--count", 3, "--rows", 64))

        def waits():
            s = edge.status()
            return s["ledger"]["announced_seq"] == s["ledger"]["last_seq"] and s["owed"]["instances"] == 3 and \
                s["sync"]["waits_for"] == "schedule" and s
        s = nodes.wait_for("announced, and waits for the schedule", waits)
        expect("of the lane as well", s["lanes"]["fresh"]["waits_for"], "schedule")
        expect("of the ledger not", s["lanes"]["ledger"]["waits_for"], None)
        expect("at no hour of the week", s["sync"]["limit_until"], None)
        if "waits: schedule\n" not in edge.command("status", ok=(0, 3))[1]:
            raise nodes.Failed(edge.command("status", ok=(0, 3))[1])
        import metrics
        samples = metrics.scrape(port)[1]
        expect("in the metrics", samples[("salamander_edge_waits", "schedule")], 1)
        expect("and how much", samples[("salamander_edge_limit_bytes_per_second", None)], 0)
        expect("central knows of them", g.central.status()["sites"][0]["lag"]["instances"], 3)
        urgent = g.generate("--count", 1, "--rows", 64, "--seed", 2)
        nodes.run(nodes.tool("dicom_send"), "127.0.0.1", edge.dicom, "-c", edge.aet, "-a", "URGENT", urgent)
        nodes.wait_for("stat is there", lambda: g.central.status()["instances"] == 1)
        expect("the others are not", edge.status()["owed"]["instances"], 3)
        expect("listed", json.loads(g.central.command("sites", "--json")[1])[0]["bandwidth"],
               ["0 mon-sun 00:00-24:00"])
        g.central.stop()
        g.central.start()
        expect("over a restart", json.loads(g.central.command("sites", "--json")[1])[0]["bandwidth"],
               ["0 mon-sun 00:00-24:00"])
        g.central.command("site", "bandwidth", "north", "none")
        hears(g, "north", None)
        g.drained()


def bandwidth__uploads_use_no_more_than_the_rate_and_the_ceiling():
    with Group(edge={"central": {"compress": "off", "ceiling": "800kbit"}}) as g:
        edge, wan = g.edges["north"], g.wan["north"]
        g.drained()
        hears(g, "north", 100000)  # the ceiling here
        g.central.command("site", "bandwidth", "north", "400kbit")
        hears(g, "north", 50000)
        files = g.generate("--count", 40, "--rows", 128)
        g.send("north", files)
        nodes.wait_for("announced", lambda: edge.status()["ledger"]["announced_seq"] ==
                       edge.status()["ledger"]["last_seq"])
        before, start = wan.sent, time.monotonic()
        nodes.wait_for("400 kB", lambda: wan.sent - before > 400000, 120)
        sent, seconds = wan.sent - before, time.monotonic() - start
        # A second's worth at once, pieces that had set out, and what is said beside the images.
        most = 50000 * (seconds + 1) + 32768 + 40000
        if sent > most:
            raise nodes.Failed(f"{sent} bytes in {seconds:.1f} s")
        expect("and it says so", edge.status()["sync"]["waits_for"], None)
        if "may use 400kbit/s of the link, each way\n" not in edge.command("status", ok=(0, 3))[1]:
            raise nodes.Failed(edge.command("status", ok=(0, 3))[1])
        g.central.command("site", "bandwidth", "north", "none")
        hears(g, "north", 100000)
        g.drained(seconds=120)
        g.in_vault(files)


def link__small_objects_pass_a_large_one_that_is_on_its_way():
    """How much later they come is measured by `make wan` (--delay); here, that they do not wait for its end."""
    with Group(edge={"central": {"compress": "off"}}) as g:
        edge, wan = g.edges["north"], g.wan["north"]
        g.drained()
        wan.rate = 1000000
        g.send("north", g.generate("--count", 1, "--rows", 2048, "--frames", 12))  # 100 MB: it takes far longer than this
        nodes.wait_for("it is on its way", lambda: wan.sent > 2000000)
        for i in range(5):
            before = wan.sent
            g.send("north", g.generate("--count", 1, "--rows", 50, "--seed", 10 + i))
            nodes.wait_for("the small one is there, and the large one is not",
                           lambda: g.central.status()["instances"] == i + 1)
            expect("the large one is owed", edge.status()["owed"]["instances"], 1)
            expect("in its lane", edge.status()["lanes"]["fresh"]["instances"], 1)
            nodes.wait_for("and it goes on", lambda: wan.sent > before + 500000)


if __name__ == "__main__":
    sys.exit(nodes.play("bandwidth", globals()))
