from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dataset_dl.engines.s5cmd import binary, command
from dataset_dl.errors import EngineMissing
from dataset_dl.model.series import Fetch
from dataset_dl.network import NetworkSettings
from support.plans import row


def test_the_program_is_the_one_of_the_package_with_a_published_checksum() -> None:
    found = binary.require()
    assert found.version.startswith("2.3.")
    assert found.path.read_bytes()[:2] != b"#!"
    assert binary.known_checksums()[binary.sha256(found.path)]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_another_program_in_the_same_place_is_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "s5cmd"
    monkeypatch.setenv("DATASET_DL_S5CMD", str(program))

    def install(answer: str) -> None:
        program.write_text(f"#!/bin/sh\necho {answer}\n")
        program.chmod(0o755)

    install("v2.3.0-991c9fb")
    assert binary.require().version == "2.3.0"
    install("v2.2.2")
    for _ in range(2):
        with pytest.raises(EngineMissing, match=r"is version 2\.2\.2"):
            binary.require()


def test_the_inventory_names_five_programs() -> None:
    assert len(binary.known_checksums()) == 5


def test_arguments() -> None:
    network = NetworkSettings(endpoint_url="http://x")
    assert command.run_arguments(Path("/s5cmd"), network, 7, Path("/f")) == [
        "/s5cmd", "--json", "--no-sign-request", "--endpoint-url", "http://x", "--numworkers", "7", "run", "/f",
    ]  # fmt: skip


def test_lines_name_the_bucket_of_the_source() -> None:
    (line,) = command.batch_lines([Fetch(row(1))], NetworkSettings("gcs"))
    assert (
        line
        == f"cp --exclude '*..*' --exclude '*/*' 's3://idc-open-data/{row(1).crdc_series_uuid}/*' './d/1/'\n"
    )


@pytest.mark.parametrize(
    ("cores", "descriptors", "round_trip_seconds", "by", "workers"),
    [
        (2, 20_000, 0.0005, {}, 16),
        (2, 20_000, 0.010, {}, 60),
        (2, 20_000, 0.043, {}, 256),
        (2, 20_000, 0.043, {"by_proxy": True}, 64),
        (2, 20_000, 0.043, {"by_tls": True}, 129),
        (2, 1024, None, {}, 120),
        (64, 20_000, 0.0005, {}, 256),
        (64, 256, 0.1, {}, 64),
        (64, 64, 0.1, {}, 1),
    ],
)
def test_workers_follow_cores_distance_and_descriptors(
    cores: int, descriptors: int, round_trip_seconds: float | None, by: dict[str, bool], workers: int
) -> None:
    chosen = command.choose_workers(cores, descriptors, round_trip_seconds, **by)
    assert chosen == workers
