"""The doors: registries for sources, engines, consumers, steps, kinds of jobs, commands, options and pages.

This package's own entries are import strings, so nothing is imported before it is used. Other packages add
entries through entry points of the same group; a program calls `register`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import click

    from dataset_dl.destination.consumers import MakeConsumer, MakeStep
    from dataset_dl.engines.protocol import MakeEngine
    from dataset_dl.model.job import JobKind
    from dataset_dl.model.page import Page
    from dataset_dl.observers import Observer
    from dataset_dl.sources.protocol import Source

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries by name, loaded on first use.

    Parameters
    ----------
    group
        The entry point group that other packages use.
    own
        Name → ``module:attribute`` of this package's own entries.
    """

    def __init__(self, group: str, own: Mapping[str, str] | None = None) -> None:
        self.group = group
        self._own = dict(own or {})
        self._loaded: dict[str, T] = {}
        self._registered: set[str] = set()
        self._found: dict[str, EntryPoint] | None = None

    def register(self, name: str, value: T) -> Callable[[], None]:
        """Add an entry for the life of this process; return a function that removes it."""
        self._loaded[name] = value
        self._registered.add(name)

        def remove() -> None:
            self._loaded.pop(name, None)
            self._registered.discard(name)

        return remove

    def is_everywhere(self, name: str) -> bool:
        """Whether other processes find this entry, too: it was not only registered in this one."""
        return name not in self._registered

    def names(self) -> list[str]:
        """All known names, sorted."""
        return sorted({*self._own, *self._loaded, *self._entry_points()})

    def find(self, name: str) -> T | None:
        """Return the entry with this name, or None."""
        if name not in self._loaded:
            if name in self._own:
                module, _, attribute = self._own[name].partition(":")
                self._loaded[name] = getattr(importlib.import_module(module), attribute)
            elif name in self._entry_points():
                self._loaded[name] = self._entry_points()[name].load()
        return self._loaded.get(name)

    def _entry_points(self) -> dict[str, Any]:
        # Slow, as it reads the metadata of every installed package; so `find` tries the own names first.
        if self._found is None:
            from importlib.metadata import entry_points

            self._found = {each.name: each for each in entry_points(group=self.group)}
        return self._found


@dataclass(frozen=True)
class Extension:
    """An option added to an existing command.

    Attributes
    ----------
    flag
        The flag, like ``--metrics``.
    help, metavar
        As in `click.option`.
    multiple
        Whether the option may be repeated; `observers` then receives a tuple.
    observers
        Function that creates the observers for a value of the option.
    sets
        Options of the command that the flag sets, if it takes no value.
    """

    flag: str
    help: str
    metavar: str = ""
    observers: Callable[[Any], Iterable[Observer]] = lambda value: ()
    multiple: bool = False
    sets: Mapping[str, Any] | None = None

    @property
    def parameter(self) -> str:
        """The parameter name that click uses for the option."""
        return f"extension_{self.flag.lstrip('-').replace('-', '_')}"


# Keyed by the address scheme of the source's rows.
SOURCES: Registry[Source] = Registry("dataset_dl.sources", {"s3": "dataset_dl.sources.idc.source:IDC"})
# Keyed by ``scheme.name``: an engine that serves two schemes has two entries.
ENGINES: Registry[MakeEngine] = Registry(
    "dataset_dl.engines",
    {"s3.curl": "dataset_dl.engines.curl.making:make", "s3.s5cmd": "dataset_dl.engines.s5cmd.engine:make"},
)
CONSUMERS: Registry[MakeConsumer] = Registry("dataset_dl.consumers")
STEPS: Registry[MakeStep] = Registry("dataset_dl.steps")
# Keyed by the kind of the job.
JOBS: Registry[JobKind] = Registry(
    "dataset_dl.jobs",
    {kind: f"dataset_dl.verbs.jobs.kinds:{kind}" for kind in ("download", "repair", "update", "verify")},
)
# Keyed by the words of the command, joined by dots: ``xnat``, ``idc.facets``.
COMMANDS: Registry[click.Command] = Registry("dataset_dl.commands")
# Keyed by the command that gets the option, and a name: ``idc.download.metrics``.
OPTIONS: Registry[Extension] = Registry("dataset_dl.options")
# Keyed by the first word of its address in the browser.
PAGES: Registry[Page] = Registry("dataset_dl.pages")
