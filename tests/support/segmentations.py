"""Segmentations, made by highdicom."""

from __future__ import annotations

import warnings

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid


def segmentation(images: list[Dataset], masks: np.ndarray, kind: str = "BINARY") -> Dataset:
    """A segmentation of a series; masks of shape (slices, rows, columns, segments)."""
    descriptions = [
        hd.seg.SegmentDescription(
            number + 1,
            f"Segment {number + 1}",
            codes.cid7150.Tissue,
            codes.cid7166.ConnectiveTissue,
            "MANUAL",
        )
        for number in range(masks.shape[-1])
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hd.seg.Segmentation(
            images, masks, kind, descriptions, generate_uid(), 2, generate_uid(), 1, "M", "M", "1", "1",
            omit_empty_frames=True,
        )  # fmt: skip
