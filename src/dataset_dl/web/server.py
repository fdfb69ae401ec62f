"""Serves the page on this machine, as long as the program runs."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dataset_dl import configuration
from dataset_dl.errors import DatasetDlError, MissingExtra, SelectionError, StorageError
from dataset_dl.network.bypass import is_loopback
from dataset_dl.scratch import Scratch
from dataset_dl.verbs.jobs import Jobs
from dataset_dl.verbs.jobs.running import Runner
from dataset_dl.web.accounts import Accounts
from dataset_dl.web.app import bound_of, make_app
from dataset_dl.web.changes import Changes
from dataset_dl.web.guard import Guard
from dataset_dl.web.hosted import Hosted
from dataset_dl.web.site import Site

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOST = "127.0.0.1"
_TOKEN = "DATASET_DL_WEB_TOKEN"
_SILENT_SECONDS = 10.0
_MOST_CONNECTIONS, _KEEP_ALIVE_SECONDS, _GRACE_SECONDS = 800, 30, 2


class Host(NamedTuple):
    """How a server for several people is reached.

    Attributes
    ----------
    address
        The address that it listens on.
    names
        What people call it.
    certificate, key
        PEM files for TLS; None only on the loopback address.
    """

    address: str
    names: tuple[str, ...]
    certificate: Path | None
    key: Path | None


def serve(
    roots: Sequence[Path],
    *,
    port: int,
    at_once: int,
    say: Callable[[str], object],
    open_page: bool,
    host: Host | None = None,
) -> None:
    """Serve until a signal comes.

    Parameters
    ----------
    roots
        The directories that the page may write below.
    port
        The port of the loopback address; 0 for any that is free.
    at_once
        How many jobs run at the same time.
    say
        Told the link, once a request to it would be answered.
    open_page
        Whether to open the page in a browser.
    host
        For several people, each with an account; for one person on this machine if None.

    Raises
    ------
    SelectionError
        If a directory cannot be written to, or the port is taken.
    """
    for root in roots:
        if not root.is_dir() or not os.access(root, os.W_OK):
            raise SelectionError(
                str(root), f"{root} is not a directory that can be written to; nothing was started."
            )
    accounts = None if host is None else _accounts(host)
    listening = _listening(port, HOST if host is None else host.address)
    port = listening.getsockname()[1]
    jobs = Jobs()
    changes = Changes(jobs.table)
    token = os.environ.get(_TOKEN) or secrets.token_urlsafe(32)
    app = make_app(Site(roots, jobs, is_hosted=host is not None), changes, token)
    bounds = partial(bound_of, app)
    guard: Guard | Hosted
    if host is None or accounts is None:
        guard = Guard(app, f"{HOST}:{port}", token, bounds)
    else:
        called = {name.lower() for name in (*host.names, host.address)}
        names = frozenset({*called, *(f"{name}:{port}" for name in called)})
        guard = Hosted(app, names, accounts, bounds, configuration.state_path() / "accounts.log")
    server = _Server(
        uvicorn.Config(
            guard,
            ssl_certfile=None if host is None else host.certificate,
            ssl_keyfile=None if host is None else host.key,
            http=_Protocol,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            h11_max_incomplete_event_size=64 * 1024,
        ),
        changes,
    )

    def greet() -> None:
        if isinstance(guard, Guard):
            _greet(guard, say, open_page=open_page)
        elif host is not None:
            scheme = "http" if host.certificate is None else "https"
            say(f"{scheme}://{host.names[0] if host.names else host.address}:{port}/")

    _live_with(app, changes, greet)
    threading.Thread(target=_count, name="cube", daemon=True).start()
    with ExitStack() as stack:
        stack.enter_context(listening)
        stack.enter_context(Runner(jobs, at_once))
        for page in app.state.pages:
            if page.beside is not None:
                with suppress(MissingExtra):
                    stack.enter_context(page.beside())
        server.run(sockets=[listening])


def _accounts(host: Host) -> Accounts:
    """Return the accounts of a server for several people.

    Raises
    ------
    SelectionError
        If nobody could sign in, or passwords would go through a network in plain.
    """
    if host.certificate is None and not is_loopback(host.address):
        raise SelectionError(
            host.address,
            "Passwords and images would go through the network in plain; nothing was started.",
            "Give --certificate and --certificate-key, or listen on 127.0.0.1 behind a proxy with TLS.",
        )
    accounts = Accounts()
    if not accounts.all():
        raise SelectionError(
            str(accounts.path),
            "There is no account yet, so nobody could sign in; nothing was started.",
            "`dataset-dl accounts add NAME --owner` adds one.",
        )
    return accounts


class _Protocol(H11Protocol):
    """Closes a connection on which nobody asks anything: such ones would take the places of others."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.loop.call_later(_SILENT_SECONDS, self._end_if_silent)

    def _end_if_silent(self) -> None:
        has_asked: object = self.cycle
        if has_asked is None and not self.transport.is_closing():
            self.transport.close()


class _Server(uvicorn.Server):
    """Ends the streams at once when it is to end: nobody would close them."""

    def __init__(self, config: uvicorn.Config, changes: Changes) -> None:
        super().__init__(config)
        self._changes = changes

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order."""
        self._changes.end()
        await super().shutdown(sockets)


def _live_with(app: Starlette, changes: Changes, greet: Callable[[], object]) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(changes.watch)
            greet()
            yield
            changes.end()
            tasks.cancel_scope.cancel()

    app.router.lifespan_context = lifespan


def _listening(port: int, host: str) -> socket.socket:
    # Only of a socket that names its protocol asyncio sends each part of an answer at once, not 40 ms later.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name != "nt":  # there it would let another program take the same port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # From now on requests wait until they are answered.
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise SelectionError(
            str(port),
            f"The port {port} of {host} cannot be used: {error.strerror}; nothing was started."
            if host != HOST
            else f"The port {port} cannot be used: {error.strerror}; nothing was started.",
            "Leave --port out, or choose another one.",
        ) from None
    return listening


def _count() -> None:
    """Build the cube beside all else, if it is not kept."""
    from dataset_dl.sources.idc.cube import document

    with suppress(DatasetDlError):  # the page will say it
        document()


def _greet(guard: Guard, say: Callable[[str], object], *, open_page: bool) -> None:
    link = guard.new_link()
    say(link)
    if open_page:
        _open(guard.new_link())
    if sys.stdin is not None and sys.stdin.isatty():
        threading.Thread(target=_say_again, args=(guard, say), name="links", daemon=True).start()


def _say_again(guard: Guard, say: Callable[[str], object]) -> None:
    with suppress(OSError, ValueError):
        while sys.stdin.readline():
            say(guard.new_link())


_opened: list[Scratch] = []


def _open(link: str) -> None:
    """Open the link in a browser, through a file that only this user reads: others see arguments."""
    import webbrowser

    with suppress(StorageError, OSError, webbrowser.Error):
        scratch = Scratch("page")
        _opened.append(scratch)
        page = scratch.path / "open.html"
        page.touch(mode=0o600)
        page.write_text(
            f'<!doctype html><meta http-equiv="refresh" content="0;url={link}">', encoding="utf-8"
        )
        webbrowser.open(page.as_uri())
