"""Nothing of a source is lost without a word: rows in = series planned + named as missing + named as left out."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.errors import ManifestError, SelectionError, SelectionWarning
from dataset_dl.manifest.contents import parse

SERIES = [str(row.SeriesInstanceUID) for row in dd.plan("qin_pet_phantom")]
ROWS = {str(row.SeriesInstanceUID): row for row in dd.plan("qin_pet_phantom")}

unknown = st.integers(1, 5).map(lambda number: f"1.2.3.4.{number}")
uids = st.lists(st.sampled_from(SERIES[:12]) | unknown, min_size=1, max_size=20)


def csv_of(uids: list[str]) -> bytes:
    return ("Nr,SeriesInstanceUID\n" + "".join(f'{n},"{uid}"\n' for n, uid in enumerate(uids))).encode()


def tcia_of(uids: list[str]) -> bytes:
    return ("manifestVersion=3.0\nListOfSeriesToDownload=\n" + "\n".join(uids)).encode()


def list_of(uids: list[str]) -> bytes:
    return ("# a list\n" + "\n".join(uids)).encode()


def s5cmd_of(uids: list[str]) -> bytes:
    return "".join(
        f"cp {ROWS[uid].series_aws_url} .\n" if uid in ROWS else f"{uid}\n" for uid in uids
    ).encode()


def workbook_of(uids: list[str]) -> bytes:
    book = openpyxl.Workbook()
    half = len(uids) // 2
    for part in (uids[:half], uids[half:]):
        sheet = book.create_sheet()
        sheet.append(["note", "SeriesInstanceUID"])
        for uid in part:
            sheet.append(["", uid])
    book.worksheets[0].append(["what I did"])
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def parquet_of(uids: list[str]) -> bytes:
    return pd.DataFrame({"SeriesInstanceUID": uids}).to_parquet()


@pytest.mark.filterwarnings("ignore::dataset_dl.errors.SelectionWarning")
@settings(max_examples=12, deadline=None)
@given(uids, st.booleans())
def test_every_row_of_a_frame_is_accounted_for(uids: list[str], with_polars: bool) -> None:
    import polars

    frame = (
        polars.DataFrame({"uid": uids, "SeriesInstanceUID": uids})
        if with_polars
        else pd.DataFrame({"SeriesInstanceUID": uids})
    )
    plan = dd.plan(frame, skip_missing=True)
    assert sorted([*(str(row.SeriesInstanceUID) for row in plan), *plan.missing]) == sorted(set(uids))
    (account,) = plan.origin.accounts
    assert (account.read_from, account.rows, account.named) == ("table", len(uids), len(set(uids)))
    with tempfile.TemporaryDirectory() as scratch:
        again = dd.plan(plan.save(Path(scratch) / "p.parquet"))
    assert (list(again), again.missing) == (list(plan), plan.missing)


KINDS = {
    "m.csv": csv_of, "m.tcia": tcia_of, "m.txt": list_of, "m.s5cmd": s5cmd_of, "m.xlsx": workbook_of,
    "m.parquet": parquet_of,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::dataset_dl.errors.SelectionWarning")
@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=12, deadline=None)
@given(uids, st.booleans())
def test_every_row_is_accounted_for(name: str, uids: list[str], narrowed: bool) -> None:
    where = {"instanceCount": 81} if narrowed else None
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name
        path.write_bytes(KINDS[name](uids))
        try:
            plan = dd.plan(path, skip_missing=True, where=where)
        except SelectionError:  # of all that was named nothing is left
            kept = {uid for uid in uids if uid in ROWS and (not narrowed or ROWS[uid].instanceCount == 81)}
            assert not kept
            return
    planned = [str(row.SeriesInstanceUID) for row in plan]
    excluded = {uuid: uid for uid, row in ROWS.items() for uuid in (uid, row.crdc_series_uuid)}
    told = [*planned, *plan.missing, *(excluded[each] for each in plan.excluded)]
    assert sorted(told) == sorted(set(uids))
    assert sum(account.rows for account in plan.origin.accounts) == len(uids)
    assert sum(account.named for account in plan.origin.accounts) >= len(set(uids))


@pytest.mark.parametrize("line", ['4,"1.2.8', '"4,1.2.8', '4,1.2.8"', '4,"1.2"8', '# "noted,1.2.8'])
def test_a_quotation_mark_that_is_left_open_swallows_no_rows(line: str) -> None:
    rows = [f"{number},1.2.{number}" for number in range(3)]
    text = "\n".join(["Nr,SeriesInstanceUID", *rows, line, *rows, *rows, '"5",1.2.9'])
    try:
        contents = parse(text.encode(), "m.csv")
    except ManifestError as error:
        assert error.line == 5
        return
    (account,) = contents.accounts
    assert account.rows == 11


def test_a_line_break_inside_a_field_is_refused_with_its_line() -> None:
    with pytest.raises(ManifestError, match="line 3") as caught:
        parse(b'SeriesInstanceUID,note\n1.2.3,a\n1.2.4,"b\nc"\n1.2.5,d\n', "m.csv")
    assert caught.value.line == 3


def test_signs_that_end_a_line_elsewhere_do_not_end_a_row() -> None:
    text = "SeriesInstanceUID,note\n1.2.3,a\u2028b\x0bc\x85d\n1.2.4,\n"
    assert parse(text.encode(), "m.csv").identifiers == ("1.2.3", "1.2.4")


def test_a_row_that_begins_with_a_number_sign_is_a_row() -> None:
    contents = parse(b"# exported\nPatientID,Modality\nP1,CT\n#7,CT\n", "m.csv")
    assert contents.identifiers == ("P1", "#7")


def test_every_sheet_is_read_or_named() -> None:
    contents = parse(workbook_of(["1.2.3", "1.2.4", "1.2.3"]), "m.xlsx")
    assert contents.identifiers == ("1.2.3", "1.2.4")
    assert [account.rows for account in contents.accounts] == [1, 2, 0]
    (left_out,) = contents.accounts[-1].left_out
    assert "the sheet Sheet " in left_out


def test_lines_without_an_address_are_named(tmp_path: Path) -> None:
    row = ROWS[SERIES[0]]
    path = tmp_path / "m.s5cmd"
    path.write_text(f"command source target\ncp {row.series_aws_url} .  # the first\n{SERIES[1]}\n")
    with pytest.warns(SelectionWarning, match=r"line 1 has no address \(“command source target”\)"):
        plan = dd.plan(path)
    assert {each.SeriesInstanceUID for each in plan} == set(SERIES[:2])


def test_a_bucket_that_idc_never_had_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.s5cmd"
    path.write_text(f"cp s3://somebody-else/{ROWS[SERIES[0]].crdc_series_uuid}/* .\n")
    with pytest.warns(SelectionWarning, match="The bucket somebody-else is not one of IDC's"):
        assert dd.plan(path).series_count == 1


def test_identifiers_of_which_nothing_meets_the_conditions_are_named() -> None:
    with pytest.warns(SelectionWarning, match="No series of rider_pilot meets the conditions"):
        plan = dd.plan(["qin_pet_phantom", "rider_pilot"], where={"Modality": "PT"})
    assert plan.excluded == ("rider_pilot",)


PATIENTS = list(
    dd.query(
        "SELECT DISTINCT PatientID FROM idc_index WHERE collection_id = 'rider_pilot' ORDER BY 1 LIMIT 2"
    ).PatientID
)


@pytest.mark.parametrize("operator", ["=", "!="])
def test_an_unknown_identifier_among_values_is_an_error(operator: str) -> None:
    with pytest.raises(SelectionError, match="NOPE") as caught:
        dd.plan("rider_pilot", where=[f"PatientID{operator}{PATIENTS[0]},NOPE"])
    assert caught.value.exit_code == 2


def test_an_unknown_value_among_others_is_named_with_what_was_meant() -> None:
    with pytest.warns(SelectionWarning, match=r"No series of IDC has Modality=ct \(did you mean CT"):
        assert dd.plan("rider_pilot", where=["Modality=CT,ct"]).series_count > 0
    with pytest.warns(SelectionWarning, match="No series asked for has Modality=US"):
        dd.plan("rider_pilot", where=["Modality=CT,US"])
    with pytest.raises(SelectionError, match="Modality=US"):
        dd.plan("rider_pilot", where=["Modality=CT,US"], strict=True)
    with pytest.warns(SelectionWarning, match="Modality!=CTT"):
        dd.plan("rider_pilot", where=["Modality!=CTT"])
    with pytest.raises(SelectionError, match="Did you mean CT"):
        dd.plan("rider_pilot", where="Modality=Ct")


def count(where: object, source: object = "rider_pilot") -> int:
    return dd.plan(source, where=where).series_count  # type: ignore[arg-type]


def test_columns_without_a_value_can_be_selected() -> None:
    every = dd.plan("rider_pilot").series_count
    has = count("BodyPartExamined!=")
    assert 0 < has < every
    assert count("BodyPartExamined=") == count({"BodyPartExamined": None}) == every - has
    assert count("BodyPartExamined=(empty)") == every - has
    assert count({"BodyPartExamined": [None, "CHEST"]}) == every - has + count("BodyPartExamined=CHEST")


def test_ages_and_dates_are_read_as_such() -> None:
    old = dd.query(
        "SELECT count(*) AS n FROM idc_index WHERE PatientAge SIMILAR TO '0(7[0-9]|8[0-9]|9[0-9])Y' AND collection_id = 'nlst'"
    )
    assert count("PatientAge>=70", "nlst") == count("PatientAge>=070Y", "nlst") == int(old.n[0]) > 0
    assert count("PatientAge=70", "nlst") == count("PatientAge=070Y", "nlst") > 0
    assert count("PatientAge<24M", "qin_pet_phantom") == count("PatientAge=001D", "qin_pet_phantom") > 0
    with pytest.raises(SelectionError, match="holds ages"):
        count("PatientAge>=old")
    for wrong in ("1999-13-45", "2023-02-30", "19990231"):
        with pytest.raises(SelectionError, match="holds dates"):
            count(f"StudyDate>={wrong}")
    assert count("StudyDate=19990102", "nlst") == count("StudyDate=1999-01-02", "nlst")


def test_patterns_original_only_limit_and_sample() -> None:
    both = dd.plan("rider_p*").series_count
    assert both == sum(
        dd.plan(each).series_count for each in dd.collections().id if each.startswith("rider_p")
    )
    assert dd.plan("RIDER-P?lot").series_count == dd.plan("rider_pilot").series_count
    with pytest.raises(SelectionError, match="matches nothing"):
        dd.plan("rider_x*")
    assert {row.Modality for row in dd.plan("nlst", original_only=True, limit=5)} == {"CT"}
    limited = dd.plan("qin_pet_phantom", limit=3)
    assert [row.SeriesInstanceUID for row in limited] == SERIES[:3]
    assert limited.origin.matching_series == 44
    first, again, other = (dd.plan("qin_pet_phantom", sample=5, seed=seed) for seed in (1, 1, 2))
    assert list(first) == list(again) != list(other)
    assert len(first) == 5
    for wrong in ({"limit": 0}, {"sample": -1}, {"limit": 1, "sample": 1}):
        with pytest.raises(dd.PlanError):
            dd.plan("rider_pilot", **wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda: dd.download(dd.plan("rider_pilot", limit=1), "x", worker=8),
        lambda: dd.download("rider_pilot", "x", max_rate=1),
        lambda: dd.stream("rider_pilot", "x", endpoint="http://x"),
        lambda: dd.download_events("rider_pilot", "x", retry=1),
        lambda: dd.plan("rider_pilot", wher="Modality=CT"),
        lambda: dd.verify("x", deeep=True),
        lambda: dd.cite("rider_pilot", stile="apa"),
        lambda: dd.fetch_index("sm_index", prox="x"),
        lambda: dd.collections(serch="x"),
        lambda: dd.Service(worker=3),
        lambda: dd.IDCClient(worker=3),
        lambda: dd.adownload("rider_pilot", "x", worker=3),
        lambda: dd.update(None, worker=3),
        lambda: dd.repair(None, worker=3),
    ],
)
def test_a_misspelt_option_is_a_type_error_that_names_the_nearest(call: object) -> None:
    with pytest.raises(TypeError, match="Did you mean"):
        call()  # type: ignore[operator]


def test_options_are_spelled_out_for_who_asks() -> None:
    import inspect

    parameters = inspect.signature(dd.download).parameters
    assert {"where", "layout", "workers", "endpoint_url", "max_rate_mbps"} <= set(parameters)
    assert parameters["retries"].default == 2
    assert not any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def test_options_of_a_plan_do_not_go_with_a_plan() -> None:
    with pytest.raises(dd.PlanError, match="where"):
        dd.download(dd.plan("rider_pilot", limit=1), "x", where="Modality=CT")


def test_a_formula_without_a_value_is_no_empty_cell() -> None:
    book = openpyxl.Workbook()
    for cells in (["SeriesInstanceUID"], ["1.2.3"], ['="1.2.4"']):
        book.worksheets[0].append(cells)
    data = io.BytesIO()
    book.save(data)
    with pytest.raises(ManifestError, match=r"The cell A3 .* holds a formula"):
        parse(data.getvalue(), "m.xlsx")


def test_two_columns_of_one_kind_must_agree() -> None:
    with pytest.raises(ManifestError, match=r"Row 3 .* names one thing in two ways") as caught:
        parse(b"Series UID,Series Instance UID\n1.2.3,1.2.3\n1.2.3,1.2.4\n", "m.csv")
    assert caught.value.line == 3
    assert parse(b"collection,collection_id\nTCGA-LUAD,tcga_luad\n", "m.csv").identifiers == ("TCGA-LUAD",)


@pytest.mark.parametrize("source", [None, 5, [SERIES[0], None], [5.5], pd.Series([SERIES[0], None])])
def test_what_is_no_text_is_no_identifier(source: object) -> None:
    with pytest.raises(SelectionError, match="is no identifier"):
        dd.plan(source)


def test_values_of_other_types_are_told() -> None:
    for options in ({"limit": "3"}, {"limit": 1.5}):
        with pytest.raises(dd.PlanError, match="whole number"):
            dd.plan("rider_pilot", **options)
    with pytest.raises(SelectionError, match="is not a condition"):
        dd.plan("rider_pilot", where=[("Modality", "CT")])


def test_a_plan_of_nothing_says_of_which_version() -> None:
    plan = dd.plan("nope", skip_missing=True)
    assert (plan.idc_version, plan.series_count, plan.missing) == (25, 0, ("nope",))
