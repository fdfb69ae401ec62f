"""A plan that was saved is copied when it is opened, and nothing of ours shares its content with a file of others."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

import dataset_dl as dd
from dataset_dl.destination import paths
from dataset_dl.errors import ManifestError, StorageError
from dataset_dl.model.events import Event, Finished
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import Fetch, PlannedSeries
from dataset_dl.plans.compare import joined
from dataset_dl.plans.file import PlanFile
from dataset_dl.plans.opening import _files_problem, open_plan
from dataset_dl.transfer import transfer
from dataset_dl.verbs.complaints import raise_for_report
from support.plans import plan_of, row
from support.stores import Store


def saved(path: Path, *numbers: int) -> Path:
    return plan_of([row(number) for number in numbers]).save(path)


def overwrite(path: Path, other: Path) -> None:
    """As `cp` does: the same file, with another content."""
    path.write_bytes(other.read_bytes())


def test_an_opened_plan_does_not_follow_its_file(tmp_path: Path) -> None:
    path, other = saved(tmp_path / "a.parquet", 1, 2, 3), saved(tmp_path / "b.parquet", 9)
    plan = dd.plan(path)
    overwrite(path, other)
    assert [each.crdc_series_uuid for each in plan] == [row(number).crdc_series_uuid for number in (1, 2, 3)]


def test_two_saved_plans_share_nothing(tmp_path: Path) -> None:
    first = saved(tmp_path / "a.parquet", 1, 2, 3)
    plan = dd.plan(first)
    second = plan.save(tmp_path / "b.parquet")
    other = saved(tmp_path / "c.parquet", 9)
    before = second.read_bytes()
    overwrite(first, other)
    assert second.read_bytes() == before
    overwrite(second, other)
    assert plan.series_count == len(list(plan)) == 3
    assert {path.stat().st_nlink for path in (first, second)} == {1}


def test_the_kept_plan_does_not_follow_the_file_that_was_downloaded(tmp_path: Path) -> None:
    store = Store()
    rows = [store.put() for _ in range(4)]
    path = plan_of(rows).save(tmp_path / "mine.parquet")
    done(dd.plan(path), tmp_path / "to", store)
    overwrite(path, saved(tmp_path / "other.parquet", 9))
    outcome = dd.verify(tmp_path / "to")
    assert outcome.ok
    assert outcome.series_count == 4


def done(plan: Plan, target: Path, store: Store) -> dd.Report:
    *_, last = transfer(plan, target, lambda scheme: store, pause_seconds=0)
    assert isinstance(last, Finished)
    return last.report


class Rewriting(Store):
    """A store during whose work somebody rewrites a file."""

    def __init__(self, rewrite: Callable[[], object]) -> None:
        super().__init__()
        self.rewrite = rewrite

    def run(self, fetches: Iterator[Fetch], destination: Path) -> Iterator[Event]:  # type: ignore[override]
        wanted = list(fetches)
        self.rewrite()
        yield from super().run(wanted, destination)


def test_a_plan_rewritten_in_mid_download_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    outside = plan_of([row(9, directory="../outside")]).save(tmp_path / "evil.parquet")
    store = Rewriting(lambda: overwrite(path, outside))
    plan_of([store.put() for _ in range(4)]).save(path)
    plan = dd.plan(path)
    report = done(plan, tmp_path / "to", store)
    assert report.ok
    assert report.complete_series == 4
    assert not (tmp_path / "outside").exists()
    assert dd.verify(tmp_path / "to").series_count == 4


def test_a_round_with_nothing_to_ask_for_ends_with_an_error(tmp_path: Path) -> None:
    """Should our own copy be lost: no rounds without end, and no word of success."""
    store = Rewriting(lambda: overwrite(plan.rows.path, saved(tmp_path / "one.parquet", 99)))
    rows = [store.put() for _ in range(4)]
    store.content[rows[3].crdc_series_uuid] = {}
    plan = plan_of(rows)
    with pytest.raises(dd.DatasetDlError):
        raise_for_report(done(plan, tmp_path / "to", store))


KINDS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "directory": lambda path: path.mkdir(),
    "dangling link": lambda path: path.symlink_to("/nonexistent/plan.parquet"),
    "truncated": lambda path: path.write_bytes(b"PAR1\0\0"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_place_of_a_kept_plan_neither_hangs_nor_is_believed(kind: str, tmp_path: Path) -> None:
    store = Store()
    plan = plan_of([store.put() for _ in range(2)])
    target = tmp_path / "to"
    done(plan, target, store)
    kept = paths.files_of(target).plan
    kept.unlink()
    KINDS[kind](kept)
    with pytest.raises(ManifestError, match="plan"):
        dd.verify(target)
    with pytest.raises(ManifestError, match="plan"):
        dd.diff(target)
    try:
        assert done(plan, target, store).ok
        assert dd.verify(target).series_count == 2
    except StorageError as error:
        assert "plan.parquet" in error.message  # and nothing is lost


@pytest.mark.timeout(20)
def test_a_file_that_is_replaced_by_a_fifo_before_it_is_read_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.parquet"
    os.mkfifo(path)
    monkeypatch.setattr(os.path, "isfile", lambda _: True)
    with pytest.raises(ManifestError, match="not a regular file"):
        dd.plan(path)


def test_a_pipe_of_a_shell_is_read(tmp_path: Path) -> None:
    path, source = tmp_path / "pipe", saved(tmp_path / "a.parquet", 1, 2)
    os.mkfifo(path)
    threading.Thread(target=lambda: path.write_bytes(source.read_bytes())).start()
    assert dd.plan(path).series_count == 2


def altered(path: Path, **columns: str) -> Path:
    """A plan with other values in some columns, written by somebody else's tool."""
    target = path.with_name("altered.parquet")
    values = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    duckdb.execute(f"COPY (SELECT * REPLACE ({values}) FROM '{path}') TO '{target}' (FORMAT parquet)")
    return target


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"instanceCount": "'inf'::DOUBLE"}, "is not a plan"),
        ({"instanceCount": "'nan'::DOUBLE"}, "is not a plan"),
        ({"size_bytes": str(2**62)}, "Row 1 .* is wrong"),
        ({"size_bytes": "-1"}, "Row 1 .* is wrong"),
        ({"directory": f"'{'a/' * 3000}b'"}, "Row 1 .* levels"),
        ({"directory": f"'{'a' * 300}'"}, "Row 1 .* longer than"),
        ({"directory": "'a' || chr(10) || 'b'"}, "Row 1 .* is wrong"),
        ({"PatientID": "'x' || chr(27) || '[2J'"}, "Row 1 .* control character"),
        ({"collection_id": "chr(10) || 'Every series is on disk.'"}, "Row 1 .* control character"),
        ({"license_short_name": "'a' || chr(8238) || 'b'"}, "Row 1 .* control character"),
    ],
)
def test_a_plan_of_a_stranger_that_ours_could_not_be_is_refused(
    columns: dict[str, str], words: str, tmp_path: Path
) -> None:
    path = altered(saved(tmp_path / "a.parquet", 1, 2), **columns)
    with pytest.raises(ManifestError, match=words):
        dd.plan(path)


