#!/usr/bin/python3
"""Each rule that must hold is cited in the code and stands in the name of a test."""
import re
import sys

from tree import files

RULES = range(1, 37)


def text_of(paths):
    return "\n".join(open(p, encoding="utf-8").read() for p in paths)


def main():
    code = text_of(p for p in files("*.c", "*.h", "*.cc", "*.proto") if not p.startswith("tests/"))
    tests = text_of(p for p in files("tests/*.c", "tests/*.py") if "/lint/" not in p)
    uncited = [n for n in RULES if not re.search(rf"\bR{n}\b", code)]
    untested = [n for n in RULES if not re.search(rf"\w*_R{n}(_\w+)?\(", tests)]
    print("rules: not cited in the code: " + (" ".join(f"R{n}" for n in uncited) or "none"))
    print("rules: in the name of no test: " + (" ".join(f"R{n}" for n in untested) or "none"))
    return 1 if uncited or untested else 0


if __name__ == "__main__":
    sys.exit(main())
