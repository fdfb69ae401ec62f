from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.model.events import (
    BytesWritten,
    Event,
    FetchStarted,
    FileCompleted,
    Finished,
    RetryStarted,
    SeriesCompleted,
    SeriesFailed,
    SeriesSized,
    Started,
)
from dataset_dl.model.outcome import Report, SeriesFailure
from dataset_dl.model.series import Size
from dataset_dl.observers.progress import ProgressTracker
from support.plans import row


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_download_from_start_to_end() -> None:
    clock = Clock()
    tracker = ProgressTracker(clock)
    tracker.feed(Started(Path("to"), 3, 6, 60))
    tracker.feed(SeriesCompleted(row(0), fetched=False))
    state = tracker.snapshot()
    assert (state.completed_files, state.completed_series, state.completed_bytes) == (2, 1, 20)
    assert state.seconds_left is None
    tracker.feed(FetchStarted(2, 4, 40, 0, 0, 8))
    clock.now += 1
    tracker.feed(BytesWritten(5))
    assert tracker.snapshot().completed_bytes == 25
    tracker.feed(FileCompleted("u", "d/a.dcm", 10))
    tracker.feed(FileCompleted("u", "d/b.dcm", 10))
    clock.now += 1
    tracker.feed(BytesWritten(20))
    tracker.feed(SeriesCompleted(row(1), fetched=True))
    state = tracker.snapshot()
    assert (state.completed_files, state.completed_series, state.completed_bytes) == (4, 2, 40)
    assert state.current_file == "d/b.dcm"
    assert state.throughput_mbps == 15 / 1e6
    assert state.seconds_left == 20 / 15
    tracker.feed(SeriesFailed(SeriesFailure(row(2), "not_found", "no", 1, 10)))
    state = tracker.snapshot()
    assert (state.failed_series, state.failed_files) == (1, 1)
    assert state.elapsed_seconds == 2


def test_a_series_that_was_estimated_is_counted_once() -> None:
    tracker = ProgressTracker(Clock())
    tracker.feed(Started(Path("to"), 2, 6, 60))
    tracker.feed(FetchStarted(2, 6, 60, 0, 0, 8))
    tracker.feed(SeriesSized("u", Size(3, 33), Size(2, 30)))
    state = tracker.snapshot()
    assert (state.total_files, state.total_bytes) == (7, 63)


events = st.one_of(
    st.builds(BytesWritten, st.integers(0, 200)),
    st.builds(lambda size: FileCompleted("u", "p", size), st.integers(0, 50)),
    st.builds(RetryStarted, st.just(1), st.integers(0, 1), st.integers(0, 100), st.just(1.0)),
)


@given(st.lists(events))
def test_the_bar_never_goes_back_nor_beyond_the_end(happenings: list[Event]) -> None:
    tracker = ProgressTracker(Clock())
    tracker.feed(Started(Path("to"), 1, 1, 100))
    shown = 0
    for event in happenings:
        tracker.feed(event)
        now = tracker.snapshot().completed_bytes
        assert shown <= now <= 100
        shown = now
    tracker.feed(Finished(Report(Path(), 1, 1, 100, 0, 0, 0, 0, 0, (), 1.0)))
    assert tracker.snapshot().completed_bytes <= 100


def test_what_is_half_there_counts_and_a_retry_counts_anew() -> None:
    tracker = ProgressTracker(Clock())
    tracker.feed(Started(Path("to"), 3, 6, 60))
    tracker.feed(SeriesCompleted(row(0), fetched=False))
    tracker.feed(FetchStarted(2, 4, 40, 1, 10, 8))
    assert (tracker.snapshot().completed_files, tracker.snapshot().completed_bytes) == (3, 30)
    tracker.feed(FileCompleted("u", "d/a.dcm", 10))
    tracker.feed(SeriesCompleted(row(1), fetched=True))
    assert tracker.snapshot().completed_files == 4
    tracker.feed(FileCompleted("v", "e/a.dcm", 9))
    assert (tracker.snapshot().completed_files, tracker.snapshot().completed_bytes) == (5, 49)
    tracker.feed(RetryStarted(1, 0, 0, 1.0))  # the last file was wrong, and is gone
    assert tracker.snapshot().completed_files == 4
    tracker.feed(FileCompleted("v", "e/a.dcm", 10))
    tracker.feed(FileCompleted("v", "e/b.dcm", 10))
    tracker.feed(SeriesCompleted(row(2), fetched=True))
    assert (tracker.snapshot().completed_files, tracker.snapshot().completed_bytes) == (6, 60)
