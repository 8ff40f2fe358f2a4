#!/usr/bin/python3
"""The floors of the design, the sizes of the style guide, and what else a reader would trip over.

Reads the tree that git tracks. Prints each breach; exit 1 if there is any.
"""
import json
import re
import subprocess
import sys

from tree import files

FLOORS = {"common/base": 0, "common/os": 1, "common/kv": 2, "common/dicom": 2, "common/http": 2, "common/store": 3,
          "common/web": 4, "common/dimse": 4, "proto": 5, "edge": 6, "central": 6}
TOP = {"Makefile", "edge", "central", "common", "proto", "tests", "deploy", "README.md"}
FUNCTION_MAX, FUNCTION_AIM, FILE_MAX, LINE_MAX = 100, 60, 800, 100


def folder_of(path):
    return path.rsplit("/", 1)[0] if "/" in path else ""


def floors(path, text, wrong):
    own = folder_of(path)
    if own not in FLOORS:
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        other = folder_of(match.group(1))
        if other == "" and match.group(1).endswith(".pb-c.h"):
            continue
        if match.group(1).endswith(".pb-c.h"):
            other = folder_of(match.group(1))
        if other not in FLOORS:
            wrong.append(f"{path}:{number}: {match.group(1)} is on no floor")
        elif other != own and FLOORS[other] >= FLOORS[own]:
            wrong.append(f"{path}:{number}: {own} may not include {match.group(1)}")
    if path.endswith(".h") and re.search(r"dcmtk/|\bDcm[A-Z]|\bT_ASC_|\bDUL_", re.sub(r"/\*.*?\*/", "", text, flags=re.S)):
        wrong.append(f"{path}: a DCMTK type in a header")


def sizes(path, text, wrong):
    lines = text.splitlines()
    if len(lines) > FILE_MAX:
        wrong.append(f"{path}: {len(lines)} lines")
    for number, line in enumerate(lines, 1):
        if len(line.expandtabs(8)) > LINE_MAX:
            wrong.append(f"{path}:{number}: {len(line.expandtabs(8))} columns")


def functions(paths, wrong):
    out = subprocess.run(["ctags", "--languages=C,C++", "--kinds-C=f", "--kinds-C++=f", "--fields=+ne",
                          "--output-format=json", "-f", "-", *paths], stdout=subprocess.PIPE, check=True)
    lengths = []
    for line in out.stdout.decode().splitlines():
        tag = json.loads(line)
        if "end" in tag:
            length = tag["end"] - tag["line"] + 1
            lengths.append(length)
            if length > FUNCTION_MAX:
                wrong.append(f"{tag['path']}:{tag['line']}: {tag['name']} has {length} lines")
    long = sum(length > FUNCTION_AIM for length in lengths)
    if lengths and long > len(lengths) * 0.05:
        wrong.append(f"{long} of {len(lengths)} functions have more than {FUNCTION_AIM} lines")


def main():
    wrong = []
    sources = files("*.c", "*.h", "*.cc")
    for path in sources:
        with open(path, encoding="utf-8") as f:
            text = f.read()
        floors(path, text, wrong)
        sizes(path, text, wrong)
        if path.endswith(".cc") and folder_of(path) != "common/dicom":
            wrong.append(f"{path}: C++ outside common/dicom")
    functions(sources, wrong)
    for path in files():
        top = path.split("/")[0]
        if top not in TOP and not top.startswith("."):
            wrong.append(f"{path}: '{top}' does not belong at the top")
    for line in wrong:
        print(line)
    print(f"floors, sizes: {len(sources)} files, {len(wrong)} breaches")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
