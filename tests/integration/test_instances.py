"""Single files: by SOPInstanceUID, by address, by a condition on the table that tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

import dataset_dl as dd
from dataset_dl.model.events import Noticed
from dataset_dl.model.series import PlannedSeries
from dataset_dl.sources.idc import tables
from dataset_dl.testing import LocalBucket
from support import indices
from support.cli import Cli

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBucket]:
    """Two small slides of seven or more files each."""
    uuids = dd.query(
        "SELECT crdc_series_uuid AS uuid FROM idc_index WHERE Modality = 'SM' AND instanceCount BETWEEN 7 AND 9"
        " ORDER BY series_size_MB, 1 LIMIT 2"
    ).uuid
    with LocalBucket(list(uuids), directory=tmp_path_factory.mktemp("slides")) as served:
        yield served


@pytest.fixture(scope="module")
def table(slides: LocalBucket, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sm_instance_index over them; its TotalPixelMatrixColumns are 1000, 2000, … by name."""
    values: dict[str, list[object]] = {
        name: []
        for name in ("SOPInstanceUID", "SeriesInstanceUID", "crdc_instance_uuid", "instance_size",
                     "TotalPixelMatrixColumns")
    }  # fmt: skip
    for series in slides.series:
        for number, path in enumerate(files(slides, series), 1):
            values["SOPInstanceUID"].append(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID))
            values["SeriesInstanceUID"].append(series.SeriesInstanceUID)
            values["crdc_instance_uuid"].append(path.stem)
            values["instance_size"].append(path.stat().st_size)
            values["TotalPixelMatrixColumns"].append(1000 * number)
    return indices.make("sm_instance_index", tmp_path_factory.mktemp("table") / "t.parquet", values)


@pytest.fixture
def known(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path / "cache"))
    tables.look_again()
    dd.fetch_index("sm_instance_index", from_file=table)
    yield
    tables.look_again()


def files(bucket: LocalBucket, series: PlannedSeries) -> list[Path]:
    return sorted(bucket.series_directory(series).glob("*.dcm"))


def sop_instance_uids(bucket: LocalBucket, series: PlannedSeries) -> list[str]:
    return [str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files(bucket, series)]


def names(tree: Path) -> list[str]:
    return sorted(path.name for path in tree.rglob("*.dcm"))


@pytest.mark.usefixtures("known")
def test_files_one_by_one(slides: LocalBucket, tmp_path: Path) -> None:
    first, second = slides.series
    asked = [
        sop_instance_uids(slides, first)[2],
        files(slides, second)[0].stem,
        sop_instance_uids(slides, second)[1],
    ]
    expected = [files(slides, first)[2], *files(slides, second)[:2]]
    plan = dd.plan(asked, into=tmp_path / "d")
    assert (plan.series_count, plan.instance_count) == (2, 3)
    assert plan.size_bytes == sum(path.stat().st_size for path in expected)
    report = dd.download(plan, endpoint_url=slides.endpoint_url)
    assert (report.ok, report.complete_instances) == (True, 3)
    assert names(tmp_path / "d") == sorted(path.name for path in expected)
    assert dd.download(plan, endpoint_url=NOWHERE).fetched_series == 0
    assert dd.verify(tmp_path / "d").ok
    assert dd.verify(tmp_path / "d", md5=True, endpoint_url=slides.endpoint_url).ok
    assert str(first.SeriesInstanceUID) in dd.page_url(asked[0])
    (series,) = dd.stream(dd.plan(asked[0]), tmp_path / "d", endpoint_url=NOWHERE)
    assert [path.name for path in series.paths] == [expected[0].name]


@pytest.mark.usefixtures("known")
def test_more_files_of_a_series_join_those_that_are_there(slides: LocalBucket, tmp_path: Path) -> None:
    series = slides.series[0]
    uids = sop_instance_uids(slides, series)
    for asked in (uids[:2], uids[1:4]):
        assert dd.download(dd.plan(asked), tmp_path, endpoint_url=slides.endpoint_url).ok
    assert names(tmp_path) == [path.name for path in files(slides, series)[:4]]
    kept = dd.verify(tmp_path)
    assert kept.ok
    assert kept.plan is not None
    assert kept.plan.instance_count == 4
    next(iter(tmp_path.rglob("*.dcm"))).unlink()
    assert [each.problem for each in dd.verify(tmp_path).deviations] == ["missing"]
    assert dd.repair(dd.verify(tmp_path), endpoint_url=slides.endpoint_url).ok
    whole = dd.plan(series.crdc_series_uuid)
    report = dd.download(whole, tmp_path, endpoint_url=slides.endpoint_url)
    assert report.ok
    assert report.fetched_bytes == sum(path.stat().st_size for path in files(slides, series)[4:])
    assert dd.download(dd.plan(uids[:1]), tmp_path, endpoint_url=NOWHERE).ok
    kept = dd.verify(tmp_path)
    assert kept.plan is not None
    assert (kept.ok, kept.plan.instance_count) == (True, series.instanceCount)


