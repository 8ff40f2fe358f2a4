#!/usr/bin/python3
"""A strict reader of Prometheus' text format, version 0.0.4: one that takes less than Prometheus does.

Shares no code with the product. `mistakes(text)` lists what promtool would not take, or would warn of: each family has
HELP, then TYPE, then its samples, all together and once; names and labels are valid; counters end in _total and nothing
else does; nothing is said twice; values are numbers. `samples(text)` gives {(name, label value or None): number}, or
{(name, value, value): number} where there are several.
"""
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL})(?:,{LABEL})*)\}})? (\S+)")
VALUE = re.compile(r"[-+]?(\d+(\.\d+)?([eE][-+]?\d+)?|Inf)|NaN")
NOT_BASE = ("_milliseconds", "_ms", "_minutes", "_hours", "_days", "_kib", "_mib", "_kb", "_mb", "_percent")


class Reader:
    def __init__(self):
        self.wrong, self.values = [], {}
        self.closed, self.family, self.kind, self.filled = set(), None, None, False

    def end_family(self, line):
        if self.family and (self.kind is None or not self.filled):
            self.wrong.append(f"line {line}: {self.family} has no type or no sample")
        self.closed.add(self.family)

    def open_family(self, line, name, text):
        self.end_family(line)
        if name in self.closed:
            self.wrong.append(f"line {line}: {name} comes twice")
        if not text.strip() or re.search(r"\\(?![\\n])", text):
            self.wrong.append(f"line {line}: help of {name}: {text!r}")
        self.family, self.kind, self.filled = name, None, False

    def type_family(self, line, name, kind):
        if name != self.family or self.kind or self.filled:
            self.wrong.append(f"line {line}: the type of {name} is out of place")
        if kind not in ("counter", "gauge"):
            self.wrong.append(f"line {line}: {name} is a {kind}")
        if (kind == "counter") != name.endswith("_total") or name.endswith(NOT_BASE):
            self.wrong.append(f"line {line}: {name} is no name of a {kind}")
        self.kind = kind

    def take_sample(self, line, text):
        m = SAMPLE.fullmatch(text)
        if not m:
            self.wrong.append(f"line {line}: no sample: {text!r}")
            return
        name, labels, value = m.group(1), m.group(2) or "", m.group(m.lastindex)
        pairs = re.findall(LABEL, labels)
        if name != self.family or self.kind is None:
            self.wrong.append(f"line {line}: {name} without its family")
        if len({k for k, _ in pairs}) != len(pairs):
            self.wrong.append(f"line {line}: a label twice")
        if not VALUE.fullmatch(value) or (self.kind == "counter" and value.startswith("-")):
            self.wrong.append(f"line {line}: {value!r} is no value")
            return
        key = (name, *([v for _, v in pairs] or [None]))
        if key in self.values:
            self.wrong.append(f"line {line}: {key} twice")
        self.values[key], self.filled = float(value), True

    def read(self, text):
        if not text.endswith("\n") or "\r" in text:
            self.wrong.append("the last line has no end, or a line has two")
        lines = text.split("\n")[:-1]
        for number, line in enumerate(lines, 1):
            words = line.split(" ", 3)
            if words[:2] == ["#", "HELP"] and len(words) == 4 and re.fullmatch(NAME, words[2]):
                self.open_family(number, words[2], words[3])
            elif words[:2] == ["#", "TYPE"] and len(words) == 4:
                self.type_family(number, words[2], words[3])
            else:
                self.take_sample(number, line)
        self.end_family(len(lines))
        return self


def mistakes(text):
    return Reader().read(text).wrong


def samples(text):
    return Reader().read(text).values


if __name__ == "__main__":
    found = mistakes(sys.stdin.read())
    print("\n".join(found) or "good")
    sys.exit(1 if found else 0)
