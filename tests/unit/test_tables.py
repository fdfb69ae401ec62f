from __future__ import annotations

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.cli.tables import write
from dataset_dl.wording import duration, size

ROWS = [("a", 1234567, None, True), ('b,"c"', 2, "x" * 200, False)]
COLUMNS = ("name", "count", "text", "here")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(form: str, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    write(COLUMNS, ROWS, form, stream)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_table_in_a_pipe_is_whole() -> None:
    text = shown("table")
    assert "1,234,567" in text and "x" * 200 in text and "yes" in text
    assert len(text.splitlines()) == 4


def test_a_table_in_a_terminal_fits() -> None:
    text = shown("table", Terminal())
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("x") >= 200


def test_programs_get_what_is_there() -> None:
    assert json.loads(shown("json")) == [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
    assert list(csv.reader(io.StringIO(shown("csv"))))[2] == ['b,"c"', "2", "x" * 200, "False"]


@given(st.lists(st.tuples(st.text(), st.none() | st.integers() | st.floats(allow_nan=False)), max_size=5))
def test_any_rows_can_be_written(rows: list[tuple[object, ...]]) -> None:
    for form in ("table", "json", "csv"):
        write(("a", "b"), rows, form, Terminal())  # type: ignore[arg-type]
        stream = io.StringIO()
        write(("a", "b"), rows, form, stream)  # type: ignore[arg-type]
        if form == "json":
            assert len(json.loads(stream.getvalue())) == len(rows)


def test_units() -> None:
    assert [size(n) for n in (0, 999, 1000, 246_305_000, 99.9e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "246.3 MB",
        "99.9 TB",
    ]
    assert [duration(n) for n in (0.04, 59.9, 61, 43385)] == ["0.0 s", "59.9 s", "1:01", "12:03:05"]
