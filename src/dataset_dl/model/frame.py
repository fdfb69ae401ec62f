"""The result of listings: a pandas frame that also converts to Arrow and polars."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import polars
    import pyarrow

    from dataset_dl.duck import Result


class Frame(pd.DataFrame):
    """A query result as a pandas frame. Frames derived from it, copies included, are plain pandas frames.

    pandas changes some types; for example, it has no missing integers. `arrow` and `pl` return the result
    with the types of the database, without later changes to the frame.
    """

    @classmethod
    def of(cls, run_query: Callable[[], Result]) -> Frame:
        """Create the frame from a query that can be repeated."""
        frame = cls(run_query().to_pandas())
        object.__setattr__(frame, "_run_query", run_query)  # bypass pandas, which may take it for a column
        return frame

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def arrow(self) -> pyarrow.Table:
        """Return the result as an Arrow table; needs `pip install pyarrow`."""
        run_query = self.__dict__.get("_run_query")
        if run_query is not None:
            return run_query().arrow()
        import pyarrow

        return pyarrow.Table.from_pandas(self, preserve_index=False)

    def pl(self) -> polars.DataFrame:
        """Return the result as a polars frame; needs `pip install polars pyarrow`."""
        import polars

        return polars.DataFrame(self.arrow())
