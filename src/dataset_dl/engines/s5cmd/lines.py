"""The lines that s5cmd reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def copy_line(url: str, directory: str, exclude: Iterable[str] = ()) -> str:
    """The s5cmd command that fetches objects into a directory below the working directory."""
    words = [word for name in exclude for word in ("--exclude", shell_quote(name))]
    return (
        " ".join(["cp", *words, shell_quote(url), shell_quote(f"./{directory}/" if directory else "./")])
        + "\n"
    )


def list_line(url: str) -> str:
    """The s5cmd command that lists objects with their sizes and ETags."""
    return f"ls --etag {shell_quote(url)}\n"


def shell_quote(text: str) -> str:
    """One word of a command line as s5cmd reads it, whatever is in it."""
    return "'" + text.replace("'", "'\\''") + "'"
