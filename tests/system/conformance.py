#!/usr/bin/python3
"""deploy/CONFORMANCE.md says what the nodes do, and they introduce themselves as it says.

Each test is a function named after the promise it holds; a test that fails prints why.
"""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "tools")]
import docs  # noqa: E402
import nodes  # noqa: E402
from nodes import expect  # noqa: E402


def statement():
    with open(os.path.join(HERE, "..", "..", "deploy", "CONFORMANCE.md"), encoding="utf-8") as f:
        return f.read()


def conformance__its_tables_are_those_that_the_nodes_go_by():
    text, known = statement(), docs.tables()
    out, odd = docs.filled(text, known)
    expect("tables on one side only", odd, set())
    expect("tables that are not current (make docs)",
           [name for name, table in known.items() if table not in text], [])
    expect("what make docs writes", out == text, True)


def introduced(out):
    """What a DCMTK client says that its peer is."""
    return [(re.search(rf"Their Implementation {what}: *(\S.*?)\s*$", out, re.M) or [None, None])[1]
            for what in ("Class UID", "Version Name")]


def associations__say_which_implementation_answers_and_calls():
    stated = [re.search(rf"\| {what} \| `([^`]+)` \|", statement())[1]
              for what in ("implementation class UID", "implementation version name")]
    with tempfile.TemporaryDirectory(prefix="salamander-conformance-") as top:
        listen, got, made = nodes.port(), os.path.join(top, "got"), os.path.join(top, "made")
        os.mkdir(got)
        edge = nodes.edge(os.path.join(top, "edge"), "north", **{
            "peer ARCHIVE": {"aet": "ARCHIVE", "host": "127.0.0.1", "port": listen},
            "peer VIEWER": {"aet": "VIEWER", "host": "127.0.0.1"}})
        log = open(os.path.join(top, "storescp"), "w+", encoding="utf-8")
        scp = subprocess.Popen(["storescp", "-d", "-od", got, "-aet", "ARCHIVE", str(listen)], stdout=log,
                               stderr=subprocess.STDOUT)
        try:
            edge.start()
            out = subprocess.run(["echoscu", "-d", "-aet", "VIEWER", "-aec", edge.aet, "127.0.0.1", str(edge.dicom)],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=True).stdout
            expect("it answers as", introduced(out.decode()), stated)
            nodes.run(nodes.tool("gen_dicom"), "--out", made, "--count", 1)
            nodes.run(nodes.tool("dicom_send"), "127.0.0.1", edge.dicom, "-c", edge.aet, "-a", "VIEWER", made)
            nodes.wait_for("storescp", lambda: nodes.run("echoscu", "-aec", "ARCHIVE", "127.0.0.1", listen,
                                                         ok=None)[0] == 0)
            study = re.search(rb"\[([\d.]+)\]", nodes.run("dcmdump", "+P", "StudyInstanceUID", "-s", "+sd", made,
                                                        quiet=False)[1].encode())[1].decode()
            nodes.run("movescu", "-S", "-aet", "VIEWER", "-aec", edge.aet, "-aem", "ARCHIVE", "127.0.0.1", edge.dicom,
                      "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
            log.seek(0)
            expect("it calls as", introduced(log.read().split("Association Received")[-1]), stated)
        finally:
            scp.kill()
            scp.wait()
            log.close()
            edge.kill()


if __name__ == "__main__":
    sys.exit(nodes.play("conformance", globals()))
