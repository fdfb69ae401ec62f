"""One object, from the question what it is to a file whose checksum is that of the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import urllib3

from dataset_dl.aignostics.addresses import GsAddress
from dataset_dl.aignostics.causes import Refused
from dataset_dl.aignostics.requesting import Found, Requests
from dataset_dl.aignostics.saving import Partial
from dataset_dl.engines.receiving import Receiving
from dataset_dl.model.events import Event, FileCompleted
from dataset_dl.model.series import Fetch, PlannedSeries

# Tries without a new byte; each one that brings bytes begins to count anew.
_TRIES = 4
_PAUSE_SECONDS = 0.5


class Fetching:
    """Fetches objects, from several threads.

    Parameters
    ----------
    asking
        Requests to the store.
    destination
        The directory below which the objects go.
    receiving
        Counts what comes, and ends it.
    """

    def __init__(self, asking: Requests, destination: Path, receiving: Receiving) -> None:
        self._asking = asking
        self._destination = destination
        self._receiving = receiving

    def objects(self, order: Fetch) -> Iterator[Event]:
        """Fetch the object of a row, and say so."""
        series = order.series
        for name in order.missing or series.wanted() or ():
            size_bytes = self.fetch(series, name)
            yield FileCompleted(series.key, f"{series.directory}/{name}", size_bytes, proven=True)

    def fetch(self, series: PlannedSeries, name: str) -> int:
        """Fetch the object of a row under a name; return its bytes.

        Raises
        ------
        Refused
            If the store refuses, or has something else than planned.
        NetworkError
            If it cannot be reached.
        OSError
            If the file cannot be written.
        Stopped
            If `stop` was called.
        """
        found = self._asking.find(GsAddress.of(series.address))
        if series.key != f"{found.address}#{found.generation}" or found.size_bytes != series.size_bytes:
            words = f"{found.address} was replaced after it was planned; the same command fetches the new one"
            raise Refused("altered", words, passing=False)
        directory = self._destination / series.directory
        directory.mkdir(parents=True, exist_ok=True)
        with Partial(directory / name, found.generation, found.size_bytes) as partial:
            # What an earlier run has left may have been damaged since.
            self._complete(found, partial)
            if partial.crc32c != found.crc32c:
                partial.restart()
                self._complete(found, partial)
            if partial.crc32c != found.crc32c:
                partial.restart()
                words = f"{found.address} came with another CRC32C than the store lists, twice"
                raise Refused("altered", words, passing=True)
            self._receiving.check()
            partial.finish()
        return found.size_bytes

    def _complete(self, found: Found, partial: Partial) -> None:
        """Receive what is missing; what breaks off goes on where it ended."""
        tries = 0
        while partial.position < found.size_bytes:
            before = partial.position
            problem = Refused("truncated", "the connection was closed in the middle of it", passing=True)
            try:
                self._receive(found, partial)
            except (urllib3.exceptions.HTTPError, TimeoutError) as error:
                kind = type(error).__name__
                problem = Refused("truncated", f"the connection broke off ({kind})", passing=True)
            except Refused as error:
                if not error.passing:
                    raise
                problem = error
            self._receiving.check()
            tries = tries + 1 if partial.position == before else 0
            if tries == _TRIES:
                raise problem
            if partial.position < found.size_bytes:
                self._receiving.pause(_PAUSE_SECONDS * tries)

    def _receive(self, found: Found, partial: Partial) -> None:
        """Write what one response brings."""
        for data in self._receiving.chunks(self._asking.open(found, partial.position)):
            if partial.position + len(data) > found.size_bytes:
                raise Refused("excess", f"more bytes of {found.address} came than it has", passing=False)
            partial.write(data)
