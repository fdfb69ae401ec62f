"""Ask a node, one query or those of a spreadsheet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import spreadsheets
from dataset_dl.pacs.archives import Archive, archive_of
from dataset_dl.pacs.dicomweb import Row
from dataset_dl.pacs.nodes import Node
from dataset_dl.pacs.query import COLUMNS, Query
from dataset_dl.pacs.spreadsheets import Asked
from dataset_dl.wording import counted

_TRIES, _PAUSE_SECONDS = 3, 1.0
_NUMBER, _RESULT = "row", "result"


def ask(node: Node, query: Query, network: NetworkSettings) -> Iterator[Row]:
    """Yield what a node answers.

    Raises
    ------
    NetworkError
        If it does not answer.
    SelectionError
        If it refuses, or may not be asked now.
    """
    node.refuse_now("nothing was asked")
    with archive_of(node, network) as archive:
        yield from query.rows(archive)


class Batch:
    """A spreadsheet of queries.

    Parameters
    ----------
    path
        The spreadsheet.
    level
        What a row of an answer is.

    Attributes
    ----------
    asked, answered, failed
        How many rows there are, how many were answered, and how many have an error in place of an answer.
    """

    def __init__(self, path: Path, level: str) -> None:
        self._header, self._rows = spreadsheets.read(path, level)
        self._columns = COLUMNS[self._rows[0].query.level]
        self.asked, self.answered, self.failed = len(self._rows), 0, 0

    def answer(self, node: Node, network: NetworkSettings, target: Path) -> None:
        """Ask all rows, and write the answers: one or more rows for each.

        Raises
        ------
        NetworkError
            If the node does not answer at all.
        StorageError
            If the result cannot be written.
        """
        node.refuse_now("nothing was asked")
        header = [name if name not in (_NUMBER, _RESULT) else f"{name} (asked)" for name in self._header]
        # Columns of the question that an answer has, too.
        header = [f"{name} (asked)" if name in self._columns else name for name in header]
        # All answers first: a workbook that is begun cannot be left in the midst.
        answers = list(self._answers(node, network))
        spreadsheets.write(target, [_NUMBER, *header, _RESULT, *self._columns], answers)

    def _answers(self, node: Node, network: NetworkSettings) -> Iterator[Sequence[str]]:
        with archive_of(node, network) as archive:
            for each in self._rows:
                asked = [str(each.number), *each.cells]
                found, result = self._answered(archive, each)
                for row in found:
                    yield [*asked, result, *(row.get(name, "") for name in self._columns)]
                if not found:
                    yield [*asked, result, *("" for _ in self._columns)]

    def _answered(self, archive: Archive, asked: Asked) -> tuple[list[Row], str]:
        for number in range(1, _TRIES + 1):
            try:
                found = list(asked.query.rows(archive))
            except NetworkError as error:
                if number < _TRIES:
                    time.sleep(number * _PAUSE_SECONDS)
                    continue
                if not self.answered:  # nothing was answered yet, and nothing will be
                    raise
                self.failed += 1
                return [], f"failed: {error.message}"
            except SelectionError as error:
                self.failed += 1
                return [], f"failed: {error.message}"
            self.answered += 1
            return found, counted(len(found), asked.query.level) if found else "nothing found"
        raise AssertionError("each try returns or raises")
