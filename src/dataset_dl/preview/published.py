"""The images of a slide as IDC's table lists them, so that choosing one of them needs no request."""

from __future__ import annotations

from dataset_dl.duck import quote
from dataset_dl.preview.finding import Found
from dataset_dl.preview.index import Instance

_TABLE = "sm_instance_index"


def published_images(found: Found) -> list[Instance]:
    """Return the images of a slide of IDC, by sm_instance_index.

    Rows and Columns are 0, because the table does not have the size of the tiles. The list is empty if the
    table is not on this machine or lacks this series.
    """
    if not found.key:
        return []
    from dataset_dl.sources.idc.tables import query, tables

    if tables()[_TABLE].parquet_path is None:
        return []
    rows = query(
        "SELECT crdc_instance_uuid, SOPInstanceUID, array_to_string(ImageType, '\\'),"
        " TotalPixelMatrixColumns, TotalPixelMatrixRows, instance_size"
        f" FROM {_TABLE} JOIN idc_index USING (SeriesInstanceUID)"
        f" WHERE crdc_series_uuid = {quote(found.key)} AND TotalPixelMatrixColumns > 0"
    )
    return [
        Instance(
            number, 0, None, f"{uuid}.dcm", uid, None, 0, 0, 1, (), image_type or "", width, height, size,
            "", f"{found.base}{uuid}.dcm",
        )
        for number, (uuid, uid, image_type, width, height, size) in enumerate(rows)
    ]  # fmt: skip
