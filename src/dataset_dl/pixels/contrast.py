"""From stored values to what a screen shows: modality LUT, then VOI LUT or window, then 8 bits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dataset_dl.errors import SelectionError
from dataset_dl.pixels.unreadable import Unreadable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Window width and level, in the units of the modality (Hounsfield units for CT).
PRESETS: dict[str, tuple[float, float]] = {
    "ct-lung": (1500, -500),
    "ct-bone": (2000, 300),
    "ct-abdomen": (350, 50),
    "ct-mediastinum": (350, 50),
    "ct-brain": (80, 40),
    "ct-vascular": (700, 200),
    "ct-liver": (150, 30),
    "ct-soft-tissue": (400, 50),
    "mr-t1": (700, 300),
    "mr-t2": (475, 155),
    "mr-proton": (920, 420),
}
_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_WINDOW = re.compile(rf"({_NUMBER})\s*[/,:x]\s*({_NUMBER})")
_LOW_PERCENTILE, _HIGH_PERCENTILE = 2, 98
_MOST_LEVELS = 1 << 16
_MOST_WIDTH = 1e9
# Where a frame of a multi-frame object keeps these attributes.
_FUNCTIONAL_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence",
                      "PlanePositionSequence", "PlaneOrientationSequence")  # fmt: skip


@dataclass(frozen=True)
class Contrast:
    """How stored values become brightness.

    Attributes
    ----------
    name
        As it was requested: ``default``, ``auto``, ``embedded``, a preset, or ``WIDTH/LEVEL``.
    window
        Width and level in the units of the modality; None if they come from each image.
    """

    name: str = "default"
    window: tuple[float, float] | None = None

    @classmethod
    def of(cls, text: str) -> Contrast:
        """Parse a contrast.

        Parameters
        ----------
        text
            ``default`` (the embedded one, else ``auto``), ``auto`` (2nd to 98th percentile), ``embedded``,
            the name of a preset with or without its modality, or width and level like ``1500/-500``.

        Raises
        ------
        SelectionError
            If it is none of these.
        """
        name = text.strip().lower().replace("_", "-")
        if name in ("default", "auto", "embedded"):
            return cls(name)
        for preset, window in PRESETS.items():
            if name in (preset, preset.partition("-")[2]):
                return cls(preset, window)
        if (match := _WINDOW.fullmatch(name)) and float(match[1]) >= 1:
            return cls(f"{match[1]}/{match[2]}", (float(match[1]), float(match[2])))
        raise SelectionError(
            text,
            f"“{text}” is no contrast.",
            f"Known are auto, embedded, WIDTH/LEVEL like 1500/-500, and {', '.join(PRESETS)}.",
        )

    def apply(self, array: np.ndarray, dataset: Dataset) -> np.ndarray:
        """Convert stored values to 8 bits.

        Parameters
        ----------
        array
            Stored values of shape (rows, columns), or RGB of shape (rows, columns, 3).
        dataset
            The attributes of the frame, see `frame_attributes`.

        Returns
        -------
        numpy.ndarray
            8 bits of the same shape; (rows, columns, 3) for a palette.

        Raises
        ------
        Unreadable
            If the attributes do not allow it.
        """
        try:
            return self._applied(array, dataset)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, Unreadable):
                raise
            raise Unreadable(
                f"cannot be shown: {str(error).splitlines()[0] if str(error) else 'no reason'}"
            ) from None

    def _applied(self, array: np.ndarray, dataset: Dataset) -> np.ndarray:
        from pydicom.pixels.processing import apply_color_lut

        colours = str(dataset.get("PhotometricInterpretation", ""))
        if colours == "PALETTE COLOR" and array.ndim == 2:
            return _to_8_bits(apply_color_lut(array, dataset))
        if array.ndim == 3:
            return _to_8_bits(array)
        grey = self._windowed(array, dataset)
        return 255 - grey if colours == "MONOCHROME1" else grey

    def _windowed(self, array: np.ndarray, dataset: Dataset) -> np.ndarray:
        levels = _levels(array)
        if levels is None:
            return self._of_values(array, dataset, lambda: array[~_padding(array, dataset)])
        # Every pixel of one stored value gets one grey: so only the values are converted, once each.
        places = np.subtract(array, int(levels[0]), dtype=np.intp, casting="unsafe")

        def inside() -> np.ndarray:
            counts = np.bincount(places.ravel(), minlength=len(levels))
            counts[_padding(levels, dataset)] = 0
            shares = np.cumsum(counts)
            if shares[-1] == 0:
                return levels[:0]
            wanted = np.array((_LOW_PERCENTILE, _HIGH_PERCENTILE)) / 100 * shares[-1]
            chosen: np.ndarray = levels[np.searchsorted(shares, wanted)]
            return chosen

        shown: np.ndarray = self._of_values(levels, dataset, inside)[places]
        return shown

    def _of_values(
        self, values: np.ndarray, dataset: Dataset, inside: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Convert values; `inside` returns those that the percentiles are of."""
        from pydicom.pixels.processing import apply_modality_lut

        shown = apply_modality_lut(values, dataset)
        if not np.isfinite(shown).any():
            raise Unreadable("has no values that are numbers")
        if self.window is not None:
            return _window(shown, *self.window)
        if self.name != "auto" and (embedded := _embedded(shown, dataset)) is not None:
            return embedded
        chosen = inside()
        chosen = apply_modality_lut(chosen, dataset) if chosen.size else shown
        chosen = chosen[np.isfinite(chosen)]
        low, high = np.percentile(chosen, (_LOW_PERCENTILE, _HIGH_PERCENTILE)) if chosen.size > 2 else (
            chosen.min(), chosen.max(),
        )  # fmt: skip
        if high <= low:
            low, high = np.nanmin(shown), np.nanmax(shown)
        return _scaled(shown, float(low), float(high))


