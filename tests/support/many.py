"""A bucket of many small series."""

from __future__ import annotations

from pathlib import Path

import dataset_dl as dd
from dataset_dl.testing import LocalBucket

UUIDS = (
    "SELECT crdc_series_uuid AS uuid FROM idc_index WHERE collection_id = 'prostatex' AND instanceCount = 16"
)


def many_series(count: int, directory: Path) -> LocalBucket:
    """Series of 16 instances each, 0.6 MB a series."""
    uuids = list(dd.query(f"{UUIDS} AND series_size_MB < 0.7 ORDER BY 1 LIMIT {count}").uuid)
    return LocalBucket(uuids, directory=directory)
