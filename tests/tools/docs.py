#!/usr/bin/python3
"""Puts the tables that the nodes go by into deploy/CONFORMANCE.md: `make docs`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. --check: writes nothing, exits 1 where one is
not what the program prints, missing or left over.
"""
import os
import re
import subprocess
import sys

BUILD = os.environ.get("BUILD", "build")
PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.S)


def tables():
    text = subprocess.run([os.path.join(BUILD, "tests/tools/conformance")], check=True, capture_output=True,
                          text=True).stdout
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in text.split("== ")[1:]}


def filled(text, known):
    used = []

    def table(place):
        used.append(place.group(2))
        return place.group(1) + known.get(place.group(2), "") + place.group(3)

    out = PLACE.sub(table, text)
    return out, set(used) ^ set(known)


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    path = os.path.join(root, "deploy", "CONFORMANCE.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    out, odd = filled(text, tables())
    for name in sorted(odd):
        print(f"CONFORMANCE.md: table {name} stands on one side only", file=sys.stderr)
    if "--check" in sys.argv[1:]:
        if out != text:
            print("CONFORMANCE.md is not what the nodes go by: make docs", file=sys.stderr)
        return 1 if odd or out != text else 0
    with open(path, "w", encoding="utf-8") as f:
        f.write(out)
    return 1 if odd else 0


if __name__ == "__main__":
    sys.exit(main())
