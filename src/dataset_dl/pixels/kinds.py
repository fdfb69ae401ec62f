"""What the endings of files stand for. Needs no library, so a wrong name is told before anything else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from dataset_dl.errors import SelectionError

T = TypeVar("T")

PICTURES = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}


def kind_of(path: Path, kinds: Mapping[str, T]) -> T:
    """Return what the ending of a file stands for.

    Raises
    ------
    SelectionError
        If it stands for nothing.
    """
    ending = path.suffix.lower()
    if ending not in kinds:
        raise SelectionError(str(path), f"{path} has none of the endings {', '.join(kinds)}.")
    return kinds[ending]
