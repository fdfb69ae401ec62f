"""How thumbnails are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from dataset_dl.errors import SelectionError

Shape = Literal["fitted", "square"]
Format = Literal["png", "webp", "jpeg"]
LEAST_PIXELS, MOST_PIXELS = 8, 4096


@dataclass(frozen=True)
class Settings:
    """How thumbnails are made.

    Attributes
    ----------
    size
        The longer side in pixels at most; of a square, both sides.
    shape
        ``fitted`` keeps the shape of the image, ``square`` puts it into the middle of a black square.
    format
        ``png``, ``webp`` or ``jpeg``.
    contrast
        See `pixels.contrast.Contrast.of`.
    draft
        Decode JPEG 2000 only as far as the size needs, which is several times faster and blurs a little.
    """

    size: int = 256
    shape: Shape = "fitted"
    format: Format = "png"
    contrast: str = "default"
    draft: bool = False

    def __post_init__(self) -> None:
        if not LEAST_PIXELS <= self.size <= MOST_PIXELS:
            raise SelectionError(
                "size", f"A size of {self.size} pixels is not between {LEAST_PIXELS} and {MOST_PIXELS}."
            )
        for name, value, known in (("shape", self.shape, Shape), ("format", self.format, Format)):
            if value not in get_args(known):
                raise SelectionError(
                    name, f"“{value}” is no {name} of thumbnails.", f"Known are {', '.join(get_args(known))}."
                )
        from dataset_dl.pixels.contrast import Contrast

        Contrast.of(self.contrast)

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Settings:
        """Parse settings from text.

        Raises
        ------
        SelectionError
            If one is wrong.
        """
        given: dict[str, Any] = dict(options)
        if "size" in given:
            if not str(given["size"]).isdecimal():
                raise SelectionError("size", f"“{given['size']}” is no number of pixels.")
            given["size"] = int(given["size"])
        if "draft" in given:
            if given["draft"].lower() not in ("true", "false"):
                raise SelectionError("draft", f"draft is “{given['draft']}” but must be true or false.")
            given["draft"] = given["draft"].lower() == "true"
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)
