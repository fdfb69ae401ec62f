"""Fetch series: list, get, save. The work of one worker process."""

from __future__ import annotations

import os
import random
import re
import time
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol

from dataset_dl.engines.curl.causes import Failure, failure_of
from dataset_dl.engines.curl.objects import Object
from dataset_dl.engines.curl.pool import Get, Pool
from dataset_dl.engines.curl.route import listing_url
from dataset_dl.engines.curl.saving import Excess
from dataset_dl.engines.curl.tasks import Task
from dataset_dl.engines.curl.tuning import Tuning
from dataset_dl.store.pages import Page, parse_page

if TYPE_CHECKING:
    from dataset_dl.model.outcome import Cause

# A stalled connection counts as several tries, see `Failure.weight`.
_MOST_TRIES = 8
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0
_TICK_SECONDS, _IDLE_SECONDS = 0.1, 0.02
_OBJECT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.dcm")
_PAGE_BYTES = 16 << 20
_NO_MORE = Task("", "", "", "", 0)
_NO_LIST = Failure("network", "the store did not answer with a list", True)


class Tell(Protocol):
    """Takes what happens."""

    def file(self, key: str, path: str, size_bytes: int, *, proven: bool) -> None:
        """Take a complete file."""

    def failed(self, key: str, cause: Cause, words: str) -> None:
        """Take a failure of a file, or of the listing of a series."""

    def tick(self, received_bytes: int, connections: int) -> None:
        """Take how many bytes have come so far; called ten times a second."""


class Series:
    """A series that is being fetched."""

    __slots__ = ("_is_made", "directory", "found", "is_lost", "listed", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.directory = task.directory or "."
        self.found = self.listed = 0
        self.is_lost = self._is_made = False

    def make_directory(self) -> None:
        """Create its directory once."""
        if not self._is_made:
            os.makedirs(self.directory, exist_ok=True)
            self._is_made = True


class Fetching:
    """Fetches the tasks of an iterator below the working directory.

    Parameters
    ----------
    pool
        Runs the requests.
    tasks
        What to fetch; None if there is nothing now.
    tell
        Takes what happens.
    tuning
        Says how many connections to use.
    hashed
        Whether to compare MD5 sums with the store's.
    boot, token
        See `large.Large`.
    """

    def __init__(
        self,
        pool: Pool,
        tasks: Iterator[Task | None],
        tell: Tell,
        tuning: Tuning,
        *,
        hashed: bool = False,
        boot: str = "",
        token: str = "0",
    ) -> None:
        self._pool = pool
        self._tasks = tasks
        self.tell = tell
        self._tuning = tuning
        self.hashed = hashed
        self.boot = boot
        self.token = token
        self._pages: deque[Get] = deque()
        self._ready: deque[Iterator[Get]] = deque()
        self._later: list[tuple[float, int, Get]] = []
        self._listings = self._turn = self._completed = 0
        self._is_over = self._is_stopped = False
        self.open: set[Object] = set()

    def run(self) -> None:
        """Fetch until nothing is left, or until it is stopped."""
        tick_at = 0.0
        while not self._is_stopped and self._fill():
            now = time.monotonic()
            if now >= tick_at:  # while all connections are in use that there is work for
                tick_at = now + _TICK_SECONDS
                self._tick(now)
            # Without requests, only the file of tasks can bring something new.
            self._pool.wait(_TICK_SECONDS if len(self._pool) else _IDLE_SECONDS)
        self._tick(time.monotonic())

    def stop(self) -> None:
        """End `run` soon; a signal handler may call this."""
        self._is_stopped = True

    def clean(self) -> None:
        """Remove what is unfinished and of no use to a later run."""
        for each in self.open:
            each.abandon()

    def first(self, requests: Iterator[Get]) -> None:
        """Start requests before any others."""
        self._ready.appendleft(requests)

    def postpone(self, get: Get, tries: int) -> bool:
        """Start a request again after a pause, which grows with each try; False after the last."""
        if tries >= _MOST_TRIES:
            return False
        pause = min(_FIRST_PAUSE_SECONDS * 2**tries, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)
        self._turn += 1
        heappush(self._later, (time.monotonic() + pause, self._turn, get))
        return True

    def saved(self, series: Series, path: str, size_bytes: int, *, proven: bool) -> None:
        """Take a file that is complete."""
        self._completed += 1
        self.tell.file(series.task.key, path, size_bytes, proven=proven)

    def lose(self, series: Series, cause: Cause, words: str) -> None:
        """Give a series up, with all that is left of it."""
        if not series.is_lost:
            series.is_lost = True
            self.tell.failed(series.task.key, cause, words)

    def _tick(self, now: float) -> None:
        self.tell.tick(self._pool.received_bytes, self._tuning.connections)
        self._tuning.note(now, self._pool.received_bytes, self._completed, len(self._pool))

    def _fill(self) -> bool:
        """Start what there is room for; False if nothing is left to do."""
        pool, ready, limit = self._pool, self._ready, self._tuning.connections
        while self._later and self._later[0][0] <= time.monotonic():
            ready.appendleft(iter((heappop(self._later)[2],)))
        while len(pool) < limit:
            if (
                self._listings <= limit // 2
                and len(ready) < max(1, limit // 2)
                and (page := self._next_page())
            ):
                self._listings += 1
                pool.start(page)
            elif not ready:
                break
            elif get := next(ready[0], None):
                pool.start(get)
            else:
                ready.popleft()
        return bool(len(pool) or ready or self._later or self._pages or not self._is_over)

    def _next_page(self) -> Get | None:
        """Return the request for the next page of a listing; take another series if there is none."""
        while not self._pages and not self._is_over:
            task = next(self._tasks, _NO_MORE)
            if task is None:
                break  # there is no room for another series yet
            if task is _NO_MORE:
                self._is_over = True
            elif task.names:
                series = Series(task)
                for name, size_bytes in zip(task.names, task.sizes, strict=True):
                    self._ready.append(Object(self, series, name, size_bytes, "").requests())
                return None
            else:
                self._pages.append(self._page(Series(task), ""))
        return self._pages.popleft() if self._pages else None

    def _page(self, series: Series, token: str) -> Get:
        """Return the request for a page of a listing."""
        body = bytearray()
        task, tries = series.task, 0

        def take(chunk: bytes) -> None:
            body.extend(chunk)
            if len(body) > _PAGE_BYTES:
                raise Excess

        def then(get: Get) -> None:
            nonlocal tries
            page = parse_page(bytes(body), task.prefix) if get.ok else None
            body.clear()
            if page is not None:
                self._listings -= 1
                self._listed(series, token, page)
                return
            failure = _NO_LIST if get.ok else failure_of(get)
            tries += failure.weight
            if not (failure.passing and self.postpone(get, tries)):
                self._listings -= 1
                self.lose(series, failure.cause, failure.words)

        get = Get(listing_url(task.bucket_url, task.prefix, token), take, then)
        get.is_object = False
        return get

    def _listed(self, series: Series, token: str, page: Page) -> None:
        task = series.task
        series.listed += len(page.objects)
        if series.listed > task.most_objects or (page.token and page.token == token):
            self.lose(series, "excess", "the store lists many more files of it than the index says")
            return
        if page.token:
            self._pages.append(self._page(series, page.token))
        for name, size_bytes, etag in page.objects:
            if _OBJECT_NAME.fullmatch(name):
                series.found += 1
                self._ready.append(Object(self, series, name, size_bytes, etag).requests())
        if not page.token and not series.found:
            self.lose(series, "not_found", "no object found")
