"""DICOMweb for every node, at ``/api/dicom-web/NODE``; with pseudonyms on the way out for those who ask."""

from __future__ import annotations

import json
import secrets
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dataset_dl.doors import STEPS
from dataset_dl.errors import MissingExtra, SelectionError, UnreadableObject
from dataset_dl.model.page import Answer, Call, Given, Place, Right
from dataset_dl.model.series import Series, nameless
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.delivering import Delivering, Sums
from dataset_dl.pacs.dicomweb import JSON
from dataset_dl.pacs.instances import Instance, Problem, looked_at, same, twice
from dataset_dl.pacs.ledger import Ledger
from dataset_dl.pacs.multipart import boundary_of, split
from dataset_dl.pacs.served.fetching import fetched, node_of
from dataset_dl.pacs.served.records import log
from dataset_dl.pacs.served.searching import search
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.scratch import Scratch

# Who has only the second right gets pseudonyms, whether asked for or not.
_RETRIEVE = Right("retrieve|retrieve-pseudonymised", "node")
_QUERY, _SEND = Right("query", "node"), Right("send", "node")
_MOST_BODY_BYTES = 4 << 30
_CHUNK_BYTES = 1 << 20
_TRIALS = ("trial_protocol_id", "trial_protocol_name")


def retrieve(place: Place, given: Given) -> Answer:
    """Answer WADO-RS: instances in several parts."""
    scratch = Scratch("wado")
    try:
        files, headers = _files(given, scratch.path)
    except BaseException:
        scratch.close()
        raise
    boundary = secrets.token_hex(16)
    kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
    return Answer(_parts(files, boundary, scratch), kind, headers=headers)


def metadata(place: Place, given: Given) -> Answer:
    """Answer WADO-RS: the attributes of instances, without what is large."""
    from pydicom import dcmread

    with Scratch("wado") as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = []
        files, headers = _files(given, directory)
        for path in files:
            dataset = dcmread(path, stop_before_pixels=True)
            found.append(
                dataset.to_json_dict(bulk_data_threshold=1024, bulk_data_element_handler=lambda _: "")
            )
        return Answer(json.dumps(found).encode(), JSON, headers=headers)


def _files(given: Given, place: Path) -> tuple[list[Path], Mapping[str, str]]:
    """Fetch what is asked for; with pseudonyms if they are asked for, or nothing else is allowed.

    Returns
    -------
    tuple
        The files, and headers that say what is held back.
    """
    node = node_of(given.text("node"))
    asked = [given.text(name, "") for name in ("study", "series", "image")]
    pseudonym = given.text("pseudonym", "")
    may_see = given.person.may("retrieve", node.name)
    node.refuse_now("nothing was fetched")
    files = fetched(node, place / "originals", *asked)
    log(given.person, "retrieve", node.name, "/".join(filter(None, asked)))
    if not pseudonym and may_see:
        return files, {}
    options = {name.replace("_", "-"): value for name in _TRIALS if (value := given.text(name, ""))}
    return _with_pseudonyms(files, place / "new", {**options, "pseudonym": pseudonym})


def _with_pseudonyms(
    files: list[Path], place: Path, options: dict[str, str]
) -> tuple[list[Path], Mapping[str, str]]:
    make = STEPS.find("pseudonyms")
    if make is None:
        raise MissingExtra("pseudonyms", "the wing pseudonyms")
    place.mkdir()
    new, behind = make(options).apply(Series(nameless(), place, tuple(files)), place)
    if not new.paths:
        raise UnreadableObject("", f"Nothing may leave with a pseudonym: {behind}.")
    return list(new.paths), {"Warning": f'299 dataset-dl "{_plain(behind)}"'} if behind else {}


def _plain(text: str) -> str:
    """Return a text as a header can hold it."""
    return text.encode("ascii", "replace").decode().replace('"', "'")


def _parts(files: list[Path], boundary: str, scratch: Scratch) -> Iterator[bytes]:
    try:
        for path in files:
            yield f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        yield f"\r\n--{boundary}--\r\n".encode()
    finally:
        scratch.close()


def store(place: Place, given: Given) -> Answer:
    """Answer STOW-RS: each instance is named, as stored or as failed."""
    node = node_of(given.text("node"))
    study = given.text("study", "")
    node.refuse_now("nothing was sent")
    with Scratch("stow") as directory:
        instances, problems = _received(given, directory, study)
        sums = Sums()
        delivering = Delivering(node, NetworkSettings.gather(), Ledger(directory / "ledger"), transcode=False)
        try:
            if instances:
                delivering.send(instances, sums)
        finally:
            delivering.close()
        refused = {each.uid for each in sums.problems}
        stored = [each for each in instances if each.uid not in refused]
        log(given.person, "send", node.name, f"{len(stored)} instances")
        return _stored(stored, [*problems, *sums.problems], instances, sums)


