"""The consumer ``pseudonyms:DIRECTORY``, and the step of the same name on the way to other consumers."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dataset_dl.destination import disk
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.destination.durable import Durable
from dataset_dl.errors import SelectionError, StorageError, UnreadableObject
from dataset_dl.model.series import PlannedSeries, Series
from dataset_dl.pixels.identity import identify
from dataset_dl.pixels.unreadable import Unreadable
from dataset_dl.pseudonyms import require
from dataset_dl.pseudonyms.keys import Key
from dataset_dl.pseudonyms.making import Made, make
from dataset_dl.pseudonyms.memory import Memory, is_of
from dataset_dl.pseudonyms.profile import Profile, check_text
from dataset_dl.pseudonyms.rewriting import Rewriter
from dataset_dl.wording import counted, first_few

_KEY_FILE, _PSEUDONYM = "key-file", "pseudonym"


class _Work:
    """The key, the profile and the pseudonym of options."""

    def __init__(self, options: Mapping[str, str]) -> None:
        given = dict(options)
        file, self.pseudonym = given.pop(_KEY_FILE, ""), given.pop(_PSEUDONYM, "")
        check_text(self.pseudonym)
        self.key = Key.gather(Path(file).expanduser() if file else None)
        self.profile = Profile.of(given)
        self.rewriter = Rewriter(self.key, self.profile)

    @property
    def options(self) -> Mapping[str, Any]:
        """What the result depends on; of the key only what tells it from others."""
        return {**self.profile.to_dict(), "key": self.key.check(), "pseudonym": self.pseudonym}

    def refuse_others(self, series: Series, is_theirs: Callable[[str], bool]) -> None:
        """Refuse files of whom the pseudonym is not.

        Raises
        ------
        UnreadableObject
            If there is one, before anything is written.
        """
        if not self.pseudonym:
            return
        patients = set()
        for path in series.paths:
            with suppress(Unreadable, OSError):  # said when it is to be rewritten
                found = identify(path)
                patients.add(self.rewriter.patient(found.PatientID, found.StudyInstanceUID))
        if not all(map(is_theirs, sorted(patients))):
            raise UnreadableObject(
                series.planned.key,
                "Files of several patients, or of several studies without a PatientID, would get the"
                f" pseudonym {self.pseudonym}; those of the second one were left out.",
                "Leave the pseudonym out, or name the files of one patient.",
            )


class Pseudonyms:
    """Writes series with pseudonyms into a directory; implements `destination.consumers.Consumer`.

    Parameters
    ----------
    request
        ``pseudonyms:DIRECTORY`` with the options of `profile.Profile`, ``pseudonym`` and ``key-file``.

    Raises
    ------
    SelectionError
        If there is no key or no directory, or an option is wrong.
    """

    def __init__(self, request: ConsumerRequest) -> None:
        if not request.where:
            raise SelectionError(
                "pseudonyms", "Pseudonyms need a directory to go to.", "Write pseudonyms:DIRECTORY."
            )
        self.work = _Work(request.options)
        self.target = disk.absolute(request.where)
        request.refuse_inside(self.target)
        self.name = f"pseudonyms:{self.target}"
        self.options = self.work.options
        self._memory: Memory | None = None
        self._counts: Counter[str] = Counter()
        # Directories with files that may be in the memory of the system only.
        self._unsynced: set[str] = set()

    def begin(self) -> None:
        """Make sure that the directory has no pseudonyms of another key.

        Raises
        ------
        SelectionError
            If it has.
        StorageError
            If another run writes there.
        """
        self._memory = Memory(self.target, self.work.key)

    def take(self, series: Series) -> Mapping[str, Any]:
        """Write a series.

        Raises
        ------
        StorageError
            If it cannot be written.
        UnreadableObject
            If the pseudonym is that of another patient already.
        """
        work = self.work
        work.refuse_others(series, lambda whose: is_of(self.target, work.key, work.pseudonym, whose))
        made = [make(work.rewriter, path, self.target, work.pseudonym) for path in series.paths]
        return {"files": [[path.name, *each] for path, each in zip(series.paths, made, strict=True)]}

    def keep(self, series: Series, made: Mapping[str, Any]) -> Mapping[str, Any]:
        """Count, and say what stays behind.

        Raises
        ------
        UnreadableObject
            If something is held back or cannot be read, so that the series gets no receipt.
        """
        several = [(name, Made(*rest)) for name, *rest in made["files"]]
        done = sum(bool(each.path) for _, each in several)
        self._unsynced |= {posixpath.dirname(each.path) for _, each in several if each.path}
        self._counts["files"] += done
        if behind := behind_of(several):
            raise UnreadableObject(series.planned.key, behind)
        return {"files": done}

    def frees(self, made: Mapping[str, Any]) -> bool:
        """Bring what was made to the disk, before the originals of a series are removed.

        Raises
        ------
        StorageError
            If that fails.
        """
        try:
            with Durable(self.target) as durable:
                for each in sorted(self._unsynced):
                    durable.keep(each, None)
        except OSError as error:
            raise StorageError(
                str(self.target),
                f"What was written to {self.target} may not be on the disk ({error.strerror}), so nothing"
                " more was removed.",
                "Run the same command again.",
            ) from None
        self._unsynced.clear()
        return True

    def summary(self) -> str:
        """Say what was made."""
        return f"{counted(self._counts['files'], 'file')} with pseudonyms in {self.target}."

    def close(self) -> None:
        """Let go of the directory."""
        if self._memory is not None:
            self._memory.close()


class Step:
    """Puts files with pseudonyms in place of others; implements `destination.consumers.Step`.

    Parameters
    ----------
    options
        As for `Pseudonyms`.

    Raises
    ------
    SelectionError
        If there is no key, or an option is wrong.
    """

    name = "pseudonyms"

    def __init__(self, options: Mapping[str, str]) -> None:
        self._work = _Work(options)
        self.options = self._work.options
        # Whose the pseudonym is; threads agree on the first one.
        self._patient: dict[str, str] = {}

    def renamed(self, planned: PlannedSeries) -> PlannedSeries:
        """Return a row as it is called from now on."""
        rewriter = self._work.rewriter
        study, series = planned.StudyInstanceUID or "", planned.SeriesInstanceUID or ""
        whose = rewriter.patient(planned.PatientID or "", study)
        return planned._replace(
            PatientID=self._work.pseudonym or rewriter.key.pseudonym(whose),
            StudyInstanceUID=rewriter.uid(study) or None,
            SeriesInstanceUID=rewriter.uid(series) or None,
            files=None,
        )

    def apply(self, series: Series, into: Path) -> tuple[Series, str]:
        """Write the files of a series anew; see `destination.consumers.Step.apply`.

        Raises
        ------
        UnreadableObject
            If the pseudonym is that of another patient already.
        """
        work = self._work
        work.refuse_others(series, lambda whose: self._patient.setdefault("", whose) == whose)
        several = [
            (path.name, make(work.rewriter, path, into, work.pseudonym, flat=True)) for path in series.paths
        ]
        paths = sorted(into / each.path for _, each in several if each.path)
        return Series(self.renamed(series.planned), into, tuple(paths)), behind_of(several)


def behind_of(several: list[tuple[str, Made]]) -> str:
    """Return what files stay behind and why, as a sentence; empty if none does."""
    held = Counter(each.held for _, each in several if each.held)
    wrong = [f"{name}: {each.problem}" for name, each in several if each.problem]
    said = [f"{counted(count, 'file')} held back for review, because {why}" for why, count in held.items()]
    if wrong:
        said.append(f"{counted(len(wrong), 'file')} cannot be read or written ({first_few(wrong, 2)})")
    return "; ".join(said)


def make_consumer(request: ConsumerRequest) -> Pseudonyms:
    """Make the consumer.

    Raises
    ------
    MissingExtra
        If what it needs is not installed.
    SelectionError
        If an option is wrong.
    """
    require()
    return Pseudonyms(request)


def make_step(options: Mapping[str, str]) -> Step:
    """Make the step.

    Raises
    ------
    MissingExtra
        If what it needs is not installed.
    SelectionError
        If an option is wrong.
    """
    require()
    return Step(options)
