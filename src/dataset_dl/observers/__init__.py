"""Observers: callables that take events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from dataset_dl.model.events import Event

# A callable that takes events. One that is a context manager, too, is entered before the first event and left
# after the last; what entering gives is then called.
Show = Callable[[Event], object]
Observer = Show | AbstractContextManager[Show]

__all__ = ["Observer", "Show", "observed", "observing"]


@contextmanager
def observing(observers: Iterable[Observer]) -> Iterator[Show]:
    """Several observers as one."""
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
    """Events that observers see as they pass by. An exception in an observer ends them."""
    try:
        with observing(observers) as show:
            for event in events:
                show(event)
                yield event
    finally:
        events.close()  # type: ignore[attr-defined]
