from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.duck import Database
from dataset_dl.errors import LayoutError, ManifestError, PlanError, SelectionError
from dataset_dl.model.selection import Condition, Selection
from dataset_dl.plans.layout import Layout
from dataset_dl.plans.names import check_directory
from dataset_dl.sources.idc.directories import plain_sql, raw_sql
from dataset_dl.sources.idc.planner import make_plan
from dataset_dl.sources.idc.tables import main_columns, table_sql

SMALL = "qin_pet_phantom"


def first(where: str) -> dict[str, str]:
    return dict(dd.query(f"SELECT * FROM idc_index WHERE {where} LIMIT 1").iloc[0])


def test_a_collection_in_any_spelling() -> None:
    plans = [dd.plan(name) for name in (SMALL, "QIN-PET-Phantom", "qin pet phantom", "QINPETPHANTOM")]
    assert {plan.series_count for plan in plans} == {44}
    assert plans[0].instance_count == 2816
    assert plans[0].size_bytes == 246_305_000
    assert [row.directory for row in plans[0]] == [row.directory for row in plans[1]]


def test_identifiers_of_every_kind_in_one_request() -> None:
    row = first("collection_id = 'nlst' AND Modality = 'CT'")
    other = first("collection_id = 'tcga_luad' AND Modality = 'SM'")
    result = first("analysis_result_id IS NOT NULL ORDER BY analysis_result_id")
    study_of_three = first("collection_id = 'rider_pilot'")
    plan = dd.plan([SMALL, f"{row['SeriesInstanceUID']},{other['crdc_series_uuid'].upper()}",
                    study_of_three["StudyInstanceUID"], result["analysis_result_id"]])  # fmt: skip
    held = {planned.SeriesInstanceUID for planned in plan}
    for each in (row, other, result, study_of_three):
        assert each["SeriesInstanceUID"] in held
    patient = dd.plan(row["PatientID"])
    assert {planned.PatientID for planned in patient} == {row["PatientID"]}


def test_identifiers_that_match_nothing_are_named() -> None:
    with pytest.raises(SelectionError) as caught:
        dd.plan([SMALL, "tcga_luadd", "1.2.3.4", "nobody"])
    text = str(caught.value)
    assert "“tcga_luadd”" in text and "tcga_luad?" in text.replace(" or", "?")
    assert "“1.2.3.4”" in text and "“nobody”" in text and SMALL not in text


def test_many_unknown_identifiers_are_counted() -> None:
    with pytest.raises(SelectionError, match="95 more match nothing"):
        dd.plan([f"9.9.{n}" for n in range(100)])


def test_a_withdrawn_series_says_when_it_was_there() -> None:
    frame = dd.query(
        "SELECT p.SeriesInstanceUID AS uid, crdc_series_uuid AS uuid FROM prior_versions_index p"
        " ANTI JOIN idc_index USING (SeriesInstanceUID) LIMIT 1"
    )
    with pytest.raises(SelectionError, match="is no longer in"):
        dd.plan(frame.uid[0])


def test_a_hundred_thousand_identifiers() -> None:
    wanted = Database().column(f"SELECT SeriesInstanceUID FROM {table_sql()} USING SAMPLE 100000")
    assert dd.plan(wanted).series_count == 100_000


@pytest.mark.parametrize(
    ("where", "sql"),
    [
        ({"Modality": "CT"}, "Modality = 'CT'"),
        ({"Modality": ["CT", "SEG"]}, "Modality IN ('CT', 'SEG')"),
        (["Modality!=CT"], "Modality IS DISTINCT FROM 'CT'"),
        (["instanceCount>=100"], "instanceCount >= 100"),
        (["instanceCount<100", "series_size_MB>1.5"], "instanceCount < 100 AND series_size_MB > 1.5"),
        (["SeriesDescription~ChEsT"], "SeriesDescription ILIKE '%chest%'"),
        (["modality=CT"], "Modality = 'CT'"),
        (["BodyPartExamined!=CHEST"], "BodyPartExamined IS DISTINCT FROM 'CHEST'"),
        (["instanceCount=1,2,3"], "instanceCount IN (1, 2, 3)"),
    ],
)
def test_where(where: object, sql: str) -> None:
    expected = dd.query(
        f"SELECT count(*) AS n FROM idc_index WHERE collection_id = 'rider_pilot' AND {sql}"
    ).n[0]
    assert expected > 0
    assert dd.plan("rider_pilot", where=where).series_count == expected  # type: ignore[arg-type]


