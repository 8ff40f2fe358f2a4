#!/usr/bin/python3
"""Many at once on a real edge: nobody loses an image, nobody waits for who does not read.

SECONDS= (3) of 8 sending and 8 retrieving associations, ROWS= (15,000) for the client that stops reading: `make soak`
takes 60 and 50,000. What comes back is judged by tests/check, byte for byte.
"""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
import check  # noqa: E402
import nodes  # noqa: E402
from nodes import expect  # noqa: E402

SECONDS, ROWS = int(os.environ.get("SECONDS", "3")), int(os.environ.get("ROWS", "15000"))
SENDERS = VIEWERS = 8
BATCH = 40  # images of a study, sent by one association


class Place(nodes.Place):
    def __init__(self, **dicom):
        super().__init__("load", quota="8GiB", dicom=dicom, **{
            "peer VIEWER": {"aet": "VIEWER", "host": "127.0.0.1", "may": "find, get, move"}})

    def run(self, tool, *words, ok=(0,)):
        return nodes.run(nodes.tool(tool), "127.0.0.1", self.edge.dicom, "-c", self.edge.aet, "-a", "VIEWER", *words,
                         ok=ok, seconds=300)


def together(number, work):
    """So many threads; what one of them raises is raised."""
    wrong = []

    def guarded(k):
        try:
            work(k)
        except Exception as e:  # noqa: BLE001
            wrong.append(e)
    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(number)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        raise wrong[0]


def load__R4_8_send_and_8_retrieve_and_every_object_is_there_byte_for_byte():
    with Place() as p:
        end, sent, fetched = time.monotonic() + SECONDS, [], [0] * VIEWERS

        def send(k):
            n = 0
            while n == 0 or time.monotonic() < end:
                folder = os.path.join(p.top, f"sent-{k}-{n}")
                nodes.run(nodes.tool("gen_dicom"), "--out", folder, "--count", BATCH, "--rows", 128, "--per-study", BATCH,
                          "--seed", 1 + k * 1000 + n)
                nodes.run(nodes.tool("dicom_send"), "-q", "127.0.0.1", p.edge.dicom, "-c", p.edge.aet, "-a", f"CT{k}",
                          folder)
                sent.append(folder)
                n += 1

        def view(k):
            """Whole studies, of those that are there: each must be whole in itself, in status and bytes."""
            n = 0
            while not sent and time.monotonic() < end + 60:
                time.sleep(0.05)
            while n == 0 or time.monotonic() < end:
                batch, out = sent[(k + n) % len(sent)], p.folder(f"got-{k}-{n}")
                want = list(check.objects([batch], []))
                study = p.studies[batch] if batch in p.studies else p.studies.setdefault(batch, study_of(want[0].path))
                p.run("dicom_get", "-o", out, "--study", study)
                compare(f"viewer {k}", want, out)
                shutil.rmtree(out)
                fetched[k] += len(want)
                n += 1

        p.studies = {}
        together(SENDERS + VIEWERS, lambda k: send(k) if k < SENDERS else view(k - SENDERS))
        all_sent = list(check.objects(sent, []))
        expect("the edge counts", p.edge.status()["cache"]["instances"], len(all_sent))
        got = p.folder("got")
        p.run("dicom_get", "-o", got, "--all")
        compare("all", all_sent, got)
        print(f"load: {len(all_sent)} objects by {SENDERS} senders, {sum(fetched)} fetched meanwhile by {VIEWERS} viewers, "
              f"0 differ, 0 lost")


def study_of(path):
    """Study Instance UID of a generated file: explicit little endian."""
    with open(path, "rb") as f:
        data = f.read(4096)
    at = data.index(b"\x20\x00\x0d\x00UI")
    return check.text(data, at + 8, data[at + 6])


def compare(what, want, folder):
    wrong = []
    have = {o.key for o in check.objects([folder], wrong)}
    check.missing({o.key: o.path for o in want}, have, wrong)
    if wrong or len(have) != len(want):
        raise nodes.Failed(f"{what}: {len(want)} wanted, {len(have)} came: {wrong[:5]}")


