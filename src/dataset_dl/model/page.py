"""What a wing adds to the page in the browser: a page, and the calls of its interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from dataset_dl.errors import SelectionError


class Answer(NamedTuple):
    """What a call returns if it is not JSON.

    Attributes
    ----------
    body, media_type
        The answer: bytes, or a file that is removed when it was sent.
    filename
        The name to save it under; empty to show it.
    fresh_seconds
        For how long a browser may keep it.
    """

    body: bytes | Path
    media_type: str
    filename: str = ""
    fresh_seconds: int = 0


class Given:
    """What a call was given: words of its path, the query, and the JSON of its body.

    Parameters
    ----------
    values
        Name → a value, or several.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> list[str]:
        """Return all values of a name as texts.

        Raises
        ------
        SelectionError
            If one is no text.
        """
        found = self._values.get(name, [])
        several = found if isinstance(found, list) else [found]
        for each in several:
            if not isinstance(each, str):
                raise SelectionError(name, f"{name} must be text, not {type(each).__name__}.")
        return several

    def text(self, name: str, default: str | None = None) -> str:
        """Return the last value of a name.

        Raises
        ------
        SelectionError
            If there is none, and no default.
        """
        found = self.all(name)
        if found:
            return found[-1]
        if default is None:
            raise SelectionError(name, f"{name} is missing.")
        return default

    def number(self, name: str, default: float | None = None, *, least: float = 0, most: float) -> float:
        """Return a number between two others.

        Raises
        ------
        SelectionError
            If it is none, or beyond them.
        """
        value = self._values.get(name)
        if isinstance(value, list) and value:
            value = value[-1]
        if value is None and default is not None:
            return default
        try:
            found = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            found = float("nan")
        if isinstance(value, bool) or not least <= found <= most:
            raise SelectionError(name, f"{name} must be a number from {least:g} to {most:g}.")
        return found

    def flag(self, name: str) -> bool:
        """Return whether something is switched on: true, or 1."""
        value = self._values.get(name)
        return value is True or (isinstance(value, list) and value[-1:] in (["1"], ["true"]))


class Place(Protocol):
    """Where the page may read and write: the directories named at its start."""

    def inside(self, path: str) -> Path:
        """Return an absolute path, which is in one of these directories.

        Raises
        ------
        SelectionError
            If it is not.
        """

    def directory_of(self, identifier: str) -> Path | None:
        """Return the directory of a series that was downloaded there, by its UID; None if it was not."""


@dataclass(frozen=True)
class Call:
    """A call of the interface, below ``/api/``.

    Attributes
    ----------
    path
        Like ``jobs/{job}/pause``; what is in braces is given, too.
    answer
        Answers it, in a thread, with a `Place`; plain values become JSON, a `DatasetDlError` one sentence.
    about
        What it does, as a sentence.
    parameters
        Name → what it means.
    method
        ``POST`` if it changes something.
    """

    path: str
    answer: Callable[[Any, Given], Any]
    about: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    method: Literal["GET", "POST"] = "GET"


@dataclass(frozen=True)
class Page:
    """A page of a wing.

    Attributes
    ----------
    title
        What the page is called.
    script
        An ES module that exports ``show(root, address)``; other files beside it are served, too.
    calls
        What it asks the server.
    check
        Raises `MissingExtra` if something is not installed; the page then says so.
    is_listed
        Whether the navigation leads to it.
    """

    title: str
    script: Path
    calls: tuple[Call, ...]
    check: Callable[[], None]
    is_listed: bool = False
