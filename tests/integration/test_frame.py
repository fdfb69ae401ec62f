"""Answers as pandas, Arrow and polars tables."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import dataset_dl as dd

ASKING: dict[str, Callable[[], pd.DataFrame]] = {
    "collections": lambda: dd.collections("lung"),
    "indices": dd.indices,
    "columns": lambda: dd.columns("idc_index"),
    "query": lambda: dd.query("SELECT collection_id, count(*) AS n FROM idc_index GROUP BY 1 ORDER BY 1"),
    "plan": lambda: dd.plan("rider_pilot").to_pandas(),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_the_same_rows_in_each_kind(ask: Callable[[], pd.DataFrame]) -> None:
    frame = ask()
    arrow, polars = frame.arrow(), frame.pl()  # type: ignore[operator]
    assert isinstance(arrow, pa.Table)
    assert isinstance(polars, pl.DataFrame)
    assert list(frame.columns) == arrow.column_names == polars.columns
    assert frame.shape == arrow.shape == polars.shape
    first = frame.columns[0]
    assert list(frame[first]) == arrow[first].to_pylist() == polars[first].to_list()


def test_a_missing_number_stays_a_number() -> None:
    frame = dd.query("SELECT unnest([1, NULL]) AS n")
    assert frame.arrow()["n"].to_pylist() == [1, None]  # type: ignore[operator]
    assert frame.pl()["n"].to_list() == [1, None]  # type: ignore[operator]


def test_what_is_derived_is_a_plain_frame() -> None:
    frame = dd.indices()
    assert type(frame[frame.here]) is pd.DataFrame
    assert type(frame.copy()) is pd.DataFrame
    again = pickle.loads(pickle.dumps(frame))
    assert again.equals(frame)
    assert again.arrow().num_rows == len(frame)
    assert copy.deepcopy(dd.query("SELECT 1 AS n")).n[0] == 1
