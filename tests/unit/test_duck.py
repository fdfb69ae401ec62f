"""Values reach DuckDB as they are, however they look."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from dataset_dl.duck import Database

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(
        texts | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.lists(texts), min_size=1, max_size=4
    )
)
@example(["$1", "'$2'", "it's; DROP TABLE x --", "\0"])
@example([["'", "$1", "\0"], []])
@example([[str(number) for number in range(200)]])
def test_a_value_is_what_it_was(values: list[object]) -> None:
    kinds = {str: "VARCHAR", int: "BIGINT", bool: "BOOLEAN", list: "VARCHAR[]"}
    wanted = ", ".join(f"${number}::{kinds[type(value)]}" for number, value in enumerate(values, 1))
    assert list(Database().run(f"SELECT {wanted}", values)) == [tuple(values)]
