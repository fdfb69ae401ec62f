"""A progress bar in a notebook: HTML that replaces itself. Jupyter, VS Code and Colab need no extension."""

from __future__ import annotations

import html
import sys
from types import TracebackType
from typing import Any

from dataset_dl.observers.drawing import Drawing
from dataset_dl.observers.notices import standing
from dataset_dl.wording import size

_DRAW_SECONDS = 0.25
_NOTICES_SHOWN = 5


def is_notebook() -> bool:
    """Whether this runs in the kernel of a notebook. Imports nothing to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookBar(Drawing):
    """Shows series, bytes, speed and time left below the cell, and the latest notices."""

    def __init__(self) -> None:
        super().__init__(_DRAW_SECONDS)
        self._last: list[str] = []
        self._shown: Any = None

    def __enter__(self) -> NotebookBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw()

    def _show_line(self, line: str) -> None:
        self._last = [*self._last, line][-_NOTICES_SHOWN:]

    def _draw(self) -> None:
        from IPython.display import display

        state = self._tracker.snapshot()
        line, total, completed = standing(state), state.total_bytes, state.completed_bytes
        if self._working is not None:
            total, completed = self._working.total_bytes or 0, self._working.done_bytes
            line = f"{self._working.activity}, {size(completed)}"
        rows = "".join(f"<div>{html.escape(each)}</div>" for each in self._last)
        reach = f'max="{total}" value="{completed}"'
        bar = f'<progress style="width:100%" {reach}></progress>'
        bundle = {"text/html": f"{bar}<div>{html.escape(line)}</div>{rows}", "text/plain": line}
        if self._shown is None:
            self._shown = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._shown.update(bundle, raw=True)
