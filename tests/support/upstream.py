"""A pytest plugin that replaces the client of idc-index with ours, to run idc-index's own tests."""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

import idc_index
import idc_index.cli
import idc_index.index

from dataset_dl import IDCClient

if TYPE_CHECKING:
    import pandas as pd

for module in (idc_index, idc_index.index, idc_index.cli):
    module.IDCClient = IDCClient

_read = IDCClient.index.func


@cache
def _frame() -> pd.DataFrame:
    return _read(IDCClient())


def _index(self: IDCClient) -> pd.DataFrame:
    return self._read("index", _frame().copy(deep=False))


# Every test makes its own client, and reading a million rows takes longer than the test itself.
IDCClient.index = cached_property(_index)
IDCClient.index.__set_name__(IDCClient, "index")
