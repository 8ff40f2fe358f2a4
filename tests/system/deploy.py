#!/usr/bin/python3
"""What a machine needs before it has anything: packages that are installed when they lack, and `make install`.

Each test is a function named after the promise it holds; a test that fails prints why.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402
from nodes import expect  # noqa: E402

DPKG_QUERY = """#!/bin/bash
# like dpkg's: says what it knows of those that are asked for, and fails when one of them is unknown
rc=0
shift 3
for p; do
	case " $UNKNOWN " in *" $p "*) rc=1; continue ;; esac
	case " $REMOVED " in *" $p "*) printf '%s=config-files ' "$p"; continue ;; esac
	printf '%s=installed ' "$p"
done
exit $rc
"""
APT_GET = """#!/bin/bash
echo "$*" >>"$CALLS"
[ "$1" = update ] || exit "$APT_EXIT"
"""


def install_deps(*groups, unknown="", removed="", apt_exit=0):
    """(exit code, what it printed, the packages that apt-get was to install)."""
    with tempfile.TemporaryDirectory(prefix="salamander-deploy-") as top:
        for name, text in (("dpkg-query", DPKG_QUERY), ("apt-get", APT_GET), ("sudo", '#!/bin/sh\nexec "$@"\n')):
            with open(os.path.join(top, name), "w", encoding="utf-8") as f:
                f.write(text)
            os.chmod(f.name, 0o755)
        calls = os.path.join(top, "calls")
        done = subprocess.run([os.path.join(nodes.TOP, "deploy", "install-deps"), *groups], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False,
                              env={**os.environ, "PATH": f"{top}:{os.environ['PATH']}", "UNKNOWN": unknown,
                                   "REMOVED": removed, "CALLS": calls, "APT_EXIT": str(apt_exit)})
        wanted = []
        if os.path.exists(calls):
            with open(calls, encoding="utf-8") as f:
                for line in f:
                    words = line.split()
                    wanted += [w for w in words[1:] if words[0] == "install" and not w.startswith("-")]
        return done.returncode, done.stdout.decode(), wanted


def install_deps__what_dpkg_never_heard_of_or_was_removed_is_installed():
    code, said, wanted = install_deps("build", "lint", unknown="libinih-dev cppcheck", removed="zlib1g-dev")
    expect("exit", code, 0)
    expect("installed", sorted(wanted), ["cppcheck", "libinih-dev", "zlib1g-dev"])
    if not all(p in said for p in wanted) or "done" not in said:
        raise nodes.Failed(f"it does not say what it does: {said!r}")
    expect("in two groups, asked for once", install_deps("test", "demo", unknown="python3-pydicom")[2],
           ["python3-pydicom"])


def install_deps__does_nothing_and_says_nothing_when_all_is_there():
    expect("all groups", install_deps("build", "lint", "test", "demo", "bench"), (0, "", []))


def install_deps__a_failure_is_not_silent():
    code, said, _ = install_deps("build", unknown="make", apt_exit=100)
    if code == 0 or "install-deps: " not in said or "could not" not in said:
        raise nodes.Failed(f"exit {code}, {said!r}")
    code, said, wanted = install_deps("biuld")
    if code == 0 or "biuld" not in said or wanted:
        raise nodes.Failed(f"no such group: exit {code}, {said!r}")


def make__each_goal_installs_what_it_lacks():
    for goal, groups in (("all", ["build"]), ("demo", ["build", "demo"]), ("check", ["build", "test"]),
                         ("lint", ["build", "lint"]), ("install", ["build"])):
        with tempfile.TemporaryDirectory(prefix="salamander-make-") as empty:
            _, out = nodes.run("env", "-u", "MAKEFLAGS", "-u", "MFLAGS", "make", "-n", "-C", nodes.TOP, f"B={empty}", goal)
        for group in groups:
            first = out.find(f"deploy/install-deps {group}")
            if first < 0 or 0 <= out.find("gcc") < first:
                raise nodes.Failed(f"make {goal} does not begin with the packages of {group}")
    _, out = nodes.run(os.path.join(nodes.TOP, "deploy", "install-deps"), "build", "test")
    expect("nothing to do, nothing said", out, "")
    expect("no such group", nodes.run(os.path.join(nodes.TOP, "deploy", "install-deps"), "toys", ok=None)[0], 2)


def install__units_run_what_was_installed_with_the_settings_that_were():
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")}
    with tempfile.TemporaryDirectory(prefix="salamander-deploy-") as top:
        done = subprocess.run(["make", "-s", f"B={os.path.relpath(nodes.BUILD, nodes.TOP)}", f"DESTDIR={top}",
                               "PREFIX=/opt/sal", "SYSCONFDIR=/opt/sal/etc", "install"], cwd=nodes.TOP, env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
        if done.returncode:
            raise nodes.Failed(done.stdout.decode()[-1000:])
        for role in ("edge", "central"):
            with open(f"{top}/opt/sal/lib/systemd/system/salamander-{role}.service", encoding="utf-8") as f:
                unit = f.read()
            for verb in ("serve", "reload"):
                command = f"/opt/sal/bin/salamander-{role} --config /opt/sal/etc/salamander/{role}.conf {verb}\n"
                if f"={command}" not in unit:
                    raise nodes.Failed(f"{role}: no {command!r} in {unit}")
            nodes.run(f"{top}/opt/sal/bin/salamander-{role}", "--version")
            if "@" in unit or not os.path.exists(f"{top}/opt/sal/etc/salamander/{role}.conf.sample"):
                raise nodes.Failed(f"{role}: not whole")
        resync = {}
        for kind in ("service", "timer"):
            with open(f"{top}/opt/sal/lib/systemd/system/salamander-resync.{kind}", encoding="utf-8") as f:
                resync[kind] = f.read()
        command = "/opt/sal/bin/salamander-edge --config /opt/sal/etc/salamander/edge.conf resync\n"
        for kind, wanted in (("service", (f"ExecStart={command}", "Type=oneshot", "User=salamander")),
                             ("timer", ("RandomizedDelaySec=", "Persistent=true", "WantedBy=timers.target"))):
            for text in wanted:
                if text not in resync[kind] or "@" in resync[kind]:
                    raise nodes.Failed(f"resync.{kind}: no {text!r} in {resync[kind]}")


if __name__ == "__main__":
    sys.exit(nodes.play("deploy", globals()))
