"""The clinical tables that IDC publishes with its images: fetch, check and install them."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_dl.duck import Database, DuckError, first_line, quote
from dataset_dl.errors import NetworkError, SelectionError, StorageError
from dataset_dl.scratch import Scratch
from dataset_dl.sources.idc.tables import clinical_directory, idc_version, look_again, table_sql

if TYPE_CHECKING:
    from dataset_dl.model.series import StoredObject
    from dataset_dl.network import NetworkSettings

# The table that describes the clinical tables.
DICTIONARY = "clinical_index"
_BUCKET = "idc-open-metadata"
_PREFIX = "bigquery_export/idc_v{}_clinical/"
# One folder per table, with its parts.
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_]*)/([A-Za-z0-9_][A-Za-z0-9_.-]*)")
_AT_ONCE = 8


def fetch(network: NetworkSettings) -> None:
    """Fetch all clinical tables, unless they are on this machine.

    Raises
    ------
    NetworkError
        If the store does not answer, or a file differs from the store's listing.
    """
    from dataset_dl.store.listing import objects_below

    if is_here():
        return
    prefix = _PREFIX.format(idc_version())
    with Scratch("clinical") as scratch:
        found = [each for each in objects_below(network, _BUCKET, prefix) if _KEY.fullmatch(each.name)]
        if not found:
            raise NetworkError(
                network.endpoint_url,
                f"{network.endpoint_url} has no clinical tables of IDC v{idc_version()}"
                f" (in {_BUCKET}/{prefix}).",
                "A mirror may lack them; IDC publishes them at --endpoint-url https://s3.amazonaws.com.",
            )
        _fetch_all(network, prefix, found, scratch)
        put_in(scratch)


def is_here() -> bool:
    """Whether the clinical tables are on this machine."""
    return clinical_directory().is_dir()


def put_in(directory: Path) -> None:
    """Install the clinical tables from a directory with a folder per table.

    Raises
    ------
    SelectionError
        If the directory holds no table, or a file in it is not a table.
    """
    folders = [
        each for each in sorted(directory.iterdir()) if _KEY.fullmatch(f"{each.name}/0") and each.is_dir()
    ]
    parts = {folder.name: sorted(folder.glob("*.parquet")) for folder in folders}
    parts = {name: files for name, files in parts.items() if files}
    if not parts:
        raise SelectionError(
            str(directory),
            f"{directory} holds no folder with Parquet files of a clinical table.",
            "Nothing was changed.",
        )
    target = clinical_directory()
    target.parent.mkdir(parents=True, exist_ok=True)
    labels = _labels()
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        made.chmod(0o755)  # several users may share the cache
        for name, files in parts.items():
            _store(name, files, made, labels.get(name, {}))
        shutil.rmtree(target, ignore_errors=True)
        made.replace(target)
    except OSError as error:
        raise StorageError(str(target), f"{target} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    look_again()


def _fetch_all(network: NetworkSettings, prefix: str, objects: list[StoredObject], directory: Path) -> None:
    from dataset_dl.destination import checksums
    from dataset_dl.network.files import obtain
    from dataset_dl.store.addresses import object_url

    def get(each: StoredObject) -> None:
        def differs(path: Path) -> str | None:
            (outcome,) = checksums.compare([(path, each)])
            return "its size or MD5 sum differs from the store's" if outcome == "different" else None

        obtain(
            object_url(network, _BUCKET, prefix + each.name), directory / each.name, network, check=differs
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for _ in pool.map(get, objects):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _labels() -> dict[str, dict[str, str]]:
    """The label of each column, by table; empty if the describing table is not here."""
    labels: dict[str, dict[str, str]] = {}
    try:
        rows = Database().run(f'SELECT short_table_name, "column", column_label FROM {table_sql(DICTIONARY)}')
    except SelectionError:
        return labels
    for table, column, label in rows:
        labels.setdefault(table, {})[column] = label or ""
    return labels


def _store(name: str, files: list[Path], directory: Path, labels: dict[str, str]) -> None:
    """Write a table as a folder with one Parquet file, like idc-index, and its schema beside it."""
    several = f"read_parquet([{', '.join(quote(str(file)) for file in files)}])"
    database = Database()
    try:
        (directory / name).mkdir()
        database.write(f"FROM {several}", directory / name / f"{name}.parquet", "FORMAT parquet")
    except DuckError as error:
        raise SelectionError(
            name, f"The clinical table {name} cannot be read: {first_line(error)}.", "Nothing was changed."
        ) from None
    columns = [
        {"name": row[0], "type": row[1], "description": labels.get(row[0], "")}
        for row in database.run(f"DESCRIBE FROM {several}")
    ]
    described = {"table_description": f"Clinical table {name}.", "columns": columns}
    (directory / f"{name}_schema.json").write_text(json.dumps(described), encoding="utf-8")
