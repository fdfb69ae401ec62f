"""`Service`: a download as one call with a progress callback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Unpack

from dataset_dl.errors import SelectionError
from dataset_dl.manifest.entry import Entry
from dataset_dl.model.outcome import Report
from dataset_dl.model.plan import DEFAULT_LAYOUT
from dataset_dl.model.selection import Selection
from dataset_dl.plans.layout import Layout
from dataset_dl.plans.names import check_directory
from dataset_dl.sources.idc.planner import make_plan
from dataset_dl.sources.idc.tables import main_columns
from dataset_dl.verbs.download import ProgressCallback, download
from dataset_dl.verbs.options import DownloadOptions, spelled_out
from dataset_dl.verbs.plan import plan


class Service:
    """Downloads of a collection, or of items of a download manifest.

    Parameters
    ----------
    **options
        As for `dataset_dl.download`.
    """

    @spelled_out(DownloadOptions)
    def __init__(self, **options: Unpack[DownloadOptions]) -> None:
        self._options = options

    @spelled_out()
    def download_dataset(
        self,
        collection_id: str,
        output_dir: str | Path,
        *,
        progress_callback: ProgressCallback | None = None,
        filters: Mapping[str, object] | None = None,
        layout: str | None = None,
    ) -> Report:
        """Download a collection, or the part of it that the filters keep.

        Parameters
        ----------
        collection_id
            A collection in any spelling; patients, studies and series also work.
        output_dir
            The destination.
        progress_callback
            Called with a `DownloadProgress` about ten times a second and once at the end.
        filters
            Column of the main index → value or values that it must have.
        layout
            Template of the directories.

        Raises
        ------
        DatasetDlError
            As for `dataset_dl.plan` and `dataset_dl.download`.
        """
        wanted = plan(collection_id, where=filters, layout=layout, into=output_dir)
        return download(wanted, progress_callback=progress_callback, **self._options)

    @spelled_out()
    def download_filtered(
        self,
        items: Iterable[Mapping[str, Any]],
        output_dir: str | Path,
        *,
        progress_callback: ProgressCallback | None = None,
    ) -> Report:
        """Download items of `IDCClient.get_download_manifest`, each to its ``target_path``.

        Raises
        ------
        SelectionError
            If there are no items, or a ``target_path`` leads out of the destination.
        DatasetDlError
            As for `dataset_dl.plan` and `dataset_dl.download`.
        """
        entries = []
        for number, item in enumerate(items, 1):
            uuid, directory = item["crdc_series_uuid"], item["target_path"]
            if problem := check_directory(directory):
                raise SelectionError(
                    directory, f"The target_path “{directory}” of item {number} is refused: {problem}."
                )
            entries.append(Entry(number, uuid, directory))
        if not entries:
            raise SelectionError("items", "The list of items is empty, so nothing was started.")
        layout = Layout.parse(DEFAULT_LAYOUT, main_columns())
        wanted = make_plan(Selection(()), layout, entries=entries, into=Path(output_dir))
        return download(wanted, progress_callback=progress_callback, **self._options)
