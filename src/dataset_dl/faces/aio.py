"""A download for asyncio: it runs in a thread and stops if its task is cancelled."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterable
from concurrent.futures import wait
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from dataset_dl.model.outcome import DownloadProgress, Report
from dataset_dl.model.plan import Plan
from dataset_dl.verbs.download import ProgressCallback, download
from dataset_dl.verbs.options import TransferOptions, spelled_out
from dataset_dl.verbs.plan import Table

if TYPE_CHECKING:
    from dataset_dl.observers import Observer

_LOOK_SECONDS = 0.5


class _Unwanted(Exception):
    """Ends the download of a task that was cancelled."""


@spelled_out(TransferOptions)
async def adownload(
    what: Plan | str | Path | Iterable[str | Path] | Table = (),
    /,
    into: str | Path | None = None,
    *,
    progress_callback: ProgressCallback | None = None,
    observers: Iterable[Observer] = (),
    check: bool = True,
    **options: Unpack[TransferOptions],
) -> Report:
    """Download without blocking the event loop; parameters, result and errors as for `download`.

    Cancelling the task stops the download and its engine before `CancelledError` is raised; finished files
    are kept. The callback is called in the event loop and may be a coroutine function; observers are called
    in the thread.
    """
    loop = asyncio.get_running_loop()
    unwanted = threading.Event()

    def call_back(progress: DownloadProgress) -> None:
        if unwanted.is_set():
            raise _Unwanted
        if progress_callback is None:
            return
        called = asyncio.run_coroutine_threadsafe(_called(progress_callback, progress), loop)
        # A callback may be slow, so wait as long as the loop runs; a stopped loop never calls it.
        while not wait([called], _LOOK_SECONDS).done:
            if not loop.is_running():
                raise _Unwanted
        called.result()  # an exception in it ends the download

    def work() -> Report:
        return download(
            what,
            into,
            progress="none",
            progress_callback=call_back,
            observers=observers,
            check=check,
            **options,
        )

    running = loop.run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        unwanted.set()
        await asyncio.wait([running])
        running.exception()  # retrieve it, or asyncio logs it; the caller gets the cancellation
        raise


async def _called(progress_callback: ProgressCallback, progress: DownloadProgress) -> None:
    answer = progress_callback(progress)
    if inspect.isawaitable(answer):
        await answer
