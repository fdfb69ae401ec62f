"""Every error that dataset_dl raises on purpose.

DatasetDlError
├── SelectionError            what was asked for does not exist or is not clear
│   └── QueryError            an SQL statement that is wrong or not allowed
├── PlanError                 the plan cannot be made or read
│   ├── LayoutError           the layout template
│   └── ManifestError         a manifest or plan file, with the line
├── NetworkError              nothing can be fetched
│   ├── ProxyError
│   ├── CertificateError
│   └── ConnectionTimeout
├── StorageError              a disk, or the memory, that has no room or cannot be used
│   └── InsufficientDiskSpace
├── MissingExtra              a part of this package that is not installed
├── TransferError             the download
│   ├── EngineMissing         s5cmd is not here, or is another version
│   ├── EngineCrashed         s5cmd ended on its own, with the tail of its stderr
│   └── TransferIncomplete    some series failed, with the report
└── VerificationError         what is on disk is not what the plan says

Each class knows the exit code that the command line ends with. The first two are ValueErrors, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from dataset_dl.model.outcome import Report


class DatasetDlError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    reference
        What it is about: an identifier, a path, an address. May be empty.
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
        # Subclasses take further keywords, which the default would not hand back.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[DatasetDlError], args: tuple[str, ...], state: dict[str, Any]) -> DatasetDlError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class SelectionError(DatasetDlError, ValueError):
    """An identifier, a column or a condition that matches nothing in the index."""

    exit_code = 2


class SelectionWarning(UserWarning):
    """Something that was asked for matches nothing, or was left out, and the rest was planned."""


class QueryError(SelectionError):
    """An SQL statement that is wrong, or that tries to do more than read."""


class PlanError(DatasetDlError, ValueError):
    """A plan that cannot be made or read."""

    exit_code = 2


class LayoutError(PlanError):
    """A layout template, or a directory that leaves the destination."""


class ManifestError(PlanError):
    """A manifest or plan file that cannot be read.

    Attributes
    ----------
    line
        Number of the first wrong line, counted from 1; None where lines do not count.
    """

    def __init__(self, reference: str, message: str, hint: str = "", line: int | None = None) -> None:
        super().__init__(reference, message, hint)
        self.line = line


class NetworkError(DatasetDlError):
    """The endpoint cannot be reached, so nothing can be fetched."""

    exit_code = 4


class ProxyError(NetworkError):
    """A proxy refuses, or wants a password."""


class CertificateError(NetworkError):
    """The certificate of the endpoint is not trusted."""


class ConnectionTimeout(NetworkError):
    """Nothing answered in time."""


class StorageError(DatasetDlError):
    """The destination, the temporary directory or the memory cannot be used, or has no room."""

    exit_code = 5


class InsufficientDiskSpace(StorageError):
    """The destination has less free space than the plan needs.

    Attributes
    ----------
    needed_bytes, free_bytes
        What is needed with its margin, and what there is.
    """

    def __init__(
        self, reference: str, message: str, hint: str, *, needed_bytes: int, free_bytes: int
    ) -> None:
        super().__init__(reference, message, hint)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class MissingExtra(DatasetDlError):
    """A part of this package that is not installed.

    Parameters
    ----------
    extra
        Its name, as pip takes it.
    library
        What is lacking.
    """

    exit_code = 2

    def __init__(self, extra: str, library: str) -> None:
        super().__init__(
            extra,
            f"This needs {library}, which is not installed; nothing was started.",
            f'`pip install "dataset-dl[{extra}]"` brings it.',
        )


class TransferError(DatasetDlError):
    """The download could not be carried out."""


class EngineMissing(TransferError):
    """s5cmd is not installed, or is a version this package is not tested with."""


class EngineCrashed(TransferError):
    """s5cmd ended on its own before its work was done.

    Attributes
    ----------
    stderr_tail
        The last lines that it wrote to standard error.
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


class VerificationError(DatasetDlError):
    """What is on disk is not what the plan or the index says."""

    exit_code = 3
