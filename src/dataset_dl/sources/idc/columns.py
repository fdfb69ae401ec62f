"""SQL that turns columns of the main index into columns of a plan."""

from __future__ import annotations

from dataset_dl.model.series import PlannedSeries

# Copied unchanged.
IDENTITY = PlannedSeries._fields[: PlannedSeries._fields.index("key")]
# Built from its parts, as IDC does: the address itself would be the largest column to read.
ADDRESS = "'s3://' || aws_bucket || '/' || crdc_series_uuid || '/*'"
SIZE_BYTES = "round(series_size_MB * 1e6)::BIGINT"
YEAR = "left(StudyDate, 4)"
ORIGIN = "CASE WHEN analysis_result_id IS NULL THEN 'original' ELSE 'analysis result' END"
# Facet → its SQL in the main index; a missing value is an empty text.
FACETS_OF_SERIES = {
    "collection_id": "collection_id",
    "Modality": "coalesce(Modality, '')",
    "BodyPartExamined": "coalesce(BodyPartExamined, '')",
    "license_short_name": "coalesce(license_short_name, '')",
    "Manufacturer": "coalesce(Manufacturer, '')",
    "year": f"coalesce({YEAR}, '')",
    "origin": ORIGIN,
}
# Facets of a collection, which may have several values.
FACETS_OF_COLLECTION = ("cancer_types", "species")
ROW = f"{', '.join(IDENTITY)}, crdc_series_uuid AS key, {ADDRESS} AS address"
# The index columns that these expressions need.
NEEDED = (*IDENTITY, "crdc_series_uuid", "aws_bucket", "instanceCount", "series_size_MB")


def sizes(*, with_parts: bool) -> str:
    """SQL for the sizes of each series, from a table ``chosen`` with columns of the index.

    For a series of an earlier IDC version, the tables contain a rounded size and no number of files. If a
    series is in a table ``part``, made with `plans.columns.parts`, only those files of it are wanted.
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
