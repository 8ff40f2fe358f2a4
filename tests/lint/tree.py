"""The files of the project: what git tracks or would, or, in a copy without git, what lies there."""
import fnmatch
import os
import shutil
import subprocess

GENERATED = ("build", ".git")


def walk():
    for folder, below, names in os.walk("."):
        below[:] = [d for d in below if not d.startswith(GENERATED) and d != "__pycache__"]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), ".")


def tracked():
    """What git knows; None without git."""
    if not os.path.exists(".git") or not shutil.which("git"):
        return None
    done = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
                           "--exclude-standard"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode().split("\0") if done.returncode == 0 else None


def files(*patterns):
    """Sorted paths; a pattern without a slash fits a name in any folder."""
    found = tracked() or walk()
    return sorted({p for p in found if p and os.path.exists(p) and
                   (not patterns or any(fnmatch.fnmatch(p if "/" in q else os.path.basename(p), q) for q in patterns))})
