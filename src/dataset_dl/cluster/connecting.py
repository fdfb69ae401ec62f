"""Reach Dask: the scheduler by its address, and what each worker must have."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from dataset_dl.errors import (
    DatasetDlError,
    MissingExtra,
    NetworkError,
    PlanError,
    SelectionError,
    StorageError,
)
from dataset_dl.model.series import STATE_DIRECTORY
from dataset_dl.process.kernel import kernel_id

if TYPE_CHECKING:
    from distributed import Client, Future

    from dataset_dl.model.outcome import Cause

_CONNECT_SECONDS = 20.0
# A mark of another machine that is so old was left by a run that was killed.
_LEFT_SECONDS = 7 * 86400.0


def client_of(address: str) -> Client:
    """Connect to the scheduler at an address like ``dask://host:8786``.

    Certificates for TLS are named in Dask's own configuration.

    Raises
    ------
    SelectionError
        If it is no such address.
    MissingExtra
        If Dask is not installed.
    NetworkError
        If no scheduler answers there.
    """
    if not re.fullmatch(r"dask://[^/\s]+:[0-9]+", address):
        raise SelectionError(
            address, f"“{address}” is not the address of a scheduler of Dask; nothing was started.",
            "Write it like dask://HOST:8786.",
        )  # fmt: skip
    if find_spec("distributed") is None:
        raise MissingExtra("dask", "distributed")
    import dask
    from distributed import Client

    scheme = "tls" if dask.config.get("distributed.comm.require-encryption", None) else "tcp"
    try:
        return Client(f"{scheme}://{address.partition('://')[2]}", timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise NetworkError(
            address,
            f"No scheduler of Dask answers at {address} ({type(error).__name__}); nothing was started.",
            "Start one with `dask scheduler`, and workers with `dask worker`, or mend the address.",
        ) from None


def threads_of(client: Client) -> int:
    """Return how many tasks the workers run at a time.

    Raises
    ------
    NetworkError
        If there is no worker.
    SelectionError
        If it is no client.
    """
    if not hasattr(client, "nthreads") or getattr(client, "asynchronous", False):
        raise SelectionError(
            repr(client), f"{client!r} is no distributed.Client, or an asynchronous one; nothing was started."
        )
    count = int(sum(client.nthreads().values()))
    if not count:
        raise NetworkError(
            str(client.scheduler.address if client.scheduler else ""),
            "The scheduler of Dask has no workers; nothing was started.",
            "Start some with `dask worker`.",
        )
    return count


@contextmanager
def reaching(client: Client) -> Iterator[None]:
    """Translate what Dask raises if its scheduler is gone.

    Raises
    ------
    NetworkError
        Instead of an error of the connection.
    """
    try:
        yield
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        if isinstance(error, DatasetDlError) or client.status == "running":
            raise
        raise NetworkError(
            "dask",
            f"The scheduler of Dask is gone ({error}); finished files are kept.",
            "Start Dask again, then run the same command again.",
        ) from None


def why(future: Future[Any]) -> tuple[Cause, str]:
    """Return why a task came to nothing, as a cause and in words."""
    error = future.exception() if future.status == "error" else None
    if isinstance(error, NetworkError):
        return "network", f"from a worker of Dask: {error.message.rstrip('.')}"
    if isinstance(error, DatasetDlError):
        return "unknown", f"from a worker of Dask: {error.message.rstrip('.')}"
    if error is None or type(error).__name__ == "KilledWorker":
        return "unknown", "the workers of Dask that had it were lost"
    # Some messages of Dask are paragraphs, with links; the first sentence says it.
    first, _, _ = " ".join(str(error).split()).partition(". ")
    return "unknown", f"a worker of Dask failed ({type(error).__name__}: {first})"


@contextmanager
def seen_by_all(client: Client, destination: Path) -> Iterator[str]:
    """Make sure that all workers see a destination, and are of this version; yield the path of a file there.

    A worker that comes later looks for that file, too: otherwise it might write to a disk of its own.

    Raises
    ------
    StorageError
        If one does not see it.
    PlanError
        If one has another version of dataset-dl.
    """
    from dataset_dl import __version__

    state = destination / STATE_DIRECTORY
    mark = (state if state.is_dir() else destination) / f"dask.{secrets.token_hex(6)}.part"
    for other in mark.parent.glob("dask.*.part"):
        with suppress(OSError):
            if _is_left(other):
                other.unlink()
    mark.write_text(f"{kernel_id()} {os.getpid()}", encoding="utf-8")
    try:
        with reaching(client):
            answers = client.run(look, str(mark), on_error="return")
        for worker, answer in answers.items():
            _check(worker, answer, destination, __version__)
        yield str(mark)
    finally:
        with suppress(OSError):
            mark.unlink()


def _is_left(mark: Path) -> bool:
    """Whether the run that set a mark was killed, and not only goes on."""
    kernel, _, pid = mark.read_text(encoding="utf-8").rpartition(" ")
    if kernel == kernel_id() and pid.isdigit():
        return not psutil.pid_exists(int(pid))
    return time.time() - mark.stat().st_mtime > _LEFT_SECONDS


def _check(worker: str, answer: Any, destination: Path, version: str) -> None:
    if isinstance(answer, (ImportError, AttributeError)):
        raise PlanError(
            worker,
            f"The worker {worker} has no dataset-dl of this version ({answer}); nothing was started.",
            f'Install it there: pip install "dataset-dl[dask]=={version}".',
        )
    if isinstance(answer, BaseException):
        raise NetworkError(worker, f"The worker {worker} does not answer ({answer}); nothing was started.")
    is_seen, theirs = answer
    if theirs != version:
        raise PlanError(
            worker,
            f"The worker {worker} has dataset-dl {theirs}, this is {version}; nothing was started.",
            f'Install the same one there: pip install "dataset-dl[dask]=={version}".',
        )
    if not is_seen:
        raise StorageError(
            worker,
            f"The worker {worker} does not see {destination}; nothing was started.",
            "All workers need the file system of the destination, at the same path.",
        )


def look(mark: str) -> tuple[bool, str]:
    """Say whether this worker sees a file, and its version; runs on a worker."""
    from dataset_dl import __version__

    return Path(mark).exists(), __version__
