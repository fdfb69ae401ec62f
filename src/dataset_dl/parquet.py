"""Rows of Python as a Parquet file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dataset_dl.duck import Database, DuckError, first_line, quote
from dataset_dl.scratch import Scratch, scratch_error, writing_scratch, written_whole


def write_parquet(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    path: Path,
    *,
    types: Sequence[str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write rows as a Parquet file, whole or not at all.

    Raises
    ------
    StorageError
        If it, or the temporary directory, cannot be written.
    """
    with Scratch("slices") as scratch, written_whole(path) as unfinished:
        lines, written = scratch / "rows.json", scratch / "rows.parquet"
        with writing_scratch(), lines.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(dict(zip(columns, row, strict=True)), default=str) + "\n")
        typed = "" if types is None else ", columns = {" + ", ".join(
            f"{quote(name)}: {quote(kind)}" for name, kind in zip(columns, types, strict=True)
        ) + "}"  # fmt: skip
        source = f"read_json({quote(str(lines))}, format = 'newline_delimited'{typed})"
        said = quote(json.dumps(about or {}))
        try:
            Database().write(
                f"SELECT * FROM {source}", written, f"FORMAT parquet, KV_METADATA {{about: {said}}}"
            )
        except DuckError as error:
            raise scratch_error(first_line(error)) from None
        # DuckDB refuses names that are not UTF-8.
        shutil.copyfile(written, unfinished)
