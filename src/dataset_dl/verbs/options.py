"""The options of the verbs, each defined once: names, defaults, and suggestions for unknown names."""

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
    "durable": bool,
    "reuse": str,
    "evict": bool,
    "disk_budget": str,
    "consumer_processes": int,
}
F = TypeVar("F", bound=Callable[..., Any])


class PlanOptions(TypedDict, total=False):
    """Options of `plan`: which series to select, and how to lay them out.

    Attributes
    ----------
    where
        ``{column: value or values}``, or conditions like ``"instanceCount>=100"``; all must hold. None or an
        empty string matches rows without a value. The facets of `dataset_dl.facets` are columns, too. A
        column of another table is ``TABLE.COLUMN``; if that table lists single files (sm_instance_index),
        only those files are planned.
    layout
        Template of the directories; defaults to `dataset_dl.DEFAULT_LAYOUT`.
    idc_version
        Select as of this IDC version (2 or later), if the tables record it; defaults to today's. A crdc
        series uuid identifies one content of one series and needs no version.
    skip_missing
        Leave out what IDC does not have instead of raising; the plan's `missing` lists it. Series of a TCIA
        manifest that IDC does not have are always left out, but make the download incomplete without this
        option.
    rest_from
        A source that is asked for the series which IDC does not have: ``nbia`` for TCIA's server.
    original_only
        Leave out analysis results: series that were made from the images of a collection.
    with_references
        Add the images that selected SEG, RTSTRUCT and ANN series were drawn on, regardless of `where`,
        according to the tables seg_index, rtstruct_index and ann_index. The plan's `unreferenced` counts the
        annotations whose images these tables do not list.
    with_annotations
        Add the SEG, RTSTRUCT and ANN series that were drawn on selected images, from the same tables.
    limit
        Keep only this many series, the first in the order of the index.
    sample
        Keep only this many series, chosen at random.
    seed
        Seed of the sample: the same seed chooses the same series.
    strict
        Raise if a value of `where` matches nothing, in any column. By default only values in columns of
        identifiers raise; others add a note to the plan.
    """

    where: Where | None
    layout: str | None
    idc_version: int | None
    skip_missing: bool
    rest_from: str | None
    original_only: bool
    with_references: bool
    with_annotations: bool
    limit: int | None
    sample: int | None
    seed: int
    strict: bool


class NetworkOptions(TypedDict, total=False):
    """How to reach the network; docs/networks.md lists the other places that settings come from.

    Attributes
    ----------
    endpoint_url
        Address of an S3 service that holds IDC's buckets; defaults to that of `store`.
    store
        ``aws`` (the default) or ``gcs``, the two stores that IDC publishes to.
    sign
        Sign requests with credentials from the usual AWS chain, which a mirror may require.
    proxy
        Address of the proxy to use.
    ca_bundle
        A PEM file, or a folder of PEM files, with certificate authorities to trust as well as the system's.
    """

    endpoint_url: str | None
    store: Store | None
    sign: bool | None
    proxy: str | None
    ca_bundle: str | Path | None


class DownloadOptions(NetworkOptions, total=False):
    """How to fetch: options of `download`, `stream` and `download_events`, including `NetworkOptions`.

    Attributes
    ----------
    engine
        The engine that fetches: its name, or an object that implements `engines.protocol.Engine`. ``auto``,
        the default, takes the best one installed.
    workers
        Number of objects fetched in parallel; by default it depends on the machine and the distance of the
        store.
    retries
        How many times to retry series that failed for a transient reason; defaults to 2.
    stall_timeout_seconds
        If too few bytes arrive for this long (120 by default), the engine is stopped and a new one fetches
        the rest. After three times in a row without a completed series, the download gives up.
    verify
        ``size`` (the default) compares the count and bytes of each series with the index; ``md5`` also
        compares every file with the store's checksums.
    trust_journal
        Trust the journal for the series that it lists as complete, without checking the disk.
    max_rate_mbps
        Limit on the transfer rate in MB/s, for a network that others use too.
    durable
        Count a series as complete only once its files are on the disk itself and outlast a power loss.
    reuse
        Other destinations on this machine: series that are complete there are copied instead of fetched.
    then
        Consumers that get each series as soon as it is verified, see `deliver`.
    consumer_processes
        How many processes run each consumer that is named; one a core by default.
    evict
        Remove a series, and the directories that become empty, when every consumer has taken it. A rerun does
        not fetch it again.
    disk_budget
        The most bytes of series on the disk at any time, as a number or like ``500GB``; needs `evict`. The
        engine waits for room.
    part
        Download only part K of N of the plan, written ``K/N``; K is from 1. Several machines can so share a
        plan and a destination, see docs/howto/cluster.md.
    take_over
        Begin the part although an earlier attempt at it seems to live, as on a machine that is gone. That one
        may not write any more.
    shared_rate_mbps
        Limit on the rate of all running parts of the destination together, in MB/s; each takes its share.
    """

    engine: Any
    workers: int | None
    retries: int
    stall_timeout_seconds: float
    verify: Verify
    trust_journal: bool
    max_rate_mbps: float | None
    durable: bool
    reuse: str | Path | Iterable[str | Path]
    then: Any
    consumer_processes: int | None
    evict: bool
    disk_budget: int | str | None
    part: str | None
    take_over: bool
    shared_rate_mbps: float | None


class TransferOptions(DownloadOptions, PlanOptions, total=False):
    """`DownloadOptions`, and `PlanOptions` for a download that has no plan yet."""


# Defaults shown in signatures; None for every other option.
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(DownloadSettings)} | {"seed": 0}
DEFAULTS |= dict.fromkeys(
    ("skip_missing", "original_only", "with_references", "with_annotations", "strict"), False
)


def network_of(options: Mapping[str, Any]) -> NetworkSettings:
    """Return the network settings: the options of a call, then the other places they may come from."""
    names = inspect.get_annotations(NetworkOptions)
    return NetworkSettings.gather(**{name: options.get(name) for name in names})


def settings_of(options: Mapping[str, Any], *, retries: int | None = None) -> DownloadSettings:
    """Return the options of a call, then ``DATASET_DL_…`` variables, then the configuration file.

    Parameters
    ----------
    options
        The options of the call.
    retries
        What the manifest of a plan says, if nothing else does.

    Raises
    ------
    SelectionError, PlanError
        If a value cannot be parsed, is out of range, or contradicts another.
    """
    stated = configuration.stated("download", _DOWNLOAD_KINDS)
    elsewhere = {name: value for name, (value, _) in stated.items()}
    if "reuse" in elsewhere:
        elsewhere["reuse"] = elsewhere["reuse"].split(os.pathsep)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    manifest = {} if retries is None else {"retries": retries}
    return DownloadSettings.of(manifest | elsewhere | given)


def spelled_out(kind: Any = None) -> Callable[[F], F]:
    """Show the options of a function in its signature; reject others and suggest the nearest name.

    Parameters
    ----------
    kind
        The `TypedDict` of its ``**options``; None if it has none.
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
        else f"The known arguments are {', '.join(sorted(known - {'self'}))}."
    )
    return f"{function}() got an unexpected keyword argument '{name}'. {hint}"
