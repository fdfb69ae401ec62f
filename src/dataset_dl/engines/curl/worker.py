"""A worker process: takes series from the file of tasks, fetches them, and says what happens.

It is started by `engine.CurlEngine`, which sends its orders through standard input and keeps that open: when
standard input ends, its parent is gone, and so is it. Until then, each line is a new limit of the rate. What
happens goes to standard output as JSON lines.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dataset_dl.engines.curl.route import Route
from dataset_dl.process.python import end_with_input

if TYPE_CHECKING:
    from dataset_dl.engines.curl.pool import Pool

_DESCRIPTORS = 1024


class Orders(msgspec.Struct):
    """What a worker is to do.

    Attributes
    ----------
    tasks
        The file of tasks.
    route
        The way to the store.
    first, most, fixed
        See `tuning.Tuning`.
    number
        Which of several workers it is.
    stall_seconds, rate_bytes, hashed, boot, token
        See `fetching.Fetching` and `pool.Pool`.
    """

    tasks: str
    route: Route
    first: int
    most: int
    fixed: bool
    stall_seconds: float
    number: int = 0
    rate_bytes: float | None = None
    hashed: bool = False
    boot: str = ""
    token: str = "0"


class File(msgspec.Struct, tag="f", array_like=True):
    """A complete file."""

    key: str
    path: str
    size_bytes: int
    proven: bool = False


class Failed(msgspec.Struct, tag="e", array_like=True):
    """A failure of a file, or of a series."""

    key: str
    cause: str
    words: str


class Tick(msgspec.Struct, tag="t", array_like=True):
    """Which worker, the bytes that it has received so far, its connections and its memory."""

    number: int
    size_bytes: int
    connections: int
    memory_bytes: int | None


Line = File | Failed | Tick


class _Output:
    """Writes lines to standard output, several at a time."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []

    def file(self, key: str, path: str, size_bytes: int, *, proven: bool) -> None:
        self._add(File(key, path, size_bytes, proven))

    def failed(self, key: str, cause: str, words: str) -> None:
        self._add(Failed(key, cause, words))

    def tick(self, received_bytes: int, connections: int) -> None:
        self._add(Tick(self._number, received_bytes, connections, _memory_bytes()))
        self.flush()

    def _add(self, line: Line) -> None:
        self._lines.append(self._encode(line))
        if len(self._lines) >= 50:
            self.flush()

    def flush(self) -> None:
        data = memoryview(b"".join(each + b"\n" for each in self._lines))
        self._lines.clear()
        while data:
            data = data[os.write(1, data) :]


def _memory_bytes() -> int | None:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import psutil  # slow to import, and not needed on Linux

        return int(psutil.Process().memory_info().rss)


def _raise_descriptor_limit() -> None:
    """Allow as many open files as `descriptors.descriptor_limit` counts on."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 < soft < _DESCRIPTORS:
        wanted = _DESCRIPTORS if hard < 0 else min(_DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Carry out the orders on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _raise_descriptor_limit()
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    pools: list[Pool] = []

    def change_rate(line: bytes) -> None:
        for each in pools:
            each.set_rate(float(line))

    end_with_input(change_rate)
    from dataset_dl.engines.curl.fetching import Fetching
    from dataset_dl.engines.curl.pool import Pool
    from dataset_dl.engines.curl.tasks import take_tasks
    from dataset_dl.engines.curl.tuning import Tuning

    output = _Output(orders.number)
    with Pool(orders.route, orders.most, orders.stall_seconds, orders.rate_bytes) as pool:
        pools.append(pool)
        tuning = Tuning(orders.first, orders.most, fixed=orders.fixed)
        fetching = Fetching(
            pool, take_tasks(Path(orders.tasks)), output, tuning,
            hashed=orders.hashed, boot=orders.boot, token=orders.token,
        )  # fmt: skip
        # Raising from the handler would be lost if libcurl is calling back at that moment.
        signal.signal(signal.SIGTERM, lambda *signalled: fetching.stop())
        if hasattr(signal, "SIGBREAK"):  # what Windows has in place of SIGTERM
            signal.signal(signal.SIGBREAK, lambda *signalled: fetching.stop())
        try:
            fetching.run()
        finally:
            fetching.clean()
            output.flush()


if __name__ == "__main__":
    main()
