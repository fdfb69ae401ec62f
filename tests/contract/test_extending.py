"""The example of docs/extending.md, run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from dataset_dl.doors import ENGINES, SOURCES

DOCUMENT = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_example_runs(tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL))
    assert code.count("class ") == 5
    try:
        exec(compile(code, DOCUMENT, "exec"), {"destination": tmp_path / "to", "__name__": "example"})
    finally:
        SOURCES.register("ward", None)()  # type: ignore[arg-type]
        ENGINES.register("ward.ward", None)()  # type: ignore[arg-type]