def test_unknown_columns_and_types_are_named() -> None:
    with pytest.raises(SelectionError, match="Did you mean Modality"):
        dd.plan(SMALL, where=["Modaltiy=CT"])
    with pytest.raises(SelectionError, match="holds numbers"):
        dd.plan(SMALL, where=["instanceCount>many"])


def test_an_empty_selection_says_which_condition_and_what_is_there() -> None:
    with pytest.raises(SelectionError, match=r"Modality=CT.*The values there: PT"):
        dd.plan(SMALL, where=["instanceCount>1", "Modality=CT"])
    with pytest.raises(SelectionError, match="Nothing was asked for"):
        dd.plan([])


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=30, deadline=None)
def test_a_value_is_never_sql(value: str) -> None:
    where = Selection((SMALL,), (Condition("PatientID", "=", (value, "'; DROP TABLE x; --")),))
    with pytest.raises(SelectionError, match="No series of IDC has PatientID="):
        make_plan(where, Layout.parse("%PatientID", main_columns()))


@given(st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and "," not in text))
@settings(max_examples=30, deadline=None)
def test_an_identifier_is_never_sql(identifier: str) -> None:
    try:
        plan = dd.plan([identifier + "'"])
    except (SelectionError, ManifestError):
        return
    assert plan.series_count > 0


def test_every_directory_is_clean_and_values_do_not_share_one() -> None:
    layout = "%Manufacturer/%SeriesDescription/%BodyPartExamined"
    plan = dd.plan("rider_pilot", layout=layout)
    pairs = set()
    values = dd.query("SELECT crdc_series_uuid, Manufacturer, SeriesDescription, BodyPartExamined FROM idc_index"
                      " WHERE collection_id = 'rider_pilot'").set_index("crdc_series_uuid")  # fmt: skip
    for row in plan:
        assert check_directory(row.directory) is None
        pairs.add((row.directory.casefold(), tuple(map(str, values.loc[row.crdc_series_uuid]))))
    assert len({directory for directory, _ in pairs}) == len(pairs)
    assert any("~" in directory for directory, _ in pairs)


def test_values_that_differ_by_case_alone_are_told_apart() -> None:
    twins = dd.query(
        "SELECT list(DISTINCT SeriesDescription) AS found FROM idc_index"
        " GROUP BY lower(SeriesDescription) HAVING count(DISTINCT SeriesDescription) > 1 ORDER BY 1 LIMIT 1"
    ).found[0]
    # Each is asked for alone: where a series goes must not depend on what else is chosen.
    directories = {
        row.directory.casefold()
        for twin in twins
        for row in dd.plan(where={"SeriesDescription": [twin]}, layout="%SeriesDescription")
    }
    assert len(directories) == len(twins)


nasty = st.text(max_size=12) | st.sampled_from(
    ["CON", "nul.x", "a/b", "..", ".", " ", "a.", "x" * 300, "ok", "A b=1"]
)


@given(st.none() | nasty, nasty)
@settings(max_examples=200, deadline=None)
def test_what_sql_calls_plain_is_what_the_layout_makes(one: str | None, other: str) -> None:
    """The fast path in SQL never keeps what Python would clean."""
    layout = Layout.parse("%PatientID/x_%Modality", ["PatientID", "Modality"])
    plain = plain_sql(layout)
    try:
        ((raw, kept),) = Database().run(
            f"SELECT raw, {plain} FROM (SELECT *, {raw_sql(layout)} AS raw FROM"
            " (SELECT ?::VARCHAR AS PatientID, ?::VARCHAR AS Modality))",
            [one, other],
        )
    except (UnicodeEncodeError, RuntimeError, duckdb.Error):
        return  # a lone surrogate is no text to DuckDB, and no table can hold it
    if kept:
        assert layout.directory({"PatientID": one, "Modality": other}) == raw


