"""Options that wings add to commands."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from dataset_dl.doors import OPTIONS

if TYPE_CHECKING:
    from dataset_dl.observers import Observer


def extended(command: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of wings to a command, and pass it their observers as `observers`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = [name for name in OPTIONS.names() if name.rpartition(".")[0] == command]
        several = [each for name in names if (each := OPTIONS.find(name)) is not None]

        @wraps(function)
        def with_extensions(**options: Any) -> Any:
            observers: list[Observer] = []
            for each in several:
                value = options.pop(each.parameter)
                if each.sets is not None:
                    options.update(each.sets if value else {})
                elif value not in (None, ()):
                    observers += each.observers(value)
            return function(observers=observers, **options)

        for each in reversed(several):
            kind: dict[str, Any] = {"metavar": each.metavar, "multiple": each.multiple}
            if each.sets is not None:
                kind = {"is_flag": True}
            option = click.option(each.flag, each.parameter, help=each.help, **kind)
            with_extensions = option(with_extensions)
        return with_extensions

    return decorate