def _received(given: Given, directory: Path, study: str) -> tuple[list[Instance], list[Problem]]:
    """Return the instances of a body, each once, and the parts that cannot be sent."""
    found: dict[str, Instance] = {}
    problems: list[Problem] = []
    for path in _split(given, directory):
        each = looked_at(path)
        if isinstance(each, Problem):
            problems.append(each)
        elif study and each.identity.StudyInstanceUID != study:
            problems.append(Problem(path, each.uid, f"{each.uid} is of another study"))
        elif (first := found.setdefault(each.uid, each)) is not each and not same(first.path, path):
            problems.append(twice(each, first.path))
    return list(found.values()), problems


def _split(given: Given, directory: Path) -> list[Path]:
    assert given.body is not None, "the call takes a body"
    paths: list[Path] = []
    file: Any = None
    try:
        boundary = boundary_of(given.media_type)
        with given.body.open("rb") as body:
            for piece in split(iter(lambda: body.read(_CHUNK_BYTES), b""), boundary):
                if isinstance(piece, bytes):
                    file.write(piece)
                elif piece is None:
                    file.close()
                else:
                    paths.append(directory / f"{len(paths)}.dcm")
                    file = paths[-1].open("wb")
    except Unreadable as error:
        raise SelectionError("", f"The body cannot be read: {error}; nothing was sent.") from None
    finally:
        if file is not None:
            file.close()
    return paths


def _stored(stored: list[Instance], failed: list[Problem], all_of_them: list[Instance], sums: Sums) -> Answer:
    """Return what became of instances (PS3.18, 10.5.3)."""
    classes = {each.uid: each.identity.SOPClassUID for each in all_of_them}

    def named(uid: str) -> dict[str, Any]:
        return {
            "00081150": {"vr": "UI", "Value": [classes[uid]]} if uid in classes else {"vr": "UI"},
            "00081155": {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"},
        }

    def warned(uid: str) -> dict[str, Any]:
        answer = sums.warnings.get(uid)
        return {"00081196": {"vr": "US", "Value": [answer.status]}} if answer is not None else {}

    body: dict[str, Any] = {}
    if stored:
        several = [{**named(each.uid), **warned(each.uid)} for each in stored]
        body["00081199"] = {"vr": "SQ", "Value": several}
    if failed:
        reason = {"00081197": {"vr": "US", "Value": [0x0110]}}
        body["00081198"] = {"vr": "SQ", "Value": [{**named(each.uid), **reason} for each in failed]}
    status = 200 if not failed else 202 if stored else 409
    return Answer(json.dumps(body).encode(), JSON, status=status)


_NODE = {"node": "The name of a node."}
_STUDY = {**_NODE, "study": "A StudyInstanceUID."}
_SERIES = {**_STUDY, "series": "A SeriesInstanceUID."}
_IMAGE = {**_SERIES, "image": "A SOPInstanceUID."}
_MATCH = {"limit": "At most so many.", "offset": "From this one on.", "includefield": "Also this attribute."}
_PSEUDONYM = {
    "pseudonym": "The new PatientID: all files get pseudonyms.",
    "trial_protocol_id": "Their ClinicalTrialProtocolID.",
    "trial_protocol_name": "Their ClinicalTrialProtocolName.",
}
_QIDO, _WADO, _STOW = (f"dicom-web/{{node}}/{each}/studies" for each in ("qidors", "wadors", "stowrs"))
_PATHS = (("", _NODE), ("/{study}/series", _STUDY), ("/{study}/series/{series}/instances", _SERIES))
_PARTS = (
    ("/{study}", _STUDY),
    ("/{study}/series/{series}", _SERIES),
    ("/{study}/series/{series}/instances/{image}", _IMAGE),
)
_BODY = ("multipart/related",)
CALLS: tuple[Call, ...] = (
    *(
        Call(f"{_QIDO}{path}", search, "QIDO-RS: search.", {**about, **_MATCH}, rights=(_QUERY,))
        for path, about in _PATHS
    ),
    *(
        Call(
            f"{_WADO}{path}{rest}", answer, f"WADO-RS: {what}.", {**about, **_PSEUDONYM},
            rights=(_RETRIEVE,),
        )
        for path, about in _PARTS
        for rest, answer, what in (("", retrieve, "instances"), ("/metadata", metadata, "their attributes"))
    ),
    *(
        Call(
            f"{_STOW}{path}", store, "STOW-RS: store instances.", about, method="POST", rights=(_SEND,),
            takes=_BODY, most_bytes=_MOST_BODY_BYTES,
        )
        for path, about in (("", _NODE), ("/{study}", _STUDY))
    ),
)  # fmt: skip
