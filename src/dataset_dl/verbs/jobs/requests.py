"""Requests as plain values, to be kept with a job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_dl.errors import PlanError

# Every reader of the queue gets the request with each change.
_MOST_NAMED = 100


def shortened(what: Sequence[Any]) -> dict[str, Any]:
    """Return the beginning of a long list: the plan of the job has all of it."""
    return {"what": list(what[:_MOST_NAMED]), "what_count": len(what)}


def plain(value: Any) -> Any:
    """Return a value of a request as plain values for JSON.

    Raises
    ------
    PlanError
        If it is an object that only this process knows.
    """
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    from dataset_dl.model.plan import Plan
    from dataset_dl.sources.named import is_table

    if is_table(value) or isinstance(value, Plan):
        return ""  # a table or a plan, whose series are in the plan of the job
    raise PlanError(
        type(value).__name__,
        f"A job cannot keep a {type(value).__name__}; nothing was started.",
        "Give names instead of objects.",
    )
