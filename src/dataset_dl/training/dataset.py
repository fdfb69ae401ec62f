"""A map-style data set of series that are downloaded ahead of the loaders, and removed behind them."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import random
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from dataset_dl.errors import DatasetDlError, PlanError, SelectionError, TransferError
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import STATE_DIRECTORY, Series
from dataset_dl.model.settings import bytes_of
from dataset_dl.process import Process
from dataset_dl.process.python import start_module
from dataset_dl.training.epoch import Epoch

_WAIT_SECONDS, _LONG_WAIT_SECONDS = 0.005, 0.05
_LOOKS_BEFORE_LONG = 40
T = TypeVar("T")


def load_volume(series: Series) -> dict[str, Any]:
    """Return a series as a sample.

    ``image`` is a float32 array of shape (1, slices, rows, columns). The ``affine`` leads from (column, row,
    slice) to mm in the patient, as `dataset_dl.volume` returns it. Also ``PatientID``, ``SeriesInstanceUID``
    and ``collection_id``.
    """
    import numpy as np

    from dataset_dl.pixels.stacks import stacked

    found, planned = stacked(series), series.planned
    return {
        "image": found.array[np.newaxis].astype(np.float32),
        "affine": found.affine,
        "PatientID": planned.PatientID or "",
        "SeriesInstanceUID": planned.SeriesInstanceUID or "",
        "collection_id": planned.collection_id or "",
    }


class SeriesDataset:
    """Series as samples; implements what `torch.utils.data.DataLoader` needs.

    One process a node downloads, in the order of the epoch; a sample waits until its series is verified. The
    index of a sample is its place in that order, so a loader needs no shuffling of its own:
    ``shuffle=False``, and with several ranks ``DistributedSampler(dataset, shuffle=False)``.

    Parameters
    ----------
    plan
        The series.
    into
        Where to download them to; the plan's own destination if None. Each node needs a disk of its own, or a
        directory of its own on a shared one.
    load
        Makes a sample of a `Series`, in the loader's process.
    transform
        Applied to each sample that is a dict.
    disk_budget
        The most bytes on the disk, as a number or like ``500GB``: series that were read are removed. No bound
        if None. If everything fits, nothing is removed.
    shuffle, seed
        Whether each epoch has an order of its own, which depends on nothing but the seed and the epoch.
    on_failure
        ``error`` raises if a series cannot be downloaded or loaded; ``skip`` returns None, see `collate`.
    rank, world_size, local_rank, local_world_size
        As in torch.distributed; from the variables RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE, which
        torchrun sets, if None.
    timeout_seconds
        How long a sample may wait for its series; for ever if None.
    **options
        How to fetch and how to reach the network, see `DownloadOptions`.

    Raises
    ------
    PlanError
        If there is no destination, or the budget is smaller than the largest series.
    """

    def __init__(
        self,
        plan: Plan,
        into: str | Path | None = None,
        *,
        load: Callable[[Series], Any] = load_volume,
        transform: Callable[[Any], Any] | None = None,
        disk_budget: int | str | None = None,
        shuffle: bool = True,
        seed: int = 0,
        on_failure: Literal["error", "skip"] = "error",
        rank: int | None = None,
        world_size: int | None = None,
        local_rank: int | None = None,
        local_world_size: int | None = None,
        timeout_seconds: float | None = None,
        **options: Any,
    ) -> None:
        from dataset_dl.verbs.download import check_budget, destination_of

        if on_failure not in ("error", "skip"):
            raise PlanError("on_failure", f"on_failure is “{on_failure}” but must be error or skip.")
        self.destination = destination_of(plan, into)
        self._plan: Plan | None = plan
        self._count = plan.series_count
        self._load, self._transform = load, transform
        self._budget = None if disk_budget is None else bytes_of(disk_budget)
        check_budget(plan, self._budget)
        if self._budget is not None and plan.rows.needs_names():
            raise PlanError(
                "layout",
                "With a disk budget, each series needs a directory of its own, named by its UID.",
                "Leave the layout of the plan out, or let it end in %SeriesInstanceUID.",
            )
        self._shuffle, self._seed = shuffle, seed
        self._on_failure = on_failure
        self.rank = _number(rank, "RANK", 0)
        self.world_size = _number(world_size, "WORLD_SIZE", 1)
        self._local_rank = _number(local_rank, "LOCAL_RANK", self.rank)
        self._local_world_size = _number(local_world_size, "LOCAL_WORLD_SIZE", self.world_size)
        self._timeout_seconds = timeout_seconds
        self._options = dict(options)
        self._digest = _digest_of(plan, seed, shuffle)
        self._feeder: Process | None = None
        self._epoch: Epoch | None = None
        self._order: list[int] = []

    def __getstate__(self) -> dict[str, Any]:
        # Loaders need neither the plan nor the process that feeds them.
        return self.__dict__ | {"_feeder": None, "_plan": None}

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, or go on with one that was interrupted; call it in every rank before its loop.

        Samples that were trained on before, see `track`, are left out.
        """
        self.close()
        name = f"epoch-{epoch}-{self._digest}"
        self._epoch = Epoch(self.destination / STATE_DIRECTORY / "training" / name)
        if self._local_rank == 0:
            self._lead(epoch)
        began = time.monotonic()
        while (order := self._epoch.join()) is None:
            self._check_time(began, "the process of local rank 0")
            time.sleep(_LONG_WAIT_SECONDS)
        self._order = order

    def _lead(self, epoch: int) -> None:
        """Start the process that downloads for this node."""
        if self._plan is None:
            raise PlanError("epoch", "A copy of the data set, as loaders have it, cannot begin an epoch.")
        assert self._epoch is not None
        from dataset_dl.destination import paths

        paths.prepare(self.destination)
        self._epoch.directory.mkdir(parents=True, exist_ok=True)
        if not self._epoch.plan_path.exists():
            self._plan.save(self._epoch.plan_path)
        rows = list(range(self._count))
        if self._shuffle:
            random.Random(f"{self._seed} {epoch}").shuffle(rows)
        done = self._epoch.done()
        order = [row for row in rows if row not in done]
        node = self.rank // self._local_world_size
        here = [
            row
            for place, row in enumerate(order)
            if place % self.world_size // self._local_world_size == node
        ]
        self._epoch.begin(order)
        orders = {
            "epoch": os.fspath(self._epoch.directory),
            "run": self._epoch.run_name,
            "destination": os.fspath(self.destination),
            "rows": here,
            "disk_budget": self._budget,
            "options": self._options,
        }
        self._feeder = start_module(
            "dataset_dl.training.feeder",
            directory=Path.cwd(),
            orders=json.dumps(orders, default=os.fspath).encode() + b"\n",
            lines=queue.SimpleQueue(),
        )
        self._feeder.ignore_output()
        self._epoch.feeds(self._feeder.pid)

    def close(self) -> None:
        """End the process that downloads; what is on the disk stays."""
        if self._feeder is not None:
            self._feeder.stop()
            self._feeder = None

    def __len__(self) -> int:
        """Return how many samples are left in this epoch."""
        self._begun()
        return len(self._order)

    def __getitem__(self, index: int) -> Any:
        """Return a sample; waits until its series is verified.

        Raises
        ------
        TransferError
            If the series cannot be downloaded.
        SelectionError, UnreadableObject
            If it cannot be loaded.
        """
        epoch = self._begun()
        row = self._order[index]
        try:
            sample = self._loaded(epoch, row)
        except Exception as error:
            is_lost = bool(epoch.loss())
            if not epoch.failure(row):
                epoch.fail(row, str(error) or type(error).__name__)
            epoch.mark("used", row)
            if self._on_failure == "error" or is_lost:
                raise
            return None
        epoch.mark("used", row)
        if isinstance(sample, dict):
            sample["index"] = index
            return self._transform(sample) if self._transform is not None else sample
        return sample

    def _loaded(self, epoch: Epoch, row: int) -> Any:
        for is_last in (False, True):
            series = self._wait(epoch, row)
            try:
                return self._load(series)
            except (OSError, DatasetDlError):
                # Another loader may have had the same sample, and its files may be gone.
                if is_last or all(path.exists() for path in series.paths):
                    raise
        raise AssertionError("the second try returns or raises")

    def _wait(self, epoch: Epoch, row: int) -> Series:
        began, looks = time.monotonic(), 0
        while True:
            if (message := epoch.failure(row)) is not None:
                raise TransferError(str(row), f"The series of sample {row} cannot be had: {message}.")
            if epoch.is_marked("used", row) and not epoch.is_marked("again", row):
                epoch.mark("again", row)
            elif (series := epoch.ready(row)) is not None:
                epoch.mark("reading", row)
                epoch.unmark("wanted", row)
                return series
            looks += 1
            self._check_time(began, f"the series of sample {row}")
            time.sleep(_WAIT_SECONDS if looks < _LOOKS_BEFORE_LONG else _LONG_WAIT_SECONDS)
            if looks == _LOOKS_BEFORE_LONG:
                epoch.mark("wanted", row)
            if looks % _LOOKS_BEFORE_LONG == 0 and (reason := epoch.loss()):
                raise TransferError(str(row), f"The series of sample {row} will not come: {reason}.")

    def _check_time(self, began: float, what: str) -> None:
        if self._timeout_seconds is not None and time.monotonic() - began > self._timeout_seconds:
            raise TransferError(what, f"{what} did not come within {self._timeout_seconds:g} s.")

    def track(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass on the batches of a loader; each counts as done when the next one is asked for.

        An epoch that is interrupted and begun again leaves out what is done, and repeats what is not.
        """
        epoch = self._begun()
        for batch in batches:
            if batch is None:
                continue  # all of its samples were skipped
            yield batch
            epoch.add_done(self.rank, [self._order[place] for place in _places(batch)])

    def failures(self) -> dict[int, str]:
        """Return why samples of this epoch were skipped, by their row in the plan."""
        return self._begun().failures()

    def _begun(self) -> Epoch:
        if self._epoch is None:
            raise PlanError(
                "epoch", "No epoch has begun.", "Call set_epoch(0) first, then make samplers and loaders."
            )
        return self._epoch


def collate(samples: list[Any]) -> Any:
    """Put samples together as torch does, without those that were skipped; None if all were."""
    kept = [each for each in samples if each is not None]
    if not kept:
        return None
    from torch.utils.data import default_collate

    return default_collate(kept)


def _places(batch: Any) -> list[int]:
    """Return the indices of the samples of a batch, or of a single sample."""
    if isinstance(batch, dict):
        found = batch["index"]
        return [int(each) for each in found] if hasattr(found, "__iter__") else [int(found)]
    if isinstance(batch, (list, tuple)):
        return [place for each in batch for place in _places(each)]
    raise SelectionError(
        type(batch).__name__, "A batch must be a dict with “index”, or a list of such dicts, to be tracked."
    )


def _number(given: int | None, variable: str, default: int) -> int:
    return given if given is not None else int(os.environ.get(variable, default))


def _digest_of(plan: Plan, seed: int, shuffle: bool) -> str:
    found = hashlib.blake2b(f"{seed} {shuffle}".encode(), digest_size=6)
    for row in plan:
        found.update(row.key.encode())
    return found.hexdigest()
