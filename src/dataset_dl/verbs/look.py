"""Look: what IDC holds, its tables, and how to cite it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Unpack

from dataset_dl.duck import Database
from dataset_dl.errors import NetworkError, PlanError
from dataset_dl.sources.idc import catalog, tables
from dataset_dl.sources.idc.resolve import resolve
from dataset_dl.verbs.options import NetworkOptions, spelled_out

if TYPE_CHECKING:
    from dataset_dl.model.frame import Frame
    from dataset_dl.network.files import OnBytes
    from dataset_dl.observers import Observer
from dataset_dl.verbs.options import network_of
from dataset_dl.verbs.plan import Table, log, plan


@spelled_out()
def collections(search: str | None = None) -> Frame:
    """Every collection of IDC with its totals.

    Parameters
    ----------
    search
        Keep the collections whose names, cancer types, places, species, modalities or description
        contain this, in any letter case.

    Returns
    -------
    Frame
        A pandas frame, as Arrow or polars with ``.arrow()`` and ``.pl()``: ``id``, ``name``, ``subjects``,
        ``series``, ``instances``, ``size_bytes``, ``modalities``, ``cancer_types``, ``licenses``, ``DOI``,
        ``description``; lists are joined by commas.
    """
    from dataset_dl.model.frame import Frame

    return Frame.of(lambda: catalog.collections(search))


@spelled_out()
def indices() -> Frame:
    """Every table that IDC publishes: ``name``, ``here`` (on this machine), ``description``."""
    from dataset_dl.model.frame import Frame

    return Frame(catalog.indices(), columns=["name", "here", "description"])


@spelled_out()
def columns(index: str) -> Frame:
    """Each column of a table: ``name``, ``type``, ``description``, from the published schema.

    Raises
    ------
    SelectionError
        If IDC publishes no such table.
    """
    from dataset_dl.model.frame import Frame

    return Frame(catalog.columns(index), columns=["name", "type", "description"])


@spelled_out()
def query(sql: str) -> Frame:
    """Answer one SELECT over the tables of IDC, by their names; nothing else can be read or written.

    The answer is a pandas frame, and as Arrow or polars what its ``.arrow()`` and ``.pl()`` give.

    Raises
    ------
    QueryError
        If the statement is wrong, is not a single SELECT, or reaches for a file.
    """
    from dataset_dl.model.frame import Frame

    return Frame.of(lambda: tables.query(sql))


@spelled_out(NetworkOptions)
def fetch_index(
    name: str,
    *,
    from_file: str | Path | None = None,
    progress: Literal["auto", "none"] = "auto",
    observers: Iterable[Observer] = (),
    **options: Unpack[NetworkOptions],
) -> Path:
    """Fetch a table that IDC publishes beside the package, once for each version of it.

    Parameters
    ----------
    name
        As `indices` lists it, for example ``sm_index``.
    from_file
        The Parquet file of it, fetched elsewhere; nothing is asked for then.
    progress, observers
        As for `download`; they get `Working` events.
    **options
        How the network is reached, see `NetworkOptions`.

    Returns
    -------
    Path
        The Parquet file; from now on `query` and `columns` know the table.

    Raises
    ------
    SelectionError
        If IDC publishes no such table, or the file is not it.
    NetworkError
        If it cannot be fetched.
    """
    if from_file is not None:
        return catalog.put_in(name, Path(from_file))
    with _working(f"fetching {name}", progress, observers) as on_bytes:
        return catalog.fetch(name, network_of(options), on_bytes)


@contextmanager
def _working(
    activity: str, progress: Literal["auto", "none"], observers: Iterable[Observer]
) -> Iterator[OnBytes]:
    """Show how far something is that is fetched."""
    from dataset_dl.model.events import Working
    from dataset_dl.observers import observing
    from dataset_dl.observers.display import display

    with observing([display(progress, sys.stderr), *observers]) as show:
        yield lambda done_bytes, total_bytes: show(Working(activity, done_bytes, total_bytes))


class IndexUpdate(NamedTuple):
    """A version of the index that was brought to this machine.

    Attributes
    ----------
    version
        As idc-index-data numbers it.
    is_used
        Whether it is the version that is used now.
    sentence
        The same for a person.
    """

    version: str
    is_used: bool
    sentence: str


@spelled_out(NetworkOptions)
def update_index(
    version: str | None = None,
    *,
    from_directory: str | Path | None = None,
    progress: Literal["auto", "none"] = "auto",
    observers: Iterable[Observer] = (),
    **options: Unpack[NetworkOptions],
) -> IndexUpdate:
    """Bring a newer index, or an older one, with its tables; whole and checked, or not at all.

    Parameters
    ----------
    version
        As idc-index-data numbers it, like ``25.0.5``; the newest that is published if not given.
    from_directory
        The files of a release, fetched elsewhere; nothing is asked for then.
    progress, observers
        As for `download`; they get `Working` events.
    **options
        How the network is reached, see `NetworkOptions`.

    Returns
    -------
    IndexUpdate
        The newest version that is here is used, unless ``DATASET_DL_INDEX_VERSION``, the configuration file
        or `use_index` chooses another.

    Raises
    ------
    SelectionError
        If it is no version, or the directory holds none.
    NetworkError
        If it cannot be fetched, or is not what it should be.
    """
    from dataset_dl.sources.idc import releases

    directory = Path(from_directory) if from_directory is not None else None
    with _working("fetching the index", progress, observers) as on_bytes:
        found = releases.update(version, network_of(options), from_directory=directory, on_bytes=on_bytes)
    tables.look_again()
    is_used = releases.chosen() == found
    with releases.using(found):
        idc = tables.idc_version()
    how = "it is used now" if is_used else f"--index-version {found} chooses it"
    return IndexUpdate(found, is_used, f"The index version {found} (IDC v{idc}) is here; {how}.")


def use_index(version: str) -> AbstractContextManager[None]:
    """Use a version of the index that is on this machine, for the time of a with block.

    Parameters
    ----------
    version
        As `update_index` brought it, or that of the package.
    """
    from dataset_dl.sources.idc import releases

    return releases.using(version)


@spelled_out(NetworkOptions)
def cite(
    selection: str | Path | Iterable[str | Path] | Table,
    /,
    *,
    style: Literal["apa", "bibtex", "json"] = "apa",
    offline: bool = False,
    **options: Unpack[NetworkOptions],
) -> list[str]:
    """The works to cite for a selection, and the paper on IDC itself, as the DOI service gives them.

    What the service does not answer for is told by the tables of IDC; a warning of the logger ``dataset_dl``
    says so.

    Parameters
    ----------
    selection
        Identifiers, manifests or a table, as for `plan`.
    style
        ``apa`` for people, ``bibtex``, or ``json`` (CSL JSON, a text for each work).
    offline
        Take all from the tables.
    **options
        How the network is reached, see `NetworkOptions`.

    Raises
    ------
    SelectionError, PlanError
        As for `plan`.
    """
    from dataset_dl.sources.idc import rights

    if style not in ("apa", "bibtex", "json"):
        raise PlanError("style", f"style is “{style}”; there are apa, bibtex and json.")
    shares = rights.shares(plan(selection))
    works = rights.works(sorted({share.source_DOI for share in shares if share.source_DOI}))
    texts: list[str | None] = [None] * len(works)
    if not offline:
        from dataset_dl.sources.idc import doi

        answers = doi.citations([work.DOI for work in works], doi.ACCEPT[style], network_of(options))
        try:
            for number, text in enumerate(answers):
                texts[number] = text
        except NetworkError as error:
            log.warning("%s Citations are taken from the tables of IDC instead.", error.message)
    return [text or rights.cited(work, style) for text, work in zip(texts, works, strict=True)]


@spelled_out()
def page_url(identifier: str) -> str:
    """The address of the page that shows a collection, study or series to a person.

    Raises
    ------
    SelectionError
        If nothing in IDC is called so.
    """
    matches = resolve(Database(), [identifier])
    if matches.files:  # a file is shown with its series
        return catalog.page_url("crdc_series_uuid", matches.files[0].crdc_series_uuid)
    column, values = next(iter(matches.values.items()))
    return catalog.page_url(column, values[0])
