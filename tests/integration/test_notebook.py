"""A notebook of a user, executed by a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from dataset_dl.testing import LocalBucket

CELLS = [
    """
import dataset_dl as dd
from dataset_dl import IDCClient
plan = dd.plan(UIDS, into="data")
report = dd.download(plan, endpoint_url=ENDPOINT)
assert report.ok
""",
    """dd.collections("qin_pet")""",
    """
client = IDCClient(endpoint_url=ENDPOINT)
client.download_dicom_series(seriesInstanceUID=UIDS[:2], downloadDir="other")
client.sql_query("SELECT collection_id, count(*) AS n FROM index WHERE collection_id = 'nlst' GROUP BY 1")
""",
    """report = await dd.adownload(plan, endpoint_url=ENDPOINT); report.complete_series""",
]


def outputs(cell: Any, kind: str) -> list[str]:
    return [each.data[kind] for each in cell.outputs if "data" in each and kind in each.data]


def test_a_notebook_runs_and_shows_how_far_it_is(bucket: LocalBucket, tmp_path: Path) -> None:
    uids = [str(each.SeriesInstanceUID) for each in bucket.series]
    first = f"UIDS = {uids!r}\nENDPOINT = {bucket.endpoint_url!r}\n"
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in (first + CELLS[0], *CELLS[1:])]
    )
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    downloading, listing, client, awaiting = book.cells
    (bar,), (text,) = outputs(downloading, "text/html"), outputs(downloading, "text/plain")
    assert "<progress" in bar
    assert text.startswith("4/4 series, 19.0 MB of 19.0 MB")
    assert "qin_pet_phantom" in outputs(listing, "text/html")[0]
    assert "2/2 series" in outputs(client, "text/plain")[0]
    assert "nlst" in outputs(client, "text/html")[1]
    assert outputs(awaiting, "text/plain") == ["4"]
    assert not [
        each for cell in book.cells for each in cell.outputs if each.output_type in ("stream", "error")
    ]
    assert len(list((tmp_path / "data").rglob("*.dcm"))) == sum(each.instanceCount for each in bucket.series)
