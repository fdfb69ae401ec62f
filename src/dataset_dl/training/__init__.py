"""Wing: train on series while they are being downloaded, on a disk that may be smaller than the data."""

from __future__ import annotations

from dataset_dl.training.dataset import SeriesDataset, collate, load_volume

__all__ = ["SeriesDataset", "collate", "load_volume"]
