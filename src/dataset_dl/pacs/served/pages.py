"""The pages Archives, Transfers, Batch and Upload."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_dl.errors import DatasetDlError
from dataset_dl.model.page import Page, Right
from dataset_dl.pacs import require
from dataset_dl.pacs.served import calls, nodes, proxy, uploading

if TYPE_CHECKING:
    from dataset_dl.pacs.transfers.worker import Worker

_STATIC = Path(__file__).parent / "static"
_LOOK_SECONDS = 1.0
_AT_ONCE = 2


@contextmanager
def working() -> Iterator[None]:
    """Do transfer jobs as long as the page is served, once there are any."""
    stop = threading.Event()
    workers: list[Worker] = []

    def work() -> None:
        from dataset_dl.pacs.served.records import is_used, store
        from dataset_dl.pacs.transfers.worker import Worker

        while not stop.is_set():
            if is_used():
                with suppress(DatasetDlError):  # it is tried again: the database may come back
                    workers[:] = [Worker(store(), at_once=_AT_ONCE)]
                    if not stop.is_set():
                        workers[0].run()
            stop.wait(_LOOK_SECONDS)

    thread = threading.Thread(target=work, name="transfers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        for each in workers:
            each.stop()
        thread.join()


ARCHIVES = Page(
    "Archives", _STATIC / "archives.js", (*nodes.CALLS, *calls.CALLS, *proxy.CALLS), require, is_listed=True,
    rights=(Right("query"),), beside=working,
)  # fmt: skip
TRANSFERS = Page(
    "Transfers", _STATIC / "transfers.js", (), require, is_listed=True,
    rights=(Right("retrieve|retrieve-pseudonymised|send|verify"),),
)  # fmt: skip
BATCH = Page(
    "Batch", _STATIC / "batch.js", (), require, is_listed=True,
    rights=(Right("retrieve|retrieve-pseudonymised"), Right("send")),
)  # fmt: skip
UPLOAD = Page(
    "Upload", _STATIC / "upload.js", uploading.CALLS, require, is_listed=True, rights=(Right("send"),)
)
