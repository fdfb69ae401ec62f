"""dataset_dl: bulk downloads from the NCI Imaging Data Commons that end in verified files.

>>> import dataset_dl as dd
>>> plan = dd.plan("rider_pilot", where={"Modality": "CT"}, into="data")
>>> report = dd.download(plan)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataset_dl.errors import (
        CertificateError,
        ConnectionTimeout,
        DatasetDlError,
        DeliveryIncomplete,
        DestinationBusy,
        EngineCrashed,
        EngineMissing,
        InsufficientDiskSpace,
        LayoutError,
        ManifestError,
        MissingExtra,
        NetworkError,
        PlanError,
        ProxyError,
        QueryError,
        SelectionError,
        SelectionWarning,
        StorageError,
        Superseded,
        TransferError,
        TransferIncomplete,
        UnreadableObject,
        VerificationError,
    )
    from dataset_dl.faces.aio import adownload
    from dataset_dl.faces.idc_client import IDCClient
    from dataset_dl.faces.service import Service
    from dataset_dl.model.checks import Change, Deviation, Difference, Verification
    from dataset_dl.model.job import Job
    from dataset_dl.model.outcome import (
        Delivery,
        DeliveryFailure,
        DownloadProgress,
        Report,
        SeriesFailure,
    )
    from dataset_dl.model.plan import DEFAULT_LAYOUT, Plan
    from dataset_dl.model.series import PlannedSeries, Series
    from dataset_dl.preview import look
    from dataset_dl.verbs.check import repair, verify
    from dataset_dl.verbs.deliver import deliver
    from dataset_dl.verbs.download import download, download_events, stream
    from dataset_dl.verbs.jobs import Jobs
    from dataset_dl.verbs.look import (
        IndexUpdate,
        cite,
        collections,
        columns,
        facets,
        fetch_index,
        indices,
        page_url,
        query,
        update_index,
        use_index,
    )
    from dataset_dl.verbs.options import DownloadOptions, NetworkOptions, PlanOptions
    from dataset_dl.verbs.plan import plan
    from dataset_dl.verbs.renew import diff, update
    from dataset_dl.volumes import volume

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_LAYOUT",
    "CertificateError",
    "Change",
    "ConnectionTimeout",
    "DatasetDlError",
    "Delivery",
    "DeliveryFailure",
    "DeliveryIncomplete",
    "DestinationBusy",
    "Deviation",
    "Difference",
    "DownloadOptions",
    "DownloadProgress",
    "EngineCrashed",
    "EngineMissing",
    "IDCClient",
    "IndexUpdate",
    "InsufficientDiskSpace",
    "Job",
    "Jobs",
    "LayoutError",
    "ManifestError",
    "MissingExtra",
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
    "Superseded",
    "TransferError",
    "TransferIncomplete",
    "UnreadableObject",
    "Verification",
    "VerificationError",
    "__version__",
    "adownload",
    "cite",
    "collections",
    "columns",
    "deliver",
    "diff",
    "download",
    "download_events",
    "facets",
    "fetch_index",
    "indices",
    "look",
    "page_url",
    "plan",
    "query",
    "repair",
    "stream",
    "update",
    "update_index",
    "use_index",
    "verify",
    "volume",
]

# Import lazily: duckdb and pandas take half a second to load, and most commands need neither.
# Names not listed here live in `errors`.
_HOMES = {
    name: module
    for module, names in {
        "faces.aio": "adownload",
        "faces.idc_client": "IDCClient",
        "faces.service": "Service",
        "model.checks": "Change Deviation Difference Verification",
        "model.job": "Job",
        "model.outcome": "Delivery DeliveryFailure DownloadProgress Report SeriesFailure",
        "model.plan": "DEFAULT_LAYOUT Plan",
        "model.series": "PlannedSeries Series",
        "preview": "look",
        "verbs.check": "repair verify",
        "verbs.deliver": "deliver",
        "verbs.download": "download download_events stream",
        "verbs.jobs": "Jobs",
        "verbs.look": "IndexUpdate cite collections columns facets fetch_index indices page_url query"
        " update_index use_index",
        "verbs.options": "DownloadOptions NetworkOptions PlanOptions",
        "verbs.plan": "plan",
        "verbs.renew": "diff update",
        "volumes": "volume",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"dataset_dl.{_HOMES.get(name, 'errors')}")
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return __all__
