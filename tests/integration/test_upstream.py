"""idc-index's own tests, from its source package, on our client, with a local bucket in place of IDC's."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock

import dataset_dl as dd
from dataset_dl.sources.idc import releases, tables
from dataset_dl.testing import LocalBucket
from support import indices

ROOT = Path(__file__).resolve().parents[2]

# What does not pass, each with its reason. A test that passes after all does not belong here.
EXCEPTIONS = {
    "test_indices_urls": "asks the release page of idc-index-data, which cannot be reached here",
    "test_download_from_bogus_manifest": "wants no word about series that do not exist; ours raises at the end",
    "test_download_from_selection_analysis_results": "replaces idc-index's own method that runs s5cmd",
    "test_download_collection_without_analysis_results": "replaces idc-index's own method that runs s5cmd",
}
# Series that the tests download, besides those of their manifests.
SERIES = [
    "1.3.6.1.4.1.14519.5.2.1.7695.1700.153974929648969296590126728101",
    "1.3.6.1.4.1.14519.5.2.1.3671.4754.228015946741563785297552112143",
]
STUDY = "1.3.6.1.4.1.14519.5.2.1.7695.1700.114861588187429958687900856462"
UUID = "e5c5c71d-62c4-4c50-a8a9-b6799c7f8dea"
# Files of slides that they name: SOPInstanceUID, SeriesInstanceUID, crdc_instance_uuid.
SLIDES = [
    ("1.3.6.1.4.1.5962.99.1.528744472.1087975700.1641206284312.14.0",
     "1.3.6.1.4.1.5962.99.1.528744472.1087975700.1641206284312.2.0", "00000000-0000-0000-0000-000000000001"),
    ("1.3.6.1.4.1.5962.99.1.1900325859.924065538.1719887277027.10.0",
     "1.3.6.1.4.1.5962.99.1.1900325859.924065538.1719887277027.4.0", "2a7d102f-f199-4be0-a237-9bc485f0c89a"),
]  # fmt: skip
SLIDE_BYTES = 1000


@pytest.fixture(scope="module")
def upstream() -> Path:
    """The tests of the installed version, from its source package on PyPI; kept for the next run."""
    name = f"idc_index-{version('idc-index')}"
    folder = ROOT / ".cache" / "upstream"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # tests run beside each other
        if not (folder / name).is_dir():
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-qq",
                "--no-deps",
                "--no-binary",
                "idc-index",
            ]
            command += [
                "--disable-pip-version-check",
                "-d",
                str(folder),
                f"idc-index=={version('idc-index')}",
            ]
            subprocess.run(command, check=True, capture_output=True)
            with tarfile.open(folder / f"{name}.tar.gz") as archive:
                # The filter came with Python 3.11.4; the archive is that of a package that is installed here.
                archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder / name / "tests"


@pytest.fixture(scope="module")
def bucket(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBucket]:
    # The manifest has a line with the name of its column.
    with pytest.warns(dd.SelectionWarning, match="has no address"):
        dd.plan(upstream / "study_manifest_aws.s5cmd")
    warnings.simplefilter("ignore", dd.SelectionWarning)
    plans = [
        dd.plan([*SERIES, STUDY, UUID, "prostatex_targets"]),
        dd.plan(upstream / "study_manifest_aws.s5cmd"),
        dd.plan(upstream / "prior_version_manifest.s5cmd"),
    ]
    with LocalBucket(
        "qin_pet_phantom", max_series=0, directory=tmp_path_factory.mktemp("upstream")
    ) as served:
        every = {row.crdc_series_uuid: row for plan in plans for row in plan}
        # Of a series of an earlier version no table tells the count; a large one is only listed.
        served.series = tuple(
            row._replace(instanceCount=1) if not row.instanceCount
            else row._replace(instanceCount=3, size_bytes=6000) if row.size_bytes > 10_000_000 else row
            for row in every.values()
        )  # fmt: skip
        served.fill()
        for (_, uid, name), row in zip(SLIDES, map(only, SLIDES), strict=True):
            assert row.SeriesInstanceUID == uid
            folder = served.series_directory(row)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.dcm").write_bytes(bytes(SLIDE_BYTES))
        yield served


def only(slide: tuple[str, str, str]) -> dd.PlannedSeries:
    (row,) = dd.plan(slide[1])
    return row


@pytest.fixture(scope="module")
def every_table(bucket: LocalBucket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every optional table, as fetched: with the rows that the tests ask for."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATASET_DL_CACHE", str(cache))
        tables.look_again()
        make_tables(bucket)
    tables.look_again()
    return cache


def make_tables(bucket: LocalBucket) -> None:
    folder = releases.cache_directory()
    folder.mkdir(parents=True)
    for name, table in tables.tables().items():
        if table.parquet_path is None:
            values: dict[str, list[object]] = {str(table.schema()["columns"][0]["name"]): ["x"]}
            if name == "sm_instance_index":
                values = {
                    "SOPInstanceUID": [sop for sop, _, _ in SLIDES],
                    "SeriesInstanceUID": [uid for _, uid, _ in SLIDES],
                    "crdc_instance_uuid": [name for _, _, name in SLIDES],
                    "instance_size": [SLIDE_BYTES] * len(SLIDES),
                }
            indices.make(name, folder / f"{name}.parquet", values)
    clinical = bucket.root / "idc-open-metadata" / "bigquery_export" / "idc_v25_clinical" / "nlst_canc"
    clinical.mkdir(parents=True, exist_ok=True)
    indices.make("seg_index", clinical / "0.parquet", {"SeriesInstanceUID": ["1.2"]})


@pytest.fixture(scope="module")
def few(bucket: LocalBucket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of tables with an index of the series in the bucket."""
    uuids = [row.crdc_series_uuid for row in bucket.series]
    return indices.narrowed(uuids, tmp_path_factory.mktemp("few"))


# Those that take longest, each by itself, so that they run beside the others. Each downloads a manifest with
# every combination of options.
LONG = ("test_prior_version_manifest", "test_download_from_aws_manifest", "test_download_from_gcp_manifest")
REST = f"not ({' or '.join(LONG)})"


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("chosen", "least"), [*((name, 1) for name in LONG), (REST, 46)])
def test_upstreams_own_tests_pass_but_for_those_named(
    upstream: Path, bucket: LocalBucket, every_table: Path, few: Path, tmp_path: Path, chosen: str, least: int
) -> None:
    told = tmp_path / "told.xml"
    environment = os.environ | {
        "DATASET_DL_ENDPOINT_URL": bucket.endpoint_url,
        "DATASET_DL_CACHE": str(every_table),
        "DATASET_DL_STATE": str(tmp_path / "state"),
        "PYTHONPATH": os.pathsep.join(
            [*([] if chosen == REST else [str(few)]), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        ),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "support.upstream", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(upstream), "-c", os.devnull, f"--junitxml={told}", "--durations=12"]
    command += ["idcindex.py", "test_package.py", "-k", chosen]
    done = subprocess.run(command, cwd=upstream, env=environment, capture_output=True, text=True, check=False)
    assert told.is_file(), done.stdout + done.stderr
    cases = list(ET.parse(told).iter("testcase"))
    failed = {
        case.get("name")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    assert len(cases) >= least
    assert failed == (set(EXCEPTIONS) if chosen == REST else set()), done.stdout[-6000:]
