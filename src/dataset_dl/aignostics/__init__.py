"""Wing: samples in Google Cloud Storage. Installed by ``pip install "dataset-dl[aignostics]"``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from dataset_dl.verbs.options import DownloadOptions, spelled_out

if TYPE_CHECKING:
    from dataset_dl.model.outcome import Report
    from dataset_dl.observers import Observer


@spelled_out(DownloadOptions)
def download(
    addresses: str | Iterable[str],
    into: str | Path,
    *,
    credentials: str | Path | None = None,
    progress: Literal["auto", "none"] = "auto",
    observers: Iterable[Observer] = (),
    check: bool = True,
    **options: Unpack[DownloadOptions],
) -> Report:
    """Download objects of Google Cloud Storage, and compare each with the CRC32C of the store.

    Parameters
    ----------
    addresses
        ``gs://BUCKET/KEY``, or ``gs://BUCKET/FOLDER/`` for everything below a folder; one or several.
    into
        The destination; an object goes to ``BUCKET/KEY`` below it.
    credentials
        The JSON file with the key of a service account, which signs the requests; by default the one in
        ``GOOGLE_APPLICATION_CREDENTIALS``.
    progress, observers, check
        As for `dataset_dl.download`.
    **options
        As for `dataset_dl.download`; `engine`, `store`, `endpoint_url` and `sign` do not apply.

    Raises
    ------
    SelectionError
        If an address names nothing, or the credentials cannot be used.
    NetworkError
        If the account may not read an object, or the store cannot be reached.
    MissingExtra
        If the extra is not installed.
    TransferIncomplete, StorageError
        As for `dataset_dl.download`.
    """
    from dataset_dl.aignostics.planning import Samples
    from dataset_dl.verbs.complaints import raise_for_report
    from dataset_dl.verbs.download import run, shown

    several = [addresses] if isinstance(addresses, str) else list(addresses)
    samples = Samples.plan_for(several, into, credentials, options)
    report = run(samples.events([*shown(progress, None), *observers]))
    if check:
        raise_for_report(report)
    return report
