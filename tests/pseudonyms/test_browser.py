"""A browser puts in the same pseudonyms as Python, byte for byte, or refuses in the same words."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dataset_dl.errors import SelectionError
from dataset_dl.pixels import identity
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.pseudonyms import page, review
from dataset_dl.pseudonyms.keys import Key
from dataset_dl.pseudonyms.making import rewritten
from dataset_dl.pseudonyms.profile import Profile
from dataset_dl.pseudonyms.rewriting import Held, Rewriter
from support.dicoms import corpus, quietly_read
from support.identified import plain, saved

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="needs node"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # pydicom says what is wrong on purpose
]

SECRET = "a key for the tests, 32 characters"
KEY = Key(SECRET.encode())
EXCLUDED = ("PR", "SR")
EVERYTHING = ("burned-in", "secondary-capture", "documents", "overlays", *EXCLUDED)
TOKEN = "Zq7Token"
BIG = "it is big-endian, which the standard has retired; convert it first"
_RULES = {**page._rules(), "excluded": EXCLUDED}
_BEGIN = """
import { readFile, writeFile } from "node:fs/promises";
import { keyOf, pseudonymise, rulesOf } from "%s";
const given = JSON.parse(await readFile(process.argv[2], "utf8"));
"""
_FILES = """
const key = await keyOf(given.secret), rules = rulesOf(given.rules), told = [];
for (const { path, ...options } of given.files) {
  try {
    const { bytes, ...rest } = await pseudonymise(await readFile(path), rules, key, options);
    if (bytes) await writeFile(`${path}.new`, bytes);
    told.push(rest);
  } catch (error) {
    told.push({ problem: error.message, stack: error.stack });
  }
}
console.log(JSON.stringify(told));
"""
_KEYS = """
const told = [];
for (const [secret, texts] of given) {
  try {
    const key = await keyOf(secret);
    for (const text of texts) told.push([await key.uid(text), await key.pseudonym(text), await key.days(text)]);
  } catch (error) {
    told.push(error.message);
  }
}
console.log(JSON.stringify(told));
"""


class Case(NamedTuple):
    """A file, and what is chosen for it."""

    name: str
    data: bytes
    allowed: tuple[str, ...] = ()
    pseudonym: str = ""


def in_node(directory: Path, code: str, given: object) -> Any:
    module = Path(page.__file__).parent / "static" / "pseudonymise.js"
    (directory / "pseudonymise.mjs").write_bytes(module.read_bytes())  # node takes .js for CommonJS
    (directory / "run.mjs").write_text(_BEGIN % (directory / "pseudonymise.mjs").as_uri() + code)
    (directory / "given.json").write_text(json.dumps(given))
    command = ["node", str(directory / "run.mjs"), str(directory / "given.json")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def compare(directory: Path, cases: Iterable[Case]) -> dict[str, int]:
    """Compare all cases in one process of node; return how many there were of each kind."""
    cases, files = list(cases), []
    for number, case in enumerate(cases):
        path = directory / f"{number}"
        path.write_bytes(case.data)
        files.append({"path": str(path), "allowed": case.allowed, "pseudonym": case.pseudonym})
    told = in_node(directory, _FILES, {"secret": SECRET, "rules": _RULES, "files": files})
    assert len(told) == len(cases)
    counted = dict.fromkeys(("same", "held", "refused", "big"), 0)
    for case, file, new in zip(cases, files, told, strict=True):
        counted[_compared(case, new, Path(f"{file['path']}.new"))] += 1
    return counted


def _compared(case: Case, told: dict[str, str], path: Path) -> str:
    syntax = _syntax(case.data)
    if syntax == ExplicitVRBigEndian:
        assert told.get("problem") == BIG, case.name
        return "big"
    rewriter = Rewriter(KEY, Profile(allowed=case.allowed, excluded=EXCLUDED))
    try:
        identity, expected = rewritten(rewriter, case.data, case.pseudonym)
    except Unreadable as error:
        # Python reads what is deflated by pydicom, which complains in its own words.
        assert (
            "problem" in told
            if syntax == DeflatedExplicitVRLittleEndian
            else told.get("problem") == str(error)
        ), (
            case.name,
            told,
            str(error),
        )
        return "refused"
    if isinstance(expected, Held):
        assert told == {"held": expected.reason}, case.name
        return "held"
    names = "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"
    whose = rewriter.patient(identity.PatientID, identity.StudyInstanceUID)
    assert told == {**{name: getattr(expected, name) for name in names}, "whose": whose}, (case.name, told)
    ours, theirs = b"".join(expected.chunks), path.read_bytes()
    if syntax == DeflatedExplicitVRLittleEndian:
        assert len(theirs) % 2 == 0
        ours, theirs = _inflated(ours), _inflated(theirs)
    assert theirs == ours, case.name
    return "same"


def _syntax(data: bytes) -> str:
    try:
        return identity._meta(data)[0] if data[128:132] == b"DICM" else ""
    except Exception:
        return ""


def _inflated(data: bytes) -> bytes:
    behind = 144 + int.from_bytes(data[140:144], "little")
    return data[:behind] + zlib.decompress(data[behind:], -zlib.MAX_WBITS)


def rich(is_open: bool = True) -> Dataset:
    """Of every kind of element one: dates, references, text, what is private, a report's content, sequences."""
    dataset = plain(
        StudyDate="20200131", SeriesDate="202001", ContentDate="2020", AcquisitionDate="soon", InstanceCreationDate="",
        AcquisitionDateTime="20200104101112.5+0100", StudyTime="101112", PatientBirthDate="19700101", PatientAge="093Y",
        FrameOfReferenceUID="1.2.9", OperatorsName=TOKEN, PatientAddress=TOKEN, Rows=2, Columns=1, BitsAllocated=16,
        ImageComments=TOKEN, OtherPatientIDs=[TOKEN, TOKEN], BurnedInAnnotation="NO", DeviceSerialNumber=TOKEN,
        ReferencedFrameOfReferenceUID="1.2.9", FailedSOPInstanceUIDList=["1.2.4", "1.2.840.10008.1.2", "1.2.5"],
    )  # fmt: skip
    dataset.add_new(0x00090010, "LO", "ACME")
    dataset.add_new(0x00091001, "LO", TOKEN)
    dataset.add_new(0x60003000, "OW", b"\1\0")
    dataset.add_new(0x00180001, "LO", TOKEN)  # nobody knows it
    reference = plain(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID="1.2.4")
    code = _item(is_open, CodeValue="1", CodeMeaning=TOKEN, CodingSchemeDesignator="99X")
    text = _item(is_open, ValueType="TEXT", TextValue=TOKEN, ContentDate="20200131")
    for name, items in {
        "ConceptNameCodeSequence": [code],
        "ContentSequence": [_item(is_open, ValueType="CONTAINER"), _item(is_open)],
    }.items():
        _add(text, name, items, is_open)
    _add(dataset, "ContentSequence", [text], is_open)
    _add(dataset, "ReferencedImageSequence", [reference], is_open)
    inner = _item(is_open, PatientAddress=TOKEN, Rows=3, CreationDate="20200131")
    _add(inner, "AnatomicRegionSequence", [code], is_open)
    _add(dataset, "AnatomicRegionSequence", [inner, code], is_open)
    _add(dataset, "DerivationImageSequence", [], is_open)
    dataset.PixelData = b"\1\0\2\0"
    return dataset


