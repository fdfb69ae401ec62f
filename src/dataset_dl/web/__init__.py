"""Wing: a page on the person's own machine, from a question to verified files."""

from __future__ import annotations

from importlib.util import find_spec

from dataset_dl.errors import MissingExtra


def require() -> None:
    """Make sure that what the page needs is installed.

    Raises
    ------
    MissingExtra
        If it is not.
    """
    for module in ("starlette", "uvicorn"):
        if find_spec(module) is None:
            raise MissingExtra("web", module)
