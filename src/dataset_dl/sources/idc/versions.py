"""Earlier IDC versions: what the index held then, as far as the tables tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dataset_dl.duck import Database
from dataset_dl.errors import SelectionError
from dataset_dl.sources.idc.tables import idc_version, table_sql

# The table of what was withdrawn or revised begins with what v2 had.
FIRST_VERSION = 2
# All that it tells of a series; how many files it had is asked of the store.
_HELD = (
    "collection_id",
    "PatientID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "aws_bucket",
    "crdc_series_uuid",
    "series_aws_url",
    "series_size_MB",
)
_EARLIER = "earlier"


def as_of(version: int, columns: Iterable[str]) -> str:
    """The rows of an IDC version as a table in SQL; `instanceCount` is NULL where only the store knows it.

    Raises
    ------
    SelectionError
        If the tables do not tell what that version held.
    """
    newest = idc_version()
    if not FIRST_VERSION <= version <= newest:
        hint = "`dataset-dl idc indices update` brings a newer index." if version > newest else ""
        raise SelectionError(
            f"v{version}",
            f"The tables here tell of IDC v{FIRST_VERSION} to v{newest}, and v{version} was asked for;"
            " nothing was started.",
            hint,
        )
    if version == newest:
        return table_sql()
    return _union(
        columns,
        f"series_revised_idc_version <= {version}",
        _prior(f"{version} BETWEEN min_idc_version AND max_idc_version"),
    )


def with_earlier(database: Database, uuids: Sequence[str], columns: Iterable[str]) -> tuple[str, set[str]]:
    """The rows of today and those of some crdc series uuids of earlier versions, as a source for SQL.

    Returns
    -------
    tuple
        The source, and which of the uuids an earlier version held.
    """
    database.run(
        f"CREATE OR REPLACE TEMP TABLE {_EARLIER} AS"
        f" {_prior('crdc_series_uuid IN (SELECT unnest($1::VARCHAR[]))')}",
        [list(uuids)],
    )
    held = set(database.column(f"SELECT crdc_series_uuid FROM {_EARLIER}"))
    return _union(columns, "true", f"FROM {_EARLIER}"), held


def check_conditions(
    database: Database, columns: Iterable[str], rows: str, parameters: Sequence[object]
) -> None:
    """Refuse conditions on columns that the tables do not tell of the earlier series among some rows.

    Raises
    ------
    SelectionError
        Rather than leave out series of which nobody knows whether they meet a condition.
    """
    unknown = [name for name in columns if name not in _HELD]
    if not unknown:
        return
    count = database.column(f"SELECT count(*) FILTER (instanceCount IS NULL) FROM {rows}", parameters)[0]
    if count:
        raise SelectionError(
            unknown[0],
            f"{count:,} of the series asked for are of an earlier IDC version, and the tables do not tell"
            f" their {unknown[0]}; nothing was started.",
            f"Leave that condition out; what can be asked of them is {', '.join(_HELD)}.",
        )


def collections_then(database: Database) -> list[str]:
    """Every collection that an earlier version held a series of which later ones do not."""
    return database.column(f"SELECT DISTINCT collection_id FROM {table_sql('prior_versions_index')}")


def _prior(condition: str) -> str:
    """Rows of the table of earlier versions, each uuid once: at the last place that it had."""
    return f"""
        SELECT {", ".join(_HELD)}, NULL::BIGINT AS instanceCount FROM {table_sql("prior_versions_index")}
        WHERE {condition}
        QUALIFY row_number() OVER (PARTITION BY crdc_series_uuid ORDER BY max_idc_version DESC) = 1
    """


def _union(columns: Iterable[str], condition: str, prior: str) -> str:
    names = ", ".join(f'"{name}"' for name in dict.fromkeys([*columns, "crdc_series_uuid", "instanceCount"]))
    return f"(SELECT {names} FROM {table_sql()} WHERE {condition} UNION ALL BY NAME ({prior}))"