def _item(is_open: bool, **elements: object) -> Dataset:
    item = Dataset()
    item.is_undefined_length_sequence_item = is_open
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def _add(dataset: Dataset, name: str, items: list[Dataset], is_open: bool) -> None:
    setattr(dataset, name, Sequence(items))
    dataset[name].is_undefined_length = is_open


def inserted(data: bytes, more: bytes) -> bytes:
    """Put elements into a file, before PatientName."""
    place = data.index(b"\x10\x00\x10\x00PN")
    return data[:place] + more + data[place:]


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    begin = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    size = len(value) if length is None else length
    if not vr:
        return begin + size.to_bytes(4, "little") + value
    is_long = vr[0] == "O" or vr in ("SQ", "SV", "UC", "UN", "UR", "UT", "UV")
    return (
        begin
        + vr.encode()
        + (b"\0\0" + size.to_bytes(4, "little") if is_long else size.to_bytes(2, "little"))
        + value
    )


def of_patient(value: bytes, characters: bytes) -> bytes:
    data = saved(plain(PatientID="REPLACE"))
    data = data.replace(element(0x00100020, "LO", b"REPLACE "), element(0x00100020, "LO", value))
    place = data.index(b"\x08\x00\x16\x00UI")
    return data[:place] + element(0x00080005, "CS", characters) + data[place:]


