"""A job: what to do, where, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dataset_dl.model.outcome import DownloadProgress, utf8

if TYPE_CHECKING:
    from dataset_dl.model.events import Event

JobState = Literal["PENDING", "IN_PROGRESS", "PAUSED", "SUCCESS", "WARNING", "FAILURE", "CANCELED"]


@dataclass(frozen=True, slots=True)
class Job:
    """Something that this machine does in the background, or will do.

    Attributes
    ----------
    id
        Its number.
    kind
        ``download``, ``verify``, ``repair``, ``update``, or the kind of another package.
    destination
        The directory that it works on.
    request
        What was asked for, as plain values: ``what`` and the options.
    state
        ``PENDING`` until it is started; ``WARNING`` if some of it failed.
    message
        What is to be said of its state, as a sentence; may be empty.
    progress
        How far it is; None before it starts.
    outcome
        What came of it, as plain values: the `Report` of a download, without its failures after the first
        hundred.
    created, began, ended
        When, in seconds since 1970; None if not yet.
    change
        Number of its last change: a larger one is later, also across jobs.
    """

    id: int
    kind: str
    destination: Path
    request: Mapping[str, Any]
    state: JobState
    message: str
    progress: DownloadProgress | None
    outcome: Mapping[str, Any]
    created: float
    began: float | None
    ended: float | None
    change: int

    def to_dict(self) -> dict[str, Any]:
        """Return the job as plain values for JSON."""
        progress = None if self.progress is None else asdict(self.progress)
        named = {name: getattr(self, name) for name in self.__slots__}
        return {**named, "destination": utf8(self.destination), "progress": progress}


class Ended(NamedTuple):
    """How a job ended: its state, a sentence, and what came of it as plain values."""

    state: JobState
    message: str
    outcome: Mapping[str, Any]


# Does a job of one kind: it gets the job, the file of its plan, and observers for its events. An exception of
# an observer, or a SystemExit, ends it in order.
JobKind = Callable[[Job, Path, "Sequence[Callable[[Event], object]]"], Ended]
