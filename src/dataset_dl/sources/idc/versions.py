"""Earlier IDC versions: the rows that the index had then, from the current tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dataset_dl.duck import Database
from dataset_dl.errors import SelectionError
from dataset_dl.sources.idc.tables import idc_version, table_sql

# The table of withdrawn and revised series begins with those of v2.
FIRST_VERSION = 2
# All that it contains of a series; only the store can list its files.
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
    """SQL for the rows of an IDC version; `instanceCount` is NULL if only the store knows it.

    Raises
    ------
    SelectionError
        If the tables do not cover that version.
    """
    newest = idc_version()
    if not FIRST_VERSION <= version <= newest:
        hint = "`dataset-dl idc indices update` fetches a newer index." if version > newest else ""
        raise SelectionError(
            f"v{version}",
            f"The tables here cover IDC v{FIRST_VERSION} to v{newest}, but v{version} was requested;"
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
    """SQL for the current rows and those of some crdc_series_uuids of earlier versions.

    Returns
    -------
    tuple
        The SQL, and the uuids that an earlier version contains.
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
    """Refuse conditions on columns that the tables lack for series of earlier versions.

    Raises
    ------
    SelectionError
        If the rows include such series: whether they meet the condition is unknown.
    """
    unknown = [name for name in columns if name not in _HELD]
    if not unknown:
        return
    count = database.column(f"SELECT count(*) FILTER (instanceCount IS NULL) FROM {rows}", parameters)[0]
    if count:
        raise SelectionError(
            unknown[0],
            f"{count:,} of the requested series are of an earlier IDC version, and the tables do not contain"
            f" their {unknown[0]}; nothing was started.",
            f"Remove that condition; the columns known for them are {', '.join(_HELD)}.",
        )


def collections_then(database: Database) -> list[str]:
    """Every collection with a series that later versions no longer contain."""
    return database.column(f"SELECT DISTINCT collection_id FROM {table_sql('prior_versions_index')}")


def _prior(condition: str) -> str:
    """SQL for rows of earlier versions, each uuid once, with its most recent values."""
    return f"""
        SELECT {", ".join(_HELD)}, NULL::BIGINT AS instanceCount FROM {table_sql("prior_versions_index")}
        WHERE {condition}
        QUALIFY row_number() OVER (PARTITION BY crdc_series_uuid ORDER BY max_idc_version DESC) = 1
    """


def _union(columns: Iterable[str], condition: str, prior: str) -> str:
    names = ", ".join(f'"{name}"' for name in dict.fromkeys([*columns, "crdc_series_uuid", "instanceCount"]))
    return f"(SELECT {names} FROM {table_sql()} WHERE {condition} UNION ALL BY NAME ({prior}))"
