"""Pictures made from the documents, so that both agree: SVG of their texts, and what their commands make."""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

_INK, _PALE, _OURS, _THEIRS = "#1f2933", "#eef4f4", "#00897b", "#b0bec5"
_FONT = "font-family='system-ui, sans-serif'"
_SESSION = (
    "dataset-dl idc download qin_lung_ct --where PatientID=R0259,R0263 --to data",
    "dataset-dl idc verify data",
)
# Rows of the table in performance.md that are drawn, and the peers in each.
_SHOWN = (
    ("collections listed", ["idc-index"]),
    ("small: ", ["raw s5cmd", "idc-index"]),
    ("large: ", ["raw s5cmd", "idc-index"]),
    ("mix: ", ["raw s5cmd", "idc-index"]),
    ("10,000 complete series again", ["s5cmd sync"]),
)
_TITLE = "How long others take if dataset_dl takes 1"
# A bar longer than this is cut; its label has the value.
_MOST = 6.0
_BAR_SECONDS = 2.5
_MONOSPACED = "font-family='DejaVu Sans Mono, Menlo, monospace' font-size='13' xml:space='preserve'"


def terminal(tutorial: str) -> str:
    """Draw two commands of the tutorial as in a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=92, file=io.StringIO(), force_terminal=True)
    for command in _SESSION:
        found = re.search(rf"^\$ {re.escape(command)}\n((?:(?!\$ |```).*\n)*)", tutorial, re.MULTILINE)
        assert found is not None, f"the tutorial has no “{command}”"
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text(found[1]))
    drawn = console.export_svg(title="dataset-dl")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")


def moving(tutorial: str) -> str:
    """Animate the same commands with a progress bar; without animation, everything shows at once."""
    lines: list[tuple[str, str, float]] = []
    at = 0.5
    for number, command in enumerate(_SESSION):
        found = re.search(rf"^\$ {re.escape(command)}\n((?:(?!\$ |```).*\n)*)", tutorial, re.MULTILINE)
        assert found is not None, f"the tutorial has no “{command}”"
        lines.append((f"$ {command}", "#80cbc4", at))
        at += 1.0
        if number == 0:
            lines.append(("", "bar", at))
            at += _BAR_SECONDS
        lines += [(line, "#eceff1", at) for line in found[1].rstrip().splitlines()]
        at += 1.5
    height = 20 * len(lines) + 40
    parts = [f"<rect width='800' height='{height}' rx='10' fill='#263238'/>"]
    for row, (text, colour, begin) in enumerate(lines):
        y = 36 + 20 * row
        if colour == "bar":
            moved = _animated("width", "0;0;600;600", begin, begin + _BAR_SECONDS, at)
            bar = f"x='20' y='{y - 9}' width='600' height='6' rx='3' fill='{_OURS}'"
            parts.append(f"<rect {bar}>{moved}</rect>")
            continue
        shown = _animated("opacity", "0;0;1;1", begin, begin + 0.2, at)
        parts.append(f"<text x='20' y='{y}' {_MONOSPACED} fill='{colour}'>{escape(text)}{shown}</text>")
    return _svg(800, height, parts)


def _animated(attribute: str, values: str, begin: float, end: float, total: float) -> str:
    times = f"0;{begin / total:.3f};{end / total:.3f};1"
    return (
        f"<animate attributeName='{attribute}' values='{values}' keyTimes='{times}' dur='{total:.1f}s'"
        " fill='freeze'/>"
    )


def architecture(document: str) -> str:
    """Draw the floors and their rooms, the highest on top."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", document, re.MULTILINE)
    levels: dict[str, int] = {}
    for room, imported in rows:  # in the order of the table a room stands below those that it imports
        levels[room] = 1 + max((levels[each] for each in re.findall(r"\w+", imported)), default=0)
    floors = [
        (str(level), [room for room in levels if levels[room] == level])
        for level in sorted(set(levels.values()))
    ]
    height, parts = 54, []
    for level, (number, rooms) in enumerate(reversed(floors)):
        y = 10 + level * height
        parts.append(f"<rect x='46' y='{y}' width='744' height='46' rx='8' fill='{_PALE}'/>")
        parts.append(f"<text x='24' y='{y + 29}' font-size='15' fill='{_THEIRS}'>{number}</text>")
        step = 732 / len(rooms)
        for place, room in enumerate(rooms):
            x = 52 + place * step
            parts.append(
                f"<rect x='{x:.0f}' y='{y + 7}' width='{step - 8:.0f}' height='32' rx='6' fill='{_OURS}'/>"
                f"<text x='{x + step / 2 - 4:.0f}' y='{y + 28}' font-size='14' fill='white'"
                f" text-anchor='middle'>{room}</text>"
            )
    bottom = 10 + len(floors) * height
    parts.append(
        f"<text x='46' y='{bottom + 14}' font-size='13' fill='{_INK}'>A room may import what is below it,"
        " never what is above or beside it.</text>"
    )
    return _svg(800, bottom + 28, parts)


