"""The cube: exact counts for any filter, equal to SQL's."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.duck import Database, quote
from dataset_dl.model.selection import conditions
from dataset_dl.sources.idc import counting, tables
from dataset_dl.sources.idc import cube as cubes
from dataset_dl.sources.idc.columns import FACETS_OF_SERIES, SIZE_BYTES
from dataset_dl.sources.idc.conditions import where_sql
from dataset_dl.sources.idc.cube import FACETS, Totals, cube
from support.cli import Cli

_SQL = {
    **FACETS_OF_SERIES,
    "cancer_types": "(SELECT cancer_types FROM collections_index c WHERE c.collection_id = i.collection_id)",
    "species": "(SELECT species FROM collections_index c WHERE c.collection_id = i.collection_id)",
}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATASET_DL_CACHE", str(tmp_path_factory.mktemp("cache")))
        tables.look_again()
        cubes._cube.cache_clear()
        cube()
    tables.look_again()


@cache
def values(facet: str) -> list[str]:
    return cube().values(facet)


def condition(facet: str, wanted: list[str]) -> str:
    listed = ", ".join(quote(each) for each in wanted)
    if facet in ("cancer_types", "species"):
        parts = f"list_transform(string_split({_SQL[facet]}, ','), lambda part: trim(part))"
        return f"list_has_any(coalesce({parts}, ['']), [{listed}])"
    return f"{_SQL[facet]} IN ({listed})"


def by_sql(where: dict[str, list[str]]) -> Totals:
    conditions = " AND ".join(condition(*each) for each in where.items()) or "true"
    sql = (
        "SELECT count(DISTINCT (collection_id, PatientID)), count(DISTINCT StudyInstanceUID), count(*),"
        f" coalesce(sum(instanceCount), 0)::BIGINT, coalesce(sum({SIZE_BYTES}), 0)::BIGINT"
        f" FROM idc_index i WHERE {conditions}"
    )
    return Totals(*next(iter(tables.query(sql))))


FILTERS = st.dictionaries(st.sampled_from(FACETS), st.integers(0, 10**6), min_size=0, max_size=4).flatmap(
    lambda chosen: st.fixed_dictionaries(
        {
            name: st.lists(st.sampled_from(values(name)), min_size=1, max_size=4, unique=True)
            for name in chosen
        }
    )
)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(FILTERS)
def test_totals_are_those_of_sql(where: dict[str, list[str]]) -> None:
    assert cube().totals(where) == by_sql(where)


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(FILTERS)
def test_conditions_on_facets_select_what_the_cube_counts(where: dict[str, list[str]]) -> None:
    clauses, bound = where_sql(conditions(where))
    sql = f"SELECT count(*) FROM {tables.table_sql()} WHERE {' AND '.join(clauses) or 'true'}"
    assert Database().column(sql, bound) == [cube().totals(where).series]


@pytest.mark.parametrize(
    ("condition", "opposite"),
    [("cancer_types=Breast Cancer", "cancer_types!=Breast Cancer"), ("year=2010,2011", "year!=2010,2011")],
)
def test_a_condition_and_its_opposite_are_everything(condition: str, opposite: str) -> None:
    parts = [dd.plan(where=[each]).series_count for each in (condition, opposite)]
    assert min(parts) > 1000
    assert sum(parts) == cube().totals().series


def test_conditions_on_facets_plan_and_explain(cli: Cli) -> None:
    made = dd.plan("rider_pilot", where={"origin": "original", "species": "Human"})
    assert made.series_count == dd.plan("rider_pilot", original_only=True).series_count > 0
    done = cli("idc", "download", "--where", "cancer_types=Lung Cance", "--to", "x", "--dry-run")
    assert (done.code, "Lung Cancer" in done.err) == (2, True), done.err
    done = cli("idc", "download", "rider_pilot", "--where", "year=1066", "--to", "x", "--dry-run")
    assert (done.code, "The values there: " in done.err) == (2, True), done.err


@pytest.mark.parametrize("facet", FACETS)
def test_counts_of_a_facet_are_those_of_sql(facet: str) -> None:
    where = {"Modality": ["CT", "SEG"], "BodyPartExamined": ["CHEST", "LUNG"]}
    others = {name: wanted for name, wanted in where.items() if name != facet}
    found = cube().counts(facet, where)
    assert found
    for value, totals in list(found.items())[:6]:
        assert totals == by_sql({**others, facet: [value]}), value
    assert list(found.values()) == sorted(found.values(), key=lambda each: -each.series)


def test_the_cube_is_kept_and_a_damaged_one_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path))
    tables.look_again()
    cubes._cube.cache_clear()
    first = cube().totals()
    (path,) = tmp_path.rglob("cube-*.json.gz")
    assert path.stat().st_size < 200_000
    content = path.read_bytes()
    cubes._cube.cache_clear()
    monkeypatch.setattr(counting, "document", lambda: pytest.fail("it was kept"))
    assert cube().totals() == first
    monkeypatch.undo()
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path))
    path.write_bytes(content[:5000])
    cubes._cube.cache_clear()
    assert cube().totals() == first
    assert path.read_bytes() == content
    cubes._cube.cache_clear()
    tables.look_again()


def test_python_and_the_shell_say_the_same(cli: Cli) -> None:
    frame = dd.facets("Modality", where={"collection_id": "rider_pilot"})
    found = cli("idc", "facets", "Modality", "--where", "collection_id=rider_pilot", "--format", "json")
    assert found.code == 0, found.err
    assert frame.to_dict("records") == found.json
    everything = dd.facets()
    assert tuple(everything.iloc[0]) == by_sql({})
    listed = cli("idc", "facets")
    assert listed.code == 0
    assert all(facet in listed.out for facet in FACETS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Colour"], "“Colour” is no facet. Known are collection_id"),
        (["--where", "Modality=ct"], "No series of IDC has Modality “ct”. Did you mean"),
        (["--where", "year>2000"], "is not FACET=VALUE"),
        (["--where", "PatientAge=7"], "“PatientAge” is no facet"),
    ],
)
def test_wrong_questions_are_refused(cli: Cli, arguments: list[str], words: str) -> None:
    done = cli("idc", "facets", *arguments)
    assert (done.code, words in done.err) == (2, True), done.err


@pytest.mark.parametrize("command", [["collections"], ["facets", "Modality"]])
def test_kept_answers_do_not_load_duckdb(command: list[str]) -> None:
    dd.collections()
    run = "import sys; from dataset_dl.cli import cli; cli({!r}, standalone_mode=False); "
    script = run.format(["idc", *command]) + "assert not {'duckdb', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_collections_are_found_by_any_of_their_texts() -> None:
    assert "rider_pilot" in set(dd.collections("RIDER Pilot").id)
    assert "rider_pilot" in set(dd.collections("riderpilot").id)
    assert set(dd.collections("canine").id) == set(
        dd.query(
            "SELECT collection_id AS id FROM collections_index WHERE contains(lower(concat_ws(' ', collection_id,"
            " collection_name, cancer_types, tumor_locations, species, description)), 'canine')"
        ).id
    )
    assert dd.collections().size_bytes.sum() == pytest.approx(cube().totals().size_bytes, rel=1e-9)
