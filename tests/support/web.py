"""A web server on loopback, for the duration of a test; and a browser."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

# Chromium's own questions to its maker, which nobody answers here.
_QUIETLY = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--no-first-run")  # fmt: skip


def chromium(playwright: Playwright) -> Browser:
    """Start the system's browser, and give a busy machine time for what is expected of a page."""
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)
    path = shutil.which("chromium")
    assert path, "bin/test installs it"
    return playwright.chromium.launch(executable_path=path, args=_QUIETLY)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # the client was killed


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Yield the address of a server that answers with `handler` and logs nothing."""
    quiet = type("Quiet", (handler,), {"log_message": lambda *_: None})
    server = Server(("127.0.0.1", 0), quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
