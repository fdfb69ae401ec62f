"""The events of a download, as frozen values.

They are msgspec structs because there is one for each of up to 58.8 million files: creating one takes a tenth
of the time of a frozen dataclass.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from dataset_dl.model.outcome import Cause, Delivery, Report, SeriesFailure
from dataset_dl.model.series import PlannedSeries, Size


class Event(Struct, frozen=True, kw_only=True):
    """Base class of all events.

    Attributes
    ----------
    run_id
        Id of the run; the transfer sets it.
    """

    run_id: str = ""


class Started(Event, frozen=True):
    """The download starts; contains the known totals of the plan."""

    destination: Path
    series_count: int
    instance_count: int
    size_bytes: int


class FetchStarted(Event, frozen=True):
    """The disk was checked; contains the totals of the incomplete series, and the number of workers.

    `present_instances` and `present_bytes` are the part of these totals that is already on disk.
    """

    series_count: int
    instance_count: int
    size_bytes: int
    present_instances: int
    present_bytes: int
    workers: int
    engine: str = ""


class EngineStarted(Event, frozen=True):
    """An engine starts to fetch: once per round, and again each time after it ended early.

    `store` is the host that it fetches from.
    """

    engine: str
    workers: int
    store: str = ""


class SeriesSized(Event, frozen=True):
    """Number of files and bytes of a series, unknown until now.

    An engine yields it for a series without numbers in the plan, before or after the files of the series. If
    only some files of the series are wanted, `size` names them. `counted` is what the totals of `Started`
    have counted for it, as an estimate or because it was sized before; engines leave it out.
    """

    key: str
    size: Size
    counted: Size = Size(0, 0)


class FileCompleted(Event, frozen=True, gc=False):
    """A file is complete and has its final name. The path is relative to the destination.

    `proven` if the engine compared it with the store's checksum while it arrived.
    """

    key: str
    path: str
    size_bytes: int
    proven: bool = False


class BytesWritten(Event, frozen=True):
    """Bytes that the engine has written so far, including incomplete files, and its memory use.

    `memory_bytes` is None if the system does not report it, or if the engine runs in this process.
    """

    size_bytes: int
    memory_bytes: int | None = None


class Waiting(Event, frozen=True):
    """An engine has nothing to do until there is room on the disk, or until consumers have taken series."""


class CommandFailed(Event, frozen=True):
    """A command of the engine failed; the key is empty if the engine does not name a series."""

    key: str
    cause: Cause
    message: str


class EngineMessage(Event, frozen=True):
    """Output of the engine that is neither a finished file nor a failure."""

    text: str


class EngineEnded(Event, frozen=True):
    """The engine ended early or was stopped; the next round fetches the rest. `stalled` if it fell silent."""

    message: str
    stalled: bool
    stderr_tail: str


class Noticed(Event, frozen=True):
    """A note for the user, as a sentence."""

    text: str


class RetryStarted(Event, frozen=True):
    """Series that failed for a transient reason are retried; only their missing files are fetched.

    `present_instances` and `present_bytes` are the part of them that is on disk.
    """

    series_count: int
    present_instances: int
    present_bytes: int
    pause_seconds: float


class SeriesCompleted(Event, frozen=True):
    """A series is on disk, its count and bytes checked; `fetched` is False if it was complete before.

    `names` lists its files if its directory may contain files of other series; None if all files there are
    its own.
    """

    series: PlannedSeries
    fetched: bool
    names: tuple[str, ...] | None = None


class SeriesFailed(Event, frozen=True):
    """A series is incomplete and is not retried in this run."""

    failure: SeriesFailure


class SeriesDelivered(Event, frozen=True):
    """A consumer took a series and its receipt was written, or it already had a receipt."""

    consumer: str
    key: str
    is_new: bool


class GroupCompleted(Event, frozen=True):
    """A consumer has completed a group of series, like a session of XNAT, and its receipt was written."""

    consumer: str
    group: str


class DeliveryFailed(Event, frozen=True):
    """A consumer failed to take a series; the next run retries."""

    consumer: str
    key: str
    message: str
    cause: Cause = "consumer"


class SeriesUsed(Event, frozen=True):
    """A series was delivered and removed by an earlier run, so it is not fetched again."""

    series: PlannedSeries


class SeriesEvicted(Event, frozen=True):
    """Every consumer has taken a series, and its files were removed."""

    key: str
    size_bytes: int


class DeliveryStarted(Event, frozen=True):
    """Series of a destination are handed to consumers."""

    destination: Path
    series_count: int
    consumers: int


class Delivered(Event, frozen=True):
    """The last event of a delivery. `lacking_series` of the plan are not complete, so nobody got them."""

    delivery: Delivery
    lacking_series: int
    elapsed_seconds: float


class Working(Event, frozen=True):
    """Progress of a verb other than a download, like checking a tree or fetching a table.

    `total_bytes` is None if the total is unknown.
    """

    activity: str
    done_bytes: int
    total_bytes: int | None = None


class Finished(Event, frozen=True):
    """The last event of a download."""

    report: Report
