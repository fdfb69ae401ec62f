"""What happens during a download, as frozen values.

They are msgspec structs because one is made for each of up to 58.8 million files: building one takes a tenth
of the time that a frozen dataclass takes.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from dataset_dl.model.outcome import Cause, Report, SeriesFailure
from dataset_dl.model.series import PlannedSeries, Size


class Event(Struct, frozen=True, kw_only=True):
    """Base of all events.

    Attributes
    ----------
    run_id
        The run that it belongs to; the transfer fills it in.
    """

    run_id: str = ""


class Started(Event, frozen=True):
    """The download begins; the totals of the plan, as far as they are known."""

    destination: Path
    series_count: int
    instance_count: int
    size_bytes: int


class FetchStarted(Event, frozen=True):
    """The disk has been looked at: the series that are not complete, and how many workers fetch them.

    `present_instances` and `present_bytes` are the part of them that is there and is not fetched again.
    """

    series_count: int
    instance_count: int
    size_bytes: int
    present_instances: int
    present_bytes: int
    workers: int
    engine: str = ""


class EngineStarted(Event, frozen=True):
    """An engine begins to fetch: once a round, and again after each time that it ended early.

    `store` is the host that it fetches from.
    """

    engine: str
    workers: int
    store: str = ""


class SeriesSized(Event, frozen=True):
    """Files and bytes of a series of which nobody knew them.

    An engine says it of a series that its plan has no numbers for, before or after its files. The wanted
    files are named where not all of the series are wanted.
    """

    key: str
    size: Size


class FileCompleted(Event, frozen=True, gc=False):
    """A finished file has its final name. The path is relative to the destination."""

    key: str
    path: str
    size_bytes: int


class BytesWritten(Event, frozen=True):
    """What the engine has written so far, files in flight included, and the memory that it holds.

    `memory_bytes` is None where the system does not tell, or the engine runs in this process.
    """

    size_bytes: int
    memory_bytes: int | None = None


class CommandFailed(Event, frozen=True):
    """The engine failed at something; the key is empty where it does not name a series."""

    key: str
    cause: Cause
    message: str


class EngineMessage(Event, frozen=True):
    """Output of the engine that is neither a finished file nor a failure."""

    text: str


class EngineEnded(Event, frozen=True):
    """The engine has ended early, or was ended because it fell silent; the next round fetches the rest."""

    message: str
    stalled: bool
    stderr_tail: str


class Noticed(Event, frozen=True):
    """Something that a person should know, in a sentence."""

    text: str


class RetryStarted(Event, frozen=True):
    """Series that failed for a transient reason are fetched again, as far as they are missing.

    `present_instances` and `present_bytes` are the part of them that has arrived.
    """

    series_count: int
    present_instances: int
    present_bytes: int
    pause_seconds: float


class SeriesCompleted(Event, frozen=True):
    """A series is on disk, its count and bytes checked; `fetched` is False if all of it was before.

    `names` are its files where its directory may hold those of others; None where all there are its own.
    """

    series: PlannedSeries
    fetched: bool
    names: tuple[str, ...] | None = None


class SeriesFailed(Event, frozen=True):
    """A series is not complete and will not be in this run."""

    failure: SeriesFailure


class SeriesDelivered(Event, frozen=True):
    """A consumer has taken a series, and its receipt is written; or had a receipt for it already."""

    consumer: str
    key: str
    is_new: bool


class DeliveryFailed(Event, frozen=True):
    """A consumer could not take a series; another run tries again."""

    consumer: str
    key: str
    message: str


class Working(Event, frozen=True):
    """How far a verb is that is no download: a check of a tree, a table that is fetched.

    `total_bytes` is None where nobody knows how much there is.
    """

    activity: str
    done_bytes: int
    total_bytes: int | None = None


class Finished(Event, frozen=True):
    """The last event of a download."""

    report: Report
