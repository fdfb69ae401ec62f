"""Downloads that are awaited."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl import DownloadProgress
from dataset_dl.testing import LocalBucket
from support.children import running


def test_a_download_is_awaited_while_the_loop_runs(bucket: LocalBucket, tmp_path: Path) -> None:
    plan = dd.plan([each.crdc_series_uuid for each in bucket.series], into=tmp_path)
    threads: set[int] = set()
    seen: list[DownloadProgress] = []
    ticks = 0

    def call_back(progress: DownloadProgress) -> None:
        threads.add(threading.get_ident())
        seen.append(progress)

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    async def main() -> dd.Report:
        ticking = asyncio.create_task(tick())
        report = await dd.adownload(plan, progress_callback=call_back, endpoint_url=bucket.endpoint_url)
        await asyncio.sleep(0)
        ticking.cancel()
        return report

    assert asyncio.run(main()).ok
    assert threads == {threading.get_ident()}
    assert seen[-1].completed_series == 4
    assert ticks > 1


def test_a_cancelled_task_ends_its_download(bucket: LocalBucket, tmp_path: Path) -> None:
    plan = dd.plan([each.crdc_series_uuid for each in bucket.series], into=tmp_path)

    async def main() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(
            dd.adownload(plan, progress_callback=lambda _: begun.set(), endpoint_url=bucket.endpoint_url,
                         workers=1, max_rate_mbps=2)
        )  # fmt: skip
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not running()
    assert not list(tmp_path.rglob("*.dcm?*"))
    assert dd.download(plan, endpoint_url=bucket.endpoint_url).ok


def test_its_errors_are_those_of_a_download(tmp_path: Path) -> None:
    plan = dd.plan("qin_pet_phantom", into=tmp_path)
    with pytest.raises(dd.NetworkError):
        asyncio.run(dd.adownload(plan, endpoint_url="http://127.0.0.1:9"))


def test_a_callback_may_be_a_coroutine_and_its_exception_ends_the_download(
    bucket: LocalBucket, tmp_path: Path
) -> None:
    plan = dd.plan([each.crdc_series_uuid for each in bucket.series], into=tmp_path)

    async def stop(progress: dd.DownloadProgress) -> None:
        await asyncio.sleep(0)
        if progress.completed_files:
            raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="the caller's own"):
        asyncio.run(
            dd.adownload(
                plan, progress_callback=stop, endpoint_url=bucket.endpoint_url, workers=1, max_rate_mbps=5
            )
        )
    assert not running()
    assert asyncio.run(dd.adownload(plan, endpoint_url=bucket.endpoint_url)).ok