def benchmark(document: str) -> str:
    """Draw how long others take if dataset_dl takes 1."""
    parts, y = [f"<text x='10' y='24' font-size='15' font-weight='bold' fill='{_INK}'>{_TITLE}</text>"], 44
    for work, peers in _SHOWN:
        rows = [_row(document, work, peer) for peer in peers]
        parts.append(f"<text x='10' y='{y + 14}' font-size='14' fill='{_INK}'>{escape(rows[0][0])}</text>")
        bars = [("dataset_dl", 1.0, _OURS)]
        bars += [(peer, row[2] / row[1], _THEIRS) for peer, row in zip(peers, rows, strict=True)]
        for name, value, colour in bars:
            y += 22
            width = 420 * min(value, _MOST) / _MOST
            if value > _MOST:  # two strokes through a bar mark it as cut
                parts_cut = [
                    f"<path d='M{width - 40 + shift:.0f} {y - 2} l-6 20' stroke='white' stroke-width='3'/>"
                    for shift in (0, 7)
                ]
            else:
                parts_cut = []
            label = f"{name}: {value:.2g} ×" if value < 10 else f"{name}: {value:.0f} ×"
            parts.append(
                f"<rect x='10' y='{y}' width='{width:.0f}' height='16' rx='3' fill='{colour}'/>"
                f"{''.join(parts_cut)}"
                f"<text x='{width + 18:.0f}' y='{y + 13}' font-size='13' fill='{_INK}'>{label}</text>"
            )
        y += 30
    parts.append(
        f"<text x='10' y='{y + 8}' font-size='12' fill='{_INK}'>Bars are to scale; those longer than"
        f" {_MOST:.0f} × are cut, marked by two strokes.</text>"
    )
    return _svg(640, y + 24, parts)


def _row(document: str, work: str, peer: str) -> tuple[str, float, float]:
    """Return the task, our seconds and theirs from the table."""
    title = ""
    for line in document.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        title = cells[0] or title
        if title.startswith(work) and len(cells) > 2 and (found := _seconds(cells[2], peer)) is not None:
            ours = _seconds(f"{cells[1]}, ours", "ours")
            assert ours is not None
            return title, ours, found
    raise AssertionError(f"performance.md has no row “{work}” with {peer}")


def _seconds(cell: str, who: str) -> float | None:
    for each in cell.split(";"):
        if who in each and (found := re.search(r"([0-9.,]+) s\b", each)):
            return float(found[1].replace(",", ""))
    return None


def _svg(width: int, height: int, parts: list[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {_FONT}>"
        f"<rect width='{width}' height='{height}' rx='10' fill='white'/>{''.join(parts)}</svg>"
    )


def contrast(document: str) -> bytes:
    """Run the command that the document shows for this picture, on a test file of pydicom-data."""
    return _previewed(document, "contrast", _test_file("data_store", "693_UNCR.dcm"))


def mosaic(document: str) -> bytes:
    """Run the command that the document shows for this picture, on a test file of pydicom-data."""
    return _previewed(document, "mosaic", _test_file("data_store", "emri_small.dcm"))


def _test_file(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.rglob(name))


def _previewed(document: str, command: str, file: Path) -> bytes:
    line = re.search(rf"^dataset-dl preview {command} \S+\.dcm (.*)$", document, re.MULTILINE)
    assert line is not None, f"no `preview {command}` of a file in the document"
    with tempfile.TemporaryDirectory() as directory:
        arguments = [Path(sys.executable).parent / "dataset-dl", "preview", command, file, *line[1].split()]
        subprocess.run(arguments, cwd=directory, check=True, capture_output=True)
        (made,) = Path(directory).iterdir()
        return made.read_bytes()
