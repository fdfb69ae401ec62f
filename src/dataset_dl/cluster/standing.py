"""How far each part is, by what its writer says and by what its journal has."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from dataset_dl.cluster.writers import Writer, cut_of, was_gathered, writers_of
from dataset_dl.destination import attempts
from dataset_dl.model.part import Part


@dataclass(frozen=True, slots=True)
class PartStanding:
    """How far a part is.

    Attributes
    ----------
    part
        Which one, like ``3/16``.
    state
        ``waiting`` if nobody has begun it; ``gathered`` if an earlier `gather` has its series; ``running``;
        ``lost`` if it did not end in order and nobody writes it any more; ``interrupted``; ``failed`` if it
        could not go on; ``incomplete`` if series failed; ``complete``.
    attempt
        How often it was begun.
    host
        The machine that writes it, or has written it.
    series, total_series, failed_series
        Series that are verified, of all, and failed.
    size_bytes, total_bytes
        Bytes that are there, of all.
    throughput_mbps
        Megabytes a second over the last few seconds; 0 unless it is running.
    seconds_left
        Estimate; None without a basis for one.
    silent_seconds
        How long ago it has said this, by this machine's clock.
    destination
        Where it goes.
    message
        Why it could not go on; empty otherwise.
    """

    part: str
    state: str
    attempt: int = 0
    host: str = ""
    series: int = 0
    total_series: int | None = None
    failed_series: int = 0
    size_bytes: int = 0
    total_bytes: int | None = None
    throughput_mbps: float = 0.0
    seconds_left: float | None = None
    silent_seconds: float | None = None
    destination: str = ""
    message: str = ""

    @property
    def needs_attention(self) -> bool:
        """Whether it will not become complete unless it is begun again."""
        return self.state in ("lost", "interrupted", "failed", "incomplete")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def status(*destinations: str | Path) -> list[PartStanding]:
    """Return how far each part of a plan is, in the order of their numbers.

    Parameters
    ----------
    *destinations
        One that all parts share, or the one of each part.

    Raises
    ------
    PlanError
        If these are parts of different plans.
    """
    return standings(Path(each) for each in destinations)


def standings(destinations: Iterable[Path]) -> list[PartStanding]:
    """Return how far each part of a plan is."""
    roots = list(destinations)
    found = writers_of(roots)
    writers = {each.part.number: each for each in found}
    total = next((each.part.total for each in found), 0)
    cut = cut_of(found)
    is_gathered = cut is not None and any(was_gathered(root, cut) for root in roots)
    absent = "gathered" if is_gathered else "waiting"
    return [
        _standing(writers[number]) if number in writers else PartStanding(str(Part(number, total)), absent)
        for number in range(1, total + 1)
    ]


class _Said(msgspec.Struct):
    """What a writer says of itself, see `observers.standing`."""

    state: str = "lost"
    host: str = ""
    completed_series: int = 0
    total_series: int | None = None
    failed_series: int = 0
    completed_bytes: int = 0
    total_bytes: int | None = None
    throughput_mbps: float = 0.0
    seconds_left: float | None = None
    message: str = ""


def _standing(writer: Writer) -> PartStanding:
    path = writer.files.progress
    try:
        said = msgspec.json.decode(path.read_bytes(), type=_Said)
        silent_seconds = max(0.0, time.time() - path.stat().st_mtime)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        said, silent_seconds = _Said(), None
    state = said.state
    left = attempts.left_by(writer.root, writer.name)
    if left.is_alive:
        state = "running"
    elif state == "running" or writer.cut is None or left.is_doubtful:
        state = state if state == "failed" else "lost"
    is_running = state == "running"
    return PartStanding(
        part=str(writer.part),
        state=state,
        attempt=writer.attempt,
        host=said.host,
        series=said.completed_series,
        total_series=said.total_series,
        failed_series=said.failed_series,
        size_bytes=said.completed_bytes,
        total_bytes=said.total_bytes,
        throughput_mbps=said.throughput_mbps if is_running else 0.0,
        seconds_left=said.seconds_left if is_running else None,
        silent_seconds=silent_seconds,
        destination=str(writer.root),
        message=said.message,
    )
