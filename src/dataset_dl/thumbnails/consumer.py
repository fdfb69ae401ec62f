"""The consumer ``thumbnails[:DIRECTORY][?size=…&shape=…&format=…&contrast=…&draft=…]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dataset_dl.destination import disk
from dataset_dl.destination.consumers import ConsumerRequest
from dataset_dl.errors import UnreadableObject
from dataset_dl.model.series import Series
from dataset_dl.thumbnails.rows import FileState, Row
from dataset_dl.thumbnails.settings import Settings

if TYPE_CHECKING:
    from dataset_dl.thumbnails.database import Database
    from dataset_dl.thumbnails.making import Maker


class Thumbnails:
    """Makes thumbnails of series; implements `destination.consumers.Consumer`.

    Parameters
    ----------
    request
        Where to put them; by default beside the destination, ``DESTINATION-thumbnails``.
    """

    def __init__(self, request: ConsumerRequest) -> None:
        request.refuse(*(field.name for field in fields(Settings)))
        self.settings = Settings.of(request.options)
        self.target = disk.absolute(request.where or f"{request.destination}-thumbnails")
        request.refuse_inside(self.target)
        self.name = f"thumbnails:{self.target}"
        self.options: Mapping[str, Any] = self.settings.to_dict()
        self._root = request.destination
        self._maker: Maker | None = None
        self._pictures = self._failures = 0
        self._database: Database | None = None

    def take(self, series: Series) -> Mapping[str, Any]:
        """Make the pictures of a series; return their rows for `keep`."""
        from dataset_dl.thumbnails.making import Maker, state_of

        if self._maker is None:
            self._maker = Maker(self._root, self.target, self.settings)
        made = self._maker.make(list(series.paths), series.planned.collection_id or "")
        return {
            "rows": made.rows,
            "files": [state_of(path, self._root) for path in series.paths],
            "seconds": made.seconds,
        }

    def begin(self) -> None:
        """Open the database, which no other run may have open, and remove what killed processes have left.

        Raises
        ------
        StorageError
            If another run has it open, or it cannot be written.
        """
        from dataset_dl.thumbnails.database import Database

        self._database = Database(self.target)
        for path in (self.target / "pictures").rglob(".*.part"):
            path.unlink(missing_ok=True)

    def keep(self, series: Series, made: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write the rows of a series to the database.

        Raises
        ------
        UnreadableObject
            If something in it cannot be shown, so that it gets no receipt; the rows are written nevertheless.
        """
        rows = self.record(made)
        failures = sum(row.is_failure for row in rows)
        self._failures += failures
        if failures:
            raise UnreadableObject(
                series.planned.key,
                f"{failures:,} of its {len(rows):,} frames or files could not be shown; the database has each"
                " with its cause.",
            )
        return {"pictures": sum(not row.cause for row in rows)}

    def record(self, made: Mapping[str, Any]) -> list[Row]:
        """Write what `take` has made to the database; return its rows."""
        rows = [Row(*row) for row in made["rows"]]
        self.database.write(rows, map(FileState._make, made["files"]), self.settings_text)
        self._pictures += sum(not row.cause for row in rows)
        return rows

    def confirms(self, key: str, made: Mapping[str, Any]) -> bool:
        """Whether the database is still there."""
        from dataset_dl.thumbnails.database import NAME

        return (self.target / NAME).exists()

    def summary(self) -> str:
        """Say what was made."""
        if not self._pictures + self._failures:
            return ""
        failed = (
            f"; {self._failures:,} frames or files could not be shown, the database has each with its cause"
            if self._failures
            else ""
        )
        return f"{self._pictures:,} thumbnails in {self.target}{failed}."

    def close(self) -> None:
        """Export the database, and write the contact sheet."""
        if self._database is not None:
            from dataset_dl.thumbnails.sheet import SHEET, write_sheet

            try:
                if self._database.has_changed or not (self.target / SHEET).exists():
                    self._database.export()
                    write_sheet(self._database)
            finally:
                self._database.close()

    @property
    def database(self) -> Database:
        """The database, once it has begun."""
        assert self._database is not None, "it has begun"
        return self._database

    @property
    def settings_text(self) -> str:
        """The settings, as the database records them."""
        from dataset_dl.thumbnails.database import settings_text

        return settings_text(self.options)


def make(request: ConsumerRequest) -> Thumbnails:
    """Make the consumer.

    Raises
    ------
    MissingExtra
        If what it needs is not installed.
    SelectionError
        If an option is wrong.
    """
    require()
    return Thumbnails(request)


def require() -> None:
    """Make sure that what thumbnails need is installed.

    Raises
    ------
    MissingExtra
        If it is not.
    """
    from importlib.util import find_spec

    from dataset_dl.errors import MissingExtra

    for library in ("imagecodecs", "numpy", "PIL", "rle"):
        if find_spec(library) is None:
            raise MissingExtra("thumbnails", {"PIL": "pillow", "rle": "pylibjpeg-rle"}.get(library, library))
