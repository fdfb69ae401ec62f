"""What a tree should hold when it has no plan: told from the names of its directories."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dataset_dl.index.database import Database, source

_SERIES_IN_NAME = re.compile(
    r"[0-9]+(?:\.[0-9]+){3,}$|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
)


def expected_by_name(directories: Iterable[str]) -> list[tuple[str, int, int, int]]:
    """Series, instances and bytes of each directory named after a series.

    Parameters
    ----------
    directories
        Relative, with ``/`` between their parts. A name may have anything before the SeriesInstanceUID
        or crdc series uuid that it ends in.

    Returns
    -------
    list of tuple
        Directory, 1, instances, bytes; the last two are 0 for a series that the index does not hold.
        Directories that are not named after a series are left out.
    """
    named = {}
    for directory in directories:
        if match := _SERIES_IN_NAME.search(directory.rsplit("/", 1)[-1]):
            named[directory] = match[0]
    columns = "instanceCount AS instances, round(series_size_MB * 1e6)::BIGINT AS size_bytes"
    sql = f"""
        WITH held AS (
            SELECT SeriesInstanceUID AS identifier, {columns} FROM {source()}
            UNION ALL SELECT crdc_series_uuid, {columns} FROM {source()}
        )
        SELECT directory, 1, coalesce(instances, 0), coalesce(size_bytes, 0)
        FROM (SELECT unnest($1::VARCHAR[]) AS directory, unnest($2::VARCHAR[]) AS identifier)
        LEFT JOIN held USING (identifier)
        ORDER BY 1
    """
    return list(Database().run(sql, [list(named), list(named.values())]))
