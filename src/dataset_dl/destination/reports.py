"""Reports of runs, as the journals of all writers of a destination have them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec

from dataset_dl.destination import paths
from dataset_dl.destination.reading import last_report
from dataset_dl.model.outcome import Delivery, Report


def gather(destination: Path) -> Report | None:
    """Combine the last reports of all writers of a destination into one; None if there are none."""
    found = [report_of(files) for files in paths.writers(destination)]
    return combined([each for each in found if each is not None], destination)


def report_of(files: paths.Files) -> Report | None:
    """Return the report of the last run of a writer that has one; None if there is none."""
    text = last_report(files.journal)
    return None if text is None else _decode(text)


def combined(reports: Sequence[Report], destination: Path) -> Report | None:
    """Combine the reports of several writers of a destination into one; None if there are none."""
    if not reports:
        return None
    together = reports[0]
    for each in reports[1:]:
        sums = {
            field.name: getattr(together, field.name) + getattr(each, field.name)
            for field in fields(Report)
            if field.type == "int"
        }
        together = replace(
            together,
            **sums,
            failures=together.failures + each.failures,
            bytes_by_store=dict(Counter(together.bytes_by_store) + Counter(each.bytes_by_store)),
            also_asked=together.also_asked or each.also_asked,
            elapsed_seconds=max(together.elapsed_seconds, each.elapsed_seconds),
            stopped=together.stopped or each.stopped,
            missing=tuple(dict.fromkeys(together.missing + each.missing)),
            run_id=" ".join(filter(None, (together.run_id, each.run_id))),
            delivery=_joined(together.delivery, each.delivery),
        )
    return replace(together, destination=destination)


def with_rest(report: Report, earlier: Report, keys: Set[str]) -> Report:
    """Add to a report of some series, by their keys, what an earlier one says of all others."""
    failures = tuple(each for each in earlier.failures if each.planned.key not in keys)
    delivery = report.delivery
    if earlier.delivery is not None:
        told = delivery.consumers if delivery is not None else ()
        left = (
            each for each in earlier.delivery.failures if each.key not in keys or each.consumer not in told
        )
        delivery = _joined(Delivery(earlier.delivery.consumers, failures=tuple(left)), delivery)
    return replace(report, failures=failures + report.failures, delivery=delivery)


def _joined(one: Delivery | None, other: Delivery | None) -> Delivery | None:
    return one.joined(other) if one is not None and other is not None else one or other


def encoded(report: Report) -> str:
    """Return a report as JSON."""
    return msgspec.json.encode(report, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return os.fsencode(value).decode(errors="backslashreplace")
    raise NotImplementedError


def _decode(text: str) -> Report:
    def path(kind: type, value: Any) -> Any:
        return kind(value)

    return msgspec.json.decode(text, type=Report, dec_hook=path)
