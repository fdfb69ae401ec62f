"""Bytes that several threads receive: counted, held to a rate, and ended all at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from dataset_dl.engines.pace import SharedPace
from dataset_dl.engines.threads import Stopped

if TYPE_CHECKING:
    import requests

_CHUNK_BYTES = 1 << 17
# Less than this a second, for as long as a stall may last, is a stall.
_LEAST_BYTES_A_SECOND = 1000


class Receiving:
    """What the threads of an engine receive.

    Parameters
    ----------
    stall_seconds
        A connection is left after this long with next to nothing.
    max_rate_mbps
        Limit of the rate in MB a second, all threads together; no limit if None.
    pace
        Another limit, which is shared with others.

    Attributes
    ----------
    received_bytes
        Bytes so far, including those of unfinished files.
    """

    def __init__(
        self, *, stall_seconds: float, max_rate_mbps: float | None, pace: SharedPace | None = None
    ) -> None:
        self._stall_seconds = stall_seconds
        own = SharedPace(max_rate_mbps * 1e6) if max_rate_mbps else None
        self._paces = [each for each in (own, pace) if each is not None]
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._open: set[requests.Response] = set()
        self.received_bytes = 0

    def stop(self) -> None:
        """End everything: after this nothing is received any more."""
        with self._lock:
            self._stop.set()
            several = list(self._open)
        for response in several:
            with suppress(OSError, RuntimeError, ValueError):  # it has just ended
                response.raw.shutdown()  # wakes the thread that waits for bytes

    def check(self) -> None:
        """Raise if everything was ended.

        Raises
        ------
        Stopped
            If `stop` was called.
        """
        if self._stop.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Wait, unless everything is ended."""
        self._stop.wait(seconds)

    def chunks(self, response: requests.Response, *, is_decoded: bool = False) -> Iterator[bytes]:
        """Yield the body of a response as it arrives, and close it in the end.

        Parameters
        ----------
        response
            One whose body is not read yet.
        is_decoded
            Whether to undo the compression of the transfer.

        Raises
        ------
        TimeoutError
            If next to nothing arrives for too long.
        Stopped
            If `stop` was called.
        """
        with self._lock:
            self._open.add(response)
        try:
            self.check()
            heard_at, heard_bytes = time.monotonic(), 0
            while data := response.raw.read1(_CHUNK_BYTES, decode_content=is_decoded):
                self.check()
                yield data
                self.received(len(data))
                heard_bytes += len(data)
                if (seconds := time.monotonic() - heard_at) >= self._stall_seconds:
                    if heard_bytes < _LEAST_BYTES_A_SECOND * seconds:
                        raise TimeoutError
                    heard_at, heard_bytes = time.monotonic(), 0
        finally:
            with self._lock:
                self._open.discard(response)
            response.close()

    def received(self, count: int) -> None:
        """Count bytes, and wait as long as the rate demands."""
        with self._lock:
            self.received_bytes += count
        if seconds := max((each.moved(count) for each in self._paces), default=0.0):
            self.pause(seconds)
