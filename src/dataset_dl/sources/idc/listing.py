"""The collections with their totals; listed once for a version of the index, then read without DuckDB."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from dataset_dl.sources.idc.kept import kept

_SEARCHED = ("id", "name", "cancer_types", "tumor_locations", "species", "modalities", "description")

# Grouping twice is faster than `DISTINCT` lists over a million rows: the first pass leaves 506.
_SQL = """
WITH parts AS (
    SELECT collection_id, Modality, license_short_name, count(*) AS series,
           sum(instanceCount) AS instances, sum(series_size_MB * 1e6) AS size_bytes
    FROM {main} GROUP BY ALL
), held AS (
    SELECT collection_id, sum(series)::BIGINT AS series, sum(instances)::BIGINT AS instances,
           sum(size_bytes)::BIGINT AS size_bytes,
           array_to_string(list_sort(list(DISTINCT Modality)), ',') AS modalities,
           array_to_string(list_sort(list(DISTINCT license_short_name)), ',') AS licenses
    FROM parts GROUP BY collection_id
)
SELECT collection_id AS id, collection_name AS name, subjects, series, instances, size_bytes, modalities,
       cancer_types, licenses,
       array_to_string(list_sort(list_distinct(list_transform(
           list_filter(sources, lambda s: s.source_type = 'original_data'),
           lambda s: s.source_doi))), ',') AS DOI,
       {description} AS description, tumor_locations, species
FROM {collections} JOIN held USING (collection_id)
ORDER BY collection_id
"""

# Descriptions are published as HTML: paragraphs become one line of text, and entities characters.
_SIGNS = (("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "''"), ("&amp;", "&"))
_DESCRIPTION = "regexp_replace(description, '<[^>]*>', ' ', 'g')"
for _name, _sign in _SIGNS:
    _DESCRIPTION = f"replace({_DESCRIPTION}, '{_name}', '{_sign}')"
_DESCRIPTION = f"trim(regexp_replace({_DESCRIPTION}, '\\s+', ' ', 'g'))"


class Listed(NamedTuple):
    """A collection with its totals; lists are joined by commas."""

    id: str
    name: str
    subjects: int
    series: int
    instances: int
    size_bytes: int
    modalities: str
    cancer_types: str
    licenses: str
    DOI: str
    description: str


def collections(search: str | None = None) -> list[Listed]:
    """Every collection with its totals; `search` keeps those whose texts contain it."""
    rows = kept("collections-1", {"columns", "rows"}, _made)
    named = [dict(zip(rows["columns"], row, strict=True)) for row in rows["rows"]]
    if search:
        wanted, squashed = search.lower(), re.sub(r"[^a-z0-9]", "", search.lower())
        named = [
            each
            for each in named
            if wanted in " ".join(str(each[name] or "") for name in _SEARCHED).lower()
            # Also an id in any spelling, as for SOURCE.
            or (squashed and squashed in each["id"].replace("_", ""))
        ]
    return [Listed(*(each[name] for name in Listed._fields)) for each in named]


def _made() -> dict[str, Any]:
    from dataset_dl.duck import Database  # late, because loading DuckDB takes long
    from dataset_dl.sources.idc.tables import table_sql

    found = Database().run(
        _SQL.format(main=table_sql(), collections=table_sql("collections_index"), description=_DESCRIPTION)
    )
    return {"columns": found.columns, "rows": [list(row) for row in found]}
