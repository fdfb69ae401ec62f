"""From what a person names to consumers, and what runs each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dataset_dl.destination.consumers import Consumer, ConsumerRequest
from dataset_dl.doors import CONSUMERS, STEPS
from dataset_dl.errors import SelectionError
from dataset_dl.model.series import Series
from dataset_dl.transfer.crew import Processes
from dataset_dl.transfer.handing import Hand
from dataset_dl.transfer.stepped import Stepped
from dataset_dl.transfer.threads import Here


class _Function:
    """A function as a consumer; its receipt has the values that it returns, if they are a mapping.

    Its code is among its options, so a function that was changed, or another one of the same name, gets each
    series anew.
    """

    def __init__(self, function: Callable[[Series], object]) -> None:
        name = getattr(function, "__qualname__", "")
        if not name or "<lambda>" in name:
            raise SelectionError(
                "to",
                f"{function!r} has no name that a receipt could carry, so nobody could tell what it took.",
                "Write a function with def, or an object with a name and options.",
            )
        self._function = function
        self.name = f"{getattr(function, '__module__', None) or 'builtins'}.{name}"
        self.options: Mapping[str, Any] = {"code": _digest_of_code(function)}

    def take(self, series: Series) -> Mapping[str, Any]:
        made = self._function(series)
        return made if isinstance(made, Mapping) else {}


def _digest_of_code(function: Callable[..., object]) -> str:
    """Return a digest of what a function does, as far as can be seen: its code, and plain values it holds."""
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    held = [_plain(cell.cell_contents) for cell in getattr(function, "__closure__", None) or ()]
    constants = [_plain(each) for each in code.co_consts]
    text = repr((code.co_code, code.co_names, code.co_freevars, constants, held))
    return hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=8).hexdigest()


def _plain(value: object) -> str:
    return repr(value) if isinstance(value, (str, bytes, int, float, Path)) else type(value).__name__


def hands_of(wanted: Iterable[Any], destination: Path, processes: int | None = None) -> list[Hand]:
    """Return consumers, each with what runs it.

    Parameters
    ----------
    wanted
        Names like ``thumbnails`` or ``NAME:WHERE?OPTION=VALUE``, consumers, and functions that take a
        `Series`. Consumers that a package registers run in processes unless they name threads or groups;
        others in threads of this process.
    destination
        Where the series come from.
    processes
        How many processes or threads for each; if None, one a core, or as many threads as it names.

    Raises
    ------
    SelectionError
        If one is unknown, or two have the same name.
    MissingExtra
        If what one needs is not installed.
    """
    hands = [_hand(each, destination, processes) for each in wanted]
    names = [each.consumer.name for each in hands]
    for name in names:
        if names.count(name) > 1:
            raise SelectionError(name, f"The consumer {name} is named twice.", "Name it once.")
    return hands


def _hand(wanted: Any, destination: Path, processes: int | None) -> Hand:
    if isinstance(wanted, Hand):
        return wanted
    if not isinstance(wanted, str):
        consumer: Consumer = wanted if hasattr(wanted, "take") else _Function(wanted)
        return Hand(consumer, _here(consumer, None))
    request = ConsumerRequest.of(wanted, destination)
    make = CONSUMERS.find(request.name)
    if make is None:
        known = ", ".join(CONSUMERS.names()) or "none"
        raise SelectionError(wanted, f"There is no consumer “{request.name}”.", f"Known are {known}.")
    step, options = request.through
    consumer = make(request.direct)
    if step:
        return through(step, options, consumer, processes)
    is_patient = hasattr(consumer, "threads") or hasattr(consumer, "group")
    if CONSUMERS.is_everywhere(request.name) and not is_patient:
        return Hand(consumer, Processes(request, processes or os.cpu_count() or 1))
    return Hand(consumer, _here(consumer, processes))


def through(step: str, options: Mapping[str, str], consumer: Consumer, threads: int | None = None) -> Hand:
    """Return a consumer that gets what a step makes of series, and what runs both.

    Raises
    ------
    SelectionError
        If there is no such step, or an option is wrong.
    MissingExtra
        If what it needs is not installed.
    """
    make = STEPS.find(step)
    if make is None:
        known = ", ".join(STEPS.names()) or "none"
        raise SelectionError(step, f"There is no step “{step}”.", f"Known are {known}.")
    behind = Stepped(make(options), consumer)
    return Hand(behind, _here(behind, threads))


def _here(consumer: Consumer, threads: int | None) -> Here:
    named = int(getattr(consumer, "threads", 1))
    # One that names no threads need not expect more than one at once.
    return Here(consumer, threads or named if hasattr(consumer, "threads") else named)
