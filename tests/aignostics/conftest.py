from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from support import gcs

BUCKET = "samples-of-a-lab"
CONTENT = {
    "slides/one.tiff": random.Random(1).randbytes(700_001),
    "slides/two.svs": random.Random(2).randbytes(300_000),
    "slides/deep/er/three.dcm": random.Random(3).randbytes(150_000),
    "slides/empty.txt": b"",
    "notes.csv": b"slide,tissue\none,lung\n",
}


@pytest.fixture(scope="session")
def emulator() -> Iterator[gcs.Emulator]:
    with gcs.emulator() as running:
        yield running


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> gcs.Key:
    return gcs.Key.make(tmp_path_factory.mktemp("key") / "key.json")


@pytest.fixture
def gate(emulator: gcs.Emulator, key: gcs.Key, monkeypatch: pytest.MonkeyPatch) -> Iterator[gcs.Gate]:
    """Google Cloud Storage with a few objects, which the environment names together with the key."""
    emulator.ask("/wipe")
    emulator.make_bucket(BUCKET)
    for name, data in CONTENT.items():
        emulator.put(BUCKET, name, data)
    with gcs.gate(emulator, key) as running:
        monkeypatch.setenv("DATASET_DL_GCS_ENDPOINT_URL", running.url)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key.path))
        yield running
