#!/usr/bin/python3
"""A real edge and real clients: what a site's modalities and viewers do all day.

Each test is a function named after the promise it holds; a test that fails prints why. Clients are
DCMTK's tools and our byte-exact ones; the judge is tests/check.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import check  # noqa: E402
import nodes  # noqa: E402
from nodes import expect  # noqa: E402

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


class Site:
    """An edge with a folder of its own for one test."""

    def __init__(self, **sections):
        self.top = tempfile.mkdtemp(prefix="salamander-edge-")
        self.edge = nodes.edge(os.path.join(self.top, "node"), "edge", **sections)

    def __enter__(self):
        self.edge.start()
        return self

    def __exit__(self, *_):
        self.edge.kill()
        shutil.rmtree(self.top)

    def generate(self, *options, name="files"):
        folder = os.path.join(self.top, name)
        nodes.run(nodes.tool("gen_dicom"), "--out", folder, *options)
        return folder

    def send(self, *paths, ok=(0,), calling="MODALITY", associations=1):
        _, out = nodes.run(nodes.tool("dicom_send"), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", calling,
                           "-n", associations, *paths, ok=ok)
        return dict(reversed(line.split(" ", 1)) for line in out.splitlines() if re.match("[0-9a-f-]{4} ", line))

    def get(self, *options, ok=(0,), name="got"):
        folder = os.path.join(self.top, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        _, out = nodes.run(nodes.tool("dicom_get"), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", "VIEWER",
                           "-o", folder, *(options or ["--all"]), ok=ok)
        return folder, out

    def compare(self, sent, got):
        wrong = []
        have = {o.key for o in check.objects([got], wrong)}
        want = {o.key: o.path for o in check.objects(sent, wrong)}
        check.missing(want, have, wrong)
        if wrong or len(have) != len(want):
            raise nodes.Failed(f"{len(want)} sent, {len(have)} back: {wrong[:5]}")
        return len(want)

    def find(self, *keys, level="STUDY", model="-S", limit=60):
        """The answers of DCMTK's findscu as a list of {tag: value}."""
        done = subprocess.run(["findscu", "-v", model, "-aec", self.edge.aet, "127.0.0.1", str(self.edge.dicom), "-k",
                               f"QueryRetrieveLevel={level}", *(w for k in keys for w in ("-k", k))],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, check=False)
        out, answers, answer = done.stdout.decode("utf-8", "replace"), [], None
        self.final = re.findall(r"Received Final Find Response \((.*)\)", out)
        for line in out.splitlines():
            if "Find Response:" in line:
                answer = {}
                answers.append(answer)
            match = re.match(r"I: \(([0-9a-f]{4}),([0-9a-f]{4})\) .. (?:\[(.*?)\]|=(\S+)|\(no value)", line)
            if match and answer is not None:
                answer[match.group(1) + match.group(2)] = (match.group(3) or match.group(4) or "").strip(" \0")
        return answers


# --- take-in and retrieve ---

def take_in__objects_come_back_byte_for_byte_and_survive_a_restart():
    with Site() as site:
        files = site.generate("--count", 60, "--mix", "--per-study", 15)
        statuses = site.send(files, associations=4)
        expect("statuses", set(statuses.values()), {"0000"})
        site.compare([files], site.get()[0])
        site.edge.stop()
        site.edge.start()
        site.compare([files], site.get()[0])
        status = site.edge.status()
        expect("instances", status["cache"]["instances"], 60)
        expect("studies", status["cache"]["studies"], 4)


def take_in__R5_R6_each_image_has_its_ledger_entry_and_each_study_its_record():
    with Site() as site:
        expect("an incarnation", site.edge.status()["ledger"]["last_seq"], 1)
        files = site.generate("--count", 12, "--rows", 16, "--per-study", 4)
        site.send(files)
        expect("entries", site.edge.status()["ledger"]["last_seq"], 1 + 12 + 3)
        site.send(files)
        expect("duplicates add none", site.edge.status()["ledger"]["last_seq"], 1 + 12 + 3)


