"""The doors: registries that sources, engines, consumers and commands attach to.

What this package brings is listed by the place it is loaded from, so that nothing is imported before it is
used. Other packages add theirs by entry points of the same group; a program can call `register`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import click

    from dataset_dl.destination.consumers import MakeConsumer
    from dataset_dl.engines.protocol import MakeEngine
    from dataset_dl.observers import Observer
    from dataset_dl.sources.protocol import Source

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things that are loaded when they are asked for.

    Parameters
    ----------
    group
        The entry point group that other packages use.
    own
        Name → ``module:attribute`` of what this package brings.
    """

    def __init__(self, group: str, own: Mapping[str, str] | None = None) -> None:
        self.group = group
        self._own = dict(own or {})
        self._loaded: dict[str, T] = {}
        self._found: dict[str, EntryPoint] | None = None

    def register(self, name: str, value: T) -> Callable[[], None]:
        """Add something for the life of this process; returns a function that takes it out again."""
        self._loaded[name] = value

        def remove() -> None:
            self._loaded.pop(name, None)

        return remove

    def names(self) -> list[str]:
        """Every name that is known, sorted."""
        return sorted({*self._own, *self._loaded, *self._entry_points()})

    def find(self, name: str) -> T | None:
        """What goes by a name; None if nothing does."""
        if name not in self._loaded:
            if name in self._own:
                module, _, attribute = self._own[name].partition(":")
                self._loaded[name] = getattr(importlib.import_module(module), attribute)
            elif name in self._entry_points():
                self._loaded[name] = self._entry_points()[name].load()
        return self._loaded.get(name)

    def _entry_points(self) -> dict[str, Any]:
        # Reading the metadata of every installed package takes a while, so the own names come first.
        if self._found is None:
            self._found = {each.name: each for each in entry_points(group=self.group)}
        return self._found


@dataclass(frozen=True)
class Extension:
    """An option of another command.

    Attributes
    ----------
    flag
        Like ``--metrics``.
    help, metavar
        As `click.option` takes them.
    multiple
        Whether it may be repeated; `observers` then gets a tuple.
    observers
        The observers that its value stands for.
    """

    flag: str
    help: str
    metavar: str
    observers: Callable[[Any], Iterable[Observer]]
    multiple: bool = False

    @property
    def parameter(self) -> str:
        """The name of its parameter."""
        return f"extension_{self.flag.lstrip('-').replace('-', '_')}"


# By the scheme of the addresses that a source's rows have.
SOURCES: Registry[Source] = Registry("dataset_dl.sources", {"s3": "dataset_dl.sources.idc.source:IDC"})
# By scheme and name, with a dot between: an engine that serves two schemes stands here twice.
ENGINES: Registry[MakeEngine] = Registry(
    "dataset_dl.engines", {"s3.s5cmd": "dataset_dl.engines.s5cmd.engine:make"}
)
CONSUMERS: Registry[MakeConsumer] = Registry("dataset_dl.consumers")
# By the words of the command, with dots between: ``xnat``, ``idc.facets``.
COMMANDS: Registry[click.Command] = Registry("dataset_dl.commands")
# By the command that it is added to, and a name: ``idc.download.metrics``.
OPTIONS: Registry[Extension] = Registry("dataset_dl.options")
