"""A consumer behind a step: it gets what the step has made of a series, and never the series itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataset_dl.destination.consumers import Consumer, Step
from dataset_dl.errors import UnreadableObject
from dataset_dl.model.series import PlannedSeries, Series
from dataset_dl.scratch import Scratch


class Stepped:
    """A consumer around a step and a consumer; implements `destination.consumers.Consumer`.

    What the consumer has besides, like `check` or `close`, is its own.

    Parameters
    ----------
    step, consumer
        What changes series, and what takes them.
    """

    def __init__(self, step: Step, consumer: Consumer) -> None:
        self._step = step
        self._consumer = consumer
        self.name = consumer.name
        self.options: Mapping[str, Any] = {
            **consumer.options, "through": {"name": step.name, **step.options}
        }  # fmt: skip
        self.threads = int(getattr(consumer, "threads", 1))
        if hasattr(consumer, "group"):
            self.group = self._group
        if hasattr(consumer, "keep"):
            self.keep = self._keep

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_consumer"], name)

    def take(self, series: Series) -> Mapping[str, Any]:
        """Let the consumer take what the step makes of a series.

        Raises
        ------
        UnreadableObject
            If files stay behind; the consumer has the others.
        Exception
            Whatever the consumer raises.
        """
        with Scratch("step") as directory:
            new, behind = self._step.apply(series, directory)
            made = self._consumer.take(new) if new.paths else {}
        if behind:
            raise UnreadableObject(series.planned.key, behind)
        return made

    def _keep(self, series: Series, made: Mapping[str, Any]) -> Mapping[str, Any]:
        renamed = Series(self._step.renamed(series.planned), series.directory, ())
        kept: Mapping[str, Any] = self._consumer.keep(renamed, made)  # type: ignore[attr-defined]
        return kept

    def _group(self, planned: PlannedSeries) -> str:
        group: str = self._consumer.group(self._step.renamed(planned))  # type: ignore[attr-defined]
        return group
