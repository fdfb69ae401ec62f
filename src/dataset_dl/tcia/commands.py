"""``dataset-dl tcia …``: what TCIA's server has, and manifests from both archives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dataset_dl.cli.download import download as idc_download
from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, Directory, way_out
from dataset_dl.cli.tables import Format, write
from dataset_dl.errors import SelectionError
from dataset_dl.tcia import REST

_SERIES = (
    "SeriesInstanceUID", "Collection", "PatientID", "StudyInstanceUID", "StudyDate", "Modality",
    "SeriesDescription", "BodyPartExamined", "ImageCount", "FileSize", "LicenseName",
)  # fmt: skip


@click.group()
def tcia() -> None:
    """The Cancer Imaging Archive: series from IDC where they are, else from TCIA's server NBIA."""


@tcia.command(cls=Command)
@way_out
@FORMAT
def collections(form: Format, **options: Any) -> None:
    """List the collections that NBIA has."""
    rows = _asked("getCollectionValues", options)
    write(("Collection",), [(row.get("Collection"),) for row in rows], form, sys.stdout)


@tcia.command(cls=Command)
@click.option("--collection", metavar="NAME", help="Only of this collection.")
@click.option("--patient-id", metavar="ID", help="Only of this patient.")
@click.option("--study", metavar="UID", help="Only of this study.")
@click.option("--modality", metavar="NAME", help="Only of this modality.")
@way_out
@FORMAT
def series(
    collection: str | None,
    patient_id: str | None,
    study: str | None,
    modality: str | None,
    form: Format,
    **options: Any,
) -> None:
    """List series that NBIA has."""
    given = {
        "Collection": collection,
        "PatientID": patient_id,
        "StudyInstanceUID": study,
        "Modality": modality,
    }
    chosen = {name: value for name, value in given.items() if value}
    if not chosen:
        raise click.UsageError(
            "Name a collection, a patient, a study or a modality.", click.get_current_context()
        )
    rows = _asked("getSeries", options, **chosen)
    write(_SERIES, [tuple(row.get(name) for name in _SERIES) for row in rows], form, sys.stdout)


@tcia.command(cls=Command)
@click.argument("collection", nargs=-1, required=True, metavar="COLLECTION...")
@way_out
@FORMAT
def pairs(collection: tuple[str, ...], form: Format, **options: Any) -> None:
    """List series of studies that have both PET and CT; as CSV, a manifest for `tcia download`."""
    from dataset_dl.tcia.pairs import COLUMNS, pairs_of
    from dataset_dl.verbs.options import network_of

    write(COLUMNS, pairs_of(collection, network_of(options)), form, sys.stdout)


def _asked(method: str, options: dict[str, Any], **given: str) -> Any:
    from dataset_dl.tcia.service import Nbia
    from dataset_dl.verbs.options import network_of

    return Nbia(network_of(options)).rows(method, **given)


# Where series lie until they are zipped; the records of the download stay there.
UNPACKED = ".unpacked"


def _download(keep_zips: bool, **options: Any) -> None:
    if keep_zips:
        target = options["destination"]
        if "?" in str(target):
            raise SelectionError(
                str(target),
                f"The directory {target} holds “?”, which a consumer cannot; nothing was started.",
            )
        options["destination"] = target / UNPACKED
        options["then"] = (*options["then"], f"zips:{target}")
        options["evict"] = True
    click.get_current_context().invoke(idc_download, **{**options, REST.parameter: True})


_KEEP_ZIPS = click.Option(
    ["--keep-zips"],
    is_flag=True,
    help="Leave each series as STUDY/SERIES/img.zip, with its MD5 sums, in place of its files.",
)
_LAYOUT = "%StudyInstanceUID/%SeriesInstanceUID"
tcia.add_command(
    Command(
        "download",
        callback=_download,
        params=[*(each for each in idc_download.params if each.name != REST.parameter), _KEEP_ZIPS],
        help="Download manifests of TCIA: each series from IDC where it is, else from NBIA.",
        examples=("dataset-dl tcia download manifest-1234567890.tcia --to data",),
    )
)


@tcia.command(cls=Command)
@click.argument("tree", type=Directory())
@click.option("--to", "destination", required=True, type=Directory(), help="The destination.")
@click.option("--layout", default=_LAYOUT, show_default=True, help="Directories, as for `idc download`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON event per line on standard output.")
@click.pass_context
def unzip(context: click.Context, tree: Path, destination: Path, layout: str, as_json: bool) -> None:
    """Open a tree of zips, STUDY/SERIES/img.zip: each file is checked by the MD5 sums in its zip.

    It is a download like any other: it resumes, ends in a report, and `idc verify` checks it.
    """
    from dataset_dl.tcia.kept import address_of

    context.invoke(
        idc_download, sources=(address_of(tree),), destination=destination, layout=layout, as_json=as_json
    )
