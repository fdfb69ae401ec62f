"""Labels of subjects and sessions, from templates like ``%collection_id-%PatientID``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from dataset_dl.errors import SelectionError
from dataset_dl.model.series import PlannedSeries

# Columns that are the same for all series of a patient, and of a study.
_OF_SUBJECT = ("collection_id", "PatientID")
_OF_SESSION = (*_OF_SUBJECT, "StudyInstanceUID")
SUBJECT, SESSION = "%PatientID", "%StudyInstanceUID"
_TOKEN = re.compile(f"%({'|'.join(_OF_SESSION)})")
# XNAT replaces other characters by “_” on its own, so that two labels could become one.
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST_CHARACTERS = 8
_MOST_CHARACTERS = 64


@dataclass
class Labels:
    """Gives each series its subject and its session.

    Parameters
    ----------
    subject, session
        The templates.

    Raises
    ------
    SelectionError
        If a template names a column that may differ within a subject or a session, or holds other signs than
        XNAT keeps.
    """

    subject: str = SUBJECT
    session: str = SESSION

    def __post_init__(self) -> None:
        _check("subject", self.subject, _OF_SUBJECT)
        _check("session", self.session, _OF_SESSION)
        # Label → what it stands for; XNAT takes subjects for the same whose labels differ by case only.
        self._patients: dict[str, tuple[str, ...]] = {}
        self._studies: dict[str, tuple[str, ...]] = {}

    def subject_of(self, row: PlannedSeries) -> str:
        """Return the label of a series' subject.

        Raises
        ------
        SelectionError
            If another patient has the same label.
        """
        who = (row.PatientID or "",) if "%PatientID" in self.subject else ()
        return self._unique("subject", _filled(self.subject, row), who, self._patients)

    def session_of(self, row: PlannedSeries) -> str:
        """Return the label of a series' session.

        Raises
        ------
        SelectionError
            If another study, or the same one of another subject, has the same label.
        """
        of = (row.StudyInstanceUID or "", f"of {self.subject_of(row)}")
        return self._unique("session", _filled(self.session, row), of, self._studies)

    def _unique(self, what: str, label: str, of: tuple[str, ...], known: dict[str, tuple[str, ...]]) -> str:
        if known.setdefault(label.lower(), of) != of:
            one, other = (" ".join(each) or "none" for each in (known[label.lower()], of))
            raise SelectionError(
                label,
                f"{one} and {other} would both become the {what} “{label}”, and XNAT would mix them; nothing"
                " was started.",
                f"Give --{what} a template that tells them apart.",
            )
        return label


def _check(what: str, template: str, columns: tuple[str, ...]) -> None:
    names = _TOKEN.findall(template)
    unknown = [name for name in names if name not in columns]
    if unknown or not names or _FORBIDDEN.search(_TOKEN.sub("", template)):
        raise SelectionError(
            template,
            f"“{template}” is no template for the {what}; nothing was started.",
            f"It may hold {', '.join(f'%{each}' for each in columns)}, letters, digits, “-” and “_”.",
        )


def _filled(template: str, row: PlannedSeries) -> str:
    label = _TOKEN.sub(lambda match: _cleaned(match[1], getattr(row, match[1])), template)
    if len(label) <= _MOST_CHARACTERS:
        return label
    return f"{label[: _MOST_CHARACTERS - _DIGEST_CHARACTERS - 1]}-{_digest(label)}"


def _cleaned(column: str, value: str | None) -> str:
    """Return a value in XNAT's signs; a digest keeps those apart that would become the same."""
    if not value:
        return "unknown"
    cleaned = _FORBIDDEN.sub("_", value)
    # The dots of a UID are all that changes, so two UIDs stay two.
    is_plain = cleaned == value or (column == "StudyInstanceUID" and cleaned == value.replace(".", "_"))
    return cleaned if is_plain else f"{cleaned}-{_digest(value)}"


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
