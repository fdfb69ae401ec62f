"""What takes verified series: the protocol, and the receipts that make it resumable."""

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
        What it is called, with where it delivers to: ``thumbnails``, ``pacs:NODE``.
    options
        Whatever changes what it makes. A series with a receipt for other options is delivered again.
    """

    name: str
    options: Mapping[str, Any]

    def take(self, series: Series) -> Mapping[str, Any]:
        """Deliver one series, completely or not at all.

        Returns
        -------
        Mapping
            What was made, as plain values for the receipt; may be empty.

        Raises
        ------
        Exception
            If it could not be delivered; there is no receipt then, and another run tries again.
        """


# Makes a consumer from what stands behind the colon in NAME:WHERE; empty if nothing does.
MakeConsumer = Callable[[str], Consumer]


class Receipt(NamedTuple):
    """That a series was delivered.

    Attributes
    ----------
    consumer, key
        To whom, and which series.
    options_digest
        A digest of the consumer's options.
    delivered_at
        Seconds since 1970.
    made
        What the consumer said of it.
    run_id
        In which run.
    """

    consumer: str
    key: str
    options_digest: str
    delivered_at: float
    made: Mapping[str, Any]
    run_id: str


def digest_of(options: Mapping[str, Any]) -> str:
    """A digest of a consumer's options: the same for the same options, in every process."""
    text = json.dumps(options, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
