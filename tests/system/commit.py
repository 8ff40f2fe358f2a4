#!/usr/bin/python3
"""Storage commitment between real nodes and Debian's Orthanc, which asks as a modality would (PS3.4 annex J).

Orthanc sends its N-ACTION, releases, and takes the N-EVENT-REPORT on an association that the node opens, in the
role that was negotiated. Each test is a function named after the promise it holds; a test that fails prints why.
"""
import json
import os
import socket
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "check")]
sys.path.append(os.path.join(HERE, "..", "bench"))
import nodes  # noqa: E402
from nodes import expect  # noqa: E402
from peers import Orthanc  # noqa: E402
from sync import Group  # noqa: E402

CT = "1.2.840.10008.5.1.4.1.1.2"


class Modality(Orthanc):
    """An Orthanc that holds images, and asks a node to commit to them."""

    def __init__(self, g, node, called=None):
        super().__init__(g.top, "modality", OverwriteInstances=True,
                         DicomModalities={"node": [called or node.aet, "127.0.0.1", node.dicom]})
        self.node = node

    def section(self, **more):
        return {"aet": self.aet, "host": "127.0.0.1", "port": self.dicom, "may": "store, commit", **more}

    def take(self, images):
        """Its own images; returns [class, instance] of each."""
        pairs = []
        for name in sorted(os.listdir(images)):
            with open(os.path.join(images, name), "rb") as f:
                made = self.ask("/instances", f.read())
            tags = self.ask(f"/instances/{made['ID']}/simplified-tags")
            pairs.append([tags["SOPClassUID"], tags["SOPInstanceUID"]])
        return pairs

    def send(self):
        self.ask("/modalities/node/store", json.dumps({"Resources": self.ask("/instances")}).encode())

    def commit(self, pairs):
        """Asks; returns the transaction."""
        body = json.dumps({"DicomInstances": pairs, "Timeout": 20}).encode()
        return self.ask("/modalities/node/storage-commitment", body)["ID"]

    def result(self, transaction):
        said = self.ask(f"/storage-commitment/{transaction}")
        return said if said["Status"] != "Pending" else None

    def await_result(self, transaction, seconds=30):
        return nodes.wait_for(f"the result of {transaction}", lambda: self.result(transaction), seconds)


class Site(Group):
    """One edge, its central and a modality."""

    def __init__(self, called=None, **peer):
        super().__init__()
        self.edge = self.edges["north"]
        self.modality = Modality(self, self.edge, called)
        self.say(**peer)
        self.edge.config["dicom"]["max_pdu"] = "8192"
        if called:
            self.edge.config["dicom"]["aet"] += f", {called}"

    def say(self, **peer):
        self.edge.config["peer modality"] = self.modality.section(**peer)

    def __enter__(self):
        super().__enter__()
        self.modality.start()
        return self

    def __exit__(self, *what):
        self.modality.kill()
        return super().__exit__(*what)

    def again(self):
        """The edge reads its settings anew."""
        self.edge.write_config()
        self.edge.command("reload")


def commitment__is_said_when_central_has_the_images():
    with Site() as s:
        images = s.generate("--count", 5, "--rows", 16)
        pairs = s.modality.take(images)
        s.wan["north"].cut()
        s.modality.send()
        transaction = s.modality.commit(pairs)
        nodes.wait_for("the request waits", lambda: s.edge.status()["commitments"] == 1)
        expect("nothing yet", s.modality.result(transaction), None)
        s.wan["north"].restore()
        said = s.modality.await_result(transaction)
        expect("result", said["Status"], "Success")
        expect("complete", {i["SOPInstanceUID"] for i in said["Success"]}, {i for _, i in pairs})
        expect("central has them", s.central.status()["instances"], 5)
        nodes.wait_for("settled", lambda: s.edge.status()["commitments"] == 0)
        expect("nothing on the edge's word alone", s.edge.status()["committed_here_only"], 0)


