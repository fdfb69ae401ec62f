"""Find the images that annotations were drawn on, from the tables that name them."""

from __future__ import annotations

from collections.abc import Sequence

from dataset_dl.duck import Database
from dataset_dl.errors import SelectionError
from dataset_dl.sources.idc.tables import table_sql, tables

# Modality → the table with its series, and the column with the image.
_REFERRING = {
    "SEG": ("seg_index", "segmented_SeriesInstanceUID"),
    "RTSTRUCT": ("rtstruct_index", "referenced_SeriesInstanceUID"),
    "ANN": ("ann_index", "referenced_SeriesInstanceUID"),
}
# Modalities that refer to images too, but no table lists which ones.
_UNREFERENCED = ("SR", "PR", "KO", "REG", "FID", "RTDOSE", "RTPLAN")


def store_related(
    database: Database, rows: str, parameters: Sequence[object], *, references: bool, annotations: bool
) -> dict[str, int]:
    """Create a table `related` with the series that belong to some others.

    Parameters
    ----------
    database
        The session that gets the table.
    rows, parameters
        The others: a table in SQL with its condition, and values to bind.
    references
        Include the images that they were drawn on.
    annotations
        Include the annotations that were drawn on them.

    Returns
    -------
    dict
        By modality, how many annotations among the others have no image in the tables.

    Raises
    ------
    SelectionError
        If a required table is not on this machine.
    """
    database.run(f"CREATE TEMP TABLE selected AS SELECT SeriesInstanceUID, Modality FROM {rows}", parameters)
    counts: dict[str, int] = dict(database.run("SELECT Modality, count(*) FROM selected GROUP BY 1"))
    needed = [table for kind, (table, _) in _REFERRING.items() if annotations or kind in counts]
    if lacking := [table for table in needed if tables()[table].parquet_path is None]:
        names = " ".join(lacking)
        raise SelectionError(
            lacking[0],
            f"The tables {', '.join(needed)} list which images were annotated, but not all of them are"
            " on this machine; nothing was started.",
            f"`dataset-dl idc indices fetch {names}` fetches them.",
        )
    database.run("CREATE TEMP TABLE related (SeriesInstanceUID VARCHAR)")
    untold = {kind: counts[kind] for kind in _UNREFERENCED if kind in counts} if references else {}
    for kind, (table, column) in _REFERRING.items():
        if references and kind in counts:
            named = (
                f"SELECT SeriesInstanceUID, {column} AS image FROM {table_sql(table)}"
                f" WHERE image IN (SELECT SeriesInstanceUID FROM {table_sql()})"
            )
            joined = f"({named}) AS named USING (SeriesInstanceUID)"
            database.run(f"INSERT INTO related SELECT image FROM selected JOIN {joined}")
            sql = f"SELECT count(*) FROM selected ANTI JOIN {joined} WHERE Modality = $1"
            if left := database.column(sql, [kind])[0]:
                untold[kind] = left
        if annotations:
            database.run(
                f"INSERT INTO related SELECT SeriesInstanceUID FROM {table_sql(table)}"
                f" WHERE {column} IN (SELECT SeriesInstanceUID FROM selected)"
            )
    # The requested series are selected already, perhaps in an earlier version.
    database.run("DELETE FROM related WHERE SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM selected)")
    return untold