def take_in__R4_a_duplicate_is_success_and_changes_nothing():
    with Site() as site:
        files = site.generate("--count", 5)
        site.send(files)
        before = site.edge.status()["cache"]
        expect("statuses", set(site.send(files).values()), {"0000"})
        after = site.edge.status()["cache"]
        expect("instances", after["instances"], before["instances"])
        expect("bytes", after["bytes"], before["bytes"])


def take_in__R3_one_changed_pixel_is_a_conflict_and_the_first_stays():
    with Site() as site:
        files = site.generate("--count", 1, "--rows", 64)
        path = os.path.join(files, "000000.dcm")
        changed = os.path.join(site.top, "changed.dcm")
        with open(path, "rb") as f:
            data = bytearray(f.read())
        data[-100] ^= 1
        with open(changed, "wb") as f:
            f.write(data)
        site.send(path)
        expect("conflict is kept", set(site.send(changed).values()), {"0000"})
        code, _ = site.edge.command("status", ok=(3,))
        expect("exit", code, 3)
        expect("conflicts", site.edge.status()["conflicts"], 1)
        expect("instances", site.edge.status()["cache"]["instances"], 2)
        site.compare([path], site.get()[0])


def take_in__R12_a_full_cache_refuses_and_goes_on_serving():
    with Site(data={"quota": "64MiB"}) as site:
        files = site.generate("--count", 160)
        statuses = site.send(files, ok=(0, 1))
        refused = [p for p, s in statuses.items() if s == "a700"]
        kept = [p for p, s in statuses.items() if s == "0000"]
        if not refused or len(kept) < 80 or len(refused) + len(kept) != 160:
            raise nodes.Failed(f"{len(kept)} kept, {len(refused)} refused with A700")
        site.compare(kept, site.get()[0])
        site.edge.stop()
        site.edge.start()
        site.compare(kept, site.get()[0])
        code, out = site.edge.command("status", ok=(3,))  # and nothing came in since the start
        if "FULL" not in out:
            raise nodes.Failed(f"a full cache is not told: {out}")
        # R32: full, so who proposes only storage is rejected for now; a viewer is not
        site.send(os.path.join(files, "000159.dcm"), ok=(1,))
        with open(site.edge.log, encoding="utf-8") as f:
            if "why=full" not in f.read():
                raise nodes.Failed("storage was not rejected while the cache was full")


def take_in__R12_an_object_larger_than_the_quota_is_refused_and_leaves_nothing():
    with Site(data={"quota": "64MiB"}) as site:
        few = site.generate("--count", 4, "--seed", 3, name="few")
        site.send(few)
        before = site.edge.status()["cache"]["used_bytes"]
        large = site.generate("--count", 1, "--frames", 200, name="large")  # 105 MB
        expect("statuses", set(site.send(large, ok=(1,)).values()), {"a700"})
        nodes.wait_for("its chunks are gone", lambda: site.edge.status()["cache"]["used_bytes"] <= before + (1 << 20))
        more = site.generate("--count", 40, "--seed", 4, name="more")  # 21 MB
        site.send(more)
        site.compare([few, more], site.get()[0])


