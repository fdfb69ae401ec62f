"""Versions of the index: the one of the package, those that were fetched, and which is used."""

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

# What every version consists of; the other tables are fetched one by one.
CORE = (
    "idc_index",
    "collections_index",
    "analysis_results_index",
    "prior_versions_index",
    "version_metadata_index",
)
# The files of a version: a folder ``download/VERSION``; ``latest`` leads to the page of the newest.
RELEASES_URL = "https://github.com/ImagingDataCommons/idc-index-data/releases"
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){2}")
_WHOLE = ".whole"
_chosen: ContextVar[str | None] = ContextVar("index_version", default=None)


def chosen() -> str:
    """The version that is used, like ``25.0.5``; its first part is the IDC version.

    What `using` says, else ``DATASET_DL_INDEX_VERSION`` or ``version`` in the table ``[index]`` of the
    configuration file, else the newest that is on this machine.

    Raises
    ------
    SelectionError
        If the version that was asked for is not here.
    """
    wanted = _chosen.get() or _configured()
    if wanted is None:
        return newest_here()
    if wanted not in (here := versions_here()):
        raise SelectionError(
            wanted,
            f"The index version {wanted} is not on this machine, so nothing was started.",
            f"`dataset-dl idc indices update --version {wanted}` brings it; here are {', '.join(here)}.",
        )
    return wanted


@contextmanager
def using(version: str | None) -> Iterator[None]:
    """Use a version of the index instead of the newest that is here; None changes nothing."""
    token = _chosen.set(version or _chosen.get())
    try:
        yield
    finally:
        _chosen.reset(token)


def use(version: str) -> None:
    """The same for the rest of this context, as a program does that runs one command."""
    _chosen.set(version)


def _configured() -> str | None:
    if named := os.environ.get("DATASET_DL_INDEX_VERSION"):
        return named
    return _of_file(os.environ.get("DATASET_DL_CONFIG"))


@functools.cache
def _of_file(config: str | None) -> str | None:
    """What the configuration file says; it is read once, for this is asked with each statement."""
    value = configuration.said("index", {"version": str}, {"DATASET_DL_CONFIG": config} if config else {})
    return value["version"][0] if value else None


@functools.cache
def newest_here() -> str:
    """The newest version that is on this machine."""
    return max(versions_here(), key=_as_numbers)


@functools.cache
def versions_here() -> tuple[str, ...]:
    """Every version that is on this machine whole, the oldest first."""
    folder = cache_root()
    fetched = [each.parent.name for each in folder.glob(f"*/{_WHOLE}")] if folder.is_dir() else []
    return tuple(sorted({packaged_version(), *filter(_VERSION.fullmatch, fetched)}, key=_as_numbers))


def look_again() -> None:
    """Forget which versions are here."""
    for function in (newest_here, versions_here, _of_file):
        function.cache_clear()


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall("[0-9]+", version)))


def cache_root() -> Path:
    """Where versions and tables go that are fetched: a folder for each version."""
    if named := os.environ.get("DATASET_DL_CACHE"):
        folder = Path(named).expanduser()
    else:
        from platformdirs import user_cache_path

        folder = user_cache_path("dataset-dl", appauthor=False)
    return folder / "idc-index-data"


def data_directory() -> Path:
    """Where the schemas and the core tables are of the version that is used."""
    version = chosen()
    return package_directory() if version == packaged_version() else cache_root() / version


@functools.cache
def package_directory() -> Path:
    """Where the package has its tables."""
    # Importing idc_index_data would parse every schema; only its place is wanted.
    spec = importlib.util.find_spec("idc_index_data")
    if spec is None or spec.origin is None:
        raise TransferError(
            "idc-index-data", "The package idc-index-data is not installed.", "`pip install idc-index-data`"
        )
    return Path(spec.origin).parent


@functools.cache
def packaged_version() -> str:
    """The version of the package."""
    # The metadata of a package takes longer to read than to answer most questions.
    text = (package_directory() / "_version.py").read_text(encoding="utf-8")
    match = re.search(r"""^__version__.*?['"]([^'"]+)['"]""", text, re.MULTILINE)
    return match[1] if match else "0.0.0"


def assets_url() -> str:
    """Where the tables are fetched from: a folder with one for each version."""
    return (os.environ.get("DATASET_DL_ASSETS_URL") or f"{RELEASES_URL}/download").rstrip("/")


def update(
    version: str | None,
    network: NetworkSettings,
    *,
    from_directory: Path | None = None,
    on_bytes: OnBytes | None = None,
) -> str:
    """Bring a version of the index to this machine, whole and checked.

    Parameters
    ----------
    version
        Which; the newest that is published if None, or the one in the directory.
    network
        How the network is reached.
    from_directory
        Take the files from here; nothing is asked for then.
    on_bytes
        Called as each file grows.

    Returns
    -------
    str
        The version. A newer one than any that was here is used from now on; an older one has to be chosen.

    Raises
    ------
    SelectionError
        If it is no version, or what is in the directory is not one.
    NetworkError
        If it cannot be fetched, or what came is not what it should be.
    StorageError
        If it cannot be kept.
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
    """The version that the page of the newest release leads to."""
    from dataset_dl.errors import NetworkError
    from dataset_dl.network.session import plain_words, session

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
    # The other tables are fetched when they are wanted; a version may lack some of them.
    from dataset_dl.errors import NetworkError

    for name in sorted(schemas_in(package_directory()).keys() - set(CORE)):
        try:
            obtain(f"{base}/{name}_schema.json", folder / f"{name}_schema.json", network, check=_no_schema)
        except NetworkError:
            continue
    _finish(folder, version)


def _no_schema(path: Path) -> str | None:
    """What is wrong with a file that should be a schema; None if nothing is."""
    import json

    try:
        loaded = json.loads(path.read_bytes())
        return None if loaded["columns"] and "table_description" in loaded else "it is no schema of a table"
    except (ValueError, KeyError, TypeError):
        return "it is no schema of a table"


def _finish(folder: Path, version: str) -> None:
    """Make sure that the tables are those of a version, and mark them as whole.

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
            f"The tables that should be of the index version {version} are of IDC v{found}; they were not"
            " kept.",
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
            f"A version is the files of {RELEASES_URL}/download/VERSION.",
        )
    if version is None:
        if not _VERSION.fullmatch(directory.resolve().name):
            raise SelectionError(
                str(directory),
                f"Nobody says which version {directory} holds; nothing was changed.",
                "Name it with --version, or the directory after it.",
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
            str(folder), f"The index cannot be kept in {folder}: {error.strerror or error}."
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    look_again()
    return version