def _written() -> Iterator[Case]:
    """Yield the corpus as it is, cut off, and as pydicom writes it."""
    for path in corpus():
        data = path.read_bytes()
        for allowed in ((), EVERYTHING):
            yield Case(path.name, data, allowed)
        if len(data) < 100_000:
            places = random.Random(len(data)).sample(range(len(data)), min(3, len(data)))
            yield from (Case(f"{path.name} until {place}", data[:place], EVERYTHING) for place in places)
        if data[128:132] != b"DICM":
            try:
                again = saved(quietly_read(data), ImplicitVRLittleEndian)
            except Exception:
                continue
            yield Case(f"{path.name} anew", again, EVERYTHING)


def test_every_file_of_the_corpus_becomes_the_same(tmp_path: Path) -> None:
    counted = compare(tmp_path, _written())
    assert counted["same"] > 300 and counted["held"] > 20 and counted["refused"] > 200 and counted["big"] > 5


def test_encodings_and_nesting(tmp_path: Path) -> None:
    syntaxes = ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian
    cases = [
        Case(f"{syntax} {is_open}", saved(rich(is_open), syntax), EVERYTHING)
        for syntax in syntaxes
        for is_open in (False, True)
    ]
    cases.append(Case("named", saved(rich()), EVERYTHING, "SUBJECT-1"))
    assert compare(tmp_path, cases)["same"] == len(cases)
    assert compare(tmp_path, [Case("big", saved(rich(), ExplicitVRBigEndian), EVERYTHING)])["big"] == 1


def test_each_action_for_each_vr(tmp_path: Path) -> None:
    tags = [0x00080070, *(int(several.split()[0], 16) for several in _RULES["actions"].values())]
    vrs = sorted({*_RULES["vrs"], "UV", "SV"} - {"NO", "SQ"})
    values = b"", b"20200131", b"20200131\\soon", b"1.2.4\\1.2.5", b"093Y"
    data, cases = saved(plain()), []
    for vr in vrs:
        for value in values:
            content = b"".join(element(tag, vr, value) for tag in tags)
            report = element(0x0040A730, "SQ", element(0xFFFEE000, "", content))
            cases.append(Case(f"{vr} {value!r}", inserted(data, content + report), EVERYTHING))
    assert compare(tmp_path, cases)["same"] == len(cases) == len(vrs) * len(values)


def test_sequences_that_are_called_unknown(tmp_path: Path) -> None:
    content = (
        element(0x00100020, "", b"P2") + element(0x00281052, "", b"1 ") + element(0x00081155, "", b"1.2.4\0")
    )
    item, end = element(0xFFFEE000, "", content), element(0xFFFEE0DD, "", b"")
    opened = element(0xFFFEE000, "", content + element(0xFFFEE00D, "", b""), 0xFFFFFFFF)
    data = saved(plain())
    several = {
        "defined": element(0x00082218, "UN", item),
        "undefined": element(0x00082218, "UN", item + end, 0xFFFFFFFF),
        "open items": element(0x00082218, "UN", opened + end, 0xFFFFFFFF),
        "within": element(
            0x00082218, "SQ", element(0xFFFEE000, "", element(0x00082218, "UN", opened + end, 0xFFFFFFFF))
        ),
        "text": element(0x00080070, "UN", TOKEN.encode()) + element(0x00081155, "UN", b"1.2.4\0"),
        "of nobody": element(0x0008FFF0, "UN", TOKEN.encode())
        + element(0x00091010, "UN", opened + end, 0xFFFFFFFF),
        "odd": element(0x00082218, "SQ", element(0xFFFEE000, "", element(0x00080102, "SH", b"DCM"))),
    }
    cases = [Case(name, inserted(data, more), EVERYTHING) for name, more in several.items()]
    assert compare(tmp_path, cases)["same"] == len(cases)
    # Without a length it would end where the file does.
    opened_text = [
        data + element(0x00100020, "UN", end, 0xFFFFFFFF),
        inserted(data, element(0x00080030, "UN", end, 0xFFFFFFFF)),
    ]
    cases = [Case("text without a length", each, EVERYTHING) for each in opened_text]
    assert compare(tmp_path, cases)["refused"] == len(cases)
    too_long = element(0x00081155, "UI", b"1\\" * 20_000), element(0x00080030, "UN", b"1" * 70_000)
    cases = [Case("too long", inserted(data, more), EVERYTHING) for more in too_long]
    assert compare(tmp_path, cases)["refused"] == len(cases)


