"""How to fetch, as one frozen noun: the one place where its defaults stand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from dataset_dl.errors import PlanError

Verify = Literal["size", "md5"]


@dataclass(frozen=True, kw_only=True)
class DownloadSettings:
    """How to fetch.

    Attributes
    ----------
    engine
        The name of an engine, ``auto`` for the best one here, or an object that is one.
    workers
        Objects fetched at once; chosen by the machine and the distance of the store if None.
    retries
        How often series are tried again that failed for a transient reason.
    stall_timeout_seconds
        After so long without enough bytes the engine is ended, and a new one fetches the rest.
    verify
        ``size``: count and bytes of each series. ``md5``: the store's checksum of each file, too.
    trust_journal
        Believe the journal for the series that it has as complete, without a look at the disk.
    max_rate_mbps
        Fetch no faster than this, in MB a second; no bound if None.
    reuse
        Other destinations of this machine whose series are copied instead of fetched.
    """

    engine: Any = "auto"
    workers: int | None = None
    retries: int = 2
    stall_timeout_seconds: float = 120.0
    verify: Verify = "size"
    trust_journal: bool = False
    max_rate_mbps: float | None = None
    reuse: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise PlanError("workers", f"workers is {self.workers}, and at least 1 is needed.")
        rate = self.max_rate_mbps
        if rate is not None and not 0 < rate < math.inf:
            raise PlanError("max_rate_mbps", f"max_rate_mbps is {rate}, and has to be more than 0.")
        if self.verify not in get_args(Verify):
            raise PlanError("verify", f"verify is “{self.verify}”; there are size and md5.")
        if self.verify == "md5" and self.trust_journal:
            raise PlanError(
                "trust_journal", 'verify="md5" and trust_journal contradict each other.', "Choose one."
            )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> DownloadSettings:
        """The settings among some options; others are left alone, and None stands for the default.

        Raises
        ------
        PlanError
            If one is out of range, or two contradict each other.
        """
        names = {field.name for field in fields(cls)}
        given = {name: value for name, value in options.items() if name in names and value is not None}
        if "reuse" in given:
            several = given["reuse"]
            paths = [several] if isinstance(several, str | Path) else several
            given["reuse"] = tuple(Path(each) for each in paths)
        return cls(**given)