@pytest.mark.usefixtures("known")
def test_files_by_level(slides: LocalBucket, cli: Cli) -> None:
    where = "sm_instance_index.TotalPixelMatrixColumns<=2000"
    plan = dd.plan(where=[where, "sm_instance_index.TotalPixelMatrixColumns>1000"])
    assert (plan.series_count, plan.instance_count) == (2, 2)
    assert dd.plan(where=["sm_instance_index.instance_size>=0"]).instance_count == sum(
        series.instanceCount for series in slides.series
    )
    assert all(row.files is None for row in dd.plan(where=["sm_instance_index.instance_size>=0"]))
    uuid = slides.series[0].crdc_series_uuid
    outcome = cli(
        "idc", "download", uuid, "--where", where, "--to", "d", "--endpoint-url", slides.endpoint_url
    )
    assert outcome.code == 0, outcome.err
    assert names(cli.directory / "d") == [path.name for path in files(slides, slides.series[0])[:2]]
    with pytest.raises(dd.SelectionError, match="TotalPixelMatrixColumns=7"):
        dd.plan(where=["sm_instance_index.TotalPixelMatrixColumns=7"])
    with pytest.raises(dd.SelectionError, match="Give either"):
        dd.plan(sop_instance_uids(slides, slides.series[0])[:1], where=[where])


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("suffix", ["parquet", "csv", "s5cmd"])
def test_a_saved_plan_names_them(slides: LocalBucket, tmp_path: Path, suffix: str) -> None:
    series = slides.series[1]
    plan = dd.plan([sop_instance_uids(slides, series)[3], slides.series[0].crdc_series_uuid])
    saved = plan.save(tmp_path / f"plan.{suffix}")
    again = dd.plan(saved, into=tmp_path / "d")
    assert (again.series_count, again.unsized_series) == (2, 1 if suffix == "s5cmd" else 0)
    assert dd.download(again, endpoint_url=slides.endpoint_url).ok
    assert names(tmp_path / "d") == sorted(
        path.name for path in [files(slides, series)[3], *files(slides, slides.series[0])]
    )
    assert dd.download(again, endpoint_url=NOWHERE).complete_instances == plan.instance_count
    if suffix != "s5cmd":
        assert dd.plan([saved, series.crdc_series_uuid]).instance_count == sum(
            each.instanceCount for each in slides.series
        )


def test_addresses_of_files(slides: LocalBucket, cli: Cli) -> None:
    series = slides.series[0]
    lines = [
        f"cp {series.series_aws_url.rstrip('*')}{path.name} some/where/" for path in files(slides, series)
    ]
    (cli.directory / "m.s5cmd").write_text("\n".join(lines[:3]))
    dry = cli("idc", "download", "m.s5cmd", "--to", "d", "--dry-run")
    assert "the download asks the store" in dry.out
    outcome = cli("idc", "download", "m.s5cmd", "--to", "d", "--endpoint-url", slides.endpoint_url)
    assert outcome.code == 0, outcome.err
    assert names(cli.directory / "d/some/where") == [path.name for path in files(slides, series)[:3]]
    lines[1] = lines[1].replace(files(slides, series)[1].name, "11111111-1111-1111-1111-111111111111.dcm")
    (cli.directory / "m.s5cmd").write_text("\n".join(lines[:3]))
    outcome = cli("idc", "download", "m.s5cmd", "--to", "e", "--endpoint-url", slides.endpoint_url)
    assert outcome.code == 3
    assert "the store has no 11111111-1111-1111-1111-111111111111.dcm; 1 files are lacking" in outcome.err
    assert cli("idc", "verify", "e").code == 3
    (cli.directory / "m.s5cmd").write_text(lines[0] + "renamed.dcm\n")
    assert "gives the file another name" in cli("idc", "download", "m.s5cmd", "--to", "f").err


@pytest.mark.usefixtures("known")
def test_equal_sizes_are_not_equal_files(slides: LocalBucket, tmp_path: Path) -> None:
    """The journal must not take one file for another of the same size."""
    series = slides.series[0]
    paths = files(slides, series)
    sizes = {path.stat().st_size: path for path in paths}
    twins = next(((sizes[size], path) for path in paths for size in sizes
                  if size == path.stat().st_size and sizes[size] != path), None)  # fmt: skip
    if twins is None:
        pytest.skip("no two files of this slide are of one size")
    for path in twins:
        report = dd.download(
            dd.plan(path.stem), tmp_path, endpoint_url=slides.endpoint_url, trust_journal=True
        )
        assert report.fetched_series == 1
    assert names(tmp_path) == sorted(path.name for path in twins)


