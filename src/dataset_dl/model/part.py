"""A part of a plan, and how a plan is cut into parts."""

from __future__ import annotations

import re
from typing import NamedTuple

from dataset_dl.errors import PlanError

# Between two objects a fast machine waits as long as it needs for so many bytes: 2 ms at 100 MB/s.
OBJECT_BYTES = 200_000
MOST_PARTS = 100_000


class Part(NamedTuple):
    """One of the parts of a plan.

    Attributes
    ----------
    number
        Which one, from 1.
    total
        How many there are.
    """

    number: int
    total: int

    @classmethod
    def of(cls, text: str) -> Part:
        """Read a part that is written like ``3/16``.

        Raises
        ------
        PlanError
            If it is written in another way, or there is no such part.
        """
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip(), re.ASCII)
        part = cls(int(match[1]), int(match[2])) if match else cls(0, 0)
        if not 1 <= part.number <= part.total <= MOST_PARTS:
            raise PlanError(
                "part",
                f"“{text}” is no part of a plan; nothing was started.",
                "Write K/N for part K of N, like 3/16; the first is 1/16, the last 16/16.",
            )
        return part

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    @property
    def name(self) -> str:
        """Its name in a path, like ``3-of-16``."""
        return f"{self.number}-of-{self.total}"


class Cut(NamedTuple):
    """How a plan is cut into parts; kept in the plan, and in the plan of each part.

    Attributes
    ----------
    total
        How many parts.
    object_bytes
        What an object costs besides its own bytes.
    number
        The part that this plan is; 0 for the whole plan.
    series_count, digest
        What identifies the whole plan, so that parts of different plans are never taken for one.
    """

    total: int
    object_bytes: int = OBJECT_BYTES
    number: int = 0
    series_count: int = 0
    digest: str = ""

    @property
    def whole(self) -> Cut:
        """The same cut, of the whole plan."""
        return self._replace(number=0)
