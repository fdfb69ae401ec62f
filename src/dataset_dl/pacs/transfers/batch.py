"""A spreadsheet of studies as the tasks of a job: all rows are right, or none is taken."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from dataset_dl.errors import ManifestError
from dataset_dl.pacs.spreadsheets import refuse_rows, table
from dataset_dl.pacs.transfers.nouns import Wanted
from dataset_dl.pixels.identity import is_uid
from dataset_dl.wording import shortened

# Names that are so much alike are taken for slips.
_NEAR = 0.75
COLUMNS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Pseudonym")
_ALIASES = {
    "mrn": "PatientID", "patient": "PatientID", "studyuid": "StudyInstanceUID",
    "seriesuid": "SeriesInstanceUID", **{name.lower(): name for name in COLUMNS},
}  # fmt: skip
# As for a query; what identifies one patient has no wildcards.
_PLAIN = re.compile(r"[^\\*?\x00-\x1f]{0,64}")


class Wrong(NamedTuple):
    """A row that is wrong, and why, as half a sentence."""

    row: int
    reason: str


@dataclass
class _Study:
    """The rows of a study."""

    row: int
    PatientID: str
    pseudonym: str
    series: list[str] = field(default_factory=list)
    is_whole: bool = False


def read(path: Path, data: bytes, source: str, target: str) -> list[Wanted]:
    """Return the tasks of a spreadsheet: one for each study.

    Parameters
    ----------
    path
        What it is called: ``.xlsx`` or ``.csv``.
    data
        Its contents.
    source, target
        Where all tasks come from and go to.

    Raises
    ------
    ManifestError
        If it is none, or rows are wrong; all of them are named.
    """
    found, wrong = looked_at(path, data, source, target)
    refuse_rows(path, wrong, "cannot be transferred, so nothing was created")
    return found


def looked_at(path: Path, data: bytes, source: str, target: str) -> tuple[list[Wanted], list[Wrong]]:
    """Return the tasks of a spreadsheet, and the rows that are wrong.

    Raises
    ------
    ManifestError
        If it is no spreadsheet, or lacks a column.
    """
    header, rows = table(path, data)
    names = [_ALIASES.get(re.sub(r"[^a-z]", "", name.lower())) for name in header]
    if "StudyInstanceUID" not in names or any(name and names.count(name) > 1 for name in names):
        raise ManifestError(
            str(path),
            f"{path} needs one column StudyInstanceUID; it has {shortened(', '.join(header))}. Nothing was"
            " created.",
            f"Its columns are {', '.join(COLUMNS)}.",
        )
    for name, known in zip(header, names, strict=True):
        near = difflib.get_close_matches(re.sub(r"[^a-z]", "", name.lower()), _ALIASES, 1, _NEAR)
        if known is None and near:
            raise ManifestError(
                str(path),
                f"{path} has a column “{shortened(name, 40)}”, which is not known; nothing was created.",
                f"Call it {_ALIASES[near[0]]} if it is that, or remove it.",
            )
    if not rows:
        raise ManifestError(str(path), f"{path} has no row below its header; nothing was created.")
    reading = _Reading("row")
    for number, cells in rows:
        reading.look(number, {name: text for name, text in zip(names, cells, strict=True) if name})
    return reading.tasks(source, target), reading.wrong


def together(
    several: Iterable[tuple[Mapping[str, str], Sequence[str]]], source: str, target: str
) -> tuple[list[Wanted], list[Wrong]]:
    """Return the tasks of studies that a program names, and those that are wrong, counted from 1.

    Parameters
    ----------
    several
        Of each study its `COLUMNS` without the series, and its series; all of them if there are none.
    source, target
        Where all tasks come from and go to.
    """
    reading = _Reading("entry")
    for number, (values, series) in enumerate(several, 1):
        for uid in series or ("",):
            reading.look(number, {**values, "SeriesInstanceUID": uid})
    return [replace(each, row=None) for each in reading.tasks(source, target)], reading.wrong


def _refused(patient: str, pseudonym: str) -> str:
    """Return why a PatientID or a pseudonym cannot be one, as half a sentence; empty if both can."""
    if not _PLAIN.fullmatch(patient):
        return "its PatientID has a wildcard, or what no PatientID can hold"
    if not (_PLAIN.fullmatch(pseudonym) and pseudonym.isascii() and pseudonym == pseudonym.strip()):
        return "its Pseudonym has what no PatientID can hold"
    return ""


class _Reading:
    """Puts the rows of studies together."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self.wrong: list[Wrong] = []
        self._studies: dict[str, _Study] = {}
        # By patient its pseudonym, and by pseudonym its patient; with the row that said so.
        self._pseudonyms: dict[str, tuple[str, int]] = {}
        self._patients: dict[str, tuple[str, int]] = {}
        self._series: dict[str, tuple[str, int]] = {}

    def look(self, number: int, values: Mapping[str, str]) -> None:
        """Take a row, or note what is wrong with it."""
        if reason := self._add(number, values):
            self.wrong.append(Wrong(number, reason))

    def _add(self, number: int, values: Mapping[str, str]) -> str:
        patient, study, series, pseudonym = (values.get(name, "") for name in COLUMNS)
        if not study:
            return "it has no StudyInstanceUID"
        for name, uid in (("StudyInstanceUID", study), ("SeriesInstanceUID", series)):
            if uid and not is_uid(uid):
                return f"“{shortened(uid, 70)}” is no {name}"
        if reason := _refused(patient, pseudonym):
            return reason
        return self._conflict(number, patient, study, series, pseudonym) or self._taken(
            number, patient, study, series, pseudonym
        )

    def _conflict(self, number: int, patient: str, study: str, series: str, pseudonym: str) -> str:
        """Return what contradicts an earlier row."""
        known = self._studies.get(study)
        if known is not None and known.PatientID != patient:
            return f"{self._noun} {known.row} has the same study with another PatientID"
        if known is not None and known.pseudonym != pseudonym:
            return f"{self._noun} {known.row} has the same study with another Pseudonym"
        if series in self._series:
            other, row = self._series[series]
            same = "the same series" if other == study else "the same series in another study"
            return f"{self._noun} {row} has {same}"
        if known is not None and (known.is_whole or not series):
            return f"{self._noun} {known.row} has the same study" + (" as a whole" if known.is_whole else "")
        if patient:
            other, row = self._pseudonyms.setdefault(patient, (pseudonym, number))
            if other != pseudonym:
                return f"{self._noun} {row} has the same PatientID with another Pseudonym"
        if pseudonym:
            # Without a PatientID nobody knows whether two studies are of one patient.
            other, row = self._patients.setdefault(pseudonym, (patient or study, number))
            if other != (patient or study):
                which = "for another PatientID" if patient else "for another study, and it has no PatientID"
                return f"{self._noun} {row} has the same Pseudonym {which}"
        return ""

    def _taken(self, number: int, patient: str, study: str, series: str, pseudonym: str) -> str:
        found = self._studies.setdefault(study, _Study(number, patient, pseudonym))
        if series:
            found.series.append(series)
            self._series[series] = study, number
        else:
            found.is_whole = True
        return ""

    def tasks(self, source: str, target: str) -> list[Wanted]:
        return [
            Wanted(source, target, each.PatientID, study, tuple(each.series), each.pseudonym, each.row)
            for study, each in self._studies.items()
        ]


def pseudonyms_of(wanted: Sequence[Wanted]) -> bool:
    """Whether any task has a pseudonym."""
    return any(each.pseudonym for each in wanted)
