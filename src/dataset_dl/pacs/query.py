"""What is asked of an archive: conditions, levels, and answers that agree with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, get_args

from dataset_dl.errors import SelectionError
from dataset_dl.pacs.archives import Archive
from dataset_dl.pacs.dicomweb import Row
from dataset_dl.pacs.matching import DATES, agreement, matcher

Level = Literal["patient", "study", "series"]

_STUDY_KEYS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "StudyID", "StudyDescription", "ModalitiesInStudy", "ReferringPhysicianName", "StudyInstanceUID",
)  # fmt: skip
_SERIES_KEYS = (
    "Modality", "SeriesDescription", "SeriesNumber", "SeriesDate", "BodyPartExamined", "ProtocolName",
    "SeriesInstanceUID",
)  # fmt: skip
KEYWORDS = (*_STUDY_KEYS, *_SERIES_KEYS)

_STUDY_WANTED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    "StudyInstanceUID",
)  # fmt: skip
_SERIES_WANTED = (
    "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined", "NumberOfSeriesRelatedInstances",
    "SeriesInstanceUID",
)  # fmt: skip
COLUMNS: Mapping[Level, tuple[str, ...]] = {
    "patient": ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "studies"),
    "study": _STUDY_WANTED,
    "series": (
        "PatientID", "PatientName", "StudyDate", "AccessionNumber", "StudyDescription", *_SERIES_WANTED[:-1],
        "StudyInstanceUID", "SeriesInstanceUID",
    ),
}  # fmt: skip
# The most important ones first, for a narrow terminal.
SHOWN: Mapping[Level, tuple[str, ...]] = {
    "patient": COLUMNS["patient"],
    "study": (
        "PatientID", "StudyDate", "ModalitiesInStudy", "StudyDescription", "NumberOfStudyRelatedInstances",
        "StudyInstanceUID",
    ),
    "series": (
        "PatientID", "StudyDate", "Modality", "SeriesNumber", "SeriesDescription",
        "NumberOfSeriesRelatedInstances", "SeriesInstanceUID",
    ),
}  # fmt: skip
# An archive that does not know one of these as a condition may return everything.
_CHECKED = ("PatientID", "AccessionNumber", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_RANGE = re.compile(r"(?P<begin>\d{4}-\d{2}-\d{2}|\d{8})?\s*(?:\.\.|-|/)\s*(?P<end>\d{4}-\d{2}-\d{2}|\d{8})?")


@dataclass(frozen=True)
class Query:
    """A query.

    Attributes
    ----------
    conditions
        What must match, by keyword: with ``*`` and ``?``, dates as ``YYYYMMDD`` or a range of them, several
        UIDs with a backslash between.
    level
        What a row of the answer is.
    """

    conditions: Mapping[str, str] = field(default_factory=dict)
    level: Level = "study"

    @classmethod
    def of(cls, conditions: Mapping[str, str], level: str = "study") -> Query:
        """Check what a user asks for.

        Raises
        ------
        SelectionError
            If a keyword or a value is not valid, or there is no condition.
        """
        found: dict[str, str] = {}
        for keyword, value in conditions.items():
            if keyword not in KEYWORDS:
                raise SelectionError(
                    keyword,
                    f"“{keyword}” is no attribute that can be asked for.",
                    f"Known are {', '.join(KEYWORDS)}.",
                )
            text = str(value).strip()
            if any(ord(each) < 32 or 0xD800 <= ord(each) < 0xE000 for each in text) or len(text) > 16_384:
                raise SelectionError(keyword, f"The value for {keyword} has what no attribute can hold.")
            if text:
                found[keyword] = _checked(keyword, text)
        if not found:
            raise SelectionError(
                "",
                "A query without a condition would list the whole archive; nothing was asked.",
                "Give one, like --study-date 2024-01-01..2024-01-31; --patient-id '*' does ask for all.",
            )
        if level not in get_args(Level):
            raise SelectionError(level, f"“{level}” is no level; it is one of {', '.join(get_args(Level))}.")
        of_study = {
            name for name in found if name in _STUDY_KEYS or name in ("Modality", "SeriesInstanceUID")
        }
        others = [name for name in found if name not in of_study]
        if others and (level != "series" or not of_study):
            # As no study has it, the whole archive would be listed.
            raise SelectionError(
                others[0],
                f"{others[0]} is an attribute of series, by which archives find no studies; nothing was"
                " asked.",
                "Give a condition for the study, too, like --study-date"
                + ("." if level == "series" else ", and ask with --level series."),
            )
        return cls(found, level)  # type: ignore[arg-type]

    def rows(self, archive: Archive) -> Iterator[Row]:
        """Ask an archive; drilling down from studies to series.

        Raises
        ------
        NetworkError
            If it does not answer.
        SelectionError
            If it refuses, or ignores a condition.
        """
        if self.level == "patient":
            yield from self._patients(archive)
        elif self.level == "study":
            yield from self._studies(archive)
        else:
            yield from self._series(archive)

    def _patients(self, archive: Archive) -> Iterator[Row]:
        found: dict[str, Row] = {}
        counts: dict[str, int] = {}
        for row in self._studies(archive):
            patient = row.get("PatientID", "")
            found.setdefault(patient, row)
            counts[patient] = counts.get(patient, 0) + 1
        for patient, row in found.items():
            yield {**row, "studies": str(counts[patient])}

    def _studies(self, archive: Archive) -> Iterator[Row]:
        keys = {name: value for name, value in self.conditions.items() if name in _STUDY_KEYS}
        series = self.conditions.get("SeriesInstanceUID")
        if series and "StudyInstanceUID" not in keys:
            # Which study it is, the archive must say first.
            several = {row.get("StudyInstanceUID", "") for row in self._of_series(archive, series)} - {""}
            if not several:
                return
            keys["StudyInstanceUID"] = "\\".join(sorted(several))
        # Not every archive takes a list of UIDs.
        for uid in keys.get("StudyInstanceUID", "").split("\\"):
            given = {**keys, "StudyInstanceUID": uid} if uid else keys
            yield from self._agreeing(self._found(archive, given), given)

    def _found(self, archive: Archive, keys: Mapping[str, str]) -> Iterator[Row]:
        modality = self.conditions.get("Modality")
        if not modality or "ModalitiesInStudy" in keys:
            yield from archive.find("study", keys, _STUDY_WANTED)
            return
        try:
            found = list(archive.find("study", {**keys, "ModalitiesInStudy": modality}, _STUDY_WANTED))
        except SelectionError:
            if self.level != "series":
                raise
            # It only saves work: the series themselves tell their modality.
            found = list(archive.find("study", keys, _STUDY_WANTED))
        yield from found

    def _of_series(self, archive: Archive, series: str) -> Iterator[Row]:
        for uid in series.split("\\"):
            keys = {"SeriesInstanceUID": uid}
            yield from self._agreeing(archive.find("series", keys, ("StudyInstanceUID",)), keys)

    def _series(self, archive: Archive) -> Iterator[Row]:
        keys = {name: value for name, value in self.conditions.items() if name in _SERIES_KEYS}
        # All studies first: an archive answers one query at a time in an association.
        for study in list(self._studies(archive)):
            uid = study.get("StudyInstanceUID", "")
            if not uid:
                continue
            given = {**keys, "StudyInstanceUID": uid}
            if "\\" in given.get("SeriesInstanceUID", ""):
                del given["SeriesInstanceUID"]
            # All series of a study are few, so an archive may leave a condition to us.
            agrees = agreement(keys)
            for row in self._agreeing(
                archive.find("series", given, _SERIES_WANTED), {"StudyInstanceUID": uid}
            ):
                if not agrees(row):
                    continue
                of_study = {name: study.get(name, "") for name in COLUMNS["study"]}
                yield {**of_study, **{name: value for name, value in row.items() if value}}

    def _agreeing(self, rows: Iterator[Row], keys: Mapping[str, str]) -> Iterator[Row]:
        """Yield rows; refuse an archive that returns what was not asked for."""
        checks = {name: matcher(name, keys[name]) for name in _CHECKED if name in keys}
        # Archives compare other texts in their own ways, or not at all.
        agrees = agreement({name: value for name, value in keys.items() if name not in _CHECKED})
        for row in rows:
            for name, matches in checks.items():
                value = row.get(name)
                if value and not matches(value):
                    raise SelectionError(
                        name,
                        f"The archive ignores the condition {name}={keys[name]}: it returned {value}. So its"
                        " answer cannot be trusted, and nothing was taken from it.",
                        "Ask with another condition.",
                    )
            if agrees(row):
                yield row


def _checked(keyword: str, text: str) -> str:
    if keyword in DATES:
        return _date_range(keyword, text)
    if keyword.endswith("UID"):
        several = [each for each in re.split(r"[\\,\s]+", text) if each]
        for uid in several:
            if not re.fullmatch(r"[0-9.*?]{1,64}", uid):
                raise SelectionError(uid, f"“{uid[:70]}” is no {keyword}; nothing was asked.")
        return "\\".join(several)
    return text


def _date_range(keyword: str, text: str) -> str:
    """Return dates as DICOM writes them: a day, or a range with ``-``."""
    if text == "*":
        return text
    today = date.today()
    if text == "today":
        return f"{today:%Y%m%d}"
    if match := _DATE.fullmatch(text):
        return _day(keyword, text, "".join(match.groups()))
    match = _RANGE.fullmatch(text)
    if match is None or not any(match.groups()):
        raise SelectionError(
            text,
            f"“{text}” is no date for {keyword}; nothing was asked.",
            "Write 2024-01-31, or 2024-01-01..2024-01-31.",
        )
    begin, end = (_day(keyword, text, (part or "").replace("-", "")) for part in match.groups())
    if begin and end and begin > end:
        raise SelectionError(
            text, f"The dates {text} for {keyword} end before they begin; nothing was asked."
        )
    return f"{begin}-{end}"


def _day(keyword: str, text: str, day: str) -> str:
    if day:
        try:
            datetime.strptime(day, "%Y%m%d")
        except ValueError:
            raise SelectionError(
                text, f"“{text}” has no such day for {keyword}; nothing was asked."
            ) from None
    return day
