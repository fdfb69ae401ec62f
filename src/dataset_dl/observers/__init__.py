"""Observers: callables that take events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from dataset_dl.model.events import Event

# A callable that takes events. If it is a context manager, too, it is entered before the first event and left
# after the last; the value that entering returns is called instead.
Show = Callable[[Event], object]
Observer = Show | AbstractContextManager[Show]

__all__ = ["Observer", "Show", "observed", "observing"]


@contextmanager
def observing(observers: Iterable[Observer]) -> Iterator[Show]:
    """Combine several observers into one."""
    with ExitStack() as stack:
        calls: list[Show] = [
            stack.enter_context(each) if isinstance(each, AbstractContextManager) else each
            for each in observers
        ]

        def show(event: Event) -> None:
            for call in calls:
                call(event)

        yield show


def observed(events: Iterator[Event], observers: Iterable[Observer]) -> Iterator[Event]:
    """Yield events after passing each to the observers. An exception in an observer ends the iteration."""
    try:
        with observing(observers) as show:
            for event in events:
                show(event)
                yield event
    finally:
        events.close()  # type: ignore[attr-defined]
