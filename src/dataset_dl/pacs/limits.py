"""What a node takes of this process, in each direction: all tasks and requests share it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from dataset_dl.engines.pace import SharedPace
from dataset_dl.pacs.nodes import Node

_POLL_SECONDS = 0.2


class Resting(Protocol):
    """What stays connected while it has nothing to do."""

    def close(self) -> None:
        """End the connection; another one is made when it is used again."""


class Limits:
    """The places at a node in one direction, in the order in which they are asked for, and the rate.

    Attributes
    ----------
    most
        How many places there are.
    pace
        Holds all of them together to the rate of the node; None without a limit.
    """

    def __init__(self) -> None:
        self.most = 1
        self.pace: SharedPace | None = None
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        # Those that keep their place until somebody needs it, the longest first.
        self._resting: dict[Resting, None] = {}
        self._used = 0

    def enter(self, check: Callable[[], object], user: Resting | None = None) -> None:
        """Wait for a place; `check` ends the wait by raising, and `user` may have kept one by `rest`."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or not self._is_taken(user):
                    check()
                    self._changed.wait(_POLL_SECONDS)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def leave(self) -> None:
        """Give a place back."""
        with self._changed:
            self._used -= 1
            self._changed.notify_all()

    @contextmanager
    def place(self, check: Callable[[], object]) -> Iterator[None]:
        """Have a place for a while; see `enter`."""
        self.enter(check)
        try:
            yield
        finally:
            self.leave()

    def rest(self, user: Resting) -> None:
        """Keep the place, connected, until somebody needs it."""
        with self._changed:
            self._resting[user] = None
            if self._waiting and self._used >= self.most:
                self._end(user)

    def end(self, user: Resting) -> None:
        """Close what rests, unless its place was needed, and give the place back."""
        with self._changed:
            if user in self._resting:
                self._end(user)

    def _is_taken(self, user: Resting | None) -> bool:
        if user in self._resting:
            del self._resting[user]
            return True
        while self._used >= self.most and self._resting:
            self._end(next(iter(self._resting)))
        if self._used >= self.most:
            return False
        self._used += 1
        return True

    def _end(self, user: Resting) -> None:
        # Nobody may use it meanwhile, so the lock is held.
        del self._resting[user]
        user.close()
        self._used -= 1
        self._changed.notify_all()


_lock = threading.Lock()
_known: dict[tuple[str, str, str], Limits] = {}


def limits_of(node: Node, direction: Literal["fetch", "send"]) -> Limits:
    """Return the limits of a node, as it is set now."""
    rate = (node.max_rate_mbps or 0) * 1e6
    with _lock:
        found = _known.setdefault((node.name, node.address, direction), Limits())
        found.most = node.at_once
        if found.pace is None or found.pace.rate != rate:
            found.pace = SharedPace(rate) if rate else None
        return found
