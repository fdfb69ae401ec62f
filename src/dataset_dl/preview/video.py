"""Frames one after another: animated pictures by Pillow, videos by an ffmpeg that is on the machine."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_dl.errors import SelectionError, UnreadableObject
from dataset_dl.pixels.kinds import kind_of
from dataset_dl.process import run_to_end
from dataset_dl.scratch import Scratch

if TYPE_CHECKING:
    from PIL.Image import Image

_ANIMATED = {".webp": "WEBP", ".gif": "GIF", ".png": "PNG", ".apng": "PNG"}
_OPTIONS: dict[str, dict[str, Any]] = {
    "WEBP": {"quality": 90, "method": 2},
    "GIF": {"optimize": False},
    "PNG": {},
}
# Ending → what ffmpeg is told; both kinds play in every browser.
_ENCODED = {
    ".webm": ("-c:v", "libvpx-vp9", "-crf", "30", "-b:v", "0"),
    ".mp4": ("-c:v", "libx264", "-crf", "20", "-movflags", "+faststart"),
}
_FFMPEG_SECONDS = 600.0


def check_kind(path: Path) -> None:
    """Check that a video of this kind can be made here.

    Raises
    ------
    SelectionError
        If it is no kind of video, or if ffmpeg is needed for it and missing.
    """
    ending = path.suffix.lower()
    if ending in _ENCODED and shutil.which("ffmpeg") is None:
        raise SelectionError(
            str(path),
            f"{ending[1:]} is encoded by ffmpeg, which is not on this machine; nothing was fetched.",
            "Install ffmpeg, or name a .webp, .gif or .png, which are animated, too.",
        )
    kind_of(path, {**_ANIMATED, **_ENCODED})


def encode(frames: Sequence[Image], path: Path, frames_per_second: float) -> bytes:
    """Return frames as the content of a video.

    Parameters
    ----------
    frames
        The frames; they get the size of the largest.
    path
        Its ending says what to make.
    frames_per_second
        How fast.

    Raises
    ------
    UnreadableObject
        If ffmpeg fails.
    """
    from dataset_dl.pixels.pictures import alike

    cells = alike(frames, multiple=2)  # as encoders want it
    kind = _ANIMATED.get(path.suffix.lower())
    if kind is None:
        return _by_ffmpeg(cells, path.suffix.lower(), frames_per_second)
    out = io.BytesIO()
    cells[0].save(
        out, kind, save_all=True, append_images=cells[1:], duration=round(1000 / frames_per_second), loop=0,
        **_OPTIONS[kind],
    )  # fmt: skip
    return out.getvalue()


def _by_ffmpeg(frames: Sequence[Image], ending: str, frames_per_second: float) -> bytes:
    with Scratch("video") as scratch:
        for number, each in enumerate(frames):
            each.save(scratch / f"{number:06}.png", compress_level=1)
        target = scratch / f"video{ending}"
        argv = [
            shutil.which("ffmpeg") or "ffmpeg", "-v", "error", "-framerate", str(frames_per_second),
            "-i", str(scratch / "%06d.png"), *_ENCODED[ending], "-pix_fmt", "yuv420p", str(target),
        ]  # fmt: skip
        answer = run_to_end(argv, environment=dict(os.environ), timeout_seconds=_FFMPEG_SECONDS)
        if answer.returncode != 0 or not target.exists():
            said = (answer.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise UnreadableObject(
                ending, f"ffmpeg cannot encode {ending[1:]}: {said}.", "Name a .webp, which needs no ffmpeg."
            )
        return target.read_bytes()
