"""Headers as rows of a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_dl.scratch import written_whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KINDS = {".parquet": "parquet", ".json": "json", ".csv": "csv"}


def header_rows(datasets: Iterable[tuple[dict[str, Any], Dataset]]) -> tuple[list[str], list[list[Any]]]:
    """Return columns and rows: first the given cells, then every element that any header has.

    Elements come in the order of their tags; a private one is called like ``0009,1001``.
    """
    several = [
        (first, {int(each.tag): (name_of(each), plain_value(each)) for each in elements(dataset)})
        for first, dataset in datasets
    ]
    leading = list(dict.fromkeys(name for first, _ in several for name in first))
    tags = sorted({tag for _, found in several for tag in found})
    names = {tag: name for _, found in several for tag, (name, _) in found.items()}
    taken = set(leading)
    columns = leading + [names[tag] for tag in tags if names[tag] not in taken]
    kept = [tag for tag in tags if names[tag] not in taken]
    rows = [
        [*(first.get(name) for name in leading), *((found[tag][1] if tag in found else None) for tag in kept)]
        for first, found in several
    ]
    return columns, rows


def elements(dataset: Dataset) -> Iterator[Any]:
    """Yield each element, those of the file meta information first."""
    yield from getattr(dataset, "file_meta", ())
    yield from dataset


def tag_of(element: Any) -> str:
    """Return the tag of an element, like ``0008,0060``."""
    return f"{element.tag.group:04X},{element.tag.element:04X}"


def name_of(element: Any) -> str:
    """Return the keyword of an element; its tag if it has none."""
    return element.keyword or tag_of(element)


def plain_value(element: Any) -> Any:
    """Return the value of an element as a number or a text; sequences as JSON, bytes as their number."""
    if element.VR == "SQ":
        return json.dumps(_items(element), ensure_ascii=False, default=str)
    return _value(element)


def _items(element: Any) -> list[dict[str, Any]]:
    return [
        {name_of(each): _items(each) if each.VR == "SQ" else _value(each) for each in item}
        for item in element.value
    ]


def _value(element: Any) -> Any:
    value = element.value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) or type(value).__name__ == "DSdecimal":
        return float(value)
    if value is None or value == "":
        return None
    if element.VM > 1:
        return "\\".join(str(each) for each in value)
    return str(value)


def element_rows(dataset: Dataset, wanted: Sequence[str] = ()) -> list[tuple[str, str, str, Any]]:
    """Return tag, VR, keyword and value of elements.

    Parameters
    ----------
    dataset
        The header.
    wanted
        Keywords, or tags like ``0008,0060``; all if empty.
    """
    chosen = {each.strip("()").replace(" ", "").upper() for each in wanted}
    rows = []
    for element in elements(dataset):
        tag = tag_of(element)
        if not chosen or {tag, tag.replace(",", ""), element.keyword.upper()} & chosen:
            rows.append((f"({tag})", element.VR, element.keyword or element.name, plain_value(element)))
    return rows


def write_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], path: Path, kind: str) -> None:
    """Write a table whole or not at all.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    if kind == "parquet":
        from dataset_dl.parquet import write_parquet

        write_parquet(columns, rows, path)
        return
    from dataset_dl.cli.tables import write

    with (
        written_whole(path) as unfinished,
        unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        write(columns, rows, "json" if kind == "json" else "csv", file)
