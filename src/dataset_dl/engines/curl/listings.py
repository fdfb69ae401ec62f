"""List the objects of many series at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataset_dl.engines.curl.causes import failure_of
from dataset_dl.engines.curl.pool import Get, Pool
from dataset_dl.engines.curl.route import listing_url
from dataset_dl.engines.curl.tasks import Task
from dataset_dl.model.series import StoredObject
from dataset_dl.store.pages import OBJECT_NAME, parse_page

_TICK_SECONDS = 0.1
_TRIES = 3


class Listings:
    """Lists series.

    Parameters
    ----------
    pool
        Runs the requests.
    at_once
        How many of them.
    """

    def __init__(self, pool: Pool, at_once: int) -> None:
        self._pool = pool
        self._at_once = at_once
        self._answers: dict[str, list[StoredObject]] = {}

    def of(self, tasks: Iterable[Task]) -> dict[str, list[StoredObject]]:
        """Return the objects of each series, by key; leave out a series without a full list."""
        waiting = iter(tasks)
        while self._start(waiting) or len(self._pool):
            self._pool.wait(_TICK_SECONDS)
        return self._answers

    def _start(self, waiting: Iterator[Task]) -> bool:
        while len(self._pool) < self._at_once:
            task = next(waiting, None)
            if task is None:
                return False
            self._ask(task, "", [])
        return True

    def _ask(self, task: Task, token: str, found: list[StoredObject]) -> None:
        body = bytearray()
        tries = 1

        def then(get: Get) -> None:
            nonlocal tries
            page = parse_page(bytes(body), task.prefix) if get.ok else None
            body.clear()
            if page is None:
                if tries < _TRIES and (get.ok or failure_of(get).passing):
                    tries += 1
                    self._pool.start(get)
                return
            found.extend(page.objects)
            if not all(map(_is_name, page.objects)) or len(found) > task.most_objects:
                return  # of no use
            if page.token and page.token != token:
                self._ask(task, page.token, found)
            elif found and not page.token:
                self._answers[task.key] = found

        self._pool.start(Get(listing_url(task.bucket_url, task.prefix, token), body.extend, then))


def _is_name(stored: StoredObject) -> bool:
    return OBJECT_NAME.fullmatch(stored.name) is not None
