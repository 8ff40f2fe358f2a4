#!/usr/bin/python3
"""What crosses a line that is long and loses packets: correctness, never speed (wan.py has the figures).

Each test is a function named after the promise it holds.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "check")]
import check  # noqa: E402
import line as lines  # noqa: E402
import nodes  # noqa: E402


def in_vault(pair, *folders):
    wrong = []
    have = {o.key for p in check.packs(os.path.join(pair.central.data, "vault")) for o in check.pack_members(p, wrong)}
    check.missing({o.key: o.path for o in check.objects(folders, wrong)}, have, wrong)
    if wrong:
        raise nodes.Failed("\n".join(wrong[:10]))


def generate(pair, name, *options):
    folder = os.path.join(pair.top, name)
    nodes.run(nodes.tool("gen_dicom"), "--out", folder, *options)
    return folder


def line__R14_all_arrives_once_over_a_lossy_line_that_is_cut_and_mended():
    with lines.Line(50, 40, 1) as line, lines.Pair(line) as pair:
        folders = [generate(pair, "ct", "--count", 12), generate(pair, "small", "--count", 80, "--rows", 60, "--seed", 2),
                   generate(pair, "packed", "--count", 12, "--compressed", "--seed", 3)]
        before = line.show()[0]
        for folder in folders:
            pair.take_in(folder)
        nodes.wait_for("a part of it is on its way", lambda: line.show()[0] - before > 1 << 20)
        line.cut()
        nodes.wait_for("the cut is seen", lambda: not pair.edge.status()["central"]["reachable"])
        line.mend()
        nodes.wait_for("nothing is owed", pair.is_done, 60)
        in_vault(pair, *folders)
        nodes.expect("bytes that were sent although central had them", pair.central.status()["repeated_bytes"], 0)


if __name__ == "__main__":
    sys.exit(nodes.play("wan", globals()))
