"""Loose files go to a node: each instance once, whatever directory it is in."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from dataset_dl import configuration
from dataset_dl.errors import DeliveryIncomplete, NetworkError, SelectionError
from dataset_dl.model.events import Delivered, Event, Working
from dataset_dl.model.outcome import Delivery, DeliveryFailure
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.delivering import Delivering, Sums
from dataset_dl.pacs.echo import echo
from dataset_dl.pacs.instances import Instance, Problem, looked_at, same, twice
from dataset_dl.pacs.ledger import Ledger
from dataset_dl.pacs.nodes import Node
from dataset_dl.wording import counted

_PAUSE_SECONDS = 1.0
_TICK_SECONDS = 0.2
# Series whose files are known and wait to be sent.
_AHEAD = 4


@dataclass
class Uploaded:
    """What became of loose files.

    Attributes
    ----------
    files
        How many were found.
    sent, before
        How many the node has taken now, and earlier.
    warnings
        What it said of those that it took with a warning, by SOPInstanceUID.
    problems
        Those that it has not.
    others
        Files that are no DICOM files.
    skipped
        What was not looked into: links to directories, broken links, and what is neither file nor directory.
    copies
        Files with the same contents as one before; in the end each counts like that one.
    """

    files: int = 0
    sent: int = 0
    before: int = 0
    warnings: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    copies: list[Instance] = field(default_factory=list)

    def add(self, sums: Sums) -> None:
        """Add what became of a series, but its problems, which may pass."""
        self.sent += sums.sent
        self.before += sums.before
        self.warnings |= {uid: str(answer) for uid, answer in sums.warnings.items()}

    def add_copies(self, has: Callable[[Instance], bool]) -> None:
        """Add what became of copies, by what the node has."""
        failed = {each.uid for each in self.problems}
        for each in self.copies:
            if has(each):
                self.before += 1
            elif each.uid in failed:
                words = f"{each.path.name} is a copy of the instance {each.uid}, which did not go there"
                self.problems.append(Problem(each.path, each.uid, words))

    def raise_for(self, node: str) -> None:
        """Raise if something did not go there.

        Raises
        ------
        DeliveryIncomplete
            If so.
        """
        if not self.problems:
            return
        first = "; ".join(each.words for each in self.problems[:3])
        more = f"; and {len(self.problems) - 3:,} more" if len(self.problems) > 3 else ""
        raise DeliveryIncomplete(
            node,
            f"{counted(len(self.problems), 'file')} did not go to {node}, {self.sent + self.before:,} others"
            f" are there: {first}{more}.",
            "Mend them or leave them out, then run the same command again; `--again` sends also what went"
            " there with other contents.",
            delivery=self.delivery(node),
        )

    def delivery(self, node: str) -> Delivery:
        """Return the sums, instance by instance."""
        failures = tuple(
            DeliveryFailure(f"pacs:{node}", each.uid or str(each.path), None, "consumer", each.words)
            for each in self.problems
        )
        return Delivery((f"pacs:{node}",), self.sent, self.before, failures)


def folder() -> Path:
    """Return where the ledger of loose files is."""
    return configuration.state_path() / "uploads"


def upload(
    paths: Sequence[Path],
    node: Node,
    network: NetworkSettings,
    result: Uploaded,
    *,
    transcode: bool = False,
    again: bool = False,
    retries: int = 5,
) -> Iterator[Event]:
    """Send all DICOM files of directories to a node.

    Parameters
    ----------
    paths
        Files and directories.
    node, network
        Where to, and how it is reached.
    result
        Gets what became of the files.
    transcode
        Convert what the node does not take as it is.
    again
        Send also what was sent before.
    retries
        How often to try again after a transient failure.

    Yields
    ------
    Event
        How far it is.

    Raises
    ------
    SelectionError
        If a path is not there, or the node lets nobody in.
    NetworkError
        If the node does not answer.
    """
    for path in paths:
        if not path.exists():
            raise SelectionError(str(path), f"There is no {path}; nothing was sent.")
    node.refuse_now("nothing was sent")
    echo(node, network)
    began = time.monotonic()
    delivering = Delivering(node, network, Ledger(folder()), transcode=transcode, again=again)
    uploading = _Uploading(delivering, result, retries)
    pool = ThreadPoolExecutor(node.at_once)
    failure: NetworkError | SelectionError | None = None
    try:
        waiting: set[Future[None]] = set()
        for series in _series(paths, result):
            waiting.add(pool.submit(uploading.sent, series))
            while len(waiting) >= node.at_once + _AHEAD:
                waiting = _settled(waiting)
                yield uploading.told()
        while waiting:
            waiting = _settled(waiting)
            yield uploading.told()
    except (NetworkError, SelectionError) as error:
        failure = error
    finally:
        uploading.stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        delivering.close()
        pool.shutdown()
    result.add_copies(delivering.has)
    if failure is None:
        yield Delivered(result.delivery(node.name), 0, time.monotonic() - began)
        return
    if not (result.sent or result.before):
        raise failure
    # Something is there, so this is no request that was wrong from the beginning.
    raise DeliveryIncomplete(
        node.name,
        f"{result.sent + result.before:,} of {result.files:,} files are at {node.name}, then it ended:"
        f" {failure.message}",
        f"{failure.hint} The same command sends what is missing.".strip(),
        delivery=result.delivery(node.name),
    )


class _Uploading:
    """Sends series from several threads, and tries again."""

    def __init__(self, delivering: Delivering, result: Uploaded, retries: int) -> None:
        self._delivering = delivering
        self._result = result
        self._retries = retries
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def sent(self, series: Sequence[Instance]) -> None:
        """Send a series."""
        for number in range(self._retries + 1):
            sums, is_over = Sums(), True
            try:
                self._delivering.send(series, sums)
                is_over = not sums.passing or number == self._retries
            except NetworkError:
                is_over = number == self._retries
                if is_over:
                    raise
            finally:
                with self._lock:
                    self._result.add(sums)
                    self._result.problems += sums.problems if is_over else ()
            if is_over or self.stop.wait(_pause(number)):
                return

    def told(self) -> Working:
        """Say how far it is."""
        result = self._result
        with self._lock:
            done = result.sent + result.before
        return Working(f"{done:,} of {result.files:,} files sent to {self._delivering.node.name}", 0)


def _pause(number: int) -> float:
    # Imported when something has failed, because it takes as long as sending a hundred instances.
    from dataset_dl.transfer.pauses import pause_before

    return pause_before(number, _PAUSE_SECONDS)


def _settled(waiting: set[Future[None]]) -> set[Future[None]]:
    done, left = wait(waiting, _TICK_SECONDS, return_when=FIRST_COMPLETED)
    for each in done:
        each.result()
    return left


def _series(paths: Sequence[Path], result: Uploaded) -> Iterator[list[Instance]]:
    """Yield the instances of each series in each directory."""
    # By SOPInstanceUID: the path of the file.
    seen: dict[str, str] = {}
    for directory in _directories(paths, result):
        by_series: dict[str, list[Instance]] = {}
        for path in directory:
            found = looked_at(path)
            if isinstance(found, Problem):
                # One that calls itself DICOM, but is not, is damaged.
                if found.words.endswith("it is no DICOM file") and path.suffix.lower() != ".dcm":
                    result.others.append(path)
                else:
                    result.files += 1
                    result.problems.append(found)
                continue
            is_new = found.uid not in seen
            other = seen.setdefault(found.uid, os.fspath(path))
            if not is_new and other == os.fspath(path):
                continue  # a directory was named twice
            result.files += 1
            if not is_new:
                if not same(Path(other), path):
                    result.problems.append(twice(found, Path(other)))
                else:
                    result.copies.append(found)
                continue
            by_series.setdefault(found.identity.SeriesInstanceUID, []).append(found)
        yield from by_series.values()


def _directories(paths: Sequence[Path], result: Uploaded) -> Iterator[list[Path]]:
    """Yield the files of each directory, sorted.

    Raises
    ------
    SelectionError
        If a directory cannot be read, whose files would be forgotten.
    """

    def refuse(error: OSError) -> None:
        raise SelectionError(
            str(error.filename),
            f"{error.filename} cannot be read ({error.strerror}), so its files would be forgotten.",
            "Make it readable, then run the same command again.",
        )

    yield sorted(path for path in paths if path.is_file())
    result.skipped += [path for path in paths if not (path.is_file() or path.is_dir())]
    for path in paths:
        if path.is_dir():
            for place, directories, names in os.walk(path, onerror=refuse):
                directories.sort()
                result.skipped += [each for name in directories if (each := Path(place, name)).is_symlink()]
                files = [Path(place, name) for name in sorted(names)]
                result.skipped += [each for each in files if not each.is_file()]
                yield [each for each in files if each.is_file()]
