"""Consumers of verified series: the protocol, their names, and the receipts that make delivery resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

from dataset_dl.errors import SelectionError
from dataset_dl.model.series import STATE_DIRECTORY, PlannedSeries, Series

_THROUGH = "through"


class Consumer(Protocol):
    """Takes verified series somewhere else: a PACS, an XNAT project, thumbnails, a training loop.

    It may have more methods, which are called in the process that started the run: ``check()`` before
    anything happens, which may refuse the run, ``begin()`` before the first series, ``keep(series,
    made)`` after each `take`, for one series at a time, ``stop()`` when the run ends, which should end a
    `take` that is still at work, and ``close()`` last. `keep` is for what
    several processes must not write at once, like a database; it returns the values for the receipt.
    ``summary()`` returns a sentence on what was made in this run, or an empty text. ``confirms(key,
    made)`` says whether what a receipt tells of is still there; if not, the series is taken anew.
    ``frees(made)`` says whether a series with such a receipt may be removed.

    A consumer may put series together that belong together, like those of a study: ``group(planned)``
    returns the name of a series' group. Series of one group are taken one after the other, never two at
    once. When all of a group's series in this run have been taken, ``complete(group)`` gets the `Group`, and
    yields plain values after each step that must not be forgotten: each is written as the receipt of the
    group, under the key ``group:NAME``. So it may be called again for a group that it had completed, and
    `confirms` says which receipt is final.

    Attributes
    ----------
    name
        Its name and where it delivers to: ``thumbnails``, ``pacs:NODE``.
    options
        All settings that change what it makes. A series whose receipt has other options is delivered again.
    threads
        Optional: in how many threads of this process it takes series. One without it, but a consumer that a
        package registers then runs in processes; what waits for a network is better off in threads. A
        consumer with groups always runs in threads.
    target
        Optional: the absolute path of the directory that it writes to.
    """

    name: str
    options: Mapping[str, Any]

    def take(self, series: Series) -> Mapping[str, Any]:
        """Deliver one series, completely or not at all. Several processes may do so at once.

        Returns
        -------
        Mapping
            Plain values for the receipt that describe what was made; may be empty.

        Raises
        ------
        Exception
            If the series could not be delivered. It gets no receipt. After a `NetworkError` it is tried again
            in this run, otherwise in the next one; a `StorageError` ends the run, because the others would
            fail, too.
        """


class Step(Protocol):
    """Changes series on the way to a consumer: puts pseudonyms into them, for example.

    Any consumer takes what a step has made if its request says so: ``NAME:WHERE?through=STEP``; options of
    the step are written ``through.OPTION=VALUE``. The originals stay as they are.

    Attributes
    ----------
    name
        Its name.
    options
        All settings that change what it makes; they count among those of the consumer.
    """

    name: str
    options: Mapping[str, Any]

    def renamed(self, planned: PlannedSeries) -> PlannedSeries:
        """Return a row as it is called after the step, without a look at its files."""

    def apply(self, series: Series, into: Path) -> tuple[Series, str]:
        """Write the files of a series anew, into an empty directory. Several threads may do so at once.

        Returns
        -------
        tuple
            The new series, and a sentence on files that stay behind; empty if none does. With such files the
            series counts as failed, although the consumer gets the others.
        """


# Makes a step from its options.
MakeStep = Callable[[Mapping[str, str]], Step]


@dataclass(frozen=True)
class ConsumerRequest:
    """A consumer as it was requested: ``NAME[:WHERE][?OPTION=VALUE&OPTION=VALUE]``.

    Attributes
    ----------
    name
        Its name in the registry.
    where
        Where it delivers to; empty for its default.
    options
        Its options, as text.
    destination
        The destination that the series come from.
    """

    name: str
    where: str
    destination: Path
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str, destination: Path) -> ConsumerRequest:
        """Parse a consumer.

        Raises
        ------
        SelectionError
            If it is none.
        """
        rest, mark, query = text.partition("?")
        name, _, where = rest.partition(":")
        if _has_password(where):
            raise SelectionError(
                name,
                f"The address of the consumer {name} contains a password, which would stay in records and"
                " histories; nothing was started.",
                "Leave it out; the documents of the consumer say where it is read from.",
            )
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(mark))
        except ValueError:
            pairs = []
        if not name or (mark and not pairs) or len(dict(pairs)) != len(pairs):
            raise SelectionError(
                text, f"“{text}” is no consumer.", "Write NAME, NAME:WHERE, or NAME:WHERE?OPTION=VALUE."
            )
        return cls(name, where, destination, dict(pairs))

    @property
    def through(self) -> tuple[str, Mapping[str, str]]:
        """The step on the way to it and its options; an empty name without one."""
        prefix = f"{_THROUGH}."
        given = {
            name.removeprefix(prefix): value
            for name, value in self.options.items()
            if name.startswith(prefix)
        }
        return self.options.get(_THROUGH, ""), given

    @property
    def direct(self) -> ConsumerRequest:
        """The request without its step."""
        rest = {name: value for name, value in self.options.items() if name.partition(".")[0] != _THROUGH}
        return replace(self, options=rest)

    def refuse_inside(self, target: Path) -> None:
        """Refuse to write into the destination, where everything is taken for data.

        Raises
        ------
        SelectionError
            If the target is the destination, or in its records.
        """
        if target == self.destination or self.destination / STATE_DIRECTORY in (target, *target.parents):
            raise SelectionError(
                str(target),
                f"The consumer {self.name} would write into the downloaded data, {target}.",
                "Give it a directory of its own.",
            )

    def refuse(self, *known: str) -> None:
        """Refuse options that the consumer does not have.

        Raises
        ------
        SelectionError
            If there is one.
        """
        for option in self.options:
            if option not in known:
                has = ", ".join(known) or "none"
                raise SelectionError(
                    option, f"The consumer {self.name} has no option “{option}”.", f"It has {has}."
                )


def _has_password(where: str) -> bool:
    try:
        return urlsplit(where).password is not None
    except ValueError:
        return False


# Makes a consumer from how it was requested.
MakeConsumer = Callable[[ConsumerRequest], Consumer]


class Group(NamedTuple):
    """Series of a run that belong together, all of which a consumer has taken.

    Attributes
    ----------
    name
        As the consumer called it.
    made
        The key of each series → the values of its receipt.
    """

    name: str
    made: Mapping[str, Mapping[str, Any]]

    @property
    def key(self) -> str:
        """Identifies it among receipts."""
        return f"group:{self.name}"


class Receipt(NamedTuple):
    """A record that a series was delivered.

    Attributes
    ----------
    consumer, key
        The name of the consumer and the key of the series.
    options_digest
        A digest of the consumer's options.
    delivered_at
        Seconds since 1970.
    made
        The values that `Consumer.take` returned.
    run_id
        The run that delivered it.
    """

    consumer: str
    key: str
    options_digest: str
    delivered_at: float
    made: Mapping[str, Any]
    run_id: str


def digest_of(options: Mapping[str, Any]) -> str:
    """Return a digest of a consumer's options: equal options have the same digest in every process."""
    text = json.dumps(options, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
