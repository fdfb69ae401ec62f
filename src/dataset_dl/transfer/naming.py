"""Readable file names: once a series is verified, its files are renamed by their headers."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dataset_dl.destination.journal import Journal
from dataset_dl.destination.tree import instances
from dataset_dl.model.series import PlannedSeries
from dataset_dl.plans.names import FILE_SUFFIX, file_keywords, file_name

# Names of objects in the store; a file with any other name has been renamed.
_OBJECT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.dcm")
_DIGEST_CHARACTERS = 8


class Naming:
    """Renames files by a template, and undoes that if they have to be compared with the store.

    The journal records which file is which object before the first file is renamed, so an interruption loses
    nothing. If only single files of a series were requested, they keep their names.

    Parameters
    ----------
    template
        The template of the names, like ``%InstanceNumber.dcm``; empty if files keep their names.
    destination
        Where the series are.
    journal
        Records the names.
    """

    def __init__(self, template: str, destination: Path, journal: Journal) -> None:
        self.journal = journal
        self._template = template
        self._destination = destination

    def give(self, series: PlannedSeries, names: Iterable[str] | None = None) -> tuple[str, ...] | None:
        """Rename the files of a verified series.

        Parameters
        ----------
        series
            The series.
        names
            Its files, if its directory may contain those of other series.

        Returns
        -------
        tuple of str
            The new names of its files; None if `names` is None.
        """
        known = None if names is None else tuple(names)
        if not self._template or series.files is not None:
            return known
        directory = self._destination / series.directory
        if (template := self.journal.template(series.key)) and template != self._template:
            original = self.take_back(series)  # another layout named them
            known = None if known is None else tuple(original.get(name, name) for name in known)
        there = {entry.name for entry in instances(directory)}
        own = there if known is None else there & set(known)
        objects = sorted(name for name in own if _OBJECT.fullmatch(name))
        if objects:
            noted = self.journal.renamed(series.key)
            wanted = self._named(directory, objects, taken=there - set(objects))
            self.journal.rename(series.key, noted | wanted, self._template)
            for name, file in wanted.items():
                os.rename(directory / name, directory / file)
            own = (own - set(objects)) | set(wanted.values())
        return None if known is None else tuple(sorted(own))

    def take_back(self, series: PlannedSeries) -> dict[str, str]:
        """Give files the names of their objects back; return file name → object name."""
        noted = self.journal.renamed(series.key)
        directory = self._destination / series.directory
        there = {entry.name for entry in instances(directory)} if noted else set()
        for name, file in noted.items():
            if file in there and name not in there:
                os.rename(directory / file, directory / name)
        return {file: name for name, file in noted.items()}

    def _named(self, directory: Path, objects: list[str], taken: set[str]) -> dict[str, str]:
        """Return a name for each object, unique even if letter case is ignored."""
        first = {name: file_name(self._template, self._values(directory / name)) for name in objects}
        counts = Counter(each.lower() for each in [*first.values(), *taken])
        return {
            name: file if counts[file.lower()] == 1 else _with_digest(file, name)
            for name, file in first.items()
        }

    def _values(self, path: Path) -> dict[str, str | None]:
        from pydicom import dcmread

        keywords = file_keywords(self._template)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = dcmread(path, stop_before_pixels=True, specific_tags=keywords)
                found = {each: header.get(each) for each in keywords}
        except Exception:  # a file that is broken in the store, too, can make pydicom raise almost anything
            found = {}
        return {each: None if found.get(each) is None else str(found[each]) for each in keywords}


def _with_digest(file: str, name: str) -> str:
    """Make a name unique with a digest of its object's name."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{file.removesuffix(FILE_SUFFIX)}~{digest}{FILE_SUFFIX}"
