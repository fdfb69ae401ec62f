from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import pytest

from dataset_dl import errors
from dataset_dl.model.outcome import Report

CLASSES = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if each.__module__ == errors.__name__ and not issubclass(each, Warning)
]
REPORT = Report(Path("/d"), 2, 4, 40, 1, 2, 20, 1, 20, (), 1.0)


def test_the_tree_drawn_at_the_top_is_the_tree() -> None:
    drawing = errors.__doc__ or ""
    for each in CLASSES:
        assert each.__name__ in drawing
        assert issubclass(each, errors.DatasetDlError)


@pytest.mark.parametrize(
    ("name", "code"),
    [("SelectionError", 2), ("QueryError", 2), ("PlanError", 2), ("ManifestError", 2), ("LayoutError", 2),
     ("NetworkError", 4), ("ProxyError", 4), ("StorageError", 5), ("InsufficientDiskSpace", 5), ("TransferError", 1),
     ("EngineMissing", 1), ("EngineCrashed", 1), ("TransferIncomplete", 3), ("VerificationError", 3)],
)  # fmt: skip
def test_exit_codes(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


@pytest.mark.parametrize(
    "error",
    [
        errors.SelectionError("x", "What happened.", "What to do."),
        errors.ManifestError("x", "Line.", line=3),
        errors.InsufficientDiskSpace("x", "Full.", "Make space.", needed_bytes=2, free_bytes=1),
        errors.EngineCrashed("x", "Gone.", "Again.", stderr_tail="tail"),
        errors.TransferIncomplete("Some failed.", "Again.", report=REPORT),
    ],
)
def test_errors_survive_another_process(error: errors.DatasetDlError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_an_error_is_message_and_hint() -> None:
    assert str(errors.SelectionError("x", "What happened.", "What to do.")) == "What happened. What to do."
