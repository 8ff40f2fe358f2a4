#!/usr/bin/python3
"""What TLS costs a modality, and how soon storage commitment is said; in interleaved rounds.

  assured.py [--rounds N] [--only tls|commit]

tls: the same files from the same sender, to the edge's plain port and to that of DICOM TLS (1.3, an elliptic key on
both sides), central stopped; images a second. commit: Orthanc asks an edge for commitment of 1,000 images that central
has receipted, and is told: seconds, its own REST interface included. No threshold: speed is reported, not tested.
"""
import argparse
import os
import sys
import time

from peers import Folder, files, median_of, nodes, seconds_of, send

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
import commit  # noqa: E402
import secure  # noqa: E402

CASES = (("CT 512x512, 1 association", "ct", 1), ("CT 512x512, 8 associations", "ct", 8),
         ("8 KB objects, 8 associations", "small", 8))


def by_tls(edge, pki, listen, folder, associations):
    shown = ":".join(pki.path(name) for name in ("modality.pem", "modality.key", "ca.pem"))
    _, out = nodes.run(nodes.tool("dicom_send"), "-q", "-t", shown, "-c", edge.aet, "-a", "BENCH", "-n", associations,
                       "127.0.0.1", listen, folder, seconds=600)
    return seconds_of(out)


def once(sender):
    """Images a second into a fresh edge."""
    with Folder() as top:
        pki, listen = secure.Pki(os.path.join(top, "pki")), nodes.port()
        pki.issue("node")
        pki.issue("modality")
        edge = nodes.edge(top, "bench", quota="8GiB")
        edge.config["dicom"].update(pki.settings("node", listen))
        edge.start()
        try:
            return sender(edge, pki, listen)
        finally:
            edge.kill()


def tls(rounds):
    with Folder() as top:
        made = {"ct": files(top, "ct", "--count", 200, "--rows", 512),
                "small": files(top, "small", "--count", 2000, "--rows", 60)}
        for title, name, n in CASES:
            count = len(os.listdir(made[name]))
            plain, safe = median_of(
                rounds, lambda: once(lambda e, *_: count / send(e, made[name], n)),
                lambda: once(lambda e, pki, port: count / by_tls(e, pki, port, made[name], n)))
            print(f"{title}: plain {plain:.0f}/s, TLS {safe:.0f}/s, {safe / plain:.2f} x", flush=True)


def committed():
    with commit.Site() as s:
        pairs = s.modality.take(s.generate("--count", 1000, "--rows", 16))
        s.modality.send()
        s.drained("north")
        began = time.monotonic()
        transaction = s.modality.commit(pairs)
        while not s.modality.result(transaction):
            time.sleep(0.01)
        seconds = time.monotonic() - began
        said = s.modality.result(transaction)
        if said["Status"] != "Success" or len(said["Success"]) != len(pairs):
            raise nodes.Failed(f"{said['Status']}: {len(said.get('Success', []))} of {len(pairs)}")
        return seconds


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--only", choices=("tls", "commit"))
    args = args.parse_args()
    if args.only != "commit":
        tls(args.rounds)
    if args.only != "tls":
        median, = median_of(args.rounds, committed)
        print(f"commitment of 1,000 images at central: {median:.2f} s (wanted: 1)", flush=True)


if __name__ == "__main__":
    main()
