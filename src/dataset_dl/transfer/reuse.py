"""Copy series from other destinations on this machine, without the network."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dataset_dl.destination import paths
from dataset_dl.destination.reading import reading_names
from dataset_dl.destination.records import kept_plan
from dataset_dl.destination.tree import file_size, instances
from dataset_dl.errors import PlanError
from dataset_dl.model.series import PlannedSeries
from dataset_dl.transfer.ledger import State, Undone

_FICLONE = 0x40049409
# Error numbers if a file system cannot share blocks between two files.
_NO_REFLINK = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM)


class Reuse:
    """Copies series that are complete in other destinations.

    Parameters
    ----------
    origins
        The other destinations.
    destination
        Where the copies go.

    Raises
    ------
    PlanError
        If no download went to one of them.
    """

    def __init__(self, origins: Sequence[Path], destination: Path) -> None:
        self._destination = destination
        self._origins: list[tuple[Path, dict[str, PlannedSeries]]] = []
        for origin in origins:
            kept = kept_plan(origin)
            if kept is None:
                raise PlanError(
                    str(origin),
                    f"{origin} holds no plan of a download, so nothing can be reused from it.",
                    "Nothing was started. Name a directory that a download went to.",
                )
            if origin.resolve() != destination.resolve():
                self._origins.append((origin, {series.key: series for series in kept}))

    def copied(self, undone: Iterable[Undone]) -> Iterator[tuple[Undone, tuple[str, ...]]]:
        """Copy missing series that are complete elsewhere; yield each with the names of its files."""
        if not self._origins:
            return
        for each in undone:
            if each.state is not State.ABSENT or not each.series.is_exact:
                continue
            for origin, rows in self._origins:
                there = rows.get(each.series.key)
                if there is None or (there.files is not None and there.files != each.series.files):
                    continue
                if (names := self._copy(origin, there, each.series)) is not None:
                    yield each, names
                    break

    def _copy(self, origin: Path, there: PlannedSeries, series: PlannedSeries) -> tuple[str, ...] | None:
        """Copy a series under the names of the store's objects; None if it is not complete there."""
        folder = origin / there.directory
        with reading_names(paths.files_of(origin).journal) as renamed:
            objects = {file: name for name, file in renamed(there.key).items()}
        wanted = series.wanted()
        there_are = instances(folder, wanted or ())
        found = {objects.get(entry.name, entry.name): Path(entry.path) for entry in there_are}
        if wanted is not None:
            found = {name: path for name, path in found.items() if name in wanted}
        sizes = {name: file_size(path) or 0 for name, path in found.items()}
        if (len(sizes), sum(sizes.values())) != (series.instanceCount, series.size_bytes):
            return None
        target = self._destination / series.directory
        made: list[Path] = []
        target.mkdir(parents=True, exist_ok=True)
        part = paths.state(self._destination) / f"reuse.{os.getpid()}.part"
        try:
            for name, path in found.items():
                _clone(path, part)
                if file_size(part) != sizes[name]:
                    raise OSError(errno.EIO, "it changed while it was copied", str(path))
                part.replace(target / name)
                made.append(target / name)
        except FileNotFoundError:  # another process is changing it; the engine fetches it
            for path in made:
                path.unlink(missing_ok=True)
            return None
        finally:
            part.unlink(missing_ok=True)
        return tuple(sorted(found))


def _clone(path: Path, target: Path) -> None:
    """Copy a file; share its blocks with the original if the file system can."""
    with path.open("rb") as source, target.open("wb") as copy:
        if sys.platform == "linux":
            import fcntl

            try:
                fcntl.ioctl(copy.fileno(), _FICLONE, source.fileno())
                return
            except OSError as error:
                if error.errno not in _NO_REFLINK:
                    raise
        shutil.copyfileobj(source, copy, 1 << 22)
