"""A thousand sends under load, and a job whose worker is killed; `bin/storm` does twenty and ten thousand."""

from __future__ import annotations

import pytest

from support import storm_transfers
from support.storm_pacs import storm


@pytest.mark.timeout(300)
def test_a_thousand_sends_under_load_and_none_is_lost() -> None:
    said: list[str] = []
    storm(1000, said.append)
    assert said and said[0].startswith("1,000 instances")


@pytest.mark.timeout(300)
def test_a_job_is_paused_and_its_worker_killed_and_each_instance_comes() -> None:
    said: list[str] = []
    storm_transfers.storm(600, said.append)
    assert said and said[0].startswith("600 instances of 12 tasks")
