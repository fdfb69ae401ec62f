"""A window of a browser that is on the page, and what should never happen in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from support.pages import Served

# Where pictures are left to be looked at, if it is set.
SEEN = os.environ.get("DATASET_DL_PICTURES")


class Window:
    """A window of the browser that notes what should not happen."""

    def __init__(self, browser: Browser, served: Served, **options: Any) -> None:
        self.served = served
        self.context: BrowserContext = browser.new_context(**options)
        self.requests: list[str] = []
        self.said: list[str] = []
        self.may_refuse = False
        self.page = self.new_page()

    def new_page(self) -> Page:
        page = self.context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.hear(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        return page

    def hear(self, text: str) -> None:
        # The browser itself tells of answers that say no, at some time.
        if "GL Driver Message" in text:
            return  # this machine has no graphics card
        if not (self.may_refuse and "the server responded with a status of 4" in text):
            self.said.append(text)

    def enter(self, path: str = "/explore") -> Page:
        """Come in as the person who was given the link; a link works once, so the cookie is taken."""
        if not self.served.key:
            self.served.enter()
        for cookie in self.served.session.cookies:
            self.context.add_cookies(
                [{"name": cookie.name, "value": str(cookie.value), "url": self.served.address}]
            )
        self.page.goto(f"{self.served.address}{path}#key={self.served.key}")
        return self.page

    def check(self) -> None:
        """Nothing was asked of another host, and the console is clean."""
        strangers = [url for url in self.requests if not url.startswith((self.served.address, "blob:"))]
        assert (strangers, self.said) == ([], [])

    def look(self, name: str) -> None:
        if SEEN:
            self.page.screenshot(path=Path(SEEN) / f"{name}.png", full_page=True)