def load__R34_who_stops_reading_is_dropped_and_nobody_else_waits():
    """DCMTK's findscu asks for every study, and is stopped in the middle of the answers."""
    with Place(max_answers=str(ROWS + 1000)) as p:
        nodes.run(os.path.join(nodes.BUILD, "tests", "bench", "bench_dimse"), "load", "127.0.0.1", p.edge.dicom,
                  p.edge.aet, "-n", 8, "-c", ROWS, seconds=400)
        keys = [w for k in ("QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientName", "PatientID", "StudyDescription",
                            "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "ModalitiesInStudy",
                            "NumberOfStudyRelatedInstances", "SOPClassesInStudy", "PatientBirthDate", "PatientSex")
                for w in ("-k", k)]
        ask = ["findscu", "-S", "-aet", "VIEWER", "-aec", p.edge.aet, "127.0.0.1", str(p.edge.dicom), *keys]
        cancelled = subprocess.run([*ask[:1], "-d", "--cancel", "3", *ask[1:]], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, timeout=60, check=False).stdout
        answers = re.findall(rb"DIMSE Status +: (0x[0-9a-f]{4})", cancelled)
        expect("a cancel ends it", (answers[-1], 3 <= len(answers) < ROWS), (b"0xfe00", True))
        stuck = subprocess.Popen([*ask[:1], "-v", *ask[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            while b"Find Response: 1" not in stuck.stdout.readline():
                pass
            stuck.send_signal(signal.SIGSTOP)
            begun, most = time.monotonic(), 0.0
            nodes.wait_for("it is stuck", lambda: waits_to_send(p.edge.process.pid, p.edge.dicom))
            while waits_to_send(p.edge.process.pid, p.edge.dicom):
                if time.monotonic() > begun + 150:
                    raise nodes.Failed("it is still being waited for")
                one = subprocess.run([*ask, "-k", "PatientID=P0000001"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     timeout=60, check=False)
                expect("another viewer's query", one.returncode, 0)
                extra = os.path.join(p.top, f"extra-{time.monotonic()}")
                nodes.run(nodes.tool("gen_dicom"), "--out", extra, "--count", 1, "--rows", 16, "--seed",
                          2000 + int(most))
                nodes.run(nodes.tool("dicom_send"), "-q", "127.0.0.1", p.edge.dicom, "-c", p.edge.aet, "-a", "CT", extra)
                most += 1
                time.sleep(1)
        finally:
            stuck.send_signal(signal.SIGCONT)
            stuck.kill()
            stuck.wait()
            stuck.stdout.close()
        print(f"load: {ROWS} rows: {most:.0f} queries and images of others were answered meanwhile, 0 lost")


def load__malformed_files_are_answered_and_nobody_else_notices():
    """Each by our own sender, which reads no more of a file than it must, and by DCMTK's, which reads all of it."""
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        raise nodes.Skipped("DICOM_CORPUS is not set")
    with Place() as p:
        for kind, few in (("malformed", 300), ("nonconformant", 30)):
            folder = os.path.join(corpus, kind)
            files = [f for f in sorted(glob.glob(os.path.join(folder, "**"), recursive=True)) if os.path.isfile(f)]
            out = nodes.run(nodes.tool("dicom_send"), "127.0.0.1", p.edge.dicom, "-c", p.edge.aet, "-a", "CT", *files,
                            ok=None)[1]
            statuses = re.findall(r"^([0-9a-f]{4}|----) /", out, re.M)
            expect(f"{kind}: enough of them go out", len(statuses) >= few, True)
            expect(f"{kind}: what they are answered", set(statuses) - {"0000", "c000"}, set())
            nodes.run("storescu", "-nh", "+sd", "+r", "-aec", p.edge.aet, "127.0.0.1", p.edge.dicom, folder, ok=None,
                      env={"TCP_NODELAY": "1"})
            expect(f"{kind}: the edge lives", p.edge.running(), True)
            nodes.run("echoscu", "-aec", p.edge.aet, "127.0.0.1", p.edge.dicom)
        expect("what was taken is there", p.edge.status()["cache"]["instances"] > 250, True)


def waits_to_send(pid, port):
    """Bytes in the send queue of a connection to our port, as the kernel tells."""
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return any(int(r[1].split(":")[1], 16) == port and r[3] == "01" and int(r[4].split(":")[0], 16) > 100000
               for r in rows)


if __name__ == "__main__":
    sys.exit(nodes.play("load", globals()))
