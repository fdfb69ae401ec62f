"""Options of commands that ask archives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from dataset_dl.errors import SelectionError

# Parameter → keyword.
_KEYWORDS = {
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "study_date": "StudyDate",
    "accession_number": "AccessionNumber",
    "modality": "Modality",
    "study_description": "StudyDescription",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
}


def conditions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is asked for; the function gets them as `asked`, by keyword."""
    several = (
        click.option("--patient-id", metavar="ID", help="With * and ? for any characters."),
        click.option("--patient-name", metavar="NAME", help="Like 'DOE^*'."),
        click.option(
            "--study-date", metavar="DATES", help="2024-01-31, 2024-01-01..2024-01-31, 2024-01-01.. or today."
        ),
        click.option("--accession-number", metavar="NUMBER"),
        click.option("--modality", metavar="NAME", help="Like CT."),
        click.option("--study-description", metavar="TEXT", help="Like '*thorax*'."),
        click.option("--study", multiple=True, metavar="UID", help="May be repeated."),
        click.option("--series", multiple=True, metavar="UID", help="May be repeated."),
        click.option(
            "--where",
            "more",
            multiple=True,
            metavar="KEYWORD=VALUE",
            help="Any other attribute that archives match. May be repeated.",
        ),
    )

    def with_conditions(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in (*_KEYWORDS, "more")}
        return function(*arguments, asked=_asked(given), **options)

    with_conditions.__doc__, with_conditions.__name__ = function.__doc__, function.__name__
    # Options that were added below this one stay.
    with_conditions.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    decorated: Callable[..., Any] = with_conditions
    for option in reversed(several):
        decorated = option(decorated)
    return decorated


def step_options(given: tuple[str, ...]) -> dict[str, str]:
    """Return options of pseudonyms, as ``NAME=VALUE``.

    Raises
    ------
    SelectionError
        If one is none.
    """
    found: dict[str, str] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not sign or not name or name in found:
            raise SelectionError(
                each, f"“{each}” is no option; nothing was started.", "Write NAME=VALUE, once."
            )
        found[name] = value
    return found


def _asked(given: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, keyword in _KEYWORDS.items():
        value = given[name]
        if isinstance(value, tuple):
            value = "\\".join(value)
        if value:
            found[keyword] = value
    for each in given["more"]:
        keyword, sign, value = each.partition("=")
        if not sign or not value:
            raise SelectionError(
                each, f"“{each}” is no condition; nothing was asked.", "Write KEYWORD=VALUE."
            )
        if keyword in found:
            raise SelectionError(each, f"{keyword} is asked for twice; nothing was asked.")
        found[keyword] = value
    return found
