"""Format numbers and untrusted text for people."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape


def size(size_bytes: float) -> str:
    """Format bytes in decimal units, as IDC does: ``246.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.95:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def counted(count: int, noun: str) -> str:
    """Format a count with its noun: ``1 directory``, ``1,200 directories``, ``3 series``."""
    if count == 1 or noun == "series":
        return f"{count:,} {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") else f"{count:,} {noun}s"


def first_few(names: Sequence[str], most: int = 5, noun: str = "") -> str:
    """List the first names and count the rest: ``a, b, c and 2 more``."""
    rest = len(names) - most
    more = f" and {rest:,} more{f' {noun}' if noun else ''}" if rest > 0 else ""
    return f"{', '.join(names[:most])}{more}"


def duration(seconds: float) -> str:
    """Format seconds as ``1.2 s``, ``3:05`` or ``12:03:05``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def html_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], notes: Iterable[str] = ()
) -> str:
    """Build a small HTML table with a title and notes; all text is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(_shown(cell))}</td>' for cell in row)}</tr>" for row in rows)
    lines = "".join(f"<div>{escape(note)}</div>" for note in notes)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""
    return f"<div><b>{escape(title)}</b>{table}{lines}</div>"


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def shortened(text: str, characters: int = 100) -> str:
    """Shorten a text for use in a sentence."""
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def visible(text: str) -> str:
    """Escape every character that a terminal acts on, line breaks included."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or unicodedata.category(each) == "Zs" else _escape(each) for each in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
