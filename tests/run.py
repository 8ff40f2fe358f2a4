#!/usr/bin/python3
"""Runs test programs, some at a time, and says what happened.

  run.py [--jobs N] [--timeout S] [--title T] PROGRAM...

A program passes when it exits 0 in time; 77 says that this machine does not let it run: named, and counted as skipped. What a failed one printed is shown whole, of a good one
only cmocka's closing lines and its tables. At the end: the ten slowest and one line `N passed, N failed`.
Exit 0 only when at least one ran and none failed.
"""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time

CLOSING = re.compile(r"^\[  (PASSED|FAILED|SKIPPED) +\]|^\[==========\].*run|^.*: .*(lost|differ|skipped|wrong)|^skip |^\| ")
SKIPPED = 77


def run(program, timeout):
    start = time.monotonic()
    command = ["/usr/bin/python3", program] if program.endswith(".py") else [program]
    # A session of its own: one that does not end in time takes the nodes that it started with it.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          start_new_session=True) as process:
        try:
            out, _ = process.communicate(timeout=timeout)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            code, out = -1, out + f"\nno end within {timeout:.0f} s\n".encode()
    return program, code, out.decode("utf-8", "replace"), time.monotonic() - start


def show(program, code, out, seconds):
    name = re.sub(r"^build[^/]*/", "", os.path.relpath(program))
    word = {0: "ok  ", SKIPPED: "skip"}.get(code, "FAIL")
    print(f"{word} {name} ({seconds:.1f} s)", flush=True)
    for line in out.splitlines():
        if code not in (0, SKIPPED) or CLOSING.match(line):
            print("     " + line)
    return name


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--timeout", type=float, default=420)
    p.add_argument("--title", default="tests")
    p.add_argument("programs", nargs="+")
    args = p.parse_args()
    slow, failed, skipped = [], [], []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for result in pool.map(lambda program: run(program, args.timeout), args.programs):
            name = show(*result)
            slow.append((result[3], name))
            if result[1] == SKIPPED:
                skipped.append(name)
            elif result[1] != 0:
                failed.append(name)
    print(f"{args.title}: the slowest: " +
          ", ".join(f"{name} {seconds:.1f} s" for seconds, name in sorted(slow, reverse=True)[:10]))
    if failed:
        print(f"{args.title}: failed: " + " ".join(failed))
    if skipped:
        print(f"{args.title}: skipped: " + " ".join(skipped))
    passed = len(slow) - len(failed) - len(skipped)
    print(f"{passed} passed, {len(failed)} failed" + (f", {len(skipped)} skipped" if skipped else ""), flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
