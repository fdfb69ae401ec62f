"""The examples in the public documentation of idc-index, run as printed but for the line of the import."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.testing import LocalBucket
from support import indices

# As it came with the installed package.
TEXT = (
    importlib.metadata.metadata("idc-index").get_payload()
    or importlib.metadata.metadata("idc-index")["Description"]
)
EXAMPLES = [block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "IDCClient" in block]


@pytest.fixture(scope="module")
def few() -> list[str]:
    """What the examples download, ten small series of each."""
    smallest = "SELECT crdc_series_uuid AS uuid FROM idc_index WHERE {} ORDER BY series_size_MB, 1 LIMIT 10"
    conditions = ("collection_id = 'rider_pilot'", "Modality = 'CT' AND BodyPartExamined = 'CHEST'")
    return [uuid for each in conditions for uuid in dd.query(smallest.format(each)).uuid]


@pytest.fixture(scope="module")
def bucket(few: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBucket]:
    with LocalBucket(few, directory=tmp_path_factory.mktemp("bucket")) as served:
        yield served


@pytest.fixture(scope="module")
def index(few: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of tables with an index of these, and of one collection more to look at: rider_pilot has 10 GB."""
    also = "collection_id = 'tcga_luad' AND Modality <> 'CT'"
    return indices.narrowed(few, tmp_path_factory.mktemp("index"), also)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example(example: str, bucket: LocalBucket, index: Path, tmp_path: Path) -> None:
    changed = example.replace("from idc_index import IDCClient", "from dataset_dl import IDCClient")
    assert changed != example
    done = subprocess.run(
        [sys.executable, "-c", changed],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(index), "DATASET_DL_ENDPOINT_URL": bucket.endpoint_url},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    for name in re.findall(r'downloadDir="\./(\w+)"', example):
        found = dd.verify(tmp_path / name)
        assert (found.ok, found.series_count) == (True, 10)