def test_a_path_limit_shortens() -> None:
    limited = make_plan(Selection((SMALL,)), Layout.parse(dd.DEFAULT_LAYOUT, main_columns()), path_limit=100)
    directories = [row.directory for row in limited]
    assert max(map(len, directories)) <= 100
    assert len(set(directories)) == 44


def test_layouts_are_checked_before_anything() -> None:
    with pytest.raises(LayoutError, match="Did you mean %PatientID"):
        dd.plan(SMALL, layout="%PatientId")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "s5cmd"])
def test_a_saved_plan_is_the_plan(tmp_path: Path, suffix: str) -> None:
    plan = dd.plan(SMALL, layout="%PatientID/it's %SeriesInstanceUID")
    file = plan.save(tmp_path / f"plan.{suffix}")
    again = dd.plan(file)
    assert list(again) == list(plan)
    assert (again.series_count, again.size_bytes, again.idc_version) == (44, 246_305_000, plan.idc_version)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_plan_file_can_be_narrowed_and_laid_out_anew(tmp_path: Path) -> None:
    file = dd.plan(SMALL).save(tmp_path / "plan.parquet")
    some = dd.plan(file, where=["instanceCount=81"])
    assert 0 < some.series_count < 44
    assert {row.directory for row in dd.plan(file, layout="%Modality")} == {"PT"}
    both = dd.plan([file, "prostate_3t"])
    assert both.series_count == 44 + 64


def test_a_plan_is_not_saved_under_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"\.parquet, \.csv or \.s5cmd"):
        dd.plan(SMALL).save(tmp_path / "plan.xlsx")


def test_an_unknown_series_in_a_manifest_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "m.s5cmd"
    file.write_text(f"# c\ncp s3://idc-open-data/{'0' * 8}-0000-0000-0000-{'0' * 12}/* .\n")
    with pytest.raises(ManifestError) as caught:
        dd.plan(file)
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("directory", "../../etc", "leaves the destination"),
        ("directory", "/etc", "leaves the destination"),
        ("directory", ".dataset-dl", "its own records"),
        ("address", "s3://elsewhere/{uuid}/*", "is not a bucket of IDC"),
        ("address", "s3://idc-open-data/x' 'y/*", "is not the address"),
        ("instanceCount", "0", "instanceCount is not positive"),
        ("size_bytes", "x", "is not a plan"),
    ],
)
def test_a_plan_that_was_tampered_with_is_refused(
    tmp_path: Path, column: str, value: str, reason: str
) -> None:
    frame = dd.plan(SMALL).to_pandas().astype(str)
    frame.loc[3, column] = value.format(uuid=frame.crdc_series_uuid[3])
    file = tmp_path / "plan.csv"
    frame.to_csv(file, index=False)
    with pytest.raises(PlanError, match=reason):
        dd.plan(file)


def test_a_parquet_that_is_no_plan_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    duckdb.sql("SELECT 1 AS a").write_parquet(str(file))
    with pytest.raises(ManifestError, match="is not a plan"):
        dd.plan(file)


def test_groups_sum_up_to_the_plan() -> None:
    plan = dd.plan(["rider_pilot", SMALL])
    groups = plan.groups()
    assert sum(group.size_bytes for group in groups) == plan.size_bytes
    assert {group.collection_id for group in groups} == {"rider_pilot", SMALL}


@pytest.mark.parametrize("table", ["idc_index", "prior_versions_index"])
def test_the_address_of_a_series_is_its_bucket_and_its_uuid(table: str) -> None:
    wrong = dd.query(
        f"SELECT count(*) AS n FROM {table}"
        " WHERE series_aws_url <> 's3://' || aws_bucket || '/' || crdc_series_uuid || '/*'"
    )
    assert wrong.n[0] == 0
