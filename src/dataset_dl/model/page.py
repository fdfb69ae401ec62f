"""What a wing adds to the page in the browser: a page, and the calls of its interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from dataset_dl.errors import SelectionError


class Right(NamedTuple):
    """What a person must be allowed to, for a call.

    Attributes
    ----------
    verb
        What it does, like ``query``; or several, with ``|`` between, of which one is enough.
    on
        The name of the given value that says on what: ``node``. Each of its values must be allowed. Empty if
        it is enough to have the right anywhere, because the call itself sees to the rest.
    """

    verb: str
    on: str = ""


Rights = tuple[Right, ...]
# Whoever has signed in may do it.
EVERYBODY: Rights = ()


@dataclass(frozen=True)
class Person:
    """Who asks.

    Attributes
    ----------
    name
        As the account is called; the owner of a page on the own machine has the name of the user.
    is_owner
        Whether everything is allowed.
    rights
        Verb and subject, like ``("query", "WARD")``; ``*`` for any.
    """

    name: str
    is_owner: bool = False
    rights: frozenset[tuple[str, str]] = frozenset()

    def may(self, verb: str, subject: str) -> bool:
        """Whether something is allowed; with the subject ``""``, whether it is anywhere."""
        if self.is_owner:
            return True
        verbs = (*verb.split("|"), "*")
        return any(each in verbs and (not subject or on in (subject, "*")) for each, on in self.rights)


OWNER = Person("", is_owner=True)


class Forbidden(SelectionError):
    """A person asks for what is not there, for all that they may see."""


class Answer(NamedTuple):
    """What a call returns if it is not JSON.

    Attributes
    ----------
    body, media_type
        The answer: bytes, parts of it one after the other, or a file that is removed when it was sent.
    filename
        The name to save it under; empty to show it.
    fresh_seconds
        For how long a browser may keep it.
    status, headers
        As of HTTP.
    """

    body: bytes | Path | Iterator[bytes]
    media_type: str
    filename: str = ""
    fresh_seconds: int = 0
    status: int = 200
    headers: Mapping[str, str] = {}


class Given:
    """What a call was given: words of its path, the query, and the JSON of its body.

    Parameters
    ----------
    values
        Name → a value, or several.
    person
        Who asks.
    body, media_type
        A body that is not JSON, in a file, and what it is; None without one.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        person: Person = OWNER,
        *,
        body: Path | None = None,
        media_type: str = "",
    ) -> None:
        self._values = values
        self.person = person
        self.body = body
        self.media_type = media_type

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names(self) -> Iterable[str]:
        """Return the names of all values."""
        return self._values.keys()

    def plain(self, name: str) -> Any:
        """Return a value as it was given; None if there is none."""
        return self._values.get(name)

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
        """Return the directory of a series that is completely there, by its UID; None if none is."""

    def directory_for(self, verb: str, subject: str) -> Path:
        """Return a directory for what a person may see as long as they have a right."""


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
    rights
        What a person must be allowed to; None if only the owner may.
    takes
        Media types of bodies that are not JSON.
    most_bytes
        How large such a body may be.
    """

    path: str
    answer: Callable[[Any, Given], Any]
    about: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    method: Literal["GET", "POST"] = "GET"
    rights: Rights | None = None
    takes: tuple[str, ...] = ()
    most_bytes: int = 0


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
    rights
        What leads a person to it; None if only the owner is.
    beside
        What works as long as the page is served.
    """

    title: str
    script: Path
    calls: tuple[Call, ...]
    check: Callable[[], None]
    is_listed: bool = False
    rights: Rights | None = None
    beside: Callable[[], AbstractContextManager[object]] | None = None