def take_in__R12_of_a_large_object_that_does_not_end_nothing_stays():
    """Of it one group is written while the next arrives: its sender breaks off, or the edge is killed, in between."""
    with Site(data={"quota": "256MiB"}) as site:
        few = site.generate("--count", 4, "--seed", 3, name="few")
        large = site.generate("--count", 1, "--frames", 60, name="large")  # 31 MB
        site.send(few)
        status = site.edge.status
        before = status()["cache"]["used_bytes"]
        wan = nodes.Wan(site.edge.dicom)

        def send():
            return subprocess.Popen([nodes.tool("dicom_send"), "127.0.0.1", str(wan.port), "-c", site.edge.aet, "-a",
                                     "CT1", large], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

        def back():
            nodes.wait_for("nothing of it is left", lambda: status()["cache"]["used_bytes"] <= before + (1 << 18))

        for fuse in (3 << 20, 9 << 20, (12 << 20) + 777, 30 << 20):  # within the first group, a later one, the rest
            wan.fuse, wan.again = fuse, lambda: None
            with send() as sender:
                expect("no answer", sender.communicate()[0].startswith(b"----"), True)
            back()
        wan.stalls = True
        for groups in (1, 3):
            wan.restore()
            wan.fuse = (4 * groups + 1) << 20
            with send() as sender:
                nodes.wait_for("a part of it is written",
                               lambda g=groups: status()["cache"]["used_bytes"] >= before + g * (4 << 20) - (1 << 18))
                site.edge.kill()
                expect("no answer", sender.communicate()[0].startswith(b"----"), True)
            site.edge.start()
            back()
        wan.close()
        site.send(large)
        site.compare([few, large], site.get()[0])


def take_in__R32_what_cannot_be_identified_is_kept_and_refused():
    with Site() as site:
        path = os.path.join(site.generate("--count", 1, "--rows", 0), "000000.dcm")
        with open(path, "rb") as f:
            data = f.read()
        # R1: UIDs behind the first 64 KiB do not count; foreign clients send such an object nevertheless
        at = data.index(b"\x08\x00\x05\x00CS")
        big = b"\x08\x00\x01\x00UN\0\0" + (70000).to_bytes(4, "little") + b"\1" * 70000
        target = os.path.join(site.top, "broken.dcm")
        with open(target, "wb") as f:
            f.write(data[:at] + big + data[at:])
        done = subprocess.run(["storescu", "-v", "-aec", site.edge.aet, "127.0.0.1", str(site.edge.dicom), target],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        if b"C000" not in done.stdout and b"c000" not in done.stdout.lower() and b"CannotUnderstand" not in done.stdout:
            raise nodes.Failed(done.stdout.decode()[-500:])
        expect("kept", site.edge.status()["cache"]["instances"], 1)
        deep = os.path.join(site.top, "deep.dcm")  # a limit of the scanner, behind all that names the object
        with open(deep, "wb") as f:
            f.write(data + 200 * (b"\x40\0\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"))
        expect("too deep", set(site.send(deep, ok=(1,)).values()), {"c000"})
        expect("kept", site.edge.status()["cache"]["instances"], 2)
        expect("owed", site.edge.status()["owed"]["instances"], 2)
        expect("shown", site.find("StudyInstanceUID"), [])
        site.send(path)  # what was refused stands in nobody's way
        expect("shown", len(site.find("StudyInstanceUID")), 1)


def take_in__objects_of_foreign_clients_are_taken():
    with Site() as site:
        files = site.generate("--count", 3, "--rows", 64)
        for number, option in enumerate(("-xi", "-xb", "-xe")):
            nodes.run("storescu", option, "-aec", site.edge.aet, "127.0.0.1", site.edge.dicom,
                      os.path.join(files, f"{number:06}.dcm"))
        got = list(check.objects([site.get()[0]], []))
        expect("syntaxes", sorted(o.syntax for o in got), sorted([IMPLICIT, EXPLICIT, EXPLICIT]))  # R31


def negotiate__R31_the_acceptor_prefers_explicit_little_endian():
    with Site() as site:
        path = os.path.join(site.generate("--count", 1, "--rows", 64), "000000.dcm")
        nodes.run("storescu", "-x=", "-aec", site.edge.aet, "127.0.0.1", site.edge.dicom, path)
        got = list(check.objects([site.get()[0]], []))
        expect("syntax", [o.syntax for o in got], [EXPLICIT])


# --- who may ---

def peers__R29_the_unlisted_may_echo_but_not_move():
    with Site() as site:
        nodes.run("echoscu", "-aec", site.edge.aet, "127.0.0.1", site.edge.dicom)
        site.send(site.generate("--count", 1, "--rows", 16))
        code, _ = nodes.run("movescu", "-S", "-aec", site.edge.aet, "-aem", "NOBODY", "127.0.0.1", site.edge.dicom,
                            "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3", ok=None)
        if code == 0:
            raise nodes.Failed("an unlisted peer could move")
        with open(os.path.join(site.edge.data, "audit.log"), encoding="utf-8") as f:
            audit = f.read()
        if "refused what=move status=0124" not in audit:
            raise nodes.Failed("R36: the refusal is not in the audit log")


def audit__R36_a_log_that_cannot_be_written_keeps_nobody_out():
    with Site() as site:
        site.edge.stop()
        log = os.path.join(site.edge.data, "audit.log")
        os.rename(log, log + ".kept")
        os.mkdir(log)
        site.edge.start()
        expect("statuses", set(site.send(site.generate("--count", 2, "--rows", 16)).values()), {"0000"})
        expect("answers", len(site.find("StudyInstanceUID")), 1)
        if "are missing in audit.log" not in site.edge.command("status", ok=(0, 3))[1]:
            raise nodes.Failed("status says nothing of the audit log")
        os.rmdir(log)
        site.find("StudyInstanceUID")
        with open(log, encoding="utf-8") as f:
            if " gap lines=" not in f.readline():
                raise nodes.Failed("R36: the gap is not told of")


def move__a_destination_has_as_long_as_is_set():
    with socket.create_server(("127.0.0.1", 0)) as silent, Site(
            dicom={"answer_timeout": "1s", "move_retries": 0},
            **{"peer V": {"aet": "MOVESCU", "host": "127.0.0.1"},
               "peer S": {"aet": "SILENT", "host": "127.0.0.1", "port": silent.getsockname()[1]}}) as site:
        site.send(site.generate("--count", 1, "--rows", 16))
        study = site.find("StudyInstanceUID")[0]["0020000d"]
        nodes.run("movescu", "-S", "-aec", site.edge.aet, "-aem", "SILENT", "127.0.0.1", site.edge.dicom, "-k",
                  "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", ok=None, seconds=30)
        with open(os.path.join(site.edge.data, "audit.log"), encoding="utf-8") as f:
            if f"destination=SILENT study={study} instances=0 failed=1 end=whole" not in f.read():
                raise nodes.Failed("the move has not ended yet")


def find__R28_a_patient_is_what_the_newest_study_says():
    """A name that was corrected at the next visit, by findscu: the patient's name is the new one; each study keeps its own."""
    with Site() as site:
        files = site.generate("--count", 1, "--rows", 16)
        path, = (os.path.join(files, name) for name in os.listdir(files))
        for number, name in enumerate(("WRONG^NAME", "RIGHT^NAME")):
            nodes.run("dcmodify", "-nb", "-gst", "-gse", "-gin", "-m", f"PatientName={name}", "-m", "PatientID=R28", path)
            if number == 1:  # what it leaves out is as it was
                nodes.run("dcmodify", "-nb", "-e", "PatientSex", path)
            else:
                nodes.run("dcmodify", "-nb", "-i", "PatientSex=F", path)
            site.send(path)
        keys = ("PatientID=R28", "PatientSex", "NumberOfPatientRelatedStudies")
        found = site.find("PatientName=RIGHT^NAME", *keys, level="PATIENT", model="-P")
        expect("the new name", [[a[t] for t in ("00100010", "00100040", "00201200")] for a in found],
               [["RIGHT^NAME", "F", "2"]])
        expect("the old one", site.find("PatientName=WRONG^NAME", *keys, level="PATIENT", model="-P"), [])
        found = site.find("PatientName=WRONG^NAME", "PatientID=R28", "StudyInstanceUID", model="-P")
        expect("the study that says it", [a["00100010"] for a in found], ["WRONG^NAME"])


def titles__R30_a_wrong_called_title_is_rejected():
    with Site() as site:
        code, _ = nodes.run("echoscu", "-aec", "WRONG", "127.0.0.1", site.edge.dicom, ok=None)
        if code == 0:
            raise nodes.Failed("a wrong title was accepted")


def peers__R29_reload_reads_peers_again():
    listen = nodes.port()
    with Site() as site:
        site.send(site.generate("--count", 2, "--rows", 16))
        site.edge.config["peer PACS"] = {"aet": "MOVESCU", "host": "127.0.0.1", "port": listen}
        site.edge.write_config()
        site.edge.process.send_signal(1)
        nodes.wait_for("reloaded", lambda: b"reloaded" in open(site.edge.log, "rb").read())
        code, _ = nodes.run("movescu", "-S", "-aec", site.edge.aet, "-aem", "UNKNOWN", "127.0.0.1", site.edge.dicom,
                            "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3", ok=None)
        with open(os.path.join(site.edge.data, "audit.log"), encoding="utf-8") as f:
            if "refused what=move status=0124" in f.read():
                raise nodes.Failed("the reloaded peer may still not move")


def peers__R29_unlisted_none_lets_strangers_only_echo():
    with Site(dicom={"unlisted": "none"}) as site:
        nodes.run("echoscu", "-aec", site.edge.aet, "127.0.0.1", site.edge.dicom)
        statuses = site.send(site.generate("--count", 2, "--rows", 16), ok=(1,))
        expect("statuses", set(statuses.values()), {"0124"})
        expect("kept", site.edge.status()["cache"]["instances"], 0)
        expect("counted", site.edge.status()["refusals"], 2)
        if "2 associations or requests refused" not in site.edge.command("status", ok=(0, 3))[1]:
            raise nodes.Failed("status says nothing of refusals")


def peers__R32_R33_strict_foreign_and_issuer_are_obeyed():
    peers = {"peer CD": {"aet": "CDIMPORT", "host": "127.0.0.1", "foreign": "yes"},
             "peer CT": {"aet": "CT7", "host": "127.0.0.1", "issuer": "OTHER"},
             "peer PICKY": {"aet": "PICKY", "host": "127.0.0.1", "strict": "yes", "may": "store"}}
    with Site(**peers) as site:
        for number, title in enumerate(("CDIMPORT", "CT7")):
            site.send(site.generate("--count", 1, "--rows", 16, "--seed", number + 1, name=title), calling=title)
        issuers = sorted(a["00100021"] for a in site.find("StudyInstanceUID", "IssuerOfPatientID"))
        expect("issuers", issuers, ["OTHER", "foreign:CD"])
        path = os.path.join(site.generate("--count", 1, "--rows", 16, "--seed", 7, name="ids"), "000000.dcm")
        nodes.run("dcmodify", "-nb", "-i", "(0010,1002)[0].(0010,0020)=OLD7", path)
        site.send(path, calling="CT7")
        for other, found in (("OTHER", 1), ("EDGE", 0)):
            answers = site.find("StudyInstanceUID", "(0010,1002)[0].PatientID=OLD7",
                                f"(0010,1002)[0].IssuerOfPatientID={other}")
            expect(f"with an old ID of {other}", len(answers), found)
        path = os.path.join(site.generate("--count", 1, "--rows", 16, "--seed", 9, name="odd"), "000000.dcm")
        with open(path, "r+b") as f:
            f.truncate(os.path.getsize(path) - 3)  # ends inside the pixel data: odd, not unreadable
        expect("strict", set(site.send(path, ok=(0, 1), calling="PICKY").values()), {"c000"})
        expect("others", set(site.send(path, calling="MODALITY").values()), {"0000"})
        whole = os.path.join(site.generate("--count", 1, "--rows", 16, "--seed", 8, name="whole"), "000000.dcm")
        nodes.run("dcmconv", "+td", whole, whole + ".deflated")
        expect("deflated", set(site.send(whole + ".deflated", calling="PICKY").values()), {"0000"})
        expect("shown", len(site.find("StudyInstanceUID=1.2.826.0.1.3680043.10.1571.9.9000")), 1)


def take_in__R3_reencodings_are_variants_one_changed_pixel_is_a_conflict():
    with Site() as site:
        path = os.path.join(site.generate("--count", 1, "--rows", 16), "000000.dcm")
        site.send(path)
        for options in (["+ti"], ["+tb"], ["+td"], ["+te", "-e"], ["+te", "-g"], ["+te", "-p", "+g"]):
            nodes.run("dcmconv", *options, path, path + ".again")
            site.send(path + ".again")
        status = site.edge.status()
        expect("conflicts", status["conflicts"], 0)
        if status["variants"] < 3:
            raise nodes.Failed(f"{status['variants']} variants")
        with open(path, "r+b") as f:
            f.seek(-1, os.SEEK_END)
            last = f.read(1)[0]
            f.seek(-1, os.SEEK_END)
            f.write(bytes([last ^ 0x20]))
        site.send(path)
        expect("conflicts", site.edge.status()["conflicts"], 1)
        code, out = nodes.run(site.edge.binary, "--config", site.edge.conf, "conflicts", ok=None)
        expect("exit", code, 3)
        if not any(line.startswith("conflict:") and "(7fe0,0010) PixelData" in line for line in out.splitlines()):
            raise nodes.Failed(f"conflicts says {out}")


def associations__caps_act_before_the_first_byte():
    with Site(dicom={"max_per_address": "3"}) as site:
        held = [socket.create_connection(("127.0.0.1", site.edge.dicom)) for _ in range(3)]
        nodes.wait_for("three are held", lambda: refused(site.edge.dicom))
        for s in held:
            s.close()
        nodes.wait_for("room again", lambda: nodes.run("echoscu", "-aec", site.edge.aet, "127.0.0.1", site.edge.dicom,
                                                       ok=None)[0] == 0)


def refused(number):
    """A connection that is closed without a byte."""
    with socket.create_connection(("127.0.0.1", number)) as s:
        s.settimeout(0.5)
        try:
            return s.recv(1) == b""
        except TimeoutError:
            return False


def serve__stops_within_ten_seconds_with_peers_connected():
    with Site() as site:
        held = [socket.create_connection(("127.0.0.1", site.edge.dicom)) for _ in range(5)]
        begin = time.monotonic()
        site.edge.stop()
        if time.monotonic() - begin > 10:
            raise nodes.Failed(f"stopped after {time.monotonic() - begin:.1f} s")
        for s in held:
            s.close()


def serve__a_second_one_on_the_same_folder_is_refused():
    with Site() as site:
        code, _ = nodes.run(site.edge.binary, "--config", site.edge.conf, "serve", ok=None, seconds=20)
        expect("exit", code, 1)
        nodes.run("echoscu", "-aec", site.edge.aet, "127.0.0.1", site.edge.dicom)


# --- find ---

def find__levels_wildcards_ranges_and_counts():
    with Site() as site:
        site.send(site.generate("--count", 12, "--per-study", 4, "--rows", 16))
        studies = site.find("StudyInstanceUID", "PatientName", "NumberOfStudyRelatedInstances", "ModalitiesInStudy")
        expect("studies", len(studies), 3)
        expect("counts", {s["00201208"] for s in studies}, {"4"})
        expect("modalities", {s["00080061"] for s in studies}, {"CT"})
        expect("name prefix", len(site.find("StudyInstanceUID", "PatientName=patient1001*")), 1)
        expect("name wildcard", len(site.find("StudyInstanceUID", "PatientName=*100?^TEST")), 3)
        expect("patient", len(site.find("StudyInstanceUID", "PatientID=ID1002")), 1)
        expect("accession", len(site.find("StudyInstanceUID", "AccessionNumber=A1000")), 1)
        expect("accession miss", len(site.find("StudyInstanceUID", "AccessionNumber=A9999")), 0)
        expect("dates", len(site.find("StudyInstanceUID", "StudyDate=20251231-20260102", "ModalitiesInStudy=CT")), 3)
        expect("no dates", len(site.find("StudyInstanceUID", "StudyDate=20260102-")), 0)
        uid = studies[0]["0020000d"]
        series = site.find(f"StudyInstanceUID={uid}", "SeriesInstanceUID", "Modality", level="SERIES")
        expect("series", len(series), 1)
        images = site.find(f"StudyInstanceUID={uid}", f"SeriesInstanceUID={series[0]['0020000e']}", "SOPInstanceUID",
                           "InstanceAvailability", level="IMAGE")
        expect("images", len(images), 4)
        expect("R21 availability", {i["00080056"] for i in images}, {"ONLINE"})
        patients = site.find("PatientID", "PatientName", level="PATIENT", model="-P")
        expect("patients", len(patients), 3)


def find__hierarchical_keys_are_required():
    with Site() as site:
        site.send(site.generate("--count", 1, "--rows", 16))
        expect("answers", site.find("SeriesInstanceUID", level="SERIES"), [])
        if not site.final or "DataSetDoesNotMatchSOPClass" not in site.final[0]:  # A900
            raise nodes.Failed(f"final status {site.final}")


def find__R34_too_many_matches_say_so():
    with Site(dicom={"max_answers": "2"}) as site:
        site.send(site.generate("--count", 5, "--per-study", 1, "--rows", 16))
        expect("answers", len(site.find("StudyInstanceUID")), 2)
        if not site.final or "OutOfResources" not in site.final[0]:  # A700
            raise nodes.Failed(f"final status {site.final}")


def find__R33_an_issuer_is_added_where_there_is_none():
    with Site() as site:
        site.send(site.generate("--count", 1, "--rows", 16))
        answer = site.find("StudyInstanceUID", "IssuerOfPatientID")
        expect("issuer", [a["00100021"] for a in answer], ["EDGE"])


def find__names_match_without_case_and_accents():
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        return
    with Site() as site:
        site.send(os.path.join(corpus, "charset", "pydicom", "chrGerm.dcm"),
                  os.path.join(corpus, "charset", "pydicom", "chrRuss.dcm"))
        expect("German", len(site.find("StudyInstanceUID", "PatientName=ANEAS*")), 1)


# --- move and get ---

def move__delivers_to_a_listed_destination_and_counts():
    with Site() as site:
        listen = nodes.port()
        site.edge.stop()
        site.edge.config["peer PACS"] = {"aet": "PACS", "host": "127.0.0.1", "port": listen}
        site.edge.config["peer MOVER"] = {"aet": "MOVESCU", "host": "127.0.0.1"}
        site.edge.start()
        files = site.generate("--count", 6, "--rows", 64)
        site.send(files)
        got = os.path.join(site.top, "moved")
        os.makedirs(got)
        scp = subprocess.Popen(["storescp", "+B", "-od", got, "-aet", "PACS", str(listen)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            nodes.wait_for("storescp", lambda: listening(listen))
            uid = site.find("StudyInstanceUID")[0]["0020000d"]
            _, out = nodes.run("movescu", "-v", "-S", "-aec", site.edge.aet, "-aem", "PACS", "127.0.0.1",
                               site.edge.dicom, "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}")
            site.compare([files], got)
            code, out = nodes.run("movescu", "-v", "-S", "-aec", site.edge.aet, "-aem", "NOWHERE", "127.0.0.1",
                                  site.edge.dicom, "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}",
                                  ok=None)
            if code == 0:
                raise nodes.Failed("an unknown destination was accepted")
        finally:
            scp.terminate()
            scp.wait(10)


def move__R20_a_destination_that_is_off_fails_all_and_is_waited_for_if_so_set():
    """By movescu: A702, all of it counted and listed, nothing left for later; and all delivered where the destination is
    up at a later call."""
    listen = nodes.port()
    peers = {"peer PACS": {"aet": "PACS", "host": "127.0.0.1", "port": listen},
             "peer MOVER": {"aet": "MOVESCU", "host": "127.0.0.1"}}
    with Site(dicom={"move_retries": 1}, **peers) as site:
        files = site.generate("--count", 6, "--rows", 64)
        site.send(files)
        uids = {o.uid for o in check.objects([files], [])}
        study = site.find("StudyInstanceUID")[0]["0020000d"]
        move = ["movescu", "-d", "-S", "-aec", site.edge.aet, "-aem", "PACS", "127.0.0.1", str(site.edge.dicom), "-k",
                "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
        done = subprocess.run(move, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        out = done.stdout.decode("utf-8", "replace")
        last = out[out.rindex("C-MOVE RSP"):]
        counts = [re.search(rf"{what} Suboperations *: (\w+)", last)[1]
                  for what in ("Remaining", "Completed", "Failed", "Warning")]
        expect("counters", counts, ["none", "0", "6", "0"])
        expect("status", re.search(r"DIMSE Status *: (0x\w+)", last)[1], "0xa702")
        expect("listed", set(re.search(r"FailedSOPInstanceUIDList|\(0008,0058\) UI \[(.*?)\]", last)[1].split("\\")), uids)
        expect("called", [site.edge.log_count(f" move.{w} ") for w in ("again", "unreachable")], [1, 1])
        site.edge.stop()
        site.edge.config["dicom"]["move_retries"] = 10
        site.edge.start()
        got = os.path.join(site.top, "moved")
        os.makedirs(got)
        with subprocess.Popen(move, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as mover:
            nodes.wait_for("a call", lambda: site.edge.log_count(" move.again ") > 1)
            scp = subprocess.Popen(["storescp", "+B", "-od", got, "-aet", "PACS", str(listen)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                out = mover.communicate(timeout=60)[0].decode("utf-8", "replace")
            finally:
                scp.terminate()
                scp.wait(10)
        expect("status", re.findall(r"DIMSE Status *: (0x\w+)", out)[-1], "0x0000")
        site.compare([files], got)


def listening(number):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", number)) == 0


def get__foreign_clients_get_whole_studies():
    with Site() as site:
        files = site.generate("--count", 4, "--rows", 64)
        site.send(files)
        uid = site.find("StudyInstanceUID")[0]["0020000d"]
        got = os.path.join(site.top, "getscu")
        os.makedirs(got)
        nodes.run("getscu", "-S", "+B", "-aec", site.edge.aet, "-od", got, "127.0.0.1", site.edge.dicom,
                  "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid}")
        site.compare([files], got)


# --- at the borders ---

def logs__R35_hold_no_patient_data():
    with Site(log={"level": "debug"}) as site:
        site.send(site.generate("--count", 3, "--rows", 16))
        site.find("StudyInstanceUID", "PatientName=PATIENT*", "AccessionNumber=A1000")
        site.get()
        site.edge.stop()
        for path in (site.edge.log, os.path.join(site.edge.data, "audit.log")):
            with open(path, encoding="utf-8") as f:
                text = f.read()
            for marker in ("PATIENT", "ID1000", "A1000", "REFERRER", "SYNTHETIC", "19700101"):
                if marker in text:
                    raise nodes.Failed(f"{marker} is in {path}")


def associations__slow_and_hostile_peers_hold_nobody_up():
    with Site(dicom={"association_timeout": "2s"}) as site:
        stalled = [socket.create_connection(("127.0.0.1", site.edge.dicom)) for _ in range(40)]
        for s in stalled[:20]:
            s.sendall(b"\x01\x00\x00")
        nodes.run("echoscu", "-aec", site.edge.aet, "127.0.0.1", site.edge.dicom, seconds=10)
        for payload in (b"GET / HTTP/1.0\r\n\r\n", b"\x01\x00\xff\xff\xff\xff" + b"\xff" * 100, b"\0" * 500):
            with socket.create_connection(("127.0.0.1", site.edge.dicom)) as s:
                s.sendall(payload)
        for s in stalled:
            s.settimeout(20)
            expect("a stalled peer is dropped", s.recv(100)[:1] in (b"", b"\x07"), True)
            s.close()
        nodes.run("echoscu", "-aec", site.edge.aet, "127.0.0.1", site.edge.dicom, seconds=10)


def configuration__mistakes_are_named():
    with Site() as site:
        site.edge.config["data"]["qouta"] = "1GiB"
        site.edge.write_config()
        done = subprocess.run([site.edge.binary, "--config", site.edge.conf, "status"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=20, check=False)
        expect("exit", done.returncode, 1)
        if b"qouta" not in done.stderr or b".conf:" not in done.stderr:
            raise nodes.Failed(done.stderr.decode())
        expect("usage", nodes.run(site.edge.binary, ok=None)[0], 2)
        expect("no such command", nodes.run(site.edge.binary, "--config", site.edge.conf, "fly", ok=None)[0], 2)
        nodes.run(site.edge.binary, "--help")
        nodes.run(site.edge.binary, "--version")
        _, out = nodes.run(site.edge.binary, "--explain-config")
        if "quota" not in out or "[peer NAME]" not in out:
            raise nodes.Failed("--explain-config is not whole")


if __name__ == "__main__":
    sys.exit(nodes.play("edge", globals()))
