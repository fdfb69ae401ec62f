"""Consumers of verified series: the protocol, and the receipts that make delivery resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from dataset_dl.model.series import Series


class Consumer(Protocol):
    """Takes verified series somewhere else: a PACS, an XNAT project, thumbnails, a training loop.

    Attributes
    ----------
    name
        Its name and where it delivers to: ``thumbnails``, ``pacs:NODE``.
    options
        All settings that change what it makes. A series whose receipt has other options is delivered again.
    """

    name: str
    options: Mapping[str, Any]

    def take(self, series: Series) -> Mapping[str, Any]:
        """Deliver one series, completely or not at all.

        Returns
        -------
        Mapping
            Plain values for the receipt that describe what was made; may be empty.

        Raises
        ------
        Exception
            If the series could not be delivered. It gets no receipt, and the next run tries again.
        """


# Makes a consumer from the WHERE in NAME:WHERE, which is empty if it is left out.
MakeConsumer = Callable[[str], Consumer]


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
