"""Something that shows a download: a bar in a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import IO, Literal

from dataset_dl.events import Event

Show = Callable[[Event], object]
Style = Literal["auto", "plain", "json", "none"]


def observer(style: Style, stream: IO[str]) -> AbstractContextManager[Show]:
    """Something that shows each event it is called with.

    Parameters
    ----------
    style
        ``auto`` is a bar in a terminal or a notebook and nothing elsewhere; ``plain`` a bar in a terminal
        and lines elsewhere; ``json`` one JSON object a line; ``none`` nothing.
    stream
        Where to.
    """
    if style == "json":
        from dataset_dl.ui.jsonlines import JsonLines

        return JsonLines(stream)
    if style in ("auto", "plain") and stream.isatty():
        from dataset_dl.ui.bar import Bar

        return Bar(stream)
    if style == "auto":
        from dataset_dl.ui.notebook import NotebookBar, is_notebook

        if is_notebook():
            return NotebookBar()
    if style == "plain":
        from dataset_dl.ui.plain import PlainLines

        return PlainLines(stream)
    return nullcontext(lambda event: None)