def test_patients_whose_id_is_not_ascii(tmp_path: Path) -> None:
    upper = bytes(range(0xA0, 0x100))
    several = {
        "latin-1": (b"M\xfcller\x80 ", b"ISO_IR 100"),
        "utf-8": ("\ufeffMüller 患者".encode(), b"ISO_IR 192"),
        "damaged utf-8": (b"M\xfcller\xe6\x82", b"ISO_IR 192"),
        "nothing said": (b"M\xfcll", b""),
        "unknown": (b"M\xfcll", b"ISO_IR 999"),
        "ended by zero": ("Mü ".encode(), b"ISO_IR 192\0\0"),
        "several": (b"\xb1\xb2 ", b"\\ISO 2022 IR 144 "),
        "katakana": (b"\xd4\xcf\xc0\xde 1~", b"ISO_IR 13 "),
    }
    for number in (101, 109, 110, 126, 127, 138, 144, 148, 166):
        several[str(number)] = (upper + b"\x85", f"ISO_IR {number}".encode())
    several |= {f"{name} ASCII": (b" P1\0", characters) for name, (_, characters) in several.items()}
    cases = [Case(name, of_patient(*values), EVERYTHING) for name, values in several.items()]
    cases.append(Case("no patient", saved(plain(PatientID="")), EVERYTHING))
    assert compare(tmp_path, cases)["same"] == len(cases)
    # A browser would find another text, so another pseudonym, in rare cases.
    path = tmp_path / "korean"
    path.write_bytes(of_patient(b"\xb1\xe8", b"\\ISO 2022 IR 149"))
    (told,) = in_node(tmp_path, _FILES, {"secret": SECRET, "rules": _RULES, "files": [{"path": str(path)}]})
    assert "character set ISO 2022 IR 149" in told["problem"]


