"""``web``: the page."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from dataset_dl.cli.help import Command
from dataset_dl.cli.options import Directory, network

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(cls=Command)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="The port.  [default: any that is free]",
)
@click.option("--no-open", is_flag=True, help="Print the link, but do not open a browser.")
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=Directory(),
    help="A directory that the page may write below. May be repeated.  [default: the working directory]",
)
@click.option(
    "--at-once", type=click.IntRange(1, 64), default=2, show_default=True, help="Jobs at the same time."
)
@click.option("--fetch-viewer", is_flag=True, help="Fetch the viewer of volumes, once, and end.")
@click.option(
    "--host", metavar="ADDRESS", help="Serve several people, each with an account, on this address."
)
@click.option(
    "--name", "names", multiple=True, metavar="HOST", help="What people call the server. May be repeated."
)
@click.option("--certificate", type=_FILE, metavar="FILE", help="The server's certificate, as PEM.")
@click.option("--certificate-key", type=_FILE, metavar="FILE", help="Its key, as PEM.")
@network
def web(
    port: int,
    no_open: bool,
    roots: tuple[Path, ...],
    at_once: int,
    fetch_viewer: bool,
    host: str | None,
    names: tuple[str, ...],
    certificate: Path | None,
    certificate_key: Path | None,
    **options: Any,
) -> None:
    """Open a page on this machine: explore IDC, build a cohort, download it, look at series.

    It prints a link that works once. Ctrl-C ends it; jobs that run are paused. With --host it is for several
    people, who sign in.
    """
    from dataset_dl.web import require

    if fetch_viewer:
        from dataset_dl.verbs.options import network_of
        from dataset_dl.web import viewer

        path = viewer.fetch(network_of(options))
        click.echo(f"The viewer, niivue {viewer.VERSION}, is in {path}.")
        return
    require()
    from dataset_dl.web.server import Host, serve

    if host is None and (names or certificate or certificate_key):
        raise click.UsageError("--name and --certificate need --host.", click.get_current_context())
    for name, value in options.items():
        if value is not None:  # jobs run in processes of their own, which read these
            os.environ[f"DATASET_DL_{name.upper()}"] = str(value).lower() if value is True else str(value)

    def say(link: str) -> None:
        if host is not None:
            click.echo(f"The page is at {link}\nCtrl-C ends it.")
            return
        click.echo(
            f"The page is at {link}\nThe link works once; Enter prints another one. Ctrl-C ends the page."
        )

    with suppress(KeyboardInterrupt):  # that is how it is ended
        serve(
            [each.absolute() for each in roots] or [Path.cwd()],
            port=port,
            at_once=at_once,
            say=say,
            open_page=not no_open and host is None,
            host=None if host is None else Host(host, names, certificate, certificate_key),
        )
    click.echo("The page has ended. Jobs that ran are paused.")
