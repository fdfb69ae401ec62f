"""The page as a program of its own, with the session of a person who has followed its link."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from support.cli import PROGRAM

_LINK = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")
_WAIT_SECONDS = 60


@dataclass
class Served:
    """A running page.

    Attributes
    ----------
    link
        What it has printed.
    address
        ``http://127.0.0.1:PORT``.
    session
        Whoever has followed the link.
    key
        What the page asks with.
    set_cookie
        The header that set its cookie.
    """

    child: subprocess.Popen[str]
    link: str
    address: str
    session: requests.Session = field(default_factory=requests.Session)
    key: str = ""
    set_cookie: str = ""

    def enter(self) -> None:
        """Follow the link, as a browser does: the cookie shows the page, the key behind “#” asks."""
        answer = self.session.get(self.link, timeout=30, allow_redirects=False)
        assert answer.status_code == 303
        self.set_cookie = answer.headers["Set-Cookie"]
        self.key = answer.headers["Location"].partition("#key=")[2]
        assert self.key
        self.session.headers["Authorization"] = f"Bearer {self.key}"

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the answer of a call."""
        answer = self.session.get(f"{self.address}/api/{path}", params=parameters, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: object = None, **options: Any) -> requests.Response:
        """Send a change, as the page does."""
        headers = {"Origin": self.address} | options.pop("headers", {})
        return self.session.post(
            f"{self.address}/api/{path}",
            json={} if body is None else body,
            headers=headers,
            timeout=60,
            **options,
        )

    def stop(self) -> int:
        """End it as Ctrl-C does."""
        self.child.send_signal(signal.SIGINT)
        return self.child.wait(60)

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()


@contextmanager
def served(
    *roots: Path, environment: Mapping[str, str] | None = None, arguments: tuple[str, ...] = ()
) -> Iterator[Served]:
    """Start the page for some directories."""
    words = [str(PROGRAM), "web", "--no-open", *arguments]
    for root in roots:
        words += ["--root", str(root)]
    child = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    try:
        link = _link(child)
        made = Served(child, link, link.partition("/?")[0])
        made.session.trust_env = False
        yield made
    finally:
        if child.poll() is None:
            child.terminate()
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        finally:
            assert child.stdout is not None
            child.stdout.close()


def _link(child: subprocess.Popen[str]) -> str:
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                lines.put(line)
        except ValueError:  # closed at the end
            return

    threading.Thread(target=read, daemon=True).start()
    seen = ""
    while True:
        try:
            seen += lines.get(timeout=_WAIT_SECONDS)
        except queue.Empty:
            raise AssertionError(f"it prints no link: {seen}") from None
        if found := _LINK.search(seen):
            return found[0]
