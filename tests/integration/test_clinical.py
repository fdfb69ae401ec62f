"""Clinical tables: fetched from the store beside the images, checked, asked, and used as conditions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import dataset_dl as dd
from dataset_dl.network import NetworkSettings
from dataset_dl.sources.idc import clinical, tables
from dataset_dl.store.listing import objects_below
from dataset_dl.testing import LocalBucket
from support import indices
from support.cli import Cli

PREFIX = "idc-open-metadata/bigquery_export/idc_v25_clinical"
PATIENT = "QIN-PET-Phantom-1"


@pytest.fixture
def patients() -> list[str]:
    return list(dd.query("SELECT DISTINCT PatientID AS id FROM idc_index WHERE collection_id = 'rider_pilot'"
                         " ORDER BY 1").id)  # fmt: skip


@pytest.fixture
def dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """clinical_index; nothing else is here."""
    monkeypatch.setenv("DATASET_DL_CACHE", str(tmp_path / "cache"))
    tables.look_again()
    yield indices.make(
        "clinical_index",
        tmp_path / "clinical_index.parquet",
        {
            "collection_id": ["rider_pilot"] * 2,
            "short_table_name": ["rider_pilot_demo"] * 2,
            "column": ["dicom_patient_id", "age"],
            "column_label": ["The patient", "Age in years"],
        },
    )
    tables.look_again()


@pytest.fixture
def served(tmp_path: Path, patients: list[str], dictionary: Path) -> Iterator[LocalBucket]:
    """A bucket with the clinical tables: one in two parts, one in one, and something that is no table."""
    with LocalBucket("qin_pet_phantom", max_series=0, directory=tmp_path / "root") as bucket:
        folder = tmp_path / "root" / PREFIX
        parts = patients[:2], patients[2:]
        for number, several in enumerate(parts):
            write(folder / "rider_pilot_demo" / f"00000000000{number}.parquet",
                  {"dicom_patient_id": several, "age": [40 + each for each in range(len(several))]})  # fmt: skip
        write(folder / "other_table" / "000000000000.parquet", {"x": [1.5]})
        (folder / "note").write_text("not a table")
        yield bucket


def write(path: Path, values: dict[str, list[object]] | dict[str, list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(values).to_parquet(path)


def put_in_dictionary(dictionary: Path) -> None:
    dd.fetch_index("clinical_index", from_file=dictionary)


def test_they_come_with_the_table_that_describes_them(
    served: LocalBucket, dictionary: Path, patients: list[str], cli: Cli
) -> None:
    put_in_dictionary(dictionary)
    dd.fetch_index("clinical_index", endpoint_url=served.endpoint_url)
    assert len(dd.query("SELECT * FROM rider_pilot_demo")) == len(patients)
    assert dd.query("SELECT x FROM OTHER_TABLE").x[0] == 1.5
    listed = dd.indices()
    assert listed[listed.name == "rider_pilot_demo"].here.item()
    assert list(dd.columns("rider_pilot_demo").description) == ["The patient", "Age in years"]
    plan = dd.plan("rider_pilot", where=["rider_pilot_demo.age=40"])
    assert {row.PatientID for row in plan} == {patients[0], patients[2]}
    outcome = cli("idc", "query", "SELECT count(*) AS n FROM idc_index JOIN rider_pilot_demo"
                  " ON PatientID = dicom_patient_id WHERE age = 40", "--format", "json")  # fmt: skip
    assert outcome.json == [{"n": plan.series_count}]
    # Once they are here, nothing is asked.
    dd.fetch_index("clinical_index", endpoint_url="http://127.0.0.1:9")


def test_they_are_put_in_by_hand(served: LocalBucket, dictionary: Path, tmp_path: Path, cli: Cli) -> None:
    put_in_dictionary(dictionary)
    folder = tmp_path / "root" / PREFIX
    outcome = cli("idc", "indices", "fetch", "clinical_index", "--from", folder)
    assert outcome.code == 0, outcome.err
    assert cli("idc", "query", "SELECT x FROM other_table", "--format", "csv").out == "x\n1.5\n"
    assert cli("idc", "indices", "fetch", "clinical_index", "--from", tmp_path).code == 2
    (tmp_path / "broken" / "bad_table").mkdir(parents=True)
    (tmp_path / "broken" / "bad_table" / "0.parquet").write_text("<html>")
    broken = cli("idc", "indices", "fetch", "clinical_index", "--from", tmp_path / "broken")
    assert broken.code == 2
    assert "bad_table cannot be read" in broken.err
    assert len(dd.query("SELECT x FROM other_table")) == 1


def test_a_store_without_them_is_told(served: LocalBucket, dictionary: Path, tmp_path: Path) -> None:
    put_in_dictionary(dictionary)
    (tmp_path / "root" / "idc-open-metadata").rename(tmp_path / "root" / "elsewhere")
    with pytest.raises(dd.NetworkError):
        dd.fetch_index("clinical_index", endpoint_url=served.endpoint_url)
    (tmp_path / "root" / "idc-open-metadata").mkdir()
    with pytest.raises(dd.NetworkError, match="has no clinical tables of IDC v25"):
        dd.fetch_index("clinical_index", endpoint_url=served.endpoint_url)
    assert not clinical.is_here()


def test_the_client_has_them(served: LocalBucket, dictionary: Path, patients: list[str]) -> None:
    put_in_dictionary(dictionary)
    client = dd.IDCClient(endpoint_url=served.endpoint_url)
    assert client.clinical_data_dir is None
    client.fetch_index("clinical_index")
    assert client.clinical_data_dir is not None
    assert sorted(client.get_clinical_table("rider_pilot_demo").dicom_patient_id) == patients
    assert client.get_clinical_table("none") is None  # as in idc-index
    assert (Path(client.clinical_data_dir) / "rider_pilot_demo").is_dir()
    assert client.fetch_index("nope") is None


def test_a_long_list_is_read_to_its_end(served: LocalBucket, tmp_path: Path) -> None:
    folder = tmp_path / "root" / "idc-open-metadata" / "many"
    folder.mkdir()
    for number in range(1205):
        (folder / f"é {number}").touch()
    network = NetworkSettings.gather(endpoint_url=served.endpoint_url)
    found = {each.name for each in objects_below(network, "idc-open-metadata", "many/")}
    assert found == {f"é {number}" for number in range(1205)}
