"""Archives that answer queries, by C-FIND or QIDO-RS: one shape for both."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from dataset_dl.errors import NetworkError, SelectionError
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import require, services
from dataset_dl.pacs.association import Association
from dataset_dl.pacs.dicomweb import DicomWeb, Row
from dataset_dl.pacs.negotiation import Proposal, associate
from dataset_dl.pacs.nodes import Node

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LEVELS = {"study": "STUDY", "series": "SERIES", "image": "IMAGE"}


class Archive(Protocol):
    """An archive that answers queries, for one thread; a context manager."""

    def find(self, level: str, keys: Mapping[str, str], wanted: Sequence[str]) -> Iterator[Row]:
        """Query at the level ``study``, ``series`` or ``image``; see `dicomweb.DicomWeb.find`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def archive_of(node: Node, network: NetworkSettings) -> Archive:
    """Return the archive behind a node: by DICOMweb if it speaks that, else by DIMSE.

    Raises
    ------
    SelectionError
        If it is a directory, which answers no queries.
    """
    if node.dicomweb:
        return _Web(DicomWeb(node, network))
    if node.directory:
        raise SelectionError(
            node.name,
            f"The node {node.name} is the directory {node.directory}, which answers no queries; nothing was"
            " started.",
            "Files there can be sent: `dataset-dl pacs upload` takes directories.",
        )
    require()
    return _Dimse(node, network)


class _Web:
    def __init__(self, web: DicomWeb) -> None:
        self._web = web

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._web.close()

    def find(self, level: str, keys: Mapping[str, str], wanted: Sequence[str]) -> Iterator[Row]:
        return self._web.find(level, keys, wanted)


class _Dimse:
    """Keeps an association for several queries, and makes a new one if the archive has left."""

    def __init__(self, node: Node, network: NetworkSettings) -> None:
        self._peer = node.peer(network)
        self._association: Association | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._association is not None:
            self._association.release() if error is None else self._association.abort()

    def find(self, level: str, keys: Mapping[str, str], wanted: Sequence[str]) -> Iterator[Row]:
        identifier = _identifier(level, keys, wanted)
        is_kept = self._association is not None
        count = 0
        try:
            for found in services.find(self._open(), identifier):
                count += 1
                yield _row(found)
        except NetworkError:
            # An association that was idle for long may have been ended by the archive.
            if not is_kept or count:
                raise
            for found in services.find(self._open(), identifier):
                yield _row(found)

    def _open(self) -> Association:
        if self._association is None or not self._association.is_open:
            syntaxes = (services.EXPLICIT, services.IMPLICIT)
            self._association = associate(self._peer, [Proposal(services.STUDY_FIND, syntaxes)])
        return self._association


def _identifier(level: str, keys: Mapping[str, str], wanted: Sequence[str]) -> Dataset:
    from pydicom.dataset import Dataset

    made = Dataset()
    with warnings.catch_warnings():
        # A wildcard is no valid value of most attributes, except in a query.
        warnings.simplefilter("ignore")
        made.QueryRetrieveLevel = _LEVELS[level]
        if not all(value.isascii() for value in keys.values()):
            made.SpecificCharacterSet = "ISO_IR 192"
        for keyword in wanted:
            setattr(made, keyword, None)
        for keyword, value in keys.items():
            try:
                setattr(made, keyword, value)
            except Exception:  # pydicom raises whatever a strange value leads to
                raise SelectionError(
                    keyword, f"“{value}” is no value for {keyword}; nothing was asked."
                ) from None
    return made


def _row(found: Dataset) -> Row:
    row: Row = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for element in found:
                if not element.keyword or element.VR == "SQ":
                    continue
                value = element.value
                several = value if isinstance(value, (list, tuple)) or element.VM > 1 else [value]
                texts = ("" if each is None else str(each).strip("\0 ") for each in several)
                row[element.keyword] = "\\".join(texts)
    except Exception as error:  # pydicom decodes late, and raises whatever strange bytes lead to
        raise NetworkError("", f"An answer of the archive cannot be read ({type(error).__name__}).") from None
    return row
