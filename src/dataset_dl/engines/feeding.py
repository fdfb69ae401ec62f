"""Series that come while an engine works, because there is not room for all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataset_dl.model.series import Fetch, Pause

# How often an engine asks again.
FEED_SECONDS = 0.02


class Feed:
    """Takes fetches from an iterator as far as there is room.

    Parameters
    ----------
    fetches
        See `protocol.Engine.run`.

    Attributes
    ----------
    is_over
        Whether there will be no more.
    is_idle
        Whether everything that was taken has ended, so that silence is no fault.
    """

    def __init__(self, fetches: Iterable[Fetch | Pause]) -> None:
        self._fetches = iter(fetches)
        self.is_over = self.is_idle = False

    def ready(self) -> Iterator[Fetch]:
        """Yield fetches until there is no more room, or until the end."""
        for each in self._fetches:
            if isinstance(each, Pause):
                self.is_idle = each.is_idle
                return
            self.is_idle = False
            yield each
        self.is_over = True
