"""Each start of a part of a plan is an attempt with records of its own, and ends the right of earlier ones.

Locks may not hold between the machines of a cluster, and a machine that everybody takes for dead may wake
up. So no records are ever written by two: a newer attempt copies those of the last one, and the last one,
should it still live, sees the newer one and ends.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dataset_dl.destination import disk, paths
from dataset_dl.destination.lock import HOLDER, holder_of, refuse_writer_of_the_whole
from dataset_dl.destination.merging import inherit
from dataset_dl.errors import DestinationBusy, ManifestError, PlanError, StorageError
from dataset_dl.model.part import Part
from dataset_dl.model.plan import Plan
from dataset_dl.plans.opening import origin_of

# A writer says how far it is every few seconds; one that has said nothing for so long is taken for dead.
SILENT_SECONDS = 120.0


class Attempt(NamedTuple):
    """An attempt at a part.

    Attributes
    ----------
    name
        The name of its records, like ``3-of-16-attempt-2``.
    is_doubtful
        Whether files that are there may lack bytes, because a writer was on another machine and did not end
        in order, or may still live.
    """

    name: str
    is_doubtful: bool


def begin(destination: Path, plan: Plan, *, take_over: bool = False) -> Attempt:
    """Begin an attempt at a part of a plan.

    Parameters
    ----------
    destination
        Where the part goes.
    plan
        The part, from `plans.parts.part_of`.
    take_over
        Begin although an earlier attempt seems to live, and end its right to write.

    Raises
    ------
    StorageError
        If an earlier attempt, or a writer of the whole, lives; or the destination cannot be written.
    PlanError
        If the destination has parts of another plan, or of another number of parts.
    """
    cut = plan.origin.cut
    assert cut is not None, "a part knows how its plan was cut"
    part = Part(cut.number, cut.total)
    disk.check(destination)
    paths.prepare(destination)
    disk.check(paths.state(destination))
    refuse_writer_of_the_whole(destination)
    _refuse_other_plans(destination, plan, part)
    earlier = paths.attempts(destination, part)
    names = [paths.attempt_name(part, number) for number in earlier]
    # One that was killed before it had the records of those before it has nothing to go on from.
    whole = [name for name in names if paths.files_of(destination, name).begun.exists()]
    first = names.index(whole[-1]) if whole else 0
    since = [left_by(destination, name) for name in names[first:]]
    if since and since[-1].is_alive and not take_over:
        raise DestinationBusy(
            str(destination),
            f"Another download writes part {part} of {destination}{since[-1].words}; nothing was started.",
            "Wait for it to end. If its machine is gone, run the same command with --take-over.",
        )
    is_doubtful = any(each.is_doubtful or each.is_alive for each in since)
    name = paths.attempt_name(part, max(earlier, default=0) + 1)
    own = paths.files_of(destination, name)
    try:
        own.folder.parent.mkdir(exist_ok=True)
        own.folder.mkdir()
    except FileExistsError:
        raise StorageError(
            str(destination),
            f"Another process has just begun part {part} of {destination}; nothing was started.",
            "Wait for it to end.",
        ) from None
    except OSError as error:
        raise StorageError(
            str(destination),
            f"{own.folder} cannot be created: {error.strerror}.",
            "Choose another directory.",
        ) from None
    with disk.guard(destination):
        if is_doubtful:
            own.doubtful.touch()
        if whole:
            _copy(paths.files_of(destination, whole[-1]), own)
        elif (everything := paths.files_of(destination)).journal.exists():
            inherit(everything.journal, own.journal, (row.key for row in plan))
        own.begun.touch()
    for each in names[:first]:
        with suppress(OSError):
            shutil.rmtree(paths.files_of(destination, each).folder)
    return Attempt(name, is_doubtful)


class Left(NamedTuple):
    """What an attempt has left, or what it is still doing.

    Attributes
    ----------
    is_alive
        Whether its writer seems to live. A lock that is held says so. The lock of a writer on another machine
        may not be seen here; such a writer lives if it has lately said how far it is.
    is_doubtful
        Whether files may lack bytes since it, or since one before it: its machine may not have written all of
        them if it did not end in order. The doubt remains until an attempt that compares them has come to its
        end.
    words
        Who its writer is, to be put behind a noun; empty if unknown.
    """

    is_alive: bool
    is_doubtful: bool
    words: str


def left_by(destination: Path, name: str) -> Left:
    """Look at an attempt."""
    holder, files = holder_of(destination, name), paths.files_of(destination, name)
    is_left_elsewhere = holder.is_left and not holder.is_of_this_kernel
    return Left(
        is_alive=holder.is_locked or (is_left_elsewhere and _was_heard(files)),
        is_doubtful=is_left_elsewhere or files.doubtful.exists(),
        words=holder.words,
    )


def _was_heard(files: paths.Files) -> bool:
    """Whether a writer has lately said how far it is, by the clock of the file system."""
    try:
        return (
            disk.clock(files.folder.parent)
            - max(files.progress.stat().st_mtime, files.folder.stat().st_mtime)
            < SILENT_SECONDS
        )
    except OSError:
        return False


def _copy(before: paths.Files, own: paths.Files) -> None:
    """Copy the records of the last attempt, with the transaction that its journal may be in."""
    hot = f"{before.journal.name}-journal"
    for name in (hot, before.journal.name, before.plan.name, before.requests.name, before.missing.name):
        with suppress(FileNotFoundError):
            shutil.copyfile(before.folder / name, own.folder / name)


def _refuse_other_plans(destination: Path, plan: Plan, part: Part) -> None:
    """Refuse a part if the destination has parts of another plan: together they would be nothing whole."""
    checked = False
    for name in paths.parts(destination):
        attempt = paths.attempt_of(name)
        if attempt is None:
            continue
        other = attempt[0]
        if other.total != part.total:
            raise _other_plan(
                destination, f"parts of a plan that was cut into {other.total}, not {part.total}"
            )
        path = paths.files_of(destination, name).plan
        if not checked and path.is_file():
            checked = True
            with suppress(ManifestError):  # a damaged one is set aside by its own writer
                found = origin_of(path).cut
                if found is not None and plan.origin.cut is not None and found.whole != plan.origin.cut.whole:
                    raise _other_plan(destination, f"parts of another plan, for example {other}")


def _other_plan(destination: Path, what: str) -> PlanError:
    return PlanError(
        "part",
        f"{destination} has {what}; nothing was started.",
        "Gather what is there (`dataset-dl cluster gather`), or choose another destination.",
    )


def remove_all(destination: Path) -> None:
    """Remove the records of all attempts at all parts, once they are gathered."""
    folder = paths.state(destination) / paths.PARTS
    for each in folder.iterdir():
        if paths.attempt_of(each.name) is not None:
            shutil.rmtree(each, ignore_errors=True)
    with suppress(OSError):  # another kind of part is there
        folder.rmdir()


def running_beside(destination: Path, own: str) -> int:
    """Count the other parts that have lately said how far they are, and have not ended."""
    count, now = 0, time.time()
    for name in paths.parts(destination):
        if name == own:
            continue
        files = paths.files_of(destination, name)
        with suppress(OSError):
            # One that has just begun has not said anything yet.
            is_new = not os.path.lexists(files.progress)
            sign = files.folder if is_new else files.progress
            is_going = is_new or os.path.lexists(files.folder / HOLDER)
            count += is_going and now - sign.stat().st_mtime < SILENT_SECONDS
    return count
