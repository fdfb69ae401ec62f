"""From what a person names to consumers, and what runs each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dataset_dl.destination.consumers import Consumer, ConsumerRequest
from dataset_dl.doors import CONSUMERS
from dataset_dl.errors import SelectionError
from dataset_dl.model.series import Series
from dataset_dl.transfer.courier import Hand
from dataset_dl.transfer.crew import Here, Processes


class _Function:
    """A function as a consumer; its receipt has the values that it returns, if they are a mapping."""

    options: Mapping[str, Any] = {}

    def __init__(self, function: Callable[[Series], object]) -> None:
        self._function = function
        self.name = getattr(function, "__qualname__", type(function).__name__)

    def take(self, series: Series) -> Mapping[str, Any]:
        made = self._function(series)
        return made if isinstance(made, Mapping) else {}


def hands_of(wanted: Iterable[Any], destination: Path, processes: int | None = None) -> list[Hand]:
    """Return consumers, each with what runs it.

    Parameters
    ----------
    wanted
        Names like ``thumbnails`` or ``NAME:WHERE?OPTION=VALUE``, consumers, and functions that take a
        `Series`. Consumers that a package registers run in processes; others in a thread of this process.
    destination
        Where the series come from.
    processes
        How many processes for each; one a core if None.

    Raises
    ------
    SelectionError
        If one is unknown, or two have the same name.
    MissingExtra
        If what one needs is not installed.
    """
    hands = [_hand(each, destination, processes or os.cpu_count() or 1) for each in wanted]
    names = [each.consumer.name for each in hands]
    for name in names:
        if names.count(name) > 1:
            raise SelectionError(name, f"The consumer {name} is named twice.", "Name it once.")
    return hands


def _hand(wanted: Any, destination: Path, processes: int) -> Hand:
    if isinstance(wanted, Hand):
        return wanted
    if not isinstance(wanted, str):
        consumer: Consumer = wanted if hasattr(wanted, "take") else _Function(wanted)
        return Hand(consumer, Here(consumer))
    request = ConsumerRequest.of(wanted, destination)
    make = CONSUMERS.find(request.name)
    if make is None:
        known = ", ".join(CONSUMERS.names()) or "none"
        raise SelectionError(wanted, f"There is no consumer “{request.name}”.", f"Known are {known}.")
    consumer = make(request)
    if CONSUMERS.is_everywhere(request.name):
        return Hand(consumer, Processes(request, processes))
    return Hand(consumer, Here(consumer))
