#!/usr/bin/python3
"""Every character set of PS3.3 C.12.1.1.2 through a real edge: objects and keys encoded by pydicom, asked by DCMTK's
findscu, the answers decoded by pydicom. Nothing here shares code with the product.
"""
import glob
import os
import subprocess
import sys
import tempfile
import warnings

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lib")]
import nodes  # noqa: E402
from nodes import expect  # noqa: E402

warnings.simplefilter("ignore")  # pydicom speaks of sets that it does not know
ROOT = "1.2.826.0.1.3680043.10.1571.79"
# Specific Character Set: a name in it, and the beginning of it that is asked for.
NAMES = {
    "ISO_IR 100": ("Buc^Jérôme", "BUC^jer*"), "ISO_IR 101": ("Wałęsa^Łucja", "Wałęsa*"),
    "ISO_IR 109": ("Ġorġ^Ħamra", "Ġorġ^*"), "ISO_IR 110": ("Kęstas^Ņina", "Kęst*"),
    "ISO_IR 126": ("Διονυσιος^Αννα", "Διονυ*"), "ISO_IR 127": ("قباني^لنزار", "قباني^*"),
    "ISO_IR 138": ("שרון^דבורה", "שרון^ד*"), "ISO_IR 144": ("Люкceмбypг^Ирина", "Люкce*"),
    "ISO_IR 148": ("Çavuşoğlu^Işık", "Çavuş*"), "ISO_IR 166": ("นามสกุล^ชื่อ", "นามสกุล*"),
    "ISO_IR 203": ("Œuvre^Žiga€", "Œuvre*"), "ISO_IR 13": ("ﾔﾏﾀﾞ^ﾀﾛｳ", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    "\\ISO 2022 IR 87": ("Yamada^Tarou=山田^太郎=やまだ^たろう", "*山田*"),
    "ISO 2022 IR 13\\ISO 2022 IR 87": ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^花子=やまだ^はなこ", "*花子*"),
    "\\ISO 2022 IR 159": ("Ding^A=丂^乄", "*丂*"),
    "\\ISO 2022 IR 149": ("Hong^Gildong=洪^吉洞=홍^길동", "*홍*"), "\\ISO 2022 IR 58": ("Zhang^XiaoDong=张^小东", "*张*"),
    "ISO 2022 IR 100\\ISO 2022 IR 144": ("Jérôme^Люк", "Jérôme*"), "ISO_IR 192": ("Ωmega^山田€", "Ωm*"),
    "GB18030": ("Wang^XiaoDong=王^小东", "*王*"), "GBK": ("Li^Ming=李^明", "*李*"),
}
LATER = ("ISO_IR 203",)  # not known to pydicom 2.3: written by Python's own codec


def write(path, ds, implicit=False):
    """As pydicom writes it; what it does not know by Python's codec of that name."""
    name = ds.get("SpecificCharacterSet", "")
    if name in LATER:
        ds[0x00100010].value = NAMES[name][0 if ds.StudyDescription else 1].encode("iso8859_15")
    ds.is_little_endian, ds.is_implicit_VR = True, implicit
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.1"
    pydicom.dcmwrite(path, ds, write_like_original=False)
    return path


def stored(folder, number, charset):
    ds = Dataset()
    ds.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
    ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.7", "OT"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.{number}", f"{ROOT}.{number}.1"
    ds.SOPInstanceUID, ds.PatientID = f"{ROOT}.{number}.1.1", f"C{number}"
    ds.StudyDescription, ds.PatientName = "CHARSET", NAMES[charset][0]
    return write(os.path.join(folder, f"{number}.dcm"), ds)


def asked(node, folder, name, charset, implicit, title="VIEWER"):
    """Who is found by this key, {patient ID: (name, character set of the answer)}, as pydicom reads the answers."""
    ds = Dataset()
    if charset:
        ds.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
    ds.QueryRetrieveLevel, ds.StudyInstanceUID, ds.PatientID, ds.StudyDescription = "STUDY", "", "", ""
    ds.PatientName = name
    for old in glob.glob(os.path.join(folder, "*")):
        os.remove(old)
    key = write(os.path.join(folder, "key.dcm"), ds, implicit)
    done = subprocess.run(["findscu", "-S", "-X", "-od", folder, "-aet", title, "-aec", node.aet, "127.0.0.1",
                           str(node.dicom), key], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                          check=False)
    expect("findscu", (done.returncode, done.stdout.decode("utf-8", "replace")[-300:] if done.returncode else ""), (0, ""))
    found = {}
    for path in glob.glob(os.path.join(folder, "rsp*.dcm")):
        answer = pydicom.dcmread(path, force=True)
        terms = answer.get("SpecificCharacterSet", "")
        terms = terms if isinstance(terms, str) else "\\".join(terms)
        raw = answer.get_item(0x00100010).value
        raw = raw.encode() if isinstance(raw, str) else raw
        text = raw.decode("iso8859_15") if terms in LATER else str(answer.PatientName)
        text = text.replace("\x1b$)A", "")  # pydicom 2.3 converts what follows, and leaves that escape in
        found[answer.PatientID] = (text.rstrip(" "), terms)
    return found


def charset__every_one_in_objects_keys_and_answers():
    top = tempfile.mkdtemp(prefix="salamander-charset-")
    files, answers = os.path.join(top, "files"), os.path.join(top, "answers")
    os.makedirs(files)
    os.makedirs(answers)
    node = nodes.edge(os.path.join(top, "edge"), "north",
                      **{"peer VIEWER": {"aet": "VIEWER", "host": "127.0.0.1", "may": "find, get, move"}})
    try:
        node.start()
        for number, charset in enumerate(NAMES, 1):
            nodes.run("storescu", "-aec", node.aet, "127.0.0.1", node.dicom, stored(files, number, charset))
        for number, (charset, (name, key)) in enumerate(NAMES.items(), 1):
            for implicit in (False, True):
                found = asked(node, answers, key, charset, implicit)
                expect(f"{charset}: in its own words", found.get(f"C{number}"), (name, charset))
            if charset not in LATER:
                found = asked(node, answers, key, "ISO_IR 192", False)
                expect(f"{charset}: asked in UTF-8", found.get(f"C{number}"), (name, "ISO_IR 192"))
        # What the client's set cannot say is told in UTF-8, never mangled.
        found = asked(node, answers, "", "ISO_IR 100", False)
        expect("all of them", {k: v[0] for k, v in found.items()},
               {f"C{n}": name for n, (name, _) in enumerate(NAMES.values(), 1)})
        expect("Latin where that is enough", {k for k, v in found.items() if v[1] == "ISO_IR 100"}, {"C1"})
        expect("nothing said", asked(node, answers, "*", "", False)["C1"], (NAMES["ISO_IR 100"][0], "ISO_IR 192"))
    finally:
        node.kill()
        subprocess.run(["rm", "-rf", top], check=False)


if __name__ == "__main__":
    sys.exit(nodes.play("charsets", globals()))
