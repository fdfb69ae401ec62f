"""A simulated fleet: parts of a plan on many nodes that differ in speed, are lost, and share a link.

Nothing is random but by a seed, and nothing of the simulation knows a network: a node receives at its own rate,
or at its share of the link of all if that is less; a part costs its bytes and, for each object, a pause.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GBIT = 1e9 / 8


@dataclass(frozen=True)
class Fleet:
    """The nodes and what connects them.

    Attributes
    ----------
    rates
        What each node receives alone, in bytes a second.
    link
        What all receive together, in bytes a second.
    start_seconds
        From a free node to the first byte of a part: the scheduler, Python, the plan.
    end_seconds
        From the last byte of a part to a free node.
    mean_seconds_to_loss
        How long a node lives on average; None if none is ever lost.
    away_seconds
        How long a lost node stays away.
    notice_seconds
        How long it takes until its part is begun elsewhere.
    again_bytes
        What is fetched again of a part whose node was lost: what was in flight.
    """

    rates: Sequence[float]
    link: float
    start_seconds: float = 5.0
    end_seconds: float = 0.0
    mean_seconds_to_loss: float | None = None
    away_seconds: float = 1800.0
    notice_seconds: float = 300.0
    again_bytes: float = 500e6

    def bound(self, parts: Sequence[float]) -> float:
        """Return how long it takes at least: all bytes at all rates, or the largest part at the highest."""
        together = min(self.link, sum(self.rates))
        return max(sum(parts) / together, max(parts) / min(self.link, max(self.rates)))


def fleet(count: int, gbit_each: float, link_gbit: float, *, stragglers: float = 0.0, seed: int = 0) -> Fleet:
    """Return a fleet of equal nodes, some of which reach only a quarter of the others' rate."""
    chance = np.random.default_rng(seed)
    slow = chance.random(count) < stragglers
    return Fleet(list(np.where(slow, gbit_each / 4, gbit_each) * GBIT), link_gbit * GBIT)


def makespan(parts: Sequence[float], fleet: Fleet, *, seed: int = 0) -> float:
    """Return the seconds until the last part is complete.

    Parameters
    ----------
    parts
        What each part costs, in bytes; in the order in which they are begun.
    fleet
        The nodes.
    seed
        Decides which nodes are lost, and when.
    """
    chance = np.random.default_rng(seed)
    rates, count = np.array(fleet.rates), len(fleet.rates)
    left = np.zeros(count)  # bytes of the part of each node
    ready = np.zeros(count)  # when its first byte comes
    busy = np.zeros(count, dtype=bool)
    waiting = deque(parts)
    later: list[tuple[float, str, int, float]] = []  # what happens when, to which node, with what is left
    for node in range(count):
        heapq.heappush(later, (0.0, "free", node, 0.0))
        _plan_loss(later, chance, fleet, node, 0.0)
    now, undone = 0.0, len(parts)
    idle: set[int] = set()
    while undone:
        flowing = busy & (ready <= now)
        share = np.minimum(rates, fleet.link / max(1, int(flowing.sum())))
        ends = np.where(flowing, now + left / share, np.inf)
        begins = np.where(busy & ~flowing, ready, np.inf)
        at = min(float(ends.min()), float(begins.min()), later[0][0] if later else np.inf)
        left[flowing] -= share[flowing] * (at - now)
        now = at
        for node in np.flatnonzero(flowing & (ends <= now + 1e-9)):
            busy[node] = False
            undone -= 1
            heapq.heappush(later, (now + fleet.end_seconds, "free", int(node), 0.0))
        while later and later[0][0] <= now:
            _, what, node, rest = heapq.heappop(later)
            if what == "free":
                idle.add(node)
            elif what == "again":
                waiting.appendleft(rest)
            elif what == "lost":
                idle.discard(node)
                if busy[node]:
                    busy[node] = False
                    rest = float(left[node]) + fleet.again_bytes
                    heapq.heappush(later, (now + fleet.notice_seconds, "again", node, rest))
                heapq.heappush(later, (now + fleet.away_seconds, "free", node, 0.0))
                _plan_loss(later, chance, fleet, node, now + fleet.away_seconds)
        while idle and waiting:
            node = idle.pop()
            busy[node], left[node], ready[node] = True, waiting.popleft(), now + fleet.start_seconds
    return now + fleet.end_seconds


def _plan_loss(
    later: list[tuple[float, str, int, float]],
    chance: np.random.Generator,
    fleet: Fleet,
    node: int,
    since: float,
) -> None:
    if fleet.mean_seconds_to_loss is not None:
        at = since + float(chance.exponential(fleet.mean_seconds_to_loss))
        heapq.heappush(later, (at, "lost", node, 0.0))
