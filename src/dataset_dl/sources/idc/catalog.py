"""The catalogue of IDC: its tables and their columns, and the web pages that show what it has."""

from __future__ import annotations

import difflib
import html
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from dataset_dl.duck import Database
from dataset_dl.errors import SelectionError
from dataset_dl.scratch import written_whole
from dataset_dl.sources.idc import clinical, releases
from dataset_dl.sources.idc.releases import cache_directory
from dataset_dl.sources.idc.tables import (
    clinical_directory,
    look_again,
    not_the_table,
    table_sql,
    tables,
)

if TYPE_CHECKING:
    from dataset_dl.network import NetworkSettings
    from dataset_dl.network.files import OnBytes

PORTAL_URL = "https://portal.imaging.datacommons.cancer.gov"
VIEWER_URL = "https://viewer.imaging.datacommons.cancer.gov"


def indices() -> list[tuple[str, bool, str]]:
    """Each table that IDC publishes: name, whether it is on this machine, description."""
    return [
        (table.name, table.parquet_path is not None, " ".join(table.schema()["table_description"].split()))
        for table in tables().values()
    ]


def columns(name: str) -> list[tuple[str, str, str]]:
    """Each column of a table: name, type, description, from the published schema.

    Raises
    ------
    SelectionError
        If IDC publishes no such table.
    """
    known = tables()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "`dataset-dl idc indices` lists them."
        raise SelectionError(name, f"IDC publishes no table “{name}”.", hint)
    return [
        (column["name"], _type_name(column), html.unescape(" ".join(column["description"].split())))
        for column in known[name].schema()["columns"]
    ]


def fetch(name: str, network: NetworkSettings, on_bytes: OnBytes | None = None) -> Path:
    """Fetch a missing table into the cache of its version; for clinical_index, also the clinical tables.

    Raises
    ------
    SelectionError
        If IDC publishes no such table.
    NetworkError
        If it cannot be fetched, or is not the table.
    """
    from dataset_dl.network.files import obtain

    columns(name)
    path = tables()[name].parquet_path
    if path is None:
        directory = cache_directory()
        url = f"{releases.assets_url()}/{directory.name}/{name}.parquet"
        check = partial(not_the_table, name=name)
        path = obtain(url, directory / f"{name}.parquet", network, check=check, on_bytes=on_bytes)
        look_again()
    if name == clinical.DICTIONARY:
        clinical.fetch(network)
    return path


def put_in(name: str, file: Path) -> Path:
    """Install a table from a file into the same cache, for a machine that cannot fetch it.

    For the clinical tables, give the name clinical_index and a directory with all of them.

    Raises
    ------
    SelectionError
        If IDC publishes no such table, or the file is not it.
    StorageError
        If it cannot be written.
    """
    columns(name)
    if name == clinical.DICTIONARY and file.is_dir():
        clinical.put_in(file)
        return clinical_directory()
    if not file.is_file():
        raise SelectionError(str(file), f"There is no file {file}.", "Nothing was changed.")
    if problem := not_the_table(file, name):
        raise SelectionError(
            str(file), f"{file} is not the table {name} of this version: {problem}.", "Nothing was changed."
        )
    target = cache_directory() / f"{name}.parquet"
    with written_whole(target) as part:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, part)
    look_again()
    return target


def page_url(column: str, value: str) -> str:
    """The web page that shows a collection, an analysis result, a study or a series.

    Parameters
    ----------
    column
        The column of the main index that holds `value`.
    value
        A value that is in the index.

    Raises
    ------
    SelectionError
        If a patient has several studies, each with its own page, or the value is not in the current index.
    """
    if column == "collection_id":
        return f"{PORTAL_URL}/explore/filters/?{urlencode({'collection_id': value})}"
    if column == "analysis_result_id":
        sql = f"SELECT source_url FROM {table_sql('analysis_results_index')} WHERE analysis_result_id = $1"
        url: str = Database().column(sql, [value])[0]
        return url
    if column == "source_DOI":
        return f"https://doi.org/{value}"
    study, series, slide = _study_of(column, value)
    if slide:
        tail = f"/series/{quote(series)}" if series else ""
        return f"{VIEWER_URL}/slim/studies/{quote(study)}{tail}"
    parameters = {"StudyInstanceUIDs": study} | ({"initialSeriesInstanceUID": series} if series else {})
    return f"{VIEWER_URL}/v3/viewer/?{urlencode(parameters)}"


def _study_of(column: str, value: str) -> tuple[str, str, bool]:
    """StudyInstanceUID, SeriesInstanceUID (empty for a whole study), whether the study contains slides."""
    database = Database()
    sql = f'SELECT DISTINCT StudyInstanceUID FROM {table_sql()} WHERE "{column}" = $1 ORDER BY 1'
    studies = database.column(sql, [value])
    if not studies:
        raise SelectionError(
            value, f"“{value}” is of an earlier IDC version, but the viewer only shows the current one."
        )
    if len(studies) > 1:
        raise SelectionError(
            value,
            f"“{value}” has {len(studies)} studies, each with a page of its own.",
            f"One is {studies[0]}.",
        )
    sql = f"SELECT count(*) > 0 FROM {table_sql()} WHERE StudyInstanceUID = $1 AND Modality = 'SM'"
    slide = bool(database.column(sql, studies)[0])
    if column in ("StudyInstanceUID", "PatientID"):
        return studies[0], "", slide
    sql = f'SELECT SeriesInstanceUID FROM {table_sql()} WHERE "{column}" = $1'
    return studies[0], database.column(sql, [value])[0], slide


def _type_name(column: dict[str, str]) -> str:
    return column["type"] + ("[]" if column.get("mode") == "REPEATED" else "")
