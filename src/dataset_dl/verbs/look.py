"""Look: the collections of IDC, its tables, and citations."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Unpack

from dataset_dl.duck import Database
from dataset_dl.errors import NetworkError, PlanError
from dataset_dl.sources.idc import catalog, listing, tables
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
    """List every collection of IDC with its totals.

    Parameters
    ----------
    search
        Keep the collections whose names, cancer types, tumor locations, species, modalities or description
        contain this text, in any letter case.

    Returns
    -------
    Frame
        Columns: ``id``, ``name``,
        ``subjects``, ``series``, ``instances``, ``size_bytes``, ``modalities``, ``cancer_types``,
        ``licenses``, ``DOI``, ``description``; lists are joined by commas.
    """
    from dataset_dl.model.frame import Frame

    return Frame(listing.collections(search), columns=list(listing.Listed._fields))


@spelled_out()
def facets(facet: str | None = None, *, where: Mapping[str, str | Collection[str]] | None = None) -> Frame:
    """Count what IDC has, exactly and at once, under a filter over nine facets.

    The facets are ``collection_id``, ``cancer_types``, ``Modality``, ``BodyPartExamined``,
    ``license_short_name``, ``Manufacturer``, ``year`` (of StudyDate), ``origin`` (``original`` or ``analysis
    result``) and ``species``. The first call for a version of the index takes some seconds; the answers are
    kept.

    Parameters
    ----------
    facet
        Count for each value of this facet, ignoring its own condition. Totals only if None.
    where
        Facet → value, or several of which any may hold; all facets must. An empty text is a missing value.

    Returns
    -------
    Frame
        Columns ``patients``, ``studies``, ``series``, ``instances``, ``size_bytes``; for a facet also
        ``value``, the largest number of series first.

    Raises
    ------
    SelectionError
        If there is no such facet, or no such value.
    """
    from dataset_dl.model.frame import Frame
    from dataset_dl.sources.idc.cube import Totals, cube

    chosen = {
        name: list(map(str, values)) if isinstance(values, (list, tuple, set, frozenset)) else [str(values)]
        for name, values in (where or {}).items()
    }
    held = cube()
    held.check(chosen)
    if facet is None:
        return Frame([held.totals(chosen)], columns=list(Totals._fields))
    rows = [(value, *totals) for value, totals in held.counts(facet, chosen).items()]
    return Frame(rows, columns=["value", *Totals._fields])


@spelled_out()
def indices() -> Frame:
    """List every table that IDC publishes: ``name``, ``here`` (on this machine), ``description``."""
    from dataset_dl.model.frame import Frame

    return Frame(catalog.indices(), columns=["name", "here", "description"])


@spelled_out()
def columns(index: str) -> Frame:
    """List the columns of a table: ``name``, ``type``, ``description``, from the published schema.

    Raises
    ------
    SelectionError
        If IDC publishes no such table.
    """
    from dataset_dl.model.frame import Frame

    return Frame(catalog.columns(index), columns=["name", "type", "description"])


@spelled_out()
def query(sql: str) -> Frame:
    """Run one SELECT over the tables of IDC, by their names; it can read and write nothing else.

    Returns a pandas frame; ``.arrow()`` and ``.pl()`` give it as Arrow and polars.

    Raises
    ------
    QueryError
        If the statement is invalid, is not a single SELECT, or accesses a file.
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
    """Fetch a table that is not part of the package, once for each version of the index.

    Parameters
    ----------
    name
        As `indices` lists it, for example ``sm_index``.
    from_file
        Its Parquet file, fetched elsewhere; then no request is made. For ``clinical_index`` also a directory
        with the clinical tables.
    progress, observers
        As for `download`; observers receive `Working` events.
    **options
        How to reach the network, see `NetworkOptions`.

    Returns
    -------
    Path
        The Parquet file; from now on `query` can read the table.

    Raises
    ------
    SelectionError
        If IDC publishes no such table, or the file is not that table.
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
    """Show the progress of a fetch as `Working` events."""
    from dataset_dl.model.events import Working
    from dataset_dl.observers import observing
    from dataset_dl.observers.display import display

    with observing([display(progress, sys.stderr), *observers]) as show:
        yield lambda done_bytes, total_bytes: show(Working(activity, done_bytes, total_bytes))


class IndexUpdate(NamedTuple):
    """A version of the index that was installed on this machine.

    Attributes
    ----------
    version
        Its number, as in idc-index-data.
    is_used
        Whether it is the version in use now.
    sentence
        The same as a sentence for the user.
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
    """Install a newer or an older index with its tables: complete and verified, or not at all.

    Parameters
    ----------
    version
        Number of an idc-index-data version, like ``25.0.5``; defaults to the newest one published.
    from_directory
        Directory with the files of a release, fetched elsewhere; then no request is made.
    progress, observers
        As for `download`; observers receive `Working` events.
    **options
        How to reach the network, see `NetworkOptions`.

    Returns
    -------
    IndexUpdate
        The newest version on this machine is used, unless ``DATASET_DL_INDEX_VERSION``, the configuration
        file or `use_index` chooses another.

    Raises
    ------
    SelectionError
        If there is no such version, or the directory does not contain one.
    NetworkError
        If it cannot be fetched or fails verification.
    """
    from dataset_dl.sources.idc import releases

    directory = Path(from_directory) if from_directory is not None else None
    with _working("fetching the index", progress, observers) as on_bytes:
        found = releases.update(version, network_of(options), from_directory=directory, on_bytes=on_bytes)
    tables.look_again()
    is_used = releases.chosen() == found
    with releases.using(found):
        idc = tables.idc_version()
    how = "it is in use now" if is_used else f"--index-version {found} selects it"
    return IndexUpdate(found, is_used, f"The index version {found} (IDC v{idc}) is installed; {how}.")


def use_index(version: str) -> AbstractContextManager[None]:
    """Use an installed version of the index within a with block.

    Parameters
    ----------
    version
        A version that `update_index` installed, or that of the package.
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
    """Return citations of the works behind a selection and of the paper on IDC, from the DOI service.

    A work that the service does not return is cited from the tables of IDC. If the service cannot be reached,
    the logger ``dataset_dl`` warns.

    Parameters
    ----------
    selection
        Identifiers, manifests or a table, as for `plan`.
    style
        ``apa`` for people, ``bibtex``, or ``json`` (CSL JSON, one string for each work).
    offline
        Use only the tables and make no request.
    **options
        How to reach the network, see `NetworkOptions`.

    Raises
    ------
    SelectionError, PlanError
        As for `plan`.
    """
    from dataset_dl.sources.idc import rights

    if style not in ("apa", "bibtex", "json"):
        raise PlanError("style", f"style is “{style}”; it must be apa, bibtex or json.")
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
    """Return the address of the web page of a collection, study or series.

    Raises
    ------
    SelectionError
        If nothing in IDC has this identifier, or a patient has several studies.
    """
    matches = resolve(Database(), [identifier])
    if matches.files:  # a single file has no page, but its series has
        return catalog.page_url("crdc_series_uuid", matches.files[0].crdc_series_uuid)
    column, values = next(iter(matches.values.items()))
    return catalog.page_url(column, values[0])
