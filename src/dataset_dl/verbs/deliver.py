"""Deliver what was downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dataset_dl.errors import DeliveryIncomplete
from dataset_dl.model.outcome import Delivery
from dataset_dl.model.plan import Plan
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.verbs.download import destination_of, listed, shown
from dataset_dl.verbs.options import spelled_out
from dataset_dl.wording import counted

if TYPE_CHECKING:
    from dataset_dl.model.events import Delivered, Event
    from dataset_dl.observers import Observer


@spelled_out()
def deliver(
    what: Plan | str | Path,
    /,
    to: Any,
    *,
    evict: bool = False,
    consumer_processes: int | None = None,
    retries: int = DownloadSettings.retries,
    progress: Literal["auto", "none"] = "auto",
    observers: Iterable[Observer] = (),
    check: bool = True,
) -> Delivery:
    """Deliver every complete series of a destination to consumers, each once.

    Parameters
    ----------
    what
        The directory of a download; or a plan, for its series in the directory that it goes to.
    to
        A consumer, or a list of them: a name like ``thumbnails`` or ``NAME:WHERE?OPTION=VALUE``, a
        `destination.consumers.Consumer`, or a function that takes a `Series`. Consumers that are named run in
        several processes, others in a thread of this process. A function that is killed with this process
        gets the series again that it was working on.
    evict
        Remove a series, and the directories that become empty, when every consumer has taken it.
    consumer_processes
        How many processes run each consumer that is named; one a core by default.
    retries
        How often to try again after a transient failure.
    progress, observers
        As for `download`.
    check
        Raise if something was not delivered; if False, check ``ok`` yourself.

    Raises
    ------
    SelectionError
        If a consumer is unknown.
    ManifestError
        If no download went there.
    DeliveryIncomplete
        If a series is not complete, or a consumer failed with it; its ``delivery`` has the reasons.
    StorageError
        If another writer holds the destination, or a consumer has no room.
    """
    destination = destination_of(what, None) if isinstance(what, Plan) else Path(what)
    several = [*shown(progress, None), *observers]
    last = run(delivered(what, destination, listed(to), evict, consumer_processes, retries, several))
    if check:
        raise_for_delivery(destination, last)
    return last.delivery


def delivered(
    what: Plan | str | Path,
    destination: Path,
    to: list[Any],
    evict: bool,
    consumer_processes: int | None,
    retries: int,
    observers: Iterable[Observer],
) -> Iterator[Event]:
    """Yield the events of a delivery; `observers` see each one first."""
    from dataset_dl.destination import disk
    from dataset_dl.observers import observed
    from dataset_dl.transfer import new_run_id
    from dataset_dl.transfer.deliver import deliver
    from dataset_dl.transfer.hands import hands_of

    DownloadSettings(then=tuple(to), evict=evict, consumer_processes=consumer_processes)
    absolute = disk.absolute(destination)
    events = deliver(
        absolute,
        hands_of(to, absolute, consumer_processes),
        rows=what.rows if isinstance(what, Plan) else None,
        evict=evict,
        retries=retries,
        run_id=new_run_id(),
    )
    return observed(events, observers)


def run(events: Iterator[Event]) -> Delivered:
    """Consume the events of a delivery and return the last one."""
    from dataset_dl.model.events import Delivered

    last: Delivered | None = None
    try:
        for event in events:
            if isinstance(event, Delivered):
                last = event
    finally:
        events.close()  # type: ignore[attr-defined]
    assert last is not None, "a delivery ends in its sums or raises"
    return last


def raise_for_delivery(destination: Path, last: Delivered) -> None:
    """Raise if something was not delivered.

    Raises
    ------
    DeliveryIncomplete
        If a series is not complete, or a consumer failed with it.
    """
    delivery, lacking = last.delivery, last.lacking_series
    done = f"{delivery.delivered + delivery.delivered_before:,} succeeded"
    if delivery.failures:
        first = delivery.failures[0]
        raise DeliveryIncomplete(
            str(destination),
            f"{counted(len(delivery.failures), 'delivery')} of series in {destination} failed (the first:"
            f" {first.consumer} with {first.SeriesInstanceUID or first.key}, {first.message}); {done}.",
            "The same command tries those again that failed.",
            delivery=delivery,
        )
    if lacking:
        raise DeliveryIncomplete(
            str(destination),
            f"{lacking:,} series in {destination} are not complete, or were removed after an earlier"
            f" delivery, and were not delivered; {done}.",
            "Complete the download, then run the same command again.",
            delivery=delivery,
        )
