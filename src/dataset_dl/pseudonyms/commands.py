"""``dataset-dl pseudonymise``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT, Directory
from dataset_dl.cli.tables import Format, write
from dataset_dl.errors import SelectionError, UnreadableObject
from dataset_dl.pseudonyms.profile import OPTIONS, Dates
from dataset_dl.wording import counted, duration, first_few, visible


@click.command(
    cls=Command,
    examples=(
        "dataset-dl pseudonymise CASES --to ANONYMOUS",
        "dataset-dl pseudonymise CASES --to ANONYMOUS --option retain-device-identity --allow SR",
        "dataset-dl pseudonymise --show-mapping /safe/who.table",
    ),
)
@click.argument("directory", required=False, type=click.Path(path_type=Path, exists=True), metavar="DIR")
@click.option("--to", "target", type=Directory(), help="Where the new files go; apart from the originals.")
@click.option(
    "--key-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="The key.  [default: DATASET_DL_PSEUDONYM_KEY]",
)  # fmt: skip
@click.option("--pseudonym", metavar="NAME", help="The new PatientID of all files.  [default: by the key]")
@click.option(
    "--option", "options", multiple=True, type=click.Choice(list(OPTIONS)),
    help="An option of the profile. May be repeated.",
)  # fmt: skip
@click.option(
    "--dates", type=click.Choice(get_args(Dates)), default="shift", show_default=True,
    help="Move all dates of a patient by the same number of days, remove or keep them.",
)  # fmt: skip
@click.option(
    "--allow", "allowed", multiple=True, metavar="WHAT",
    help="Do not hold back: burned-in, secondary-capture, documents, overlays, a modality. May be repeated.",
)  # fmt: skip
@click.option(
    "--exclude", "excluded", metavar="LIST",
    help="Modalities that are held back.  [default: EXCLUDE_MODALITIES, else PR,SR]",
)  # fmt: skip
@click.option(
    "--keep-private", "private", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Private elements that stay, one a line, like “0019,xx0C SIEMENS MR HEADER”.",
)  # fmt: skip
@click.option("--trial-id", default="", metavar="TEXT", help="The new ClinicalTrialProtocolID.")
@click.option("--trial-name", default="", metavar="TEXT", help="The new ClinicalTrialProtocolName.")
@click.option(
    "--mapping", type=click.Path(path_type=Path), metavar="FILE",
    help="Write who is who into a file, encrypted with the key.",
)  # fmt: skip
@click.option(
    "--held", "listed", type=click.Path(path_type=Path), metavar="FILE",
    help="Write the files that stay behind, and why, as CSV.",
)  # fmt: skip
@click.option(
    "--processes", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: one a core]"
)
@click.option(
    "--show-mapping", "shown", type=click.Path(path_type=Path), metavar="FILE",
    help="Only show a file of --mapping, with the key.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@FORMAT
def pseudonymise(
    directory: Path | None,
    target: Path | None,
    mapping: Path | None,
    listed: Path | None,
    shown: Path | None,
    processes: int | None,
    as_json: bool,
    form: Format,
    **given: Any,
) -> None:
    """Write DICOM files with pseudonyms: by PS3.15's basic profile, and the same for the same key.

    What pixels or documents may show is held back for a person to look at. The same command does the rest.
    """
    if shown is not None:
        _show_mapping(shown, given["key_file"], form)
        return
    if directory is None or target is None:
        raise click.UsageError("DIR and --to are needed.", click.get_current_context())
    if listed is not None and not listed.absolute().parent.is_dir():
        raise SelectionError(str(listed), f"{listed} has no directory to be in; nothing was started.")
    from dataset_dl.observers import observing
    from dataset_dl.observers.display import display
    from dataset_dl.pseudonyms.tree import pseudonymise

    with observing([display("plain", sys.stderr)]) as show:
        summary = pseudonymise(
            directory, target, options=_options(given), mapping=mapping, processes=processes, show=show
        )
    if listed is not None:
        summary.write_list(listed)
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
    else:
        known = f", {summary.known:,} done before" if summary.known else ""
        click.echo(f"{target}: {counted(summary.done, 'file')} with pseudonyms{known}; ", nl=False)
        click.echo(f"{duration(summary.elapsed_seconds)}")
        if summary.others:
            click.echo(f"  {counted(summary.others, 'file')} left out, because they are no DICOM files")
        if summary.skipped:
            click.echo(visible(f"  {summary.skipped_words}"))
        for why, count in summary.reasons.most_common():
            click.echo(visible(f"  {counted(count, 'file')} held back for review: {why}"))
    if summary.held or summary.problems:
        raise UnreadableObject(str(directory), _behind(summary), _HINT if summary.held else _MEND)


_MEND = "`--held FILE` lists them. Mend or remove them, then run the same command again."
_HINT = (
    "`--held FILE` lists them; look at them, then `--allow` lets a kind of them through. The same command"
    " does only the rest."
)


def _behind(summary: Any) -> str:
    said = f"{counted(len(summary.held), 'file')} held back for review" if summary.held else ""
    if summary.problems:
        several = [f"{path.name}: {why}" for path, why in summary.problems.items()]
        said += f"{', ' if said else ''}{counted(len(several), 'file')} failed ({first_few(several, 2)})"
    others = "all others have" if not summary.skipped else "all others that were looked at have"
    return f"{visible(said)}; {others} pseudonyms."


def _options(given: dict[str, Any]) -> dict[str, str]:
    """Return options as the consumer takes them."""
    from dataset_dl.pseudonyms.profile import private_of

    made = {
        "options": ",".join(given["options"]),
        "dates": given["dates"],
        "allowed": ",".join(given["allowed"]),
        "private": ";".join(private_of(given["private"])),
        "trial-protocol-id": given["trial_id"],
        "trial-protocol-name": given["trial_name"],
        "pseudonym": given["pseudonym"] or "",
    }
    if given["excluded"] is not None:
        made["excluded"] = given["excluded"]
    if given["key_file"] is not None:
        made["key-file"] = str(given["key_file"].absolute())
    return made


def _show_mapping(path: Path, key_file: Path | None, form: Format) -> None:
    from dataset_dl.pseudonyms import require
    from dataset_dl.pseudonyms.keys import Key
    from dataset_dl.pseudonyms.mapping import COLUMNS, read

    require()
    if not path.is_file():
        raise SelectionError(str(path), f"There is no {path}.")
    write(COLUMNS, read(path, Key.gather(key_file)), form, sys.stdout)