def _levels(array: np.ndarray) -> np.ndarray | None:
    """Return all values from the lowest to the highest, if that are fewer than pixels."""
    if array.dtype.kind not in "iu" or not array.size:
        return None
    lowest, highest = int(array.min()), int(array.max())
    if highest - lowest >= min(array.size, _MOST_LEVELS):
        return None
    return np.arange(lowest, highest + 1).astype(array.dtype)


def frame_attributes(dataset: Dataset, number: int) -> Dataset:
    """Return the attributes of a frame: those of the object, with those of its functional groups."""
    from pydicom.dataset import Dataset

    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    each = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    groups = [*shared[:1], *each[number : number + 1]]
    if not groups:
        return dataset
    merged = Dataset(dataset)
    for group in groups:
        for keyword in _FUNCTIONAL_GROUPS:
            for item in group.get(keyword) or ():
                merged.update(item)
    return merged


def _padding(array: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return where an image has no values, see PS3.3 C.7.5.1.1.2."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(array.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (array >= low) & (array <= high)


def _embedded(values: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Apply what an image says itself of how it is to be shown; None if it says nothing."""
    from pydicom.pixels.processing import apply_voi, apply_windowing

    if dataset.get("VOILUTSequence"):
        shown = apply_voi(values.astype(np.int64), dataset)
        depth = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return _scaled(shown, 0, 2**depth - 1)
    is_linear = str(dataset.get("VOILUTFunction") or "LINEAR") == "LINEAR"
    try:
        width, level = _first(dataset.get("WindowWidth")), _first(dataset.get("WindowCenter"))
    except (TypeError, ValueError, IndexError):
        return None
    least = 1 if is_linear else 0
    if not (width and least <= width < _MOST_WIDTH and abs(level) < _MOST_WIDTH):
        return None  # it cannot be meant
    if is_linear:
        return _window(values, width, level)
    shown = apply_windowing(values, dataset)
    return _scaled(shown, float(shown.min()), float(shown.max()))


def _first(value: object) -> float:
    return float(value[0] if isinstance(value, (list, tuple)) or hasattr(value, "append") else value)  # type: ignore


def _window(values: np.ndarray, width: float, level: float) -> np.ndarray:
    """Apply a linear window, see PS3.3 C.11.2.1.2."""
    centre, span = level - 0.5, max(width - 1, 1e-6)
    return _scaled(values, centre - span / 2, centre + span / 2)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    span = high - low
    if span <= 0:
        return np.full(values.shape, 128, np.uint8)
    scaled = values.astype(np.float32)
    scaled -= low
    scaled *= 255 / span
    np.nan_to_num(scaled, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    np.clip(scaled, 0, 255, out=scaled)
    scaled += 0.5
    return scaled.astype(np.uint8)


def _to_8_bits(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    most = int(array.max(initial=0))
    shift = max(0, 8 * array.dtype.itemsize - 8) if most > 255 else 0
    return (array >> shift).astype(np.uint8)
