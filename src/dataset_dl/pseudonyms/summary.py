"""What became of a tree."""

from __future__ import annotations

import csv
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset_dl.scratch import written_whole
from dataset_dl.wording import first_few


@dataclass
class Summary:
    """What became of a tree.

    Attributes
    ----------
    files
        Files of the tree.
    done, known
        Files that were written now, and in earlier runs.
    held
        What is held back for review: why, by the path of the file.
    problems
        What could not be read or written: why, by the path of the file.
    others
        Files that are no DICOM files.
    skipped
        Linked or hidden directories, and what else was not looked into: why, by its path.
    elapsed_seconds
        Wall time.
    """

    files: int = 0
    done: int = 0
    known: int = 0
    held: dict[Path, str] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)
    others: int = 0
    skipped: dict[Path, str] = field(default_factory=dict)
    elapsed_seconds: float = 0.0

    @property
    def reasons(self) -> Counter[str]:
        """How many files are held back for each reason."""
        return Counter(self.held.values())

    @property
    def skipped_words(self) -> str:
        """What was not looked into, as a sentence; empty if everything was."""
        if not self.skipped:
            return ""
        several = [f"{path.name} ({why})" for path, why in self.skipped.items()]
        return f"Not looked into: {first_few(several, 3)}."

    def to_dict(self) -> dict[str, Any]:
        """Return the sums as plain values for JSON."""
        return {
            "files": self.files,
            "done": self.done,
            "known": self.known,
            "held": dict(self.reasons),
            "problems": {str(path): why for path, why in self.problems.items()},
            "others": self.others,
            "skipped": {str(path): why for path, why in self.skipped.items()},
            "elapsed_seconds": round(self.elapsed_seconds, 3),
        }

    def write_list(self, path: Path) -> None:
        """Write what stays behind as CSV.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        with written_whole(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "kind", "reason"))
            for kind, several in (("held", self.held), ("problem", self.problems), ("skipped", self.skipped)):
                writer.writerows((os.fspath(each), kind, why) for each, why in several.items())
