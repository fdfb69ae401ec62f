"""How to fetch, from calls, variables and the configuration file; each default stands once."""

from __future__ import annotations

import inspect
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.cli.download import download
from dataset_dl.configuration import stated
from dataset_dl.errors import PlanError, SelectionError
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.verbs.options import settings_of


def test_a_call_comes_before_a_variable_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text(
        '[download]\nretries = 7\nworkers = 3\nmax_rate_mbps = 5\n[network]\nstore = "gcs"\n'
    )
    monkeypatch.setenv("DATASET_DL_CONFIG", str(tmp_path / "c.toml"))
    monkeypatch.setenv("DATASET_DL_WORKERS", "4")
    monkeypatch.setenv("DATASET_DL_REUSE", "/a:/b")
    monkeypatch.setenv("DATASET_DL_TRUST_JOURNAL", "yes")
    found = settings_of({"retries": 0, "workers": None})
    assert (found.retries, found.workers, found.max_rate_mbps, found.trust_journal) == (0, 4, 5, True)
    assert found.reuse == (Path("/a"), Path("/b"))
    assert settings_of({}).retries == 7


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [("WORKERS", "many", "whole number"), ("RETRIES", "1.5", "whole number"), ("TRUST_JOURNAL", "perhaps", "neither"),
     ("STALL_TIMEOUT_SECONDS", "long", "number")],
)  # fmt: skip
def test_a_variable_that_cannot_be_understood_is_named(
    name: str, value: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"DATASET_DL_{name}", value)
    with pytest.raises(SelectionError, match=rf"DATASET_DL_{name}.*{what}|{what}"):
        settings_of({})


@pytest.mark.parametrize(
    "text",
    ["[download]\nretries = true\n", "[download]\nretry = 1\n", "[downloads]\n", "retries = 1\n", "[["],
)
def test_a_file_that_cannot_be_understood_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text(text)
    monkeypatch.setenv("DATASET_DL_CONFIG", str(tmp_path / "c.toml"))
    with pytest.raises(SelectionError, match=r"c\.toml"):
        settings_of({})


@given(st.dictionaries(st.sampled_from(["DATASET_DL_RETRIES", "DATASET_DL_VERIFY"]), st.text(), max_size=2))
def test_no_variable_is_a_bug(environment: dict[str, str]) -> None:
    try:
        found = stated(
            "download", {"retries": int, "verify": str}, environment | {"DATASET_DL_CONFIG": "/none"}
        )
    except SelectionError:
        return
    assert all(isinstance(value, int if name == "retries" else str) for name, (value, _) in found.items())


@pytest.mark.parametrize("options", [{"workers": 0}, {"max_rate_mbps": 0}, {"verify": "sha"},
                                     {"verify": "md5", "trust_journal": True}])  # fmt: skip
def test_settings_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        DownloadSettings.of(options)


def test_each_default_stands_once() -> None:
    assert inspect.signature(dd.download).parameters["retries"].default == DownloadSettings.retries
    assert inspect.signature(dd.download).parameters["stall_timeout_seconds"].default == 120
    for parameter in download.params:
        if isinstance(parameter, click.Option) and parameter.name in inspect.get_annotations(
            DownloadSettings
        ):
            assert parameter.default is False or not isinstance(parameter.default, (int, float, str))
