#!/usr/bin/python3
"""What people and their monitoring see: how far behind, how fast, why it waits, what a fire would take; `/metrics`.

Each test is a function named after the promise it holds; a test that fails prints why.
"""
import json
import os
import re
import subprocess
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import check  # noqa: E402
import nodes  # noqa: E402
import prometheus  # noqa: E402
from nodes import expect  # noqa: E402
from sync import Group  # noqa: E402


# --- status and sites ---

def status__tells_how_fast_it_goes_and_why_what_is_owed_waits():
    with Group() as g:
        edge = g.edges["north"]

        def waits(for_what):
            def ask():
                s = edge.status()["sync"]
                return s["waits_for"] == for_what and (for_what is None or s["retry"]) and s
            return nodes.wait_for(f"waits for {for_what}", ask)
        g.send("north", g.generate("--count", 3, "--rows", 16))
        g.drained()
        s = waits(None)
        expect("in step", s["in_step_seconds"], 0)
        expect("at a rate", s["images_per_second"] > 0 and s["bytes_per_second"] > 0, True)
        g.wan["north"].cut()
        g.send("north", g.generate("--count", 2, "--rows", 16, "--seed", 2))
        expect("cut off, nobody knows", waits("link down")["in_step_seconds"], None)
        exposed = [s["exposure"] for s in g.central.status()["sites"]]
        expect("what central has not heard of is in no list", exposed,
               [{"instances": 0, "bytes": 0, "committed": 0, "oldest_seconds": 0}])
        g.central.command("site", "suspend", "north")
        g.wan["north"].restore()
        waits("turned away")
        if "waits: turned away" not in edge.command("status", ok=(3,))[1]:
            raise nodes.Failed(edge.command("status", ok=(3,))[1])
        g.central.command("site", "readmit", "north")
        g.drained()
        waits(None)


def sites__exposure_is_what_a_fire_would_take_now():
    with Group() as g:
        g.wan["north"].deny = b"PATCH "  # who and what exists gets through, the pixels do not
        g.send("north", g.generate("--count", 4, "--rows", 16))
        edge = g.edges["north"]
        nodes.wait_for("announced", lambda: edge.status()["ledger"]["announced_seq"] ==
                       edge.status()["ledger"]["last_seq"])
        owed = edge.status()["owed"]
        exposure = g.central.status()["sites"][0]["exposure"]
        expect("as the edge says", (exposure["instances"], exposure["bytes"]), (owed["instances"], owed["bytes"]))
        expect("all of it", exposure["instances"], 4)
        edge.command("resync", ok=(0, 3))  # says hello: central hears how far each lane is behind
        told = nodes.wait_for("told by lane", lambda: g.central.status()["sites"][0]["sync"].get("lanes", {}).get("fresh"))
        expect("of the lane", (told["instances"], told["bytes"]), (owed["instances"], owed["bytes"]))
        waits = "uploads break off"
        pace = nodes.wait_for("why", lambda: (s := edge.status()["sync"])["waits_for"] == waits and s)
        expect("how long, nobody knows", pace["in_step_seconds"], None)
        edge.command("resync", ok=(0, 3))
        told = nodes.wait_for("told why", lambda: (s := g.central.status()["sites"][0]["sync"])["waits_for"] == waits and s)
        expect("and so of the lane", told["lanes"]["fresh"]["waits_for"], waits)
        values = scrape(g.central.http)[1]
        expect("measured", values[("salamander_central_site_lane_images", "north", "fresh")], 4)
        expect("measured, too", [values[("salamander_central_site_lane_waits", "north", "fresh", w)] for w in
                                 (waits, "link down")], [1, 0])
        expect("nothing is closed", values[("salamander_central_lane_closed", "fresh")], 0)
        if not re.search(rf"^north: told fresh: 4 images, .*, behind by \d\d:\d\d:\d\d; waits: {waits}.*$", g.central.command("status")[1], re.M):
            raise nodes.Failed(g.central.command("status")[1])
        expect("to sites, too", json.loads(g.central.command("sites", "--json")[1])[0]["exposure"]["instances"], 4)
        for command in ("sites", "status"):
            out = g.central.command(command)[1]
            if not re.search(r"^north: if this building burnt now: 4 images, [\d.]+ \w+, oldest \d\d:\d\d:\d\d$", out,
                             re.M):
                raise nodes.Failed(out)


# --- metrics ---

