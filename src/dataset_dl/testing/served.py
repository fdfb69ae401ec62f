"""An application of Starlette in a thread of this process, on a free port of this machine."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import uvicorn

if TYPE_CHECKING:
    from starlette.applications import Starlette

_START_SECONDS, _TICK_SECONDS = 20.0, 0.01


class Served:
    """A running application.

    Parameters
    ----------
    app
        What to serve.

    Attributes
    ----------
    url
        Its address; empty before `start`.
    """

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> None:
        """Start it; it answers when this returns."""
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(self._app, log_config=None, access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            assert time.monotonic() < deadline, "the server has not started"
            time.sleep(_TICK_SECONDS)

    def stop(self) -> None:
        """Stop it, whatever is still being sent."""
        if self._server is not None and self._thread is not None:
            self._server.force_exit = self._server.should_exit = True
            self._thread.join()
            self._server = self._thread = None


class StandIn:
    """A stand-in for a server: a context manager, which counts what it is asked and fails as it is told.

    Parameters
    ----------
    app
        What answers.

    Attributes
    ----------
    faults
        What fails → how; with ``once`` behind it, only the first time.
    requests
        What was asked, in order.
    """

    def __init__(self, app: Starlette) -> None:
        self.faults: dict[str, str] = {}
        self.requests: list[str] = []
        self._served = Served(app)

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._served.url

    def __enter__(self) -> Self:
        self._served.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._served.stop()

    def _fault(self, of: str) -> str:
        """Return the fault of something, which may be for once; empty without one."""
        fault = self.faults.get(of, "")
        if fault.endswith(" once"):
            del self.faults[of]
        return fault.removesuffix(" once")
