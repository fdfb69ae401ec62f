"""How a difference is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import dataset_dl as dd
from dataset_dl.cli.diff import _show
from dataset_dl.model.checks import Change, Difference
from support.plans import plan_of


def test_a_withdrawn_series_of_unknown_size_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    change = Change(
        "withdrawn", "nlst", "100012", "1.2.3", "CT", "nlst/100012", None, "some-uuid", None, None
    )
    plan: dd.Plan = plan_of([])
    _show(Difference(Path("data"), 1, 20, 25, (change,), True, plan), "table")
    assert "withdrawn" in capsys.readouterr().out
