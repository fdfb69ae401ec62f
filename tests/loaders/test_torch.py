"""Training with torch: DataLoader workers under each start method, two ranks, a SIGKILL; MONAI's transforms."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandFlipd, ScaleIntensityRanged, SpatialPadd
from torch.utils.data import DataLoader

from dataset_dl.model.series import PlannedSeries, Series
from dataset_dl.testing import LocalBucket
from dataset_dl.training import collate, load_volume
from support import training
from support.dicoms import slice_of, write_series
from support.many import many_series

COUNT = 16


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBucket]:
    with many_series(COUNT, tmp_path_factory.mktemp("many")) as served:
        yield served


def ranks(orders: dict[str, Any]) -> list[subprocess.Popen[bytes]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "ORDERS": json.dumps(orders), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "PYTHONPATH": str(Path(training.__file__).parents[1]), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return [
        subprocess.Popen(
            [sys.executable, "-m", "support.ranks"], env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]


def log(orders: dict[str, Any]) -> Counter[str]:
    path = Path(orders["log"])
    return Counter(path.read_text().split()) if path.exists() else Counter()


@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_two_ranks_train_on_each_series_over_a_kill(store: LocalBucket, tmp_path: Path, start: str) -> None:
    orders = {
        "keys": [each.crdc_series_uuid for each in store.series], "into": str(tmp_path / "data"), "start": start,
        "budget": 6 * max(each.expected_bytes for each in store.series), "endpoint": store.endpoint_url,
        "log": str(tmp_path / "log"), "expected": COUNT,
    }  # fmt: skip
    running = ranks(orders)
    deadline = time.monotonic() + 60
    while log(orders).total() < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    for each in running:
        each.send_signal(signal.SIGKILL)
    for each in running:
        each.wait()
    before = log(orders)
    time.sleep(1)  # until what they had started has noticed
    assert [each.wait(timeout=90) for each in ranks(orders)] == [0, 0]
    counts = log(orders)
    assert set(counts) == set(orders["keys"])
    # Each rank may repeat the batch that it had just finished; the sampler pads an odd rest with its first sample.
    assert counts.total() <= COUNT + 2 * 2 + 1
    assert before.total() >= 4


def series_of(root: Path, number: int) -> Series:
    directory = write_series(
        root / str(number),
        [
            slice_of(
                (0, 0, 2.0 * place),
                values=np.full((16, 16), 100 * place + number, np.int16),
                PixelSpacing=[1, 1],
            )
            for place in range(8)
        ],
    )
    row = PlannedSeries(
        "c", f"P{number}", "1.2", f"1.2.{number}", "CT", None, None, str(number), "s3://x/y/*", "", 8, None
    )
    return Series(row, directory, tuple(sorted(directory.iterdir())))


def test_transforms_of_monai_work_on_samples(tmp_path: Path) -> None:
    transform = Compose(
        [
            ScaleIntensityRanged("image", 0, 800, 0.0, 1.0),
            RandFlipd("image", prob=1.0, spatial_axis=0),
            SpatialPadd("image", (10, 20, 20)),
        ]
    )
    samples = [transform(load_volume(series_of(tmp_path, number))) for number in range(3)]
    loader = DataLoader([*samples, None], batch_size=4, collate_fn=collate)  # type: ignore[arg-type]
    (batch,) = loader
    assert batch["image"].shape == (3, 1, 10, 20, 20)
    assert batch["image"].dtype == torch.float32
    assert 0.8 < float(batch["image"].max()) <= 1.0
    assert batch["PatientID"] == ["P0", "P1", "P2"]
    assert collate([None]) is None