def commitment__calls_with_the_title_that_was_called_and_takes_max_pdu():
    with Site(called="ARCHIVE", commit="edge") as s:
        pairs = s.modality.take(s.generate("--count", 2, "--rows", 16))
        s.modality.send()
        said = s.modality.await_result(s.modality.commit(pairs))
        expect("result", (said["Status"], said["RemoteAET"]), ("Success", "ARCHIVE"))
        with socket.create_server(("127.0.0.1", 0)) as other:  # what it says first, as it is on the wire
            s.say(commit="edge", port=other.getsockname()[1])
            s.again()
            s.modality.commit(pairs)
            other.settimeout(30)
            with other.accept()[0] as caller:
                caller.settimeout(10)
                request = caller.recv(4096)
            expect("called, calling", (request[10:26].split()[0], request[26:42].split()[0]),
                   (s.modality.aet.encode(), b"ARCHIVE"))
            at = request.index(b"\x51\0\0\4")  # PS3.8 D.1: the largest PDU that it takes
            expect("[dicom] max_pdu", int.from_bytes(request[at + 4:at + 8], "big"), 8192)


def commitment__with_commit_edge_waits_for_no_WAN():
    with Site(commit="edge") as s:
        s.wan["north"].cut()
        pairs = s.modality.take(s.generate("--count", 3, "--rows", 16))
        s.modality.send()
        expect("result", s.modality.await_result(s.modality.commit(pairs))["Status"], "Success")


def commitment__commit_wait_ends_in_success_and_status_says_so():
    with Site(commit_wait="1s") as s:
        s.wan["north"].cut()
        pairs = s.modality.take(s.generate("--count", 3, "--rows", 16))
        s.modality.send()
        expect("result", s.modality.await_result(s.modality.commit(pairs))["Status"], "Success")
        code, out = s.edge.command("status", ok=(3,))
        expect("counted", "COMMITTED HERE ONLY: 3 images" in out, True)
        s.wan["north"].restore()
        s.drained()
        nodes.wait_for("central has them", lambda: s.edge.status()["committed_here_only"] == 0)
        s.edge.command("status")


def commitment__a_wrong_class_is_a_failure_by_its_reason():
    with Site() as s:
        (sop_class, uid), other = s.modality.take(s.generate("--count", 2, "--rows", 16))
        s.modality.send()
        s.drained()
        wrong = CT if sop_class != CT else "1.2.840.10008.5.1.4.1.1.4"
        said = s.modality.await_result(s.modality.commit([[wrong, uid], other]))
        expect("result", said["Status"], "Failure")
        expect("why", [(f["SOPInstanceUID"], f["FailureReason"]) for f in said["Failures"]], [(uid, 0x0119)])
        expect("the other one", [i["SOPInstanceUID"] for i in said["Success"]], [other[1]])


def commitment__survives_kill_9():
    with Site() as s:
        pairs = s.modality.take(s.generate("--count", 4, "--rows", 16))
        s.wan["north"].cut()
        s.modality.send()
        transaction = s.modality.commit(pairs)
        s.edge.kill()
        s.edge.start()
        expect("it waits still", s.edge.status()["commitments"], 1)
        s.wan["north"].restore()
        expect("result", s.modality.await_result(transaction)["Status"], "Success")
        nodes.wait_for("settled", lambda: s.edge.status()["commitments"] == 0)


def commitment__needs_a_right_and_somewhere_to_call():
    with Site(may="store") as s:
        pairs = s.modality.take(s.generate("--count", 1, "--rows", 16))
        s.modality.send()
        for more, log in (({"may": "store"}, "what=commit"), ({"port": "0"}, "needs host and port")):
            s.say(**more)
            s.again()
            try:
                s.modality.commit(pairs)
                raise nodes.Failed(f"{more}: it was taken")
            except OSError:  # Orthanc answers 500
                pass
            with open(s.edge.log, encoding="utf-8") as f:
                expect(f"{more}: the log says what to do", log in f.read(), True)
        expect("nothing waits", s.edge.status()["commitments"], 0)


def commitment__central_answers_as_well():
    with Group() as g:
        m = Modality(g, g.central)
        g.central.config["peer modality"] = m.section()
        g.central.write_config()
        g.central.command("reload")
        try:
            m.start()
            images = g.generate("--count", 3, "--rows", 16)
            pairs = m.take(images)
            transaction = m.commit(pairs)  # before the site has sent them
            g.send("north", images)
            expect("result", m.await_result(transaction)["Status"], "Success")
        finally:
            m.kill()


if __name__ == "__main__":
    sys.exit(nodes.play("commit", globals()))
