"""``dataset-dl accounts …``: who may use a page that several people share."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import FORMAT
from dataset_dl.cli.tables import Format, write

if TYPE_CHECKING:
    from dataset_dl.web.accounts import Accounts

_PASSWORD = "DATASET_DL_ACCOUNT_PASSWORD"
_RIGHTS = click.argument("rights", nargs=-1, required=True, metavar="RIGHT...")


@click.group()
def accounts() -> None:
    """People, their programs, and what they may do, for `web --host`."""


@accounts.command(
    cls=Command, examples=("dataset-dl accounts add ada", "dataset-dl accounts add head --owner")
)
@click.argument("name")
@click.option("--owner", is_flag=True, help="Everything is allowed, also the pages of downloads and disks.")
def add(name: str, owner: bool) -> None:
    """Add a person, or give them another password, which is asked for."""
    password = os.environ.get(_PASSWORD) or click.prompt(
        f"Password for {name}", hide_input=True, confirmation_prompt=True, err=True
    )
    _accounts().add(name, password, is_owner=owner)
    click.echo(f"{name} may sign in.", err=True)


@accounts.command("list", cls=Command)
@FORMAT
def list_accounts(form: Format) -> None:
    """List people, what they may do, and their tokens."""
    rows = [
        (
            each.name,
            "everything" if each.is_owner else " ".join(f"{verb}:{on}" for verb, on in each.rights),
            ", ".join(token.label for token in each.tokens),
        )
        for each in _accounts().all().values()
    ]
    write(("name", "rights", "tokens"), rows, form, sys.stdout)


@accounts.command(cls=Command)
@click.argument("name")
def remove(name: str) -> None:
    """Remove a person; their tokens end, too."""
    _accounts().remove(name)


@accounts.command(
    cls=Command, examples=("dataset-dl accounts grant ada query:WARD retrieve:WARD send:RESEARCH",)
)
@click.argument("name")
@_RIGHTS
def grant(name: str, rights: tuple[str, ...]) -> None:
    """Allow something: VERB:NODE, with * for any."""
    _accounts().grant(name, _known(rights))
    _say(name)


@accounts.command(cls=Command)
@click.argument("name")
@_RIGHTS
def revoke(name: str, rights: tuple[str, ...]) -> None:
    """Allow something no more."""
    _accounts().revoke(name, _known(rights))
    _say(name)


@accounts.command(cls=Command)
@click.argument("name")
@click.argument("label")
@click.option(
    "--right",
    "rights",
    multiple=True,
    metavar="RIGHT",
    help="Only this, of what the person may. May be repeated.",
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Ends after so many days.")
def token(name: str, label: str, rights: tuple[str, ...], days: float | None) -> None:
    """Print a new token for a program of a person; it is shown once."""
    click.echo(_accounts().new_token(name, label, _known(rights) if rights else None, days))


@accounts.command("remove-token", cls=Command)
@click.argument("name")
@click.argument("label")
def remove_token(name: str, label: str) -> None:
    """Remove a token."""
    _accounts().remove_token(name, label)


def _known(texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return rights; refuse verbs that nothing on this server asks for."""
    from dataset_dl.doors import PAGES
    from dataset_dl.errors import SelectionError
    from dataset_dl.web.accounts import rights_of

    pages = [page for name in PAGES.names() if (page := PAGES.find(name)) is not None]
    asked = [right for page in pages for call in page.calls for right in call.rights or ()]
    verbs = {verb for right in asked for verb in right.verb.split("|")}
    for verb, on in (found := rights_of(texts)):
        if verb not in {*verbs, "*"}:
            raise SelectionError(
                verb,
                f"Nothing asks for the right “{verb}:{on}”; nothing was changed.",
                f"The verbs are {', '.join(sorted(verbs))}.",
            )
    return found


def _say(name: str) -> None:
    account = _accounts().find(name)
    rights = " ".join(f"{verb}:{on}" for verb, on in account.rights) or "nothing"
    click.echo(f"{name} may do {'everything' if account.is_owner else rights}.", err=True)


def _accounts() -> Accounts:
    from dataset_dl.web.accounts import Accounts

    return Accounts()
