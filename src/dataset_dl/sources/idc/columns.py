"""From the columns of the main index to those of a plan, in SQL."""

from __future__ import annotations

from dataset_dl.model.series import PlannedSeries

# Copied unchanged.
IDENTITY = PlannedSeries._fields[: PlannedSeries._fields.index("key")]
# The address is put together from its parts, as IDC does: it would be the largest column to read.
ADDRESS = "'s3://' || aws_bucket || '/' || crdc_series_uuid || '/*'"
SIZE_BYTES = "round(series_size_MB * 1e6)::BIGINT"
ROW = f"{', '.join(IDENTITY)}, crdc_series_uuid AS key, {ADDRESS} AS address"
# What all that needs of the index.
NEEDED = (*IDENTITY, "crdc_series_uuid", "aws_bucket", "instanceCount", "series_size_MB")


def sizes(*, with_parts: bool) -> str:
    """How much each series is, in SQL, from a table ``chosen`` of the index.

    The tables round the size of a series of an earlier IDC version, and do not count its files. With a table
    ``part``, as `plans.columns.parts` makes it, only files are wanted of the series in it.
    """
    count = "chosen.instanceCount"
    whole = {
        "instanceCount": count,
        "size_bytes": f"CASE WHEN {count} IS NOT NULL THEN {SIZE_BYTES} END",
        "files": "NULL::VARCHAR",
        "estimated_bytes": f"CASE WHEN {count} IS NULL THEN {SIZE_BYTES} END",
    }
    if with_parts:
        whole = {
            name: f"CASE WHEN part.key IS NULL THEN {text} ELSE part.{name} END"
            for name, text in whole.items()
        }
    return ", ".join(f"{text} AS {name}" for name, text in whole.items())
