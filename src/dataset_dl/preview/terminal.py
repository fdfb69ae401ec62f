"""Show a picture in the terminal: by its own protocol for pictures if it has one, else in half blocks."""

from __future__ import annotations

import os
import shutil
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING

import numpy as np

from dataset_dl.pixels.pictures import encoded

if TYPE_CHECKING:
    from PIL.Image import Image

_KITTY_CHUNK = 4096
_SIXEL_COLOURS = 216
_WIDE = 200


def show(made: Image, stream: IO[str], environment: Mapping[str, str] | None = None) -> None:
    """Write a picture to a terminal.

    Parameters
    ----------
    made
        The picture.
    stream
        The terminal.
    environment
        What tells which terminal it is.
    """
    how = protocol_of(os.environ if environment is None else environment) if stream.isatty() else "blocks"
    lines = {"kitty": _kitty, "iterm": _iterm, "sixel": _sixel, "blocks": _blocks}[how](made)
    for line in lines:
        stream.write(line)
    stream.write("\n")
    stream.flush()


def protocol_of(environment: Mapping[str, str]) -> str:
    """Return how a terminal shows pictures: ``kitty``, ``iterm``, ``sixel`` or ``blocks``."""
    terminal, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or terminal.startswith("screen"):
        return "blocks"  # it passes on no pictures
    if "KITTY_WINDOW_ID" in environment or "kitty" in terminal or "ghostty" in terminal:
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "vscode", "mintty"):
        return "iterm"
    if terminal.startswith(("foot", "mlterm", "contour", "yaft")) or "sixel" in terminal:
        return "sixel"
    return "blocks"


def _kitty(made: Image) -> Iterator[str]:
    data = b64encode(encoded(made)).decode()
    for at in range(0, len(data), _KITTY_CHUNK):
        more = int(at + _KITTY_CHUNK < len(data))
        head = f"a=T,f=100,m={more}" if at == 0 else f"m={more}"
        yield f"\x1b_G{head};{data[at : at + _KITTY_CHUNK]}\x1b\\"


def _iterm(made: Image) -> Iterator[str]:
    data = encoded(made)
    yield f"\x1b]1337;File=inline=1;size={len(data)}:{b64encode(data).decode()}\x07"


def _sixel(made: Image) -> Iterator[str]:
    indexed = made.convert("RGB").quantize(_SIXEL_COLOURS)
    palette = indexed.getpalette() or []
    pixels = np.asarray(indexed)
    yield f'\x1bPq"1;1;{made.width};{made.height}'
    for number in range(len(palette) // 3):
        red, green, blue = (round(each * 100 / 255) for each in palette[3 * number : 3 * number + 3])
        yield f"#{number};2;{red};{green};{blue}"
    for top in range(0, made.height, 6):
        band = pixels[top : top + 6]
        for number in np.unique(band):
            bits = ((band == number) * (1 << np.arange(len(band)))[:, None]).sum(axis=0)
            yield f"#{number}{''.join(chr(63 + each) for each in bits)}$"
        yield "-"
    yield "\x1b\\"


def _blocks(made: Image) -> Iterator[str]:
    """Two pixels a character: the upper one is its colour, the lower one its background."""
    columns = min(shutil.get_terminal_size((80, 24)).columns, _WIDE)
    width = min(columns, made.width)
    height = max(2, round(made.height * width / made.width / 2) * 2)
    pixels = np.asarray(made.convert("RGB").resize((width, height)))
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        before = None
        line = []
        for above, below in zip(upper, lower, strict=True):
            colours = (*above, *below)
            if colours != before:
                line.append("\x1b[38;2;{};{};{};48;2;{};{};{}m".format(*colours))
                before = colours
            line.append("▀")
        yield f"{''.join(line)}\x1b[0m\n"
