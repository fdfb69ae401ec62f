"""A transfer job, its tasks, and their instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dataset_dl.model.job import JobState

Kind = Literal["selective", "batch"]
STATES: tuple[JobState, ...] = (
    "PENDING", "IN_PROGRESS", "PAUSED", "SUCCESS", "WARNING", "FAILURE", "CANCELED",
)  # fmt: skip
ENDED: tuple[JobState, ...] = ("SUCCESS", "WARNING", "FAILURE", "CANCELED")


@dataclass(frozen=True)
class TransferTask:
    """A study, or series of one, on its way from a node to a target.

    Attributes
    ----------
    id, job
        Its number, and that of its job.
    row
        Its row in the spreadsheet that it came from; None without one.
    source, target
        The node that it comes from; the node, directory or zip that it goes to.
    PatientID, StudyInstanceUID, SeriesInstanceUIDs
        What it is; all series of the study if there are none.
    pseudonym
        The new PatientID; empty for one by the key, or if there are no pseudonyms.
    state
        As of a job.
    message
        What is to be said of its state, as a sentence; may be empty.
    attempts
        How often it was begun.
    instances, done, failed, warnings
        How many instances it has, by what the source says; how many the target has, refused, and took
        with a warning.
    runner
        Who does it; empty if nobody does.
    began, ended
        When, in seconds since 1970; None if not yet.
    change
        Number of its last change.
    """

    id: int
    job: int
    row: int | None
    source: str
    target: str
    PatientID: str
    StudyInstanceUID: str
    SeriesInstanceUIDs: tuple[str, ...]
    pseudonym: str
    state: JobState
    message: str
    attempts: int
    instances: int
    done: int
    failed: int
    warnings: int
    runner: str
    began: float | None
    ended: float | None
    change: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {**asdict(self), "SeriesInstanceUIDs": list(self.SeriesInstanceUIDs)}


@dataclass(frozen=True)
class TransferJob:
    """Several tasks that one person has asked for.

    Attributes
    ----------
    id
        Its number.
    kind
        ``selective`` if its studies were chosen, ``batch`` if a spreadsheet names them.
    name
        What the person calls it; may be empty.
    owner
        Who asked for it.
    options
        ``pseudonymise`` (options of the step; None without pseudonyms), ``transcode``; of the workers,
        ``key`` (what tells the key for pseudonyms from others) and ``restarts``.
    state
        ``PAUSED`` until it is started; ``WARNING`` if some of it failed.
    message
        What is to be said of its state, as a sentence; may be empty.
    priority
        A higher one comes first.
    hours
        When it may run, like ``20:00-06:00`` in the local time of the workers; empty for always.
    verified_by
        Who has looked at it and found it right; empty if nobody has.
    counts
        State → how many of its tasks are in it.
    created, began, ended
        When, in seconds since 1970; None if not yet.
    change
        Number of its last change.
    """

    id: int
    kind: Kind
    name: str
    owner: str
    options: Mapping[str, Any]
    state: JobState
    message: str
    priority: int
    hours: str
    verified_by: str
    counts: Mapping[str, int]
    created: float
    began: float | None
    ended: float | None
    change: int

    @property
    def tasks(self) -> int:
        """How many tasks it has."""
        return sum(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            **asdict(self),
            "options": dict(self.options),
            "counts": dict(self.counts),
            "tasks": self.tasks,
        }


@dataclass(frozen=True)
class Wanted:
    """A task that is asked for; see `TransferTask`."""

    source: str
    target: str
    PatientID: str = ""
    StudyInstanceUID: str = ""
    SeriesInstanceUIDs: tuple[str, ...] = ()
    pseudonym: str = ""
    row: int | None = None