@pytest.mark.usefixtures("known")
def test_a_file_in_another_place_does_not_make_a_series_forgotten(
    slides: LocalBucket, tmp_path: Path
) -> None:
    series = slides.series[0]
    uid = sop_instance_uids(slides, series)[0]
    dd.download(dd.plan(series.crdc_series_uuid), tmp_path, endpoint_url=slides.endpoint_url)
    elsewhere = dd.plan(uid, layout="%PatientID/%SeriesInstanceUID")
    dd.download(elsewhere, tmp_path, endpoint_url=slides.endpoint_url)
    next(iter(tmp_path.glob("*/*/*/*/*.dcm"))).unlink()
    assert not dd.verify(tmp_path).ok


@pytest.mark.usefixtures("known")
def test_a_series_that_moves_is_told(slides: LocalBucket, tmp_path: Path) -> None:
    uuid = slides.series[0].crdc_series_uuid
    dd.download(dd.plan(uuid), tmp_path, endpoint_url=slides.endpoint_url)
    moved = dd.plan(uuid, layout="%SeriesInstanceUID")
    events = dd.download_events(moved, tmp_path, endpoint_url=slides.endpoint_url)
    assert any(
        "went to other directories here before" in each.text for each in events if isinstance(each, Noticed)
    )


def test_files_of_a_table_of_another_release_select_nothing(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path / "cache"))
    tables.look_again()
    values: dict[str, list[object]] = {
        "SOPInstanceUID": ["1.9.3"], "SeriesInstanceUID": ["1.9"], "crdc_instance_uuid": ["*"], "instance_size": [5],
    }  # fmt: skip
    dd.fetch_index(
        "sm_instance_index", from_file=indices.make("sm_instance_index", tmp_path / "t.parquet", values)
    )
    with pytest.raises(dd.SelectionError, match=r"“1\.9\.3” matches nothing"):
        dd.plan("1.9.3")
    values["SeriesInstanceUID"] = list(dd.query("SELECT SeriesInstanceUID AS u FROM idc_index LIMIT 1").u)
    again = indices.make("sm_instance_index", tmp_path / "u.parquet", values)
    dd.fetch_index("sm_instance_index", from_file=again)
    with pytest.raises(dd.SelectionError, match="contains invalid file names"):
        dd.plan("1.9.3")
    tables.look_again()


@pytest.mark.usefixtures("known")
def test_a_frame_of_files_is_taken_file_by_file(slides: LocalBucket) -> None:
    frame = dd.query("SELECT * FROM sm_instance_index WHERE TotalPixelMatrixColumns <= 2000")
    assert dd.plan(frame).instance_count == 4


@pytest.mark.usefixtures("known")
def test_a_file_of_unknown_size_is_asked_of_the_store(
    slides: LocalBucket, tmp_path: Path, table: Path
) -> None:
    frame = dd.query("SELECT * FROM sm_instance_index")
    frame["instance_size"] = None
    frame["instance_size"] = frame["instance_size"].astype("Int64")
    frame.to_parquet(tmp_path / "t.parquet")
    dd.fetch_index("sm_instance_index", from_file=tmp_path / "t.parquet")
    plan = dd.plan(sop_instance_uids(slides, slides.series[0])[0].upper(), into=tmp_path / "d")
    assert plan.unsized_series == 1
    assert dd.download(plan, endpoint_url=slides.endpoint_url).complete_instances == 1


def test_the_table_that_is_missing_is_named() -> None:
    with pytest.raises(dd.SelectionError, match="idc indices fetch sm_instance_index"):
        dd.plan("1.2.3.4.5.6")


@pytest.mark.usefixtures("known")
def test_the_client_fetches_them(slides: LocalBucket, tmp_path: Path) -> None:
    client = dd.IDCClient(endpoint_url=slides.endpoint_url)
    uids = sop_instance_uids(slides, slides.series[0])
    client.download_from_selection(tmp_path, sopInstanceUID=[*uids[:2], "1.2.3"], dirTemplate=None)
    assert sorted(path.name for path in tmp_path.glob("*.dcm")) == [
        path.name for path in files(slides, slides.series[0])[:2]
    ]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("files_text", "problem"),
    [
        ("a.dcm:1/../b.dcm:2", "not written as"),
        ("a.dcm:10/a.dcm:10", "more than once"),
        ("a.dcm:10", "do not add up"),
        ("a.dcm:10/b.dcm:11", "add up to its instanceCount and size_bytes"),
    ],
)
def test_a_plan_with_wrong_files_is_refused(
    slides: LocalBucket, tmp_path: Path, files_text: str, problem: str
) -> None:
    frame = dd.plan(slides.series[0].crdc_series_uuid).to_pandas()
    frame = frame.assign(instanceCount=2, size_bytes=20, files=files_text)
    frame.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(dd.ManifestError, match=problem):
        dd.plan(tmp_path / "p.csv")