EDGE_METRICS = {
    "images": "cache.instances", "studies": "cache.studies", "images_bytes": "cache.bytes",
    "owed_images": "owed.instances", "owed_bytes": "owed.bytes", "parked_images": "parked",
    "receipted_images": "ledger.receipted", "ledger_head_seq": "ledger.last_seq",
    "ledger_announced_seq": "ledger.announced_seq", "cache_quota_bytes": "cache.quota_bytes",
    "cache_evictable_bytes": "cache.evictable_bytes", "not_released_studies": "cache.not_released_studies",
    "central_reachable": "central.reachable", "images_variants": "variants", "images_revisions": "revisions",
    "uids_in_conflict": "conflicts", "refusals_total": "refusals", "unaudited_total": "unaudited",
    "committed_here_only_images": "committed_here_only", "commitments": "commitments",
    "rejected_uids": "rejected", "rejected_images_again": "rejected_again", "notes_unheard": "notes_unheard"}
CENTRAL_METRICS = {
    "images": "instances", "studies": "studies", "images_bytes": "bytes", "packs": "packs", "images_variants": "variants",
    "images_revisions": "revisions", "uids_in_conflict": "conflicts", "images_damaged": "damaged",
    "refusals_total": "refusals", "failed_joins_total": "failed_joins",
    "repeated_bytes_total": "repeated_bytes"}
SITE_METRICS = {
    "known_images": "of_site.known", "held_images": "of_site.held", "owed_images": "of_site.owed",
    "lost_images": "of_site.lost", "withdrawn_images": "of_site.withdrawn", "ledger_seq": "ledger_seq",
    "owed_bytes": "lag.bytes", "exposed_images": "exposure.instances", "exposed_bytes": "exposure.bytes",
    "exposed_committed_images": "exposure.committed"}


def scrape(port):
    """What Prometheus would get, read strictly, and by its own promtool."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode("ascii")
        expect("type", answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
    expect("mistakes", prometheus.mistakes(text), [])
    done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    expect("promtool", (done.returncode, done.stdout.decode()), (0, ""))
    return text, prometheus.samples(text)


def at(document, path):
    for key in path.split("."):
        document = document[key]
    return float(document)


def metrics__R35_are_the_numbers_of_status_and_no_data_of_patients():
    port = nodes.port()
    with Group(("north", "south"), wan=False) as g:
        import pydicom
        edge = g.edges["north"]
        edge.stop()
        edge.config["http"] = {"listen": f"127.0.0.1:{port}"}
        edge.start()
        expect("a new edge", scrape(port)[1][("salamander_edge_taken_images_total", None)], 0)
        files = g.generate("--count", 5, "--rows", 16)
        g.send("north", files)
        g.send("south", g.generate("--count", 2, "--rows", 16, "--seed", 2))
        g.drained()
        (near, n), (far, c) = scrape(port), scrape(g.central.http)
        here, there = edge.status(), g.central.status()
        for metric, path in EDGE_METRICS.items():
            expect(metric, n[(f"salamander_edge_{metric}", None)], at(here, path))
        for metric, path in CENTRAL_METRICS.items():
            expect(metric, c[(f"salamander_central_{metric}", None)], at(there, path))
        for lane in ("stat", "fresh", "back-fill"):
            expect(f"{lane}: nothing is put off", (n[("salamander_edge_lane_retry_timestamp_seconds", lane)],
                                                   c[("salamander_central_site_lane_retry_timestamp_seconds", "north", lane)]), (0, 0))
        for site in there["sites"]:
            expect("not released there", c[("salamander_central_site_not_released_studies", site["name"])], 0)
            for metric, path in SITE_METRICS.items():
                expect(metric, c[(f"salamander_central_site_{metric}", site["name"])], at(site, path))
        expect("taken", n[("salamander_edge_taken_images_total", None)], 5)
        expect("waits", sum(v for (name, *_), v in n.items() if name in ("salamander_edge_waits", "salamander_edge_lane_waits")), 0)
        expect("free", c[("salamander_central_disk_free_bytes", None)] > 0, True)
        expect("two sites", c[("salamander_central_site_contact_age_seconds", "south")] < 60, True)
        one = pydicom.dcmread(next(iter(check.files([files]))), stop_before_pixels=True)
        for value in (one.PatientName, one.PatientID, one.StudyInstanceUID, one.SOPInstanceUID):
            if str(value) in near + far:
                raise nodes.Failed(f"{value} is in the metrics")


if __name__ == "__main__":
    sys.exit(nodes.play("metrics", globals()))