def test_what_is_held_back(tmp_path: Path) -> None:
    capture = "1.2.840.10008.5.1.4.1.1.7"
    several: list[dict[str, object]] = [
        {"Modality": "SR"}, {"Modality": "PR"}, {"Modality": "sr"}, {"Modality": "US"}, {"BurnedInAnnotation": "YES"},
        {"Modality": "US", "BurnedInAnnotation": "NO"}, {"SOPClassUID": capture}, {"SOPClassUID": f"{capture}.2"},
        {"SOPClassUID": f"{capture}7"}, {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, {"SOPClassUID": "one"}, {"StudyInstanceUID": "..."},
    ]  # fmt: skip
    several += [{"Modality": each} for each in review._USUALLY_BURNED_IN]
    several += [{"ImageType": ["DERIVED", "SECONDARY", each]} for each in review._OF_SCREENS]
    files = {str(each): saved(plain(**each)) for each in several}
    for bit in (0, 12, 256):
        dataset = plain()
        dataset.add_new(0x60000102, "US", bit)
        files[f"overlay {bit}"] = saved(dataset)
        files[f"overlay {bit} implicit"] = saved(dataset, ImplicitVRLittleEndian)
    choices = [(), *((each,) for each in EVERYTHING)]
    cases = [Case(f"{name} {choice}", data, choice) for name, data in files.items() for choice in choices]
    counted = compare(tmp_path, cases)
    assert min(counted["same"], counted["held"]) > 40 and counted["refused"] == 2 * len(choices)


def _damaged() -> Iterator[Case]:
    files = [
        saved(rich(is_open), syntax)
        for is_open in (False, True)
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ]
    files.append(saved(rich(), DeflatedExplicitVRLittleEndian))
    chance = random.Random(1)
    noises = [
        b"",
        b"\xff" * 4,
        b"\0" * 4,
        b"\xfe\xff\r\xe0",
        b"\xfe\xff\xdd\xe0\0\0\0\0",
        b"UN\0\0",
        b"SQ",
        b"zz",
        b"ZZ",
    ]
    for number in range(1500):
        data = bytearray(chance.choice(files))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(132, len(data))
            noise = chance.choice([*noises, chance.randbytes(chance.randint(1, 4))])
            data[place : place + len(noise) + chance.choice((0, 0, 0, 0, 2))] = noise
        yield Case(f"damaged {number}", bytes(data), EVERYTHING)
    for data in files:
        yield from (Case(f"until {end}", data[:end], EVERYTHING) for end in range(0, len(data), 7))


def test_damaged_files_are_refused_in_the_same_words(tmp_path: Path) -> None:
    counted = compare(tmp_path, _damaged())
    assert counted["same"] > 100 and counted["refused"] > 500


_VALUES = (
    b"", b"20200131", b"2020.01.31", b"1.2.4\\1.2.840.10008.1.1\\ 1.5", b"20200131\\202001", b"0931", b"\0\0", b"M\xfc ",
    b"20200230", b"20200131101112.5+0100\\", b"SCREEN SAVE", b"\x1c1.2.4\x1f", b"00010101", b"99991231", b"odd",
)  # fmt: skip


class Invention:
    """Data sets with tags, VRs and values by chance, in sequences of every kind."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.vrs = {int(tag, 16): vr for vr, tags in _RULES["vrs"].items() for tag in tags.split()}
        table = [int(tag, 16) for tags in _RULES["actions"].values() for tag in tags.split()]
        sequences = [tag for tag, vr in self.vrs.items() if vr == "SQ"]
        self.tags = (
            table,
            list(self.vrs),
            sequences,
            [0x60000102, 0x60020102, 0x60003000, 0x50000010, 0x00090010],
        )

    def level(self, is_implicit: bool, depth: int = 0) -> bytes:
        tags = {self.chance.choice(self.chance.choice(self.tags)) for _ in range(self.chance.randint(1, 7))}
        return b"".join(
            self.element(tag, is_implicit, depth) for tag in sorted(tags) if 2 < tag >> 16 < 0xFFFE
        )

    def element(self, tag: int, is_implicit: bool, depth: int) -> bytes:
        vr = known = self.vrs.get(tag, "LO")
        if self.chance.random() < 0.15:
            vr = self.chance.choice(("UN", "UN", *sorted(set(self.vrs.values()) - {"NO", "SQ"})))
        written = "" if is_implicit else vr
        if "SQ" not in (vr, known) or depth > 3 or (vr != "UN" and known != vr and not is_implicit):
            return element(tag, written, self.chance.choice((*_VALUES, self.chance.randbytes(5))))
        items = b"".join(
            self.item(is_implicit or vr == "UN", depth) for _ in range(self.chance.randint(0, 3))
        )
        if self.chance.random() < 0.5:
            return element(tag, written, items)
        return element(tag, written, items + element(0xFFFEE0DD, "", b""), 0xFFFFFFFF)

    def item(self, is_implicit: bool, depth: int) -> bytes:
        content = self.level(is_implicit, depth + 1)
        if self.chance.random() < 0.5:
            return element(0xFFFEE000, "", content)
        return element(0xFFFEE000, "", content + element(0xFFFEE00D, "", b""), 0xFFFFFFFF)


def _invented() -> Iterator[Case]:
    invention = Invention(1)
    for number in range(600):
        syntax = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)[number % 2]
        data = saved(plain(), syntax) + invention.level(syntax == ImplicitVRLittleEndian)
        yield Case(f"invented {number}", data, EVERYTHING if number % 5 else ())


def test_inventions(tmp_path: Path) -> None:
    counted = compare(tmp_path, _invented())
    assert counted["same"] > 300, counted


def test_keys(tmp_path: Path) -> None:
    texts = ["1.2.3", "1.2.840.10008.1.2", "", "P1", "Müller 患者", "0" * 64, "\0"]
    secrets = [SECRET, "0123456789abcdef", "a key with ümläuts and 患者"]
    told = in_node(tmp_path, _KEYS, [[secret, texts] for secret in secrets])
    keys = [Key(secret.encode()) for secret in secrets]
    assert told == [[key.uid(each), key.pseudonym(each), key.days(each)] for key in keys for each in texts]
    assert told[len(texts)] == ["2.25.228734889564012351394195065391487593603", *told[len(texts)][1:]]
    assert (told[len(texts) + 3][1:]) == ["YUX654E3WINQZVVV", -908]
    trimmed, short = in_node(tmp_path, _KEYS, [[f" {SECRET}\n", ["P1"]], ["fifteen bytes..", []]])
    assert trimmed[1] == KEY.pseudonym("P1")  # as the commands read a key
    with pytest.raises(SelectionError) as error:
        Key(b"fifteen bytes..")
    assert short.startswith(str(error.value).partition(";")[0])