def test_whole_numbers_in_another_type_are_read(tmp_path: Path) -> None:
    path = altered(
        saved(tmp_path / "a.parquet", 1, 2),
        instanceCount="instanceCount::DOUBLE",
        size_bytes="size_bytes::INTEGER",
    )
    series = next(iter(dd.plan(path)))
    assert [type(series.instanceCount), type(series.size_bytes)] == [int, int]


def test_low_memory_is_not_a_wrong_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataset_dl.duck import Database

    def run(*_: object) -> object:
        raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate 16 MB")

    path = saved(tmp_path / "a.parquet", 1)
    monkeypatch.setattr(Database, "_execute", run)
    with pytest.raises(StorageError, match="memory"):
        open_plan(path)


def wanted(plan: Plan) -> list[PlannedSeries]:
    return list(plan)


def test_a_saved_plan_remembers_what_it_was_made_from(tmp_path: Path) -> None:
    made = dd.plan("rider_pilot", where={"Modality": "CT"})
    again = dd.plan(made.save(tmp_path / "p.parquet"))
    assert again.requests == made.requests != ()
    assert wanted(again) == wanted(made)


def test_a_saved_plan_remembers_what_was_missing(tmp_path: Path) -> None:
    uid = wanted(dd.plan("rider_pilot"))[0].SeriesInstanceUID
    manifest = tmp_path / "m.tcia"
    manifest.write_text(f"manifestVersion=3.0\nListOfSeriesToDownload=\n{uid}\n1.2.3.4\n")
    made = dd.plan(manifest)
    again = dd.plan(made.save(tmp_path / "p.parquet"))
    assert again.missing == made.missing == ("1.2.3.4",)
    assert not again.skip_missing
    accepted = dd.plan(dd.plan(manifest, skip_missing=True).save(tmp_path / "q.parquet"))
    assert (accepted.missing, accepted.skip_missing) == (("1.2.3.4",), True)
    # And beside other sources, too.
    assert dd.plan([tmp_path / "p.parquet", "rider_breast_mri"]).missing == ("1.2.3.4",)
    assert dd.plan(tmp_path / "p.parquet", skip_missing=True).skip_missing
    dd.plan(tmp_path / "p.parquet", skip_missing=True).save(tmp_path / "r.parquet")
    assert dd.plan(tmp_path / "r.parquet").skip_missing


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"missing": 3}', '{"requests": [[1]]}', "\\xff"])
def test_damaged_metadata_is_an_error_and_never_a_fault(text: str, tmp_path: Path) -> None:
    path, target = saved(tmp_path / "a.parquet", 1), tmp_path / "b.parquet"
    duckdb.execute(
        f"COPY (FROM '{path}') TO '{target}' (FORMAT parquet, KV_METADATA {{dataset_dl: '{text}'}})"
    )
    try:
        assert dd.plan(target).series_count == 1
    except ManifestError as error:
        assert "metadata" in error.message


