"""A progress bar in a terminal, drawn only from events."""

from __future__ import annotations

from types import TracebackType
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from dataset_dl.model.events import Working
from dataset_dl.observers.drawing import Drawing
from dataset_dl.wording import duration, size, visible

_DRAW_SECONDS = 0.1
_LEAST_BAR, _PERCENT = 12, 8


class Bar(Drawing):
    """Shows series, bytes, speed and time left; notices scroll by above it."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(_DRAW_SECONDS)
        self._progress = Progress(
            TextColumn("{task.fields[series]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[amount]}"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[left]}"),
            console=Console(file=stream),
            auto_refresh=False,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _show_line(self, line: str) -> None:
        self._progress.console.print(visible(line), markup=False, highlight=False)

    def _draw(self) -> None:
        if self._working is not None:
            self._draw_working(self._working)
            return
        state = self._tracker.snapshot()
        fields: dict[str, Any] = {
            "series": f"{state.completed_series:,}/{state.total_series:,} series",
            "amount": f"{size(state.completed_bytes)} of {size(state.total_bytes)}",
            "speed": f"{state.throughput_mbps:.1f} MB/s",
            "left": "" if state.seconds_left is None else f"{duration(state.seconds_left)} left",
        }
        # In a narrow terminal the bar keeps its width, and the least important fields go.
        room = self._progress.console.width - _LEAST_BAR - _PERCENT
        for name in ("speed", "series", "amount"):
            if sum(len(each) + 1 for each in fields.values()) > room:
                fields[name] = size(state.completed_bytes) if name == "amount" else ""
        self._update(state.total_bytes, state.completed_bytes, fields)

    def _draw_working(self, working: Working) -> None:
        fields = {"series": working.activity, "amount": size(working.done_bytes), "speed": "", "left": ""}
        self._update(working.total_bytes, working.done_bytes, fields)

    def _update(self, total: int | None, completed: int, fields: dict[str, Any]) -> None:
        if self._task is None:
            self._task = self._progress.add_task("", total=None, **fields)
        self._progress.update(self._task, total=total, completed=completed, refresh=True, **fields)
