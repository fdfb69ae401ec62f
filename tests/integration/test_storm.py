"""A short storm; `bin/storm` runs a long one."""

from __future__ import annotations

import pytest

from support.storm import storm


@pytest.mark.timeout(300)
def test_no_blow_costs_a_file(engine: str) -> None:
    said: list[str] = []
    storm(3, seed=7, series=60, say=said.append, engine=engine)
    assert len(said) == 4