def test_damaged_requests_do_not_make_a_plan_forgotten(tmp_path: Path) -> None:
    store, target = Store(), tmp_path / "to"
    first, second = (plan_of([store.put() for _ in range(2)]) for _ in range(2))
    done(first, target, store)
    (target / ".dataset-dl" / "requests.json").write_text("{damaged")
    assert dd.verify(target).series_count == 2
    done(second, target, store)
    assert dd.verify(target).series_count == 4
    assert not paths.files_of(target).plan.with_suffix(".damaged").exists()


def named(number: int, files: str, directory: str) -> PlannedSeries:
    """A row that names its files, like those of a source whose objects can be replaced."""
    sizes = [int(each.rpartition(":")[2]) for each in files.split("/")]
    return row(number, directory=directory, count=len(sizes), size=sum(sizes))._replace(
        SeriesInstanceUID=None, files=files
    )


def test_a_row_whose_files_all_belong_to_another_now_is_not_kept() -> None:
    kept = [
        named(1, "a.svs:5", "d"),
        named(2, "b.svs:5/c.svs:5", "d"),
        named(3, "a.svs:5", "e"),
        row(4, directory="d"),
    ]
    own = [named(5, "a.svs:7", "d"), named(6, "b.svs:7", "d")]
    found = joined(PlanFile.of(own), PlanFile.of(kept))
    assert {each.key for each in found} == {each.key for each in [*kept[1:], *own]}
    both = [*own, named(7, "c.svs:7", "d")]
    found = joined(PlanFile.of(both), PlanFile.of(kept))
    assert {each.key for each in found} == {each.key for each in [*kept[2:], *both]}


@pytest.mark.parametrize(
    ("files", "is_one"),
    [
        ("slide.svs:5/notes 1~ab.csv:5", True),
        ("präparat.tiff:5/b:5", True),
        (".hidden:5/b:5", False),
        ("../a:5/b:5", False),
        ("con.svs:5/b:5", False),
        ("a\\b:5/b:5", False),
        ("a:5/b:5:5", False),
        ("a:5/a:5", False),
        ("a:5/b:6", False),
        ("x" * 241 + ":5/b:5", False),
    ],
)
def test_files_of_any_ending_are_named_safely(files: str, is_one: bool) -> None:
    assert (_files_problem(files, 2, 10) is None) == is_one


def test_files_of_idc_are_dicom(tmp_path: Path) -> None:
    plan = dd.plan("1.3.6.1.4.1.9328.50.2.124384")
    (series,) = plan
    for name, is_one in (("a.dcm", True), ("a.svs", False)):
        part = series._replace(files=f"{name}:5", instanceCount=1, size_bytes=5)
        path = PlanFile.of([part]).plan(None).save(tmp_path / f"{name}.parquet")
        if is_one:
            assert dd.plan(path).series_count == 1
        else:
            with pytest.raises(dd.ManifestError, match=r"NAME\.dcm:BYTES"):
                dd.plan(path)
