"""Versions of the index: the packaged one, fetched ones, and the one in use."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_dl import configuration
from dataset_dl.errors import SelectionError, StorageError, TransferError

if TYPE_CHECKING:
    from dataset_dl.network import NetworkSettings
    from dataset_dl.network.files import OnBytes

# The tables that make a version complete; the others are fetched one by one.
CORE = (
    "idc_index",
    "collections_index",
    "analysis_results_index",
    "prior_versions_index",
    "version_metadata_index",
)
# ``download/VERSION`` contains the files of a version; ``latest`` redirects to the newest one.
RELEASES_URL = "https://github.com/ImagingDataCommons/idc-index-data/releases"
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){2}")
_WHOLE = ".whole"
_chosen: ContextVar[str | None] = ContextVar("index_version", default=None)


def chosen() -> str:
    """The version in use, like ``25.0.5``; its first part is the IDC version.

    Set by `using` or `use`, by ``DATASET_DL_INDEX_VERSION``, or by ``version`` in the table ``[index]`` of
    the configuration file, in this order; defaults to the newest on this machine.

    Raises
    ------
    SelectionError
        If the requested version is not on this machine.
    """
    wanted = _chosen.get() or _configured()
    if wanted is None:
        return newest_here()
    if wanted not in (here := versions_here()):
        raise SelectionError(
            wanted,
            f"The index version {wanted} is not on this machine, so nothing was started.",
            f"`dataset-dl idc indices update --version {wanted}` fetches it; here are {', '.join(here)}.",
        )
    return wanted


@contextmanager
def using(version: str | None) -> Iterator[None]:
    """Use a version of the index inside the block; None changes nothing."""
    token = _chosen.set(version or _chosen.get())
    try:
        yield
    finally:
        _chosen.reset(token)


def use(version: str) -> None:
    """Use a version for the rest of this context, for a program that runs a single command."""
    _chosen.set(version)


def _configured() -> str | None:
    if named := os.environ.get("DATASET_DL_INDEX_VERSION"):
        return named
    return _of_file(os.environ.get("DATASET_DL_CONFIG"))


@functools.cache
def _of_file(config: str | None) -> str | None:
    """The version in the configuration file, cached because every statement needs it."""
    value = configuration.stated("index", {"version": str}, {"DATASET_DL_CONFIG": config} if config else {})
    return value["version"][0] if value else None


@functools.cache
def newest_here() -> str:
    """The newest version on this machine."""
    return max(versions_here(), key=_as_numbers)


@functools.cache
def versions_here() -> tuple[str, ...]:
    """Every complete version on this machine, oldest first."""
    folder = cache_root()
    fetched = [each.parent.name for each in folder.glob(f"*/{_WHOLE}")] if folder.is_dir() else []
    return tuple(sorted({packaged_version(), *filter(_VERSION.fullmatch, fetched)}, key=_as_numbers))


def look_again() -> None:
    """Clear the caches of versions on this machine."""
    for function in (newest_here, versions_here, _of_file):
        function.cache_clear()


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall("[0-9]+", version)))


def cache_root() -> Path:
    """The cache for fetched versions and tables, with one folder per version."""
    return configuration.cache_path() / "idc-index-data"


def cache_directory() -> Path:
    """The cache for fetched tables, and for answers that are kept, of the version in use."""
    return cache_root() / chosen()


def data_directory() -> Path:
    """The directory with the schemas and core tables of the version in use."""
    version = chosen()
    return package_directory() if version == packaged_version() else cache_root() / version


@functools.cache
def package_directory() -> Path:
    """The directory of the package idc-index-data, with its tables."""
    # Importing idc_index_data would parse every schema; only its location is needed.
    spec = importlib.util.find_spec("idc_index_data")
    if spec is None or spec.origin is None:
        raise TransferError(
            "idc-index-data", "The package idc-index-data is not installed.", "`pip install idc-index-data`"
        )
    return Path(spec.origin).parent


@functools.cache
def packaged_version() -> str:
    """The version of the package idc-index-data."""
    # Reading the metadata of a package takes longer than most queries.
    text = (package_directory() / "_version.py").read_text(encoding="utf-8")
    match = re.search(r"""^__version__.*?['"]([^'"]+)['"]""", text, re.MULTILINE)
    return match[1] if match else "0.0.0"


def assets_url() -> str:
    """The URL that tables are fetched from, with one folder per version."""
    return (os.environ.get("DATASET_DL_ASSETS_URL") or f"{RELEASES_URL}/download").rstrip("/")


def update(
    version: str | None,
    network: NetworkSettings,
    *,
    from_directory: Path | None = None,
    on_bytes: OnBytes | None = None,
) -> str:
    """Install a version of the index, complete and checked.

    Parameters
    ----------
    version
        Defaults to the newest published version, or to the one in `from_directory`.
    network
        How to reach the network.
    from_directory
        Take the files from this directory instead of the network.
    on_bytes
        Called as each file grows.

    Returns
    -------
    str
        The version. If it is the newest on this machine, it is now the default.

    Raises
    ------
    SelectionError
        If `version` is not a version, or the directory does not contain one.
    NetworkError
        If it cannot be fetched, or a file is not what it should be.
    StorageError
        If it cannot be written.
    """
    if version is not None and not _VERSION.fullmatch(version):
        raise SelectionError(
            version, f"“{version}” is no version of the index; nothing was changed.", "Write it like 25.0.5."
        )
    if from_directory is not None:
        return _put_in(version, from_directory)
    version = version or _newest_published(network)
    if version not in versions_here():
        _fetch(version, network, on_bytes)
        look_again()
    return version


def _newest_published(network: NetworkSettings) -> str:
    """The version that ``latest`` redirects to."""
    from dataset_dl.errors import NetworkError
    from dataset_dl.network.rules import plain_words
    from dataset_dl.network.session import session

    url = assets_url().removesuffix("/download") + "/latest"
    with session(network) as requesting, plain_words(url):
        answer = requesting.get(url)
    version = answer.url.rstrip("/").rpartition("/")[2]
    if not answer.ok or not _VERSION.fullmatch(version):
        raise NetworkError(
            url,
            f"{url} does not lead to a version of the index ({answer.status_code}), so nothing was changed.",
            "Name the version: --version 25.0.5.",
        )
    return version


def _fetch(version: str, network: NetworkSettings, on_bytes: OnBytes | None) -> None:
    from dataset_dl.network.files import obtain
    from dataset_dl.sources.idc.tables import problem_of, schemas_in

    folder = cache_root() / version
    base = f"{assets_url()}/{version}"
    for name in CORE:
        obtain(f"{base}/{name}_schema.json", folder / f"{name}_schema.json", network, check=_no_schema)
    for name in CORE:
        schema = schemas_in(folder)[name]

        def check(path: Path, schema: Path = schema) -> str | None:
            return problem_of(path, schema)

        obtain(f"{base}/{name}.parquet", folder / f"{name}.parquet", network, check=check, on_bytes=on_bytes)
    # Only the schemas of the other tables, which are fetched on demand; a version may lack some of them.
    from dataset_dl.errors import NetworkError

    for name in sorted(schemas_in(package_directory()).keys() - set(CORE)):
        try:
            obtain(f"{base}/{name}_schema.json", folder / f"{name}_schema.json", network, check=_no_schema)
        except NetworkError:
            continue
    _finish(folder, version)


def _no_schema(path: Path) -> str | None:
    """The reason why a file is not a schema; None if it is."""
    import json

    try:
        loaded = json.loads(path.read_bytes())
        return None if loaded["columns"] and "table_description" in loaded else "it is no schema of a table"
    except (ValueError, KeyError, TypeError):
        return "it is no schema of a table"


def _finish(folder: Path, version: str) -> None:
    """Check that the tables are those of a version, and mark it as complete.

    Raises
    ------
    SelectionError
        If they are of another IDC version.
    """
    from dataset_dl.duck import Database, quote

    path = folder / "version_metadata_index.parquet"
    found = Database().column(f"SELECT max(idc_version) FROM read_parquet({quote(str(path))})")[0]
    if found != _as_numbers(version)[0]:
        shutil.rmtree(folder, ignore_errors=True)
        raise SelectionError(
            version,
            f"The tables for the index version {version} are of IDC v{found} instead; they were discarded.",
        )
    (folder / _WHOLE).touch()


def _put_in(version: str | None, directory: Path) -> str:
    from dataset_dl.sources.idc.tables import problem_of, schemas_in

    lacking = [
        f"{name}{suffix}"
        for name in CORE
        for suffix in (".parquet", "_schema.json")
        if not (directory / f"{name}{suffix}").is_file()
    ]
    if lacking:
        raise SelectionError(
            str(directory),
            f"{directory} holds no version of the index: it lacks {lacking[0]}; nothing was changed.",
            f"A version consists of the files in {RELEASES_URL}/download/VERSION.",
        )
    if version is None:
        if not _VERSION.fullmatch(directory.resolve().name):
            raise SelectionError(
                str(directory),
                f"The version of the index in {directory} is unknown; nothing was changed.",
                "Give --version, or rename the directory to the version.",
            )
        version = directory.resolve().name
    for name, schema in schemas_in(directory).items():
        path = directory / f"{name}.parquet"
        if problem := _no_schema(schema) or (problem_of(path, schema) if path.is_file() else None):
            raise SelectionError(
                str(path), f"{path} is not the table {name}: {problem}; nothing was changed."
            )
    folder = cache_root() / version
    part = folder.with_name(f".{version}.{os.getpid()}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name in schemas_in(directory):
            for suffix in (".parquet", "_schema.json"):
                if (directory / f"{name}{suffix}").is_file():
                    shutil.copyfile(directory / f"{name}{suffix}", part / f"{name}{suffix}")
        _finish(part, version)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    except OSError as error:
        raise StorageError(
            str(folder), f"The index cannot be written to {folder}: {error.strerror or error}."
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    look_again()
    return version
