#!/usr/bin/python3
"""The scanner beside independent programs, on every file of DICOM_CORPUS.

R1: canon(canon(x)) = canon(x) is in test_canon. Here: attributes equal to pydicom's on every file
that both can read; R2, R3: re-encodings by dcmconv have the same content (no conflict), one changed
pixel has another. Exceptions are named with their reason.
"""
import json
import os
import subprocess
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402

TEXT_VRS = {"SH", "LO", "PN", "LT", "ST", "UC", "UT"}
SKIPPED_KEYS = {"00101002", "00080051"}  # sequences, kept in a form of their own
# Files whose attributes pydicom reads otherwise, each with the reason.
READ_OTHERWISE = {
    "charset/fo-dicom/GH1301.dcm": "a Chinese word in a CS element, where only ASCII is allowed: we show it converted",
    "malformed/dicom-fuzzing-corpus/TC0169_patientname_over_1MB.dcm": "a value over the index's 1,024 bytes",
    "malformed/dicom-fuzzing-corpus/TC0171_patientid_over_1MB.dcm": "a value over the index's 1,024 bytes",
    "malformed/dicom-fuzzing-corpus/TC0241_patientname_PN_as_OB.dcm": "a name that is no text",
    "malformed/dicom-fuzzing-corpus/TC0257_implicit_patname_binary.dcm": "a name that is no text",
}
# Re-encodings that are no mere re-encodings, each with the reason.
CHANGED_BY_DCMCONV = {}


def scan(paths):
    done = subprocess.run([nodes.tool("scan_dump")], input="\n".join(paths).encode(), stdout=subprocess.PIPE,
                          check=True, timeout=300)
    return {d["path"]: d for d in map(json.loads, done.stdout.decode("utf-8").splitlines())}


def flat(value):
    """A pydicom value as the index keeps it."""
    from pydicom.multival import MultiValue
    if value is None or (type(value).__name__ == "PersonName" and not value.original_string):
        return ""
    if isinstance(value, (MultiValue, list)):
        return "\\".join(flat(v) for v in value)
    original = getattr(value, "original_string", None)  # of DS, IS, DA, TM: as in the file
    return (original if isinstance(original, str) else str(value)).strip(" \0")


def same(ours, theirs):
    norm = lambda s: "\\".join(v.strip(" \0").rstrip("=^") for v in s.split("\\"))  # noqa: E731
    if norm(ours) == norm(theirs) or len(ours) >= 1000 and theirs.startswith(ours[:900]):
        return True
    try:
        return [float(v) for v in ours.split("\\")] == [float(v) for v in theirs.split("\\")]
    except ValueError:
        return False


def compare_attributes(path, ours):
    import pydicom
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            names = [(level, tag) for level in ("study", "series", "instance") for tag in ours[level]]
            if str(data.get("SOPInstanceUID", "")) != ours["uid"]:
                return None  # pydicom lost its way in what is malformed
            values = {}
            for _, tag in names:
                element = data.get(int(tag, 16))
                values[tag] = flat(element.value) if element is not None else None
        except Exception:  # noqa: BLE001: what pydicom cannot read, both cannot read
            return None
    wrong = []
    for level, tag in names:
        if tag in SKIPPED_KEYS:
            continue
        if values[tag] is None or not same(ours[level][tag], values[tag]):
            wrong.append((tag, ours[level][tag], values[tag]))
    return wrong


def corpus(*folders):
    top = os.environ["DICOM_CORPUS"]
    for folder in folders:
        for base, _, names in sorted(os.walk(os.path.join(top, folder))):
            for name in sorted(names):
                if name not in ("MANIFEST.tsv", "README.md"):
                    yield os.path.join(base, name)


def attributes_equal_an_independent_readers():
    paths = list(corpus(""))
    scans = scan(paths)
    read = failed = 0
    for path in paths:
        ours = scans[path]
        if ours["flags"] & 7:
            continue  # opaque, without identity, or a limit: not read as a whole
        name = os.path.relpath(path, os.environ["DICOM_CORPUS"])
        wrong = compare_attributes(path, ours)
        if wrong is None:
            continue
        read += 1
        if wrong and name not in READ_OTHERWISE:
            failed += 1
            for tag, a, b in wrong[:3]:
                print(f"differs: {name} ({tag}): ours {a!r}, pydicom {b!r}")
    print(f"attributes: {read} files read by both, {failed} differ")
    return failed or read < len(paths) // 2


OPTIONS = (["+te"], ["+ti"], ["+tb"], ["+te", "-e"], ["+te", "+e"], ["+te", "-g"], ["+te", "+g"], ["+te", "-p"])


def scanner__R3_reencodings_are_no_conflicts(limit):
    """First of each UID of valid/, series/, charset/; series are thinned out to limit files each."""
    seen, chosen, per_folder = set(), [], {}
    everything = list(corpus("valid", "series", "charset"))
    scans = scan(everything)
    for path in everything:
        info = scans[path]
        folder = os.path.dirname(path)
        if info["uid"] in seen or info["flags"] & 7:
            continue
        seen.add(info["uid"])
        per_folder[folder] = per_folder.get(folder, 0) + 1
        if "/series/" not in path or per_folder[folder] <= limit:
            chosen.append(path)
    converted, conflicts = 0, []
    with tempfile.TemporaryDirectory() as tmp:
        made = {}
        for n, path in enumerate(chosen):
            for m, options in enumerate(OPTIONS):
                out = os.path.join(tmp, f"{n}.{m}")
                done = subprocess.run(["dcmconv", *options, path, out], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, timeout=60, check=False)
                if done.returncode == 0 and os.path.exists(out):
                    made[out] = (path, options)
        results = scan(list(made)) if made else {}
        for out, (path, options) in made.items():
            converted += 1
            name = os.path.relpath(path, os.environ["DICOM_CORPUS"])
            if results[out]["content"] != scans[path]["content"] and name not in CHANGED_BY_DCMCONV:
                conflicts.append(f"{' '.join(options)} {name}")
    for line in conflicts[:40]:
        print("not the same content:", line)
    print(f"R3 re-encodings: {len(chosen)} files, {converted} re-encodings, {len(conflicts)} with other content")
    return bool(conflicts) or converted < len(chosen)


def main():
    if "DICOM_CORPUS" not in os.environ:
        print("DICOM_CORPUS is not set: nothing to compare with")
        return 0
    failed = attributes_equal_an_independent_readers()
    failed = scanner__R3_reencodings_are_no_conflicts(int(os.environ.get("SERIES_LIMIT", "2"))) or failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
