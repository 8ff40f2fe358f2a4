#!/usr/bin/python3
"""The scanner beside independent programs, on every file of DICOM_CORPUS.

R1: canon(canon(x)) = canon(x) is in test_canon. Here: attributes equal to pydicom's on every file
that both can read, none missing; R2, R3: re-encodings by dcmconv have the same content (no conflict),
one changed pixel has another. Exceptions are named with their reason. SERIES_LIMIT: files of each
series that are re-encoded (2; 0: all).
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402

# Files whose attributes pydicom reads otherwise, each with the reason.
READ_OTHERWISE = {
    "charset/fo-dicom/GH1301.dcm": "a Chinese word in a CS element, where only ASCII is allowed: we show it converted",
    "malformed/dicom-fuzzing-corpus/TC0133_sopinstanceuid_over_10x.dcm": "a UID over 128 bytes: refused (R32)",
    "malformed/dicom-fuzzing-corpus/TC0195_uid_200_components.dcm": "a UID over 128 bytes: refused (R32)",
    "malformed/dicom-fuzzing-corpus/TC0265_depth_100.dcm": "sequences 100 deep: a limit of the scanner (R32)",
    "malformed/dicom-fuzzing-corpus/TC0169_patientname_over_1MB.dcm": "a value over the index's 1,024 bytes",
    "malformed/dicom-fuzzing-corpus/TC0171_patientid_over_1MB.dcm": "a value over the index's 1,024 bytes",
    "malformed/dicom-fuzzing-corpus/TC0241_patientname_PN_as_OB.dcm": "a name that is no text",
    "malformed/dicom-fuzzing-corpus/TC0277_missing_delim.dcm": "a sequence without its delimiter: pydicom drops it",
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


def keys():
    """(level, tag) of all that is indexed but sequences; {(level, tag): tags of items} of these, but for the two that
    are kept in forms of their own."""
    done = subprocess.run([nodes.tool("scan_dump"), "--keys"], stdout=subprocess.PIPE, check=True, timeout=60)
    plain, items = [], {}
    for tag, level, what in map(str.split, done.stdout.decode().splitlines()):
        if len(what) == 8:
            items.setdefault((level, tag), []).append(what)
        elif what != "SQ":
            plain.append((level, tag))
    return plain, items


def items_of(data, tag, wanted):
    """A pydicom sequence as the index keeps it: of each item what is wanted and not empty."""
    element = data.get(int(tag, 16))
    if element is None:
        return None
    if element.VR != "SQ":
        return ""
    items = []
    for item in element.value:
        values = {t: flat(item[int(t, 16)].value) for t in sorted(wanted) if int(t, 16) in item}
        items.append({t: v for t, v in values.items() if v})
    return items


def items_kept(text):
    return [{a[:8]: a[8:] for a in item.split("\x1f") if a} for item in text.split("\x1e")[1:]]


def same_items(ours, theirs):
    if ours is None or theirs is None or theirs == "":
        return ours == theirs
    mine = items_kept(ours)
    if len(mine) < len(theirs) and len(ours) > 500:  # the index keeps 1,024 bytes
        theirs = theirs[:len(mine)]
    return len(mine) == len(theirs) and all(
        a.keys() == b.keys() and all(same(a[t], b[t]) for t in a) for a, b in zip(mine, theirs))


def compare_attributes(path, ours, names):
    """What differs; None where pydicom cannot read the file, or does not find what it is."""
    import pydicom
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            identity = [flat(data.get(name)) for name in ("SOPClassUID", "SOPInstanceUID")]
            values = {}
            sequences = {tag: items_of(data, tag, wanted) for (_, tag), wanted in names[1].items()}
            for _, tag in names[0]:
                element = data.get(int(tag, 16))
                values[tag] = flat(element.value) if element is not None else None
        except Exception:  # noqa: BLE001: what pydicom cannot read, both cannot read
            return None
    if not all(identity):
        return None
    if ours["flags"] & 7 or identity[1] != ours["uid"]:
        return [("00080018", ours["uid"], identity[1])]
    wrong = []
    for level, tag in names[1]:
        if not same_items(ours[level].get(tag), sequences[tag]):
            wrong.append((tag, ours[level].get(tag), sequences[tag]))
    for level, tag in names[0]:
        mine, theirs = ours[level].get(tag), values[tag]
        if (mine is None) != (theirs is None) or (mine is not None and not same(mine, theirs)):
            wrong.append((tag, mine, theirs))
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
    scans, names = scan(paths), keys()
    read = failed = 0
    for path in paths:
        name = os.path.relpath(path, os.environ["DICOM_CORPUS"])
        wrong = compare_attributes(path, scans[path], names)
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


def first_of_each_uid(limit):
    """Of valid/, series/, charset/; series are thinned out to limit files each."""
    everything = list(corpus("valid", "series", "charset"))
    scans, seen, chosen, per_folder = scan(everything), set(), [], {}
    for path in everything:
        info = scans[path]
        folder = os.path.dirname(path)
        if info["uid"] in seen or info["flags"] & 7:
            continue
        seen.add(info["uid"])
        per_folder[folder] = per_folder.get(folder, 0) + 1
        if "/series/" not in path or not limit or per_folder[folder] <= limit:
            chosen.append(path)
    return chosen, scans


def reencode(number, path, tmp):
    """The files that dcmconv makes of it."""
    made = {}
    for m, options in enumerate(OPTIONS):
        out = os.path.join(tmp, f"{number}.{m}")
        done = subprocess.run(["dcmconv", *options, path, out], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=60, check=False)
        if done.returncode == 0 and os.path.exists(out):
            made[out] = (path, options)
    return made


def scanner__R3_reencodings_are_no_conflicts(chosen, scans):
    conflicts, made = [], {}
    with tempfile.TemporaryDirectory() as tmp:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for some in pool.map(reencode, range(len(chosen)), chosen, [tmp] * len(chosen)):
                made.update(some)
        results = scan(list(made)) if made else {}
        for out, (path, options) in made.items():
            name = os.path.relpath(path, os.environ["DICOM_CORPUS"])
            if results[out]["content"] != scans[path]["content"] and name not in CHANGED_BY_DCMCONV:
                conflicts.append(f"{' '.join(options)} {name}")
    for line in conflicts[:40]:
        print("not the same content:", line)
    print(f"R3 re-encodings: {len(chosen)} files, {len(made)} re-encodings, {len(conflicts)} with other content")
    return bool(conflicts) or len(made) < len(chosen)


def scanner__R3_one_changed_pixel_is_a_conflict(chosen, scans):
    """A bit of the last byte of the pixel data: other pixels, the same attributes."""
    made, wrong = {}, []
    with tempfile.TemporaryDirectory() as tmp:
        for number, path in enumerate(chosen):
            info = scans[path]
            offset, length = info.get("last_fragment") or (info["pixel_offset"], info["pixel_length"])
            if not length or length % 2:
                continue
            with open(path, "rb") as f:
                data = bytearray(f.read())
            # The data set ends both files; group 0002 is another length.
            data[len(data) - info["size"] + offset + length - 1] ^= 0x20
            out = os.path.join(tmp, str(number))
            with open(out, "wb") as f:
                f.write(data)
            made[out] = path
        results = scan(list(made)) if made else {}
        for out, path in made.items():
            new, old = results[out], scans[path]
            if new["pixels"] == old["pixels"] or new["content"] == old["content"] or \
                    new["attributes"] != old["attributes"]:
                wrong.append(path)
    for path in wrong[:40]:
        print("a changed pixel is not seen:", path)
    print(f"R3 changed pixels: {len(made)} files, {len(wrong)} not seen")
    return bool(wrong) or len(made) < len(chosen) // 2


def main():
    if "DICOM_CORPUS" not in os.environ:
        print("DICOM_CORPUS is not set: nothing to compare with")
        return 0
    failed = attributes_equal_an_independent_readers()
    chosen, scans = first_of_each_uid(int(os.environ.get("SERIES_LIMIT", "2")))
    failed = scanner__R3_reencodings_are_no_conflicts(chosen, scans) or failed
    failed = scanner__R3_one_changed_pixel_is_a_conflict(chosen, scans) or failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
