"""Lines of s5cmd's file of commands. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def copy_line(url: str, directory: str, exclude: Iterable[str] = ()) -> str:
    """Return the s5cmd command that fetches objects into a directory below the working directory."""
    words = [word for name in exclude for word in ("--exclude", shell_quote(name))]
    return (
        " ".join(["cp", *words, shell_quote(url), shell_quote(f"./{directory}/" if directory else "./")])
        + "\n"
    )


def list_line(url: str) -> str:
    """Return the s5cmd command that lists objects with their sizes and ETags."""
    return f"ls --etag {shell_quote(url)}\n"


def shell_quote(text: str) -> str:
    """Quote any text as one word of an s5cmd command."""
    return "'" + text.replace("'", "'\\''") + "'"
