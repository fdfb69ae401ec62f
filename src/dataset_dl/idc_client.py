"""`IDCClient`: what IDC holds, in the words of idc-index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataset_dl.api import plan
from dataset_dl.index import catalog


class Collection(str):
    """A collection: its identifier as a string, with what is known of it as attributes.

    Attributes
    ----------
    id, name, subjects, series, instances, size_bytes, modalities, cancer_types, licenses, DOI
        As in `dataset_dl.collections`.
    """

    id: str
    name: str
    subjects: int
    series: int
    instances: int
    size_bytes: int
    modalities: str
    cancer_types: str
    licenses: str
    DOI: str


class IDCClient:
    """Looks things up; constructing one costs nothing."""

    def get_collections(self) -> list[Collection]:
        """Every collection of IDC, in alphabetical order."""
        rows = catalog.collections()
        found = []
        for row in rows:
            values = dict(zip(rows.columns, row, strict=True))
            collection = Collection(values["id"])
            for name, value in values.items():
                setattr(collection, name, value)
            found.append(collection)
        return found

    def get_download_manifest(
        self,
        collection_id: str,
        filters: Mapping[str, object] | None = None,
        layout: str | None = None,
    ) -> list[dict[str, Any]]:
        """What a download would fetch, one item a series.

        Parameters
        ----------
        collection_id
            In any spelling; a patient, study or series will do too.
        filters
            Column of the main index → value or values that it must have.
        layout
            Template of the directories.

        Returns
        -------
        list of dict
            ``target_path`` (directory below the destination), ``aws_url``, and the columns of
            `PlannedSeries`.
        """
        rows = plan(collection_id, where=filters, layout=layout)
        return [
            {"target_path": row.directory, "aws_url": row.series_aws_url, **row._asdict()} for row in rows
        ]
