"""dataset_dl: bulk downloads from the NCI Imaging Data Commons that end in verified files.

>>> import dataset_dl as dd
>>> plan = dd.plan("rider_pilot", where={"Modality": "CT"}, into="data")
>>> report = dd.download(plan)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataset_dl.aio import adownload
    from dataset_dl.api import (
        cite,
        collections,
        columns,
        download,
        download_events,
        fetch_index,
        indices,
        page_url,
        plan,
        query,
        repair,
        stream,
        verify,
    )
    from dataset_dl.errors import (
        CertificateError,
        ConnectionTimeout,
        DatasetDlError,
        EngineCrashed,
        EngineMissing,
        InsufficientDiskSpace,
        LayoutError,
        ManifestError,
        NetworkError,
        PlanError,
        ProxyError,
        QueryError,
        SelectionError,
        SelectionWarning,
        StorageError,
        TransferError,
        TransferIncomplete,
        VerificationError,
    )
    from dataset_dl.idc_client import IDCClient
    from dataset_dl.model import (
        DEFAULT_LAYOUT,
        Change,
        Deviation,
        Difference,
        DownloadProgress,
        Plan,
        PlannedSeries,
        Report,
        Series,
        SeriesFailure,
        Verification,
    )
    from dataset_dl.options import DownloadOptions, NetworkOptions, PlanOptions
    from dataset_dl.renewal import diff, update
    from dataset_dl.service import Service

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_LAYOUT",
    "CertificateError",
    "Change",
    "ConnectionTimeout",
    "DatasetDlError",
    "Deviation",
    "Difference",
    "DownloadOptions",
    "DownloadProgress",
    "EngineCrashed",
    "EngineMissing",
    "IDCClient",
    "InsufficientDiskSpace",
    "LayoutError",
    "ManifestError",
    "NetworkError",
    "NetworkOptions",
    "Plan",
    "PlanError",
    "PlanOptions",
    "PlannedSeries",
    "ProxyError",
    "QueryError",
    "Report",
    "SelectionError",
    "SelectionWarning",
    "Series",
    "SeriesFailure",
    "Service",
    "StorageError",
    "TransferError",
    "TransferIncomplete",
    "Verification",
    "VerificationError",
    "__version__",
    "adownload",
    "cite",
    "collections",
    "columns",
    "diff",
    "download",
    "download_events",
    "fetch_index",
    "indices",
    "page_url",
    "plan",
    "query",
    "repair",
    "stream",
    "update",
    "verify",
]

# Nothing is imported before it is used: duckdb and pandas take half a second, and most commands need
# neither. A name that is not listed here lives in `errors`.
_HOMES = {
    "adownload": "aio",
    "DownloadOptions": "options",
    "NetworkOptions": "options",
    "PlanOptions": "options",
    "cite": "api",
    "collections": "api",
    "columns": "api",
    "download": "api",
    "download_events": "api",
    "fetch_index": "api",
    "indices": "api",
    "page_url": "api",
    "plan": "api",
    "query": "api",
    "repair": "api",
    "stream": "api",
    "verify": "api",
    "IDCClient": "idc_client",
    "DEFAULT_LAYOUT": "model",
    "Change": "model",
    "Deviation": "model",
    "Difference": "model",
    "DownloadProgress": "model",
    "Plan": "model",
    "PlannedSeries": "model",
    "Report": "model",
    "Series": "model",
    "SeriesFailure": "model",
    "Verification": "model",
    "diff": "renewal",
    "update": "renewal",
    "Service": "service",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"dataset_dl.{_HOMES.get(name, 'errors')}")
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return __all__
