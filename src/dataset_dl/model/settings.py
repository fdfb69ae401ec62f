"""Settings of a download. The only place that defines their defaults."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from dataset_dl.errors import PlanError
from dataset_dl.model.part import Part

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

Verify = Literal["size", "md5"]


@dataclass(frozen=True, kw_only=True)
class DownloadSettings:
    """Settings of a download.

    Attributes
    ----------
    engine
        Name of an engine, ``auto`` for the best one available, or an engine object.
    workers
        Number of objects fetched in parallel; if None, chosen from the machine and the latency of the store.
    retries
        How often to retry series that failed for a transient reason.
    stall_timeout_seconds
        Stop the engine after this long without enough bytes; a new one fetches the rest.
    verify
        ``size`` checks the number of files and bytes of each series; ``md5`` also checks each file against
        the store's checksum.
    trust_journal
        Trust the journal for series that it lists as complete, without checking the disk.
    max_rate_mbps
        Upper limit of the download rate in MB/s; no limit if None.
    durable
        Count a series as complete only once its files are on the disk itself and outlast a power loss.
    reuse
        Other destinations on this machine, from which series are copied instead of fetched.
    then
        Consumers that get each series as soon as it is verified: names, consumers or functions.
    consumer_processes
        How many processes run each consumer that is named; one a core if None.
    evict
        Remove a series when every consumer has taken it.
    disk_budget
        The most bytes of series on the disk at any time, as a number or like ``500GB``; no bound if None.
    part
        Download only this part of the plan, like ``3/16``; all of it if None.
    take_over
        Begin the part although an earlier attempt at it seems to live, and end that one.
    shared_rate_mbps
        Upper limit of the rate of all running parts of the destination together, in MB/s; no limit if None.
    """

    engine: Any = "auto"
    workers: int | None = None
    retries: int = 2
    stall_timeout_seconds: float = 120.0
    verify: Verify = "size"
    trust_journal: bool = False
    max_rate_mbps: float | None = None
    durable: bool = False
    reuse: tuple[Path, ...] = ()
    then: tuple[Any, ...] = ()
    consumer_processes: int | None = None
    evict: bool = False
    disk_budget: int | str | None = None
    part: str | None = None
    take_over: bool = False
    shared_rate_mbps: float | None = None

    @property
    def disk_budget_bytes(self) -> int | None:
        """The bound in bytes; None without one."""
        return None if self.disk_budget is None else bytes_of(self.disk_budget)

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise PlanError(
                "workers",
                f"There cannot be {self.workers} workers; nothing was started.",
                "Ask for 1 or more.",
            )
        if self.consumer_processes is not None and self.consumer_processes < 1:
            raise PlanError(
                "consumer_processes",
                f"There cannot be {self.consumer_processes} consumer processes; nothing was started.",
                "Ask for 1 or more.",
            )
        if self.evict and not self.then:
            raise PlanError(
                "evict",
                "Only what a consumer has taken can be evicted, but none is named; nothing was started.",
                "Name one.",
            )
        if self.disk_budget_bytes is not None and not self.evict:
            raise PlanError(
                "disk_budget",
                "A disk budget holds only if series are evicted; nothing was started.",
                "Ask for that as well.",
            )
        for name in ("max_rate_mbps", "shared_rate_mbps"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate < math.inf:
                raise PlanError(
                    name, f"{rate} MB/s is no rate that could be kept to; nothing was started.",
                    "Give a positive number.",
                )  # fmt: skip
        if self.part is not None:
            Part.of(self.part)
        elif self.take_over or self.shared_rate_mbps is not None:
            name = "take_over" if self.take_over else "shared_rate_mbps"
            raise PlanError(
                name,
                "Only a part of a plan takes an earlier attempt over, or shares a rate with others, but no"
                " part is named; nothing was started.",
                "Name one.",
            )
        if self.verify not in get_args(Verify):
            raise PlanError("verify", f"verify is “{self.verify}” but must be size or md5.")
        if self.verify == "md5" and self.trust_journal:
            raise PlanError(
                "trust_journal",
                "Either MD5 sums are compared or the journal is trusted, not both; nothing was started.",
                "Choose one.",
            )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> DownloadSettings:
        """Create settings from options; other options are ignored, and None stands for the default.

        Raises
        ------
        PlanError
            If a setting is out of range, or two contradict each other.
        """
        names = {field.name for field in fields(cls)}
        given = {name: value for name, value in options.items() if name in names and value is not None}
        if "reuse" in given:
            several = given["reuse"]
            paths = [several] if isinstance(several, str | Path) else several
            given["reuse"] = tuple(Path(each) for each in paths)
        if "then" in given and not isinstance(given["then"], tuple):
            several = given["then"]
            given["then"] = tuple(several) if isinstance(several, list) else (several,)
        return cls(**given)


def bytes_of(amount: int | str) -> int:
    """Return a number of bytes, given as such or with a unit like ``500GB`` or ``2 TiB``.

    Raises
    ------
    PlanError
        If it is neither, or not positive.
    """
    text = str(amount).strip()
    match = _AMOUNT.fullmatch(text)
    base = 1024 if match and match[3] else 1000
    found = int(float(match[1]) * base ** _POWERS[match[2].lower()]) if match else 0
    if found < 1:
        raise PlanError(text, f"“{text}” is no number of bytes.", "Write it like 500GB.")
    return found
