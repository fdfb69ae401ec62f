"""Displays of a download: a bar in a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import IO, Literal

from dataset_dl.model.events import Event
from dataset_dl.observers import Show

Style = Literal["auto", "plain", "json", "none"]


class _Careful:
    """An observer that falls silent instead of ending the download if its output cannot be written."""

    def __init__(
        self, inner: AbstractContextManager[Show], on_unwritable: Callable[[OSError], object] | None
    ) -> None:
        self._inner = inner
        self._on_unwritable = on_unwritable
        self._show: Show | None = None

    def __enter__(self) -> Show:
        self._show = self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._silencing():
            self._inner.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        if self._show is not None:
            with self._silencing():
                self._show(event)

    @contextmanager
    def _silencing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._show = None
            if self._on_unwritable is not None:
                self._on_unwritable(error)


def display(
    style: Style, stream: IO[str] | None, on_unwritable: Callable[[OSError], object] | None = None
) -> AbstractContextManager[Show]:
    """Return an observer that displays events, as long as its output can be written.

    Parameters
    ----------
    style
        ``auto`` is a bar in a terminal or a notebook and nothing elsewhere; ``plain`` a bar in a terminal
        and lines elsewhere; ``json`` one JSON object a line; ``none`` nothing.
    stream
        Where to write; nowhere if None, as in a service without standard error.
    on_unwritable
        Called when the output cannot be written any more.
    """
    return _Careful(_display(style, stream), on_unwritable)


def _display(style: Style, stream: IO[str] | None) -> AbstractContextManager[Show]:
    if stream is None:
        return nullcontext(lambda event: None)
    if style == "json":
        from dataset_dl.observers.jsonlines import JsonLines

        return JsonLines(stream)
    is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    if style in ("auto", "plain") and is_terminal:
        from dataset_dl.observers.bar import Bar

        return Bar(stream)
    if style == "auto":
        from dataset_dl.observers.notebook import NotebookBar, is_notebook

        if is_notebook():
            return NotebookBar()
    if style == "plain" or (style == "auto" and stream.isatty()):
        from dataset_dl.observers.plain import PlainLines

        return PlainLines(stream)
    return nullcontext(lambda event: None)
