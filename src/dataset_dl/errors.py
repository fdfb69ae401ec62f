"""Every error that dataset_dl raises on purpose.

DatasetDlError
├── SelectionError            the selection or a setting is invalid, or matches nothing
│   └── QueryError            an SQL statement is wrong or not allowed
├── PlanError                 the plan cannot be created or read
│   ├── LayoutError           the layout template is wrong
│   └── ManifestError         a manifest or plan file cannot be read; has the line number
├── NetworkError              nothing can be fetched
│   ├── ProxyError
│   ├── CertificateError
│   └── ConnectionTimeout
├── StorageError              a disk or the memory is full or unusable
│   ├── DestinationBusy       another process writes there
│   ├── InsufficientDiskSpace
│   └── Superseded            another attempt has taken over this part of a plan
├── MissingExtra              an optional dependency is not installed
├── TransferError             the download failed
│   ├── EngineMissing         the engine is not installed, or has an untested version
│   ├── EngineCrashed         the engine crashed; has the tail of its stderr
│   ├── TransferIncomplete    some series failed; has the report
│   └── DeliveryIncomplete    consumers did not take some series; has the delivery
├── UnreadableObject          an object is damaged, cannot be decoded, or is no DICOM
└── VerificationError         the files on disk differ from the plan

Each class sets the exit code of the command line. `SelectionError` and `PlanError` are also ValueErrors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from dataset_dl.model.outcome import Delivery, Report


class DatasetDlError(Exception):
    """Base class of all errors of this package.

    Parameters
    ----------
    reference
        The identifier, path or address that the error is about. May be empty.
    message
        What happened and what it means for the data, as a sentence.
    hint
        What to do next, as a sentence. May be empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, reference: str, message: str, hint: str = "") -> None:
        super().__init__(reference, message, hint)
        self.reference = reference
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses take extra keyword arguments, which the default implementation would lose.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[DatasetDlError], args: tuple[str, ...], state: dict[str, Any]) -> DatasetDlError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class SelectionError(DatasetDlError, ValueError):
    """An identifier, a column, a condition or a setting is invalid or matches nothing."""

    exit_code = 2


class SelectionWarning(UserWarning):
    """Part of the selection matches nothing or was skipped; the rest was planned."""


class QueryError(SelectionError):
    """An SQL statement is wrong, or tries to do more than read."""


class PlanError(DatasetDlError, ValueError):
    """A plan cannot be created or read."""

    exit_code = 2


class LayoutError(PlanError):
    """A layout template is wrong, or a directory is outside the destination."""


class ManifestError(PlanError):
    """A manifest or plan file cannot be read.

    Attributes
    ----------
    line
        Number of the first wrong line, counted from 1; None if the error is not about a line.
    """

    def __init__(self, reference: str, message: str, hint: str = "", line: int | None = None) -> None:
        super().__init__(reference, message, hint)
        self.line = line


class NetworkError(DatasetDlError):
    """The endpoint cannot be reached, so nothing can be fetched."""

    exit_code = 4


class ProxyError(NetworkError):
    """The proxy cannot be used: it refuses, does not answer, or requires a password."""


class CertificateError(NetworkError):
    """The endpoint's certificate is not trusted, or a CA bundle cannot be used."""


class ConnectionTimeout(NetworkError):
    """The connection timed out."""


class StorageError(DatasetDlError):
    """The destination, the temporary directory or the memory is full or unusable."""

    exit_code = 5


class DestinationBusy(StorageError):
    """Another process writes to the destination, or to the same part of it."""


class InsufficientDiskSpace(StorageError):
    """The destination has less free space than the plan needs.

    Attributes
    ----------
    needed_bytes, free_bytes
        Bytes needed, including a safety margin, and bytes free.
    """

    def __init__(
        self, reference: str, message: str, hint: str, *, needed_bytes: int, free_bytes: int
    ) -> None:
        super().__init__(reference, message, hint)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class Superseded(StorageError):
    """A part of a plan was begun again by another process, so this one may not write there any more."""


class MissingExtra(DatasetDlError):
    """An optional dependency is not installed.

    Parameters
    ----------
    extra
        Name of the extra, as passed to pip.
    library
        The missing library.
    """

    exit_code = 2

    def __init__(self, extra: str, library: str) -> None:
        super().__init__(
            extra,
            f"This needs {library}, which is not installed; nothing was started.",
            f'Run `pip install "dataset-dl[{extra}]"`.',
        )


class TransferError(DatasetDlError):
    """The download failed."""


class EngineMissing(TransferError):
    """The engine is not installed, or is a version that this package is not tested with."""


class EngineCrashed(TransferError):
    """The engine ended by itself before its work was done.

    Attributes
    ----------
    stderr_tail
        The last lines of its standard error.
    """

    def __init__(self, reference: str, message: str, hint: str, *, stderr_tail: str) -> None:
        super().__init__(reference, message, hint)
        self.stderr_tail = stderr_tail


class TransferIncomplete(TransferError):
    """Some series failed; the others are on disk and verified.

    Attributes
    ----------
    report
        The `Report` of the download, with every failure.
    """

    exit_code = 3

    def __init__(self, message: str, hint: str, *, report: Report) -> None:
        super().__init__(str(report.destination), message, hint)
        self.report = report


class DeliveryIncomplete(TransferError):
    """Consumers did not take some series; the others are delivered.

    Attributes
    ----------
    delivery
        The `Delivery`, with every failure.
    """

    exit_code = 3

    def __init__(self, reference: str, message: str, hint: str, *, delivery: Delivery) -> None:
        super().__init__(reference, message, hint)
        self.delivery = delivery


class UnreadableObject(DatasetDlError):
    """An object is damaged, cannot be decoded, or is no DICOM; others may be fine."""

    exit_code = 3


class VerificationError(DatasetDlError):
    """The files on disk differ from the plan or the index."""

    exit_code = 3
