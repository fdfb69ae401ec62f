"""Settings of a transfer, for tests."""

from __future__ import annotations

from typing import Any

from dataset_dl.model.settings import DownloadSettings


def settings(*, md5: bool = False, **options: Any) -> DownloadSettings:
    """Return `DownloadSettings` that compare checksums or not."""
    return DownloadSettings(verify="md5" if md5 else "size", **options)
