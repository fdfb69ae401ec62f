"""What listings give: a pandas frame that can be asked for as a table of Arrow or polars, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import polars
    import pyarrow

    from dataset_dl.duck import Result


class Frame(pd.DataFrame):
    """An answer as a pandas frame. What is derived from it, a copy too, is a plain one.

    pandas has no whole number that is missing, and other things that it changes; `arrow` and `pl` give the
    answer with the types of the database, and without what was changed in the frame since.
    """

    @classmethod
    def of(cls, ask: Callable[[], Result]) -> Frame:
        """The frame of a question that can be asked again."""
        frame = cls(ask().to_pandas())
        object.__setattr__(frame, "_ask", ask)  # which pandas would take for a column
        return frame

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def arrow(self) -> pyarrow.Table:
        """The answer as a table of Arrow; `pip install pyarrow` brings what it takes."""
        ask = self.__dict__.get("_ask")
        if ask is not None:
            return ask().arrow()
        import pyarrow

        return pyarrow.Table.from_pandas(self, preserve_index=False)

    def pl(self) -> polars.DataFrame:
        """The answer as a polars frame; `pip install polars pyarrow` brings what it takes."""
        import polars

        return polars.DataFrame(self.arrow())
