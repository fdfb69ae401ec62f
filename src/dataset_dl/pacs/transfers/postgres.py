"""Workers on several machines are called by procrastinate: a call for each task, to whoever listens.

A call only says that there may be work. Which task is done, and by whom, stands in our tables: a call that is
lost, or stuck in “doing”, costs two seconds, until a worker sees work that nobody was called for.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

try:
    import procrastinate
    from procrastinate import PsycopgConnector, SyncPsycopgConnector
except ImportError:
    from dataset_dl.errors import MissingExtra

    raise MissingExtra("postgres", "procrastinate") from None

from dataset_dl.pacs.transfers.store import Store
from dataset_dl.pacs.transfers.working import Work

_QUEUE, _NAME = "transfers", "dataset_dl.transfer"
_WAIT_SECONDS, _END_SECONDS = 2.0, 5.0
_LOOK_SECONDS = 0.25
_MOST_CALLS = 1000
_SCHEMA_LOCK = 0x0DD2


def conninfo(store: Store) -> str:
    """Return the address as libpq takes it."""
    return store.address.replace("postgresql+psycopg", "postgresql", 1)


class Caller:
    """Calls workers.

    Parameters
    ----------
    store
        Where the work is.
    """

    def __init__(self, store: Store) -> None:
        self._app = procrastinate.App(
            connector=SyncPsycopgConnector(conninfo=conninfo(store), min_size=1, max_size=1)
        )
        self._is_ready = False

    def call(self, count: int, priority: int) -> None:
        """Call workers for so many tasks; without one, only make sure that they can be called."""
        with self._app.open():
            self._prepare()
            if count:
                deferrer = self._app.configure_task(_NAME, queue=_QUEUE, priority=priority)
                deferrer.batch_defer(*({} for _ in range(min(count, _MOST_CALLS))))

    def _prepare(self) -> None:
        """Make procrastinate's tables, once."""
        if self._is_ready:
            return
        connector: Any = self._app.connector
        # Two that make them at once would get in each other's way.
        connector.execute_query(f"SELECT pg_advisory_lock({_SCHEMA_LOCK})")
        try:
            if not self._app.check_connection():
                self._app.schema_manager.apply_schema()
        finally:
            connector.execute_query(f"SELECT pg_advisory_unlock({_SCHEMA_LOCK})")
        self._is_ready = True


class Called:
    """Waits for calls; implements `worker.Calls`.

    Parameters
    ----------
    store, work
        Where the work is.
    """

    def __init__(self, store: Store, work: Work) -> None:
        self._store = store
        self._work = work
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        Caller(store).call(0, 0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None
        self._thread = threading.Thread(target=self._listen, name="calls", daemon=True)
        self._thread.start()

    def wait(self, stop: threading.Event) -> None:
        """Wait for a call, or until it is time to look for work that nobody was called for."""
        waited = 0.0
        while waited < _WAIT_SECONDS and not stop.is_set():
            with suppress(queue.Empty):
                return self._calls.get(timeout=_LOOK_SECONDS)
            waited += _LOOK_SECONDS
        return None

    def close(self) -> None:
        """End."""
        loop, main = self._loop, self._main
        if loop is not None and main is not None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(main.cancel)
        self._thread.join(_END_SECONDS)

    def _listen(self) -> None:
        with suppress(Exception):  # looking for work goes on without calls
            asyncio.run(self._listening())

    async def _listening(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._loop.set_default_executor(ThreadPoolExecutor(1))
        app = procrastinate.App(
            connector=PsycopgConnector(conninfo=conninfo(self._store), min_size=1, max_size=3)
        )

        @app.task(name=_NAME, queue=_QUEUE)
        def called() -> None:
            self._calls.put(None)

        async with app.open_async():
            with suppress(asyncio.CancelledError):
                await app.run_worker_async(
                    queues=[_QUEUE],
                    install_signal_handlers=False,
                    listen_notify=True,
                    delete_jobs="always",
                    shutdown_graceful_timeout=1,
                )
