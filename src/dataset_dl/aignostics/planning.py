"""A download of samples: its plan, its engine with the account, and the files that are doubtful."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from dataset_dl.aignostics.account import find_account
from dataset_dl.aignostics.engine import GcsEngine
from dataset_dl.aignostics.requesting import Requests
from dataset_dl.aignostics.source import rows_of
from dataset_dl.destination import checksums, disk, paths
from dataset_dl.destination.reading import reading_complete
from dataset_dl.destination.tree import file_size
from dataset_dl.model.events import Event
from dataset_dl.model.plan import Plan
from dataset_dl.model.series import PlannedSeries, Suspects
from dataset_dl.observers import Observer
from dataset_dl.plans.file import PlanFile
from dataset_dl.verbs.download import destination_of, transferred
from dataset_dl.verbs.options import DownloadOptions, network_of, settings_of


@dataclass(frozen=True)
class Samples:
    """A planned download of samples.

    Attributes
    ----------
    plan
        A row for each object.
    destination
        Where they go.
    options
        Those of the download, with the engine.
    engine
        The engine, with the account that signs.
    """

    plan: Plan
    destination: Path
    options: DownloadOptions
    engine: GcsEngine

    @classmethod
    def plan_for(
        cls,
        addresses: Sequence[str],
        into: str | Path,
        credentials: str | Path | None,
        options: DownloadOptions,
    ) -> Samples:
        """Ask the store for the objects; nothing is fetched.

        Raises
        ------
        SelectionError, NetworkError, MissingExtra
            As for `aignostics.download`.
        """
        settings, network = settings_of(options), network_of(options)
        account = find_account(credentials)
        engine = GcsEngine(
            network, account, workers=settings.workers,
            stall_seconds=settings.stall_timeout_seconds, max_rate_mbps=settings.max_rate_mbps,
        )  # fmt: skip
        with Requests(network, account) as asking:
            rows = rows_of(addresses, asking)
        plan = PlanFile.of(rows).plan(Path(into))
        # An object: the engine that the settings name is for another scheme.
        chosen = cast(DownloadOptions, {**options, "engine": engine})
        return cls(plan, destination_of(plan, None), chosen, engine)

    def events(self, observers: Iterable[Observer]) -> Iterator[Event]:
        """Download, and yield the events; `observers` see each one first."""
        return transferred(self.plan, self.destination, self.options, observers, self.suspects())

    def suspects(self) -> Suspects:
        """Return files that have the size of their object but another checksum.

        An object may be replaced by one of the same size under the same name, and any tool may have written
        a file. Those that the journal records for this content of the object are not read again.
        """
        wrong: dict[str, set[str]] = {}
        doubtful = list(self._doubtful())
        for batch in (doubtful[start : start + 1000] for start in range(0, len(doubtful), 1000)):
            stored = self.engine.objects(batch)
            pairs = [
                (row, each, self.destination / row.directory / each.name)
                for row in batch
                for each in stored.get(row.key, ())
            ]
            outcomes = checksums.compare((path, each) for _, each, path in pairs)
            for (row, each, _), outcome in zip(pairs, outcomes, strict=True):
                if outcome != "same":
                    wrong.setdefault(row.directory, set()).add(each.name)
        return {directory: frozenset(names) for directory, names in wrong.items()}

    def _doubtful(self) -> Iterator[PlannedSeries]:
        with (
            disk.guard(self.destination),
            reading_complete(paths.files_of(self.destination).journal) as is_complete,
        ):
            for row in self.plan:
                for name, size_bytes in (row.wanted() or {}).items():
                    path = self.destination / row.directory / name
                    if file_size(path) == size_bytes and not is_complete(row):
                        yield row
