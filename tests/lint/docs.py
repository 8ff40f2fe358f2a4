#!/usr/bin/python3
"""What the documents name exists: tests in README's table of promises, files behind links, a README per folder."""
import errno
import os
import re
import sys

from tree import files

def test_names():
    names = set()
    for path in files("tests/*.c", "tests/*.py"):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        names |= set(re.findall(r"^def (\w+__\w+)\(", text, re.M))
        names |= set(re.findall(r"^(\w+__\w+)\(void \*\*", text, re.M))
    return names


def goals():
    with open("Makefile", encoding="utf-8") as f:
        return set(re.findall(r"^([\w-]+):", f.read(), re.M))


def exists(word, names, make_goals, folder):
    if word.startswith("make "):
        return word.split()[1] in make_goals
    if word.startswith("test_"):
        return any(os.path.basename(p) == word + ".c" for p in files("tests/*.c"))
    if word.endswith((".py", ".c")):
        return os.path.exists(word) or os.path.exists(os.path.join(folder, word))
    prefix = word.removesuffix("...")
    return any(n.startswith(prefix) for n in names) if word.endswith("...") else word in names


def promises(wrong):
    with open("README.md", encoding="utf-8") as f:
        text = f.read()
    table = text.split("\n| promise | held by |\n")[1].split("\n\n")[0].splitlines()[1:]
    names, make_goals = test_names(), goals()
    for row in table:
        folder = ""
        words = re.findall(r"`([^`]+)`", row.split("|")[2])
        if not words:
            wrong.append(f"README.md: nothing holds: {row}")
        for word in words:
            if not exists(word, names, make_goals, folder):
                wrong.append(f"README.md: there is no {word}")
            if "/" in word:
                folder = os.path.dirname(word)
    return len(table)


def said(wrong):
    """What RECOVERY.md lets a program say, a program says (or the system: what is no sentence of ours)."""
    spoken = ""
    for path in files("*.c"):
        with open(path, encoding="utf-8") as f:
            spoken += re.sub(r'"\s*"', "", f.read())
    with open("deploy/RECOVERY.md", encoding="utf-8") as f:
        rows = f.read().split("\n| it says | it means |\n")[1].split("\n\n")[0].splitlines()[1:]
    for row in rows:
        text = row.split("|")[1].strip()
        if text not in spoken and text != os.strerror(errno.EACCES):
            wrong.append(f"deploy/RECOVERY.md: nobody says '{text}'")


def paths_named(wrong):
    """Whatever a document names by a path with a slash and a known ending is there."""
    for path in files("*.md"):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for word in re.findall(r"`([\w.-]+(?:/[\w.-]+)+\.(?:md|c|h|cc|py|proto|sh))`", text):
            if not os.path.exists(word) and not os.path.exists(os.path.join(os.path.dirname(path), word)):
                wrong.append(f"{path}: there is no {word}")


def folders(wrong):
    have = {os.path.dirname(p) for p in files("*.c", "*.h", "*.cc", "*.py", "*.proto")} | {"deploy"}
    for folder in sorted(have - {""}):
        if any(os.path.exists(os.path.join(folder, n)) for n in ("README.md", "PROTOCOL.md")):
            continue
        above, name = os.path.split(folder)
        above = os.path.join(above, "README.md")
        if not os.path.exists(above) or f"| `{name}/` |" not in open(above, encoding="utf-8").read():
            wrong.append(f"{folder}: no README.md, and no row in {above}")


def main():
    wrong = []
    count = promises(wrong)
    paths_named(wrong)
    said(wrong)
    folders(wrong)
    for line in wrong:
        print(line)
    print(f"documents: {count} promises, {len(wrong)} breaches")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
