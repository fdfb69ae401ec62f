"""Wing: one plan on many machines. Parts on the scheduler that is there, or batches on Dask (``[dask]``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataset_dl.cluster.engine import DaskEngine
    from dataset_dl.cluster.gathering import gather
    from dataset_dl.cluster.mapping import map_series
    from dataset_dl.cluster.standing import PartStanding, status

__all__ = ["DaskEngine", "PartStanding", "gather", "map_series", "status"]

_HOMES = {
    "DaskEngine": "engine",
    "PartStanding": "standing",
    "gather": "gathering",
    "map_series": "mapping",
    "status": "standing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
