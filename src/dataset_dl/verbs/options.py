"""The options of the verbs, each said once: names, defaults and what a wrong name was meant to be."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from dataset_dl import configuration
from dataset_dl.model.settings import DownloadSettings, Verify
from dataset_dl.network import NetworkSettings, Store

if TYPE_CHECKING:
    from dataset_dl.model.selection import Where

_DOWNLOAD_KINDS: Mapping[str, type] = {
    "engine": str,
    "workers": int,
    "retries": int,
    "stall_timeout_seconds": float,
    "verify": str,
    "trust_journal": bool,
    "max_rate_mbps": float,
    "reuse": str,
}
F = TypeVar("F", bound=Callable[..., Any])


class PlanOptions(TypedDict, total=False):
    """What to plan of what a source names, and how: as for `plan`.

    Attributes
    ----------
    where
        ``{column: value or values}``, or conditions like ``"instanceCount>=100"``; all must hold. None, or an
        empty text, is a column without a value. A column of another table is ``TABLE.COLUMN``; where the
        table tells of single files (sm_instance_index), only those are planned.
    layout
        Template of the directories, `dataset_dl.DEFAULT_LAYOUT` if not given.
    idc_version
        Select as of this IDC version (2 or later), as far as the tables tell; today's if not given. A crdc
        series uuid is one content of one series and needs none.
    skip_missing
        Leave out what IDC does not have, instead of an error; the plan's `missing` names it. Series of a
        TCIA manifest that IDC does not have are left out in any case, but then make the download
        incomplete.
    original_only
        Leave out analysis results: series that were made from the images of a collection.
    with_references
        Add the images that selected SEG, RTSTRUCT and ANN series were drawn on, whatever `where` says, as far
        as the tables seg_index, rtstruct_index and ann_index tell; the plan's `unreferenced` counts the
        annotations of which they do not.
    with_annotations
        Add the SEG, RTSTRUCT and ANN series that were drawn on selected images, by the same tables.
    limit
        Keep the first so many series, in the order of the index.
    sample
        Keep so many series, chosen by chance.
    seed
        Of that chance: the same seed chooses the same series.
    strict
        A value of `where` that matches nothing is an error, of whatever column; otherwise only of columns
        with identifiers, and else a note of the plan.
    """

    where: Where | None
    layout: str | None
    idc_version: int | None
    skip_missing: bool
    original_only: bool
    with_references: bool
    with_annotations: bool
    limit: int | None
    sample: int | None
    seed: int
    strict: bool


class NetworkOptions(TypedDict, total=False):
    """How the network is reached; what is not given here is looked for elsewhere, see docs/networks.md.

    Attributes
    ----------
    endpoint_url
        Address of an S3 service that holds IDC's buckets; that of `store` if not given.
    store
        ``aws`` (the default) or ``gcs``, the two stores that IDC publishes to.
    sign
        Sign requests with the credentials of the usual AWS chain, as a mirror may want.
    proxy
        Address of the proxy to go through.
    ca_bundle
        A PEM file, or a folder of them, with certificate authorities to trust besides the system's.
    """

    endpoint_url: str | None
    store: Store | None
    sign: bool | None
    proxy: str | None
    ca_bundle: str | Path | None


class DownloadOptions(NetworkOptions, total=False):
    """How to fetch: what `download`, `stream` and `download_events` all take, besides `NetworkOptions`.

    Attributes
    ----------
    engine
        The engine that fetches: its name, or an object that keeps to `dataset_dl.engines.Engine`. ``auto``,
        the default, takes the best that is installed.
    workers
        Objects fetched at once; chosen by the machine and the distance of the store if not given.
    retries
        How often series are tried again that failed for a transient reason; 2 if not given.
    stall_timeout_seconds
        After so long without enough bytes (120 if not given) the engine is ended and a new one fetches the
        rest; after three times in a row without a series completed, the download gives up.
    verify
        ``size`` (the default): count and bytes of each series are those of the index. ``md5``: besides,
        every file is compared with the checksums of the store.
    trust_journal
        Believe the journal for the series that it has as complete, without a look at the disk.
    max_rate_mbps
        A bound on what is fetched, in MB a second, for a network that others use, too.
    reuse
        Other destinations on this machine: series that are complete there are copied instead of fetched.
    """

    engine: Any
    workers: int | None
    retries: int
    stall_timeout_seconds: float
    verify: Verify
    trust_journal: bool
    max_rate_mbps: float | None
    reuse: str | Path | Iterable[str | Path]


class TransferOptions(DownloadOptions, PlanOptions, total=False):
    """`DownloadOptions`, and `PlanOptions` where what is to be fetched is no plan yet."""


# Defaults in signatures: of an option that is not listed it is None.
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(DownloadSettings)} | {"seed": 0}
DEFAULTS |= dict.fromkeys(
    ("skip_missing", "original_only", "with_references", "with_annotations", "strict"), False
)


def network_of(options: Mapping[str, Any]) -> NetworkSettings:
    """How the network is reached: the options of a call, and what is said elsewhere."""
    names = inspect.get_annotations(NetworkOptions)
    return NetworkSettings.gather(**{name: options.get(name) for name in names})


def settings_of(options: Mapping[str, Any]) -> DownloadSettings:
    """How to fetch: the options of a call, then ``DATASET_DL_…`` variables, then the configuration file.

    Raises
    ------
    SelectionError, PlanError
        If one cannot be understood, is out of range, or contradicts another.
    """
    elsewhere = {name: value for name, (value, _) in configuration.said("download", _DOWNLOAD_KINDS).items()}
    if "reuse" in elsewhere:
        elsewhere["reuse"] = elsewhere["reuse"].split(os.pathsep)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    return DownloadSettings.of(elsewhere | given)


def spelled_out(kind: Any = None) -> Callable[[F], F]:
    """Show the options of a function in its signature, and refuse others with the nearest name.

    Parameters
    ----------
    kind
        The `TypedDict` that its ``**options`` are; None if it has none.
    """
    names = list(inspect.get_annotations(kind)) if kind is not None else []
    for base in getattr(kind, "__orig_bases__", ()):
        names += [name for name in getattr(base, "__annotations__", {}) if name not in names]

    def decorate(function: F) -> F:
        own = [
            each
            for each in inspect.signature(function).parameters.values()
            if each.kind is not each.VAR_KEYWORD
        ]
        shown = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=DEFAULTS.get(name),
            )
            for name in names
        ]
        known = {each.name for each in own if each.kind is not each.POSITIONAL_ONLY} | set(names)

        @functools.wraps(function)
        def checked(*arguments: Any, **options: Any) -> Any:
            for name in options:
                if name not in known:
                    raise TypeError(_unknown(function.__name__, name, known))
            return function(*arguments, **options)

        returned = inspect.signature(function).return_annotation
        checked.__signature__ = inspect.Signature([*own, *shown], return_annotation=returned)  # type: ignore[attr-defined]
        return cast(F, checked)

    return decorate


def _unknown(function: str, name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.5)
    near += [each for each in sorted(known) if each not in near and (name in each or each in name)]
    hint = (
        f"Did you mean {' or '.join(near[:2])}?"
        if near
        else f"There are {', '.join(sorted(known - {'self'}))}."
    )
    return f"{function}() got an unexpected keyword argument '{name}'. {hint}"
