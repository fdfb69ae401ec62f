"""Instances go into a directory, STUDY/SERIES/INSTANCE.dcm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataset_dl.errors import StorageError
from dataset_dl.pacs import answers
from dataset_dl.pacs.answers import Answer
from dataset_dl.pacs.instances import Instance, digest_at, same, unchanged
from dataset_dl.pacs.sending import CHANGED, Outcome
from dataset_dl.pixels.identity import contents
from dataset_dl.scratch import written_whole

_DUPLICATE = 0x0111


class Copying:
    """Copies into a directory, STUDY/SERIES/INSTANCE.dcm."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def send(self, instances: Sequence[Instance]) -> Iterator[Outcome]:
        """Send instances; see `sending.Sender`."""
        for each in instances:
            identity = each.identity
            place = self._directory / identity.StudyInstanceUID / identity.SeriesInstanceUID
            target = place / f"{each.uid}.dcm"
            yield Outcome(each, self._copied(each, target), digest_at(each))

    def interrupt(self) -> None:
        """Do nothing: a copy does not take long."""

    def close(self) -> None:
        """Do nothing."""

    @staticmethod
    def _copied(instance: Instance, target: Path) -> Answer:
        try:
            if target.exists():
                if target.samefile(instance.path):
                    # It would be removed as delivered, with no other copy anywhere.
                    return Answer(_DUPLICATE, "the directory is where it comes from")
                if same(target, instance.path):
                    return Answer(answers.SUCCESS)
                return Answer(_DUPLICATE, "the directory has this instance with other contents")
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(str(target), f"{target} cannot be written: {error.strerror}.") from None
        try:
            with written_whole(target) as path:
                shutil.copyfile(instance.path, path)
                with contents(path) as data:
                    if not unchanged(instance, data):
                        raise _Changed
        except _Changed:
            return Answer(answers.CANNOT_UNDERSTAND, CHANGED)
        return Answer(answers.SUCCESS)


class _Changed(Exception):
    """A file changed; what was copied of it gets no name."""
