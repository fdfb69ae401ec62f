"""The interface of the page: everything that it does, for programs."""

from __future__ import annotations

import ast
import contextlib
import json
import shlex
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.cli import cli as program
from dataset_dl.model.page import Given
from dataset_dl.model.selection import Condition
from dataset_dl.plans.file import PlanFile
from dataset_dl.sources.idc import asking
from dataset_dl.sources.idc.cube import FACETS, cube
from dataset_dl.testing import LocalBucket
from dataset_dl.web.equivalents import command, python
from dataset_dl.web.site import Asked, Site
from support.pages import Served, served


def ended(page: Served, number: int) -> dict[str, object]:
    deadline = time.monotonic() + 60
    while (job := page.get(f"jobs/{number}"))["state"] in ("PENDING", "IN_PROGRESS"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return dict(job)


def test_a_cohort_is_counted_downloaded_verified_and_taken_away(
    page: Served, root: Path, bucket: LocalBucket
) -> None:
    keys = [each.SeriesInstanceUID for each in bucket.series]
    asked = {"id": keys}
    assert page.get("count", **asked)["totals"]["series"] == 4
    told = page.post("cohort", {**asked, "to": "data"}).json()
    assert told["destination"] == str(root / "data")
    assert [each["name"] for each in told["licences"]] == ["CC BY 3.0"]
    assert told["examples"][0].startswith("qin_pet_phantom/")
    assert {work["DOI"] for work in told["works"]} > {"10.1148/rg.230180"}
    job = page.post("jobs", {**asked, "to": "data", "verify": "md5"}).json()
    assert ended(page, job["id"])["state"] == "SUCCESS"
    (tree,) = page.get("disk")
    assert (tree["path"], tree["series"], tree["is_complete"], tree["verified"]) == (
        str(root / "data"),
        4,
        True,
        None,
    )
    assert tree["collections"] == {"qin_pet_phantom": 4}
    check = page.post("check", {"kind": "verify", "to": "data"}).json()
    assert ended(page, check["id"])["message"] == "All 4 series are complete."
    (tree,) = page.get("disk")
    assert tree["verified"]["state"] == "SUCCESS"
    assert page.get("disk/diff", tree="data")["is_current"] is True
    for form in ("parquet", "s5cmd", "csv"):
        answer = page.session.get(
            f"{page.address}/api/cohort/file", params={**asked, "format": form}, timeout=60
        )
        assert answer.headers["Content-Disposition"] == f'attachment; filename="cohort.{form}"'
        path = root / f"cohort.{form}"
        path.write_bytes(answer.content)
        assert {each.SeriesInstanceUID for each in dd.plan(path)} == set(keys)
        path.unlink()
    bib = page.session.get(f"{page.address}/api/cohort/file", params={**asked, "format": "bib"}, timeout=60)
    assert bib.text.startswith("@misc{")
    moved = page.post(f"jobs/{job['id']}/remove").json()
    assert moved == {"id": job["id"]}
    wrong = page.post(f"jobs/{job['id']}/pause")
    assert (wrong.status_code, wrong.json()["error"]) == (400, f"There is no job {job['id']}.")
    assert page.post(f"jobs/{check['id']}/explode").status_code in (400, 404)


def test_a_series_that_is_not_complete_on_the_disk_comes_from_the_store(
    bucket: LocalBucket, environment: dict[str, str], tmp_path: Path
) -> None:
    """While it is downloaded, after a file was lost, and if only some files were wanted."""
    uid = bucket.series[1].SeriesInstanceUID
    dd.download([uid], tmp_path / "begun", endpoint_url=bucket.endpoint_url, progress="none")
    files = sorted((tmp_path / "begun").rglob("*.dcm"))
    (row,) = dd.plan([uid])
    one = row._replace(files=f"{files[0].name}:{files[0].stat().st_size}", instanceCount=1, size_bytes=files[0].stat().st_size)  # fmt: skip
    some = PlanFile.of([one]).plan(None)
    dd.download(some, tmp_path / "a part", endpoint_url=bucket.endpoint_url, progress="none")
    files[0].unlink()
    with served(tmp_path, environment=environment | {"DATASET_DL_STATE": str(tmp_path / "state")}) as page:
        page.enter()
        assert page.get(f"series/{uid}")["frames"] == len(files) == 81
        answer = page.session.get(f"{page.address}/api/volume/{uid}", timeout=60)
        assert (answer.status_code, "all of its files" in answer.json()["error"]) == (400, True)
        for path in files[1:]:
            path.unlink()
        assert page.get(f"series/{uid}")["frames"] == 81


def test_a_series_that_changes_on_the_disk_is_read_anew(
    bucket: LocalBucket, environment: dict[str, str], tmp_path: Path
) -> None:
    uid = bucket.series[1].SeriesInstanceUID
    dd.download([uid], tmp_path / "data", endpoint_url=bucket.endpoint_url, progress="none")
    path = min((tmp_path / "data").rglob("*.dcm"))
    right = path.read_bytes()
    path.write_bytes(bytes(len(right)))
    with served(tmp_path, environment=environment | {"DATASET_DL_STATE": str(tmp_path / "state")}) as page:
        page.enter()
        assert page.get(f"series/{uid}")["problems"]
        path.write_bytes(right)
        assert page.get(f"series/{uid}")["problems"] == []
        answer = page.session.get(f"{page.address}/api/series/{uid}/image", timeout=60)
        assert (answer.status_code, answer.headers["Vary"]) == (200, "Authorization")


def test_a_verification_that_did_not_end_verifies_nothing(
    bucket: LocalBucket, environment: dict[str, str], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    uid = bucket.series[1].SeriesInstanceUID
    dd.download([uid], tmp_path / "data", endpoint_url=bucket.endpoint_url, progress="none")
    jobs = dd.Jobs(state)
    jobs.cancel(jobs.add_check("verify", tmp_path / "data").id)
    with served(tmp_path, environment=environment | {"DATASET_DL_STATE": str(state)}) as page:
        page.enter()
        assert page.get("disk")[0]["verified"] is None


def test_a_tree_that_has_only_parts_of_a_plan_is_shown(
    bucket: LocalBucket, environment: dict[str, str], tmp_path: Path
) -> None:
    plan = dd.plan([each.SeriesInstanceUID for each in bucket.series])
    dd.download(plan, tmp_path / "data", part="1/2", endpoint_url=bucket.endpoint_url, progress="none")
    with served(tmp_path, environment=environment | {"DATASET_DL_STATE": str(tmp_path / "state")}) as page:
        page.enter()
        (tree,) = page.get("disk")
        assert (tree["series"], tree["is_complete"]) == (2, True)


def test_changes_arrive_in_order_and_from_where_a_reader_was(page: Served, bucket: LocalBucket) -> None:
    body = {"id": [bucket.series[0].SeriesInstanceUID], "to": "streamed"}
    with page.session.get(f"{page.address}/api/events", stream=True, timeout=60) as stream:
        lines = stream.iter_lines(decode_unicode=True)
        job = page.post("jobs", body).json()
        states: list[str] = []
        numbers: list[int] = []
        for line in lines:
            if line.startswith("id: "):
                numbers.append(int(line[4:]))
            if line.startswith("data: "):
                states += [each["state"] for each in json.loads(line[6:]) if each["id"] == job["id"]]
            if states and states[-1] == "SUCCESS":
                break
    assert numbers == sorted(set(numbers))
    assert states[-1] == "SUCCESS"
    # Who comes back tells what was seen last, and gets only what is newer.
    headers = {"Last-Event-ID": str(numbers[-1])}
    page.post("check", {"kind": "verify", "to": "streamed"})
    with page.session.get(f"{page.address}/api/events", headers=headers, stream=True, timeout=60) as stream:
        data = next(line for line in stream.iter_lines(decode_unicode=True) if line.startswith("data: ["))
    assert {each["kind"] for each in json.loads(data[6:])} <= {"verify"}


def test_every_call_is_in_the_document(page: Served) -> None:
    document = page.get("openapi.json")
    assert document["openapi"].startswith("3.1")
    for path in ("/api/about", "/api/jobs/{job}/{move}", "/api/events", "/api/series/{series}/image"):
        assert path in document["paths"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            words = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
            assert words == {part[1:-1] for part in path.split("/") if part.startswith("{")}
            assert operation["summary"].endswith(".")


@pytest.mark.parametrize(
    ("path", "parameters", "words"),
    [
        ("count", {"where": "Colour=red"}, "has no column “Colour”"),
        ("count", {"where": "nonsense"}, "is not a condition"),
        ("count", {"id": "no_such_thing"}, "matches nothing in IDC"),
        ("series", {"limit": "many"}, "limit must be a number from 1 to 500."),
        ("series", {"offset": "-1"}, "offset must be a number"),
        ("cohort/file", {"collection_id": "nlst", "format": "exe"}, "There is no format “exe”"),
        ("jobs/x", {}, "job must be a number"),
        ("jobs/999999", {}, "There is no job 999999"),
        ("disk/diff", {}, "tree is missing"),
        ("series/..%2f..%2fetc", {}, ""),
        ("series/s3:", {}, "neither a SeriesInstanceUID nor a crdc series uuid"),
        ("series/1.2.3", {}, ""),
    ],
)
def test_wrong_questions_get_a_sentence(
    page: Served, path: str, parameters: dict[str, str], words: str
) -> None:
    answer = page.session.get(f"{page.address}/api/{path}", params=parameters, timeout=60)
    assert answer.status_code in (400, 404)
    if answer.status_code == 400:
        assert words in answer.json()["error"] and "bug" not in answer.json()["error"]


@pytest.mark.parametrize("body", ["[]", "{", "[" * 100_000, '{"to": 5}', '{"to": ["a", 5]}', '{"to": {}}', '{"max_rate_mbps": true, "to": "x", "collection_id": ["nlst"]}', "\x00", b"\xff\xfe"])  # fmt: skip
def test_wrong_bodies_get_a_sentence(page: Served, body: str | bytes) -> None:
    headers = {"Origin": page.address, "Content-Type": "application/json"}
    answer = page.session.post(f"{page.address}/api/jobs", data=body, headers=headers, timeout=60)
    assert answer.status_code == 400, answer.text
    assert "bug" not in answer.json()["error"]


def test_what_a_text_may_mean(page: Served) -> None:
    (only,) = page.get("suggest", text="SliceThickness<2")
    assert "has no column “SliceThickness”" in only["hint"]
    (only,) = page.get("suggest", text="instanceCount>=99999999999999999999999")
    assert "holds numbers" in only["hint"]
    assert page.get("suggest", text="instanceCount>=5000")[0]["where"] == "instanceCount>=5000"
    assert page.get("suggest", text="QIN PET phantom")[0] == {"id": "QIN PET phantom", "series": 44}
    assert {"where": "SeriesDescription~chest"}.items() <= page.get("suggest", text="chest")[1].items()
    (nothing,) = page.get("suggest", text="qwertzuiop")
    assert "Nothing was started" not in nothing["hint"]
    assert page.get("suggest", text="  ") == []


VALUES = st.sampled_from(FACETS).flatmap(
    lambda facet: st.tuples(
        st.just(facet), st.lists(st.sampled_from(cube().values(facet)), min_size=1, max_size=3, unique=True)
    )
)


@pytest.mark.filterwarnings(
    "ignore::dataset_dl.errors.SelectionWarning"
)  # of two values one may have nothing
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.lists(VALUES, min_size=1, max_size=3, unique_by=lambda each: each[0]))
@example([("Manufacturer", ["HOLOGIC, Inc."]), ("year", ["2010", ""])])
@example([("collection_id", ["nlst"])])
def test_the_command_and_the_code_mean_the_same(chosen: list[tuple[str, list[str]]]) -> None:
    asked = Asked.of(Given(dict(chosen)))
    total = cube().totals(dict(chosen)).series
    assert asking.count(asked.what, asked.where).totals.series == total
    words = shlex.split(command(asked.what, asked.where, "da ta", {"max_rate_mbps": 5.0}))
    assert words[:3] == ["dataset-dl", "idc", "download"]
    if not total:
        return
    context = (
        program.get_command(None, "idc").get_command(None, "download").make_context("download", words[3:])
    )  # type: ignore[union-attr,arg-type]
    made = dd.plan(list(context.params["sources"]), where=list(context.params["where"]))
    assert (made.series_count, str(context.params["destination"])) == (total, "da ta")
    tree = ast.parse(python(asked.what, asked.where, "da ta", {"max_rate_mbps": 5.0}))
    called: dict[str, object] = {}
    with mock.patch.object(dd, "download", lambda *what, **options: called.update(what=what, **options)):
        exec(compile(tree, "code", "exec"), {})
    what = called.pop("what")
    assert called.pop("into") == "da ta" and called.pop("max_rate_mbps") == 5.0
    assert dd.plan(*what, **called).series_count == total  # type: ignore[misc,arg-type]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=3), st.text(min_size=1, max_size=20))
def test_any_text_survives_a_shell_and_python(values: list[str], to: str) -> None:
    where = [Condition("SeriesDescription", "=", tuple(values))]
    words = shlex.split(command([], where, to))
    assert words[words.index("--to") + 1] == to
    assert Condition.parse(words[words.index("--where") + 1]).values == tuple(values)
    ast.parse(python([], where, to))


@given(st.text(max_size=40))
@example("..")
@example("a/../../b")
def test_no_path_leads_outside(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    root = tmp_path_factory.getbasetemp() / "inside"
    root.mkdir(exist_ok=True)
    site = Site([root], dd.Jobs(tmp_path_factory.getbasetemp() / "jobs"))
    with contextlib.suppress(dd.SelectionError):
        assert site.inside(path).is_relative_to(root.resolve())


@pytest.mark.parametrize(
    "where", [["instanceCount>=100"], ["SeriesDescription~chest"], ["Modality=CT", "year=2010"]]
)
def test_counts_by_sql_are_those_of_the_tables(where: list[str]) -> None:
    found = asking.count([], [Condition.parse(each) for each in where])
    made = dd.plan(where=where)
    assert (found.totals.series, found.totals.size_bytes) == (made.series_count, made.size_bytes)
    assert found.totals.patients == len({(each.collection_id, each.PatientID) for each in made})
    assert sum(cell[1] for cell in found.cells) == made.series_count
    listed = asking.series([], [Condition.parse(each) for each in where], limit=20, offset=5)
    assert len({each["SeriesInstanceUID"] for each in listed}) == 20
