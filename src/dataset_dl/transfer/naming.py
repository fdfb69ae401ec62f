"""Names that people read: files are renamed once their series is verified, by their headers."""

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

# As the store names objects; whatever has another name has been renamed.
_OBJECT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.dcm")
_DIGEST_CHARACTERS = 8


class Naming:
    """Gives files the names that a template says, and takes them back where the store has to be asked.

    The journal keeps which file is which object, before the first file is renamed: so a blow in the middle
    costs nothing. A series of which single files were asked for keeps its names.

    Parameters
    ----------
    template
        Of the names, like ``%InstanceNumber.dcm``; empty if files keep theirs.
    destination
        Where the series are.
    journal
        Keeps the names.
    """

    def __init__(self, template: str, destination: Path, journal: Journal) -> None:
        self.journal = journal
        self._template = template
        self._destination = destination

    def give(self, series: PlannedSeries, names: Iterable[str] | None = None) -> tuple[str, ...] | None:
        """Rename the files of a series that is verified.

        Parameters
        ----------
        series
            Which.
        names
            Its files, where its directory may hold those of others.

        Returns
        -------
        tuple of str
            The names of its files now; None if `names` is.
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
        """Give files the names of their objects again; returns which file was which object."""
        noted = self.journal.renamed(series.key)
        directory = self._destination / series.directory
        there = {entry.name for entry in instances(directory)} if noted else set()
        for name, file in noted.items():
            if file in there and name not in there:
                os.rename(directory / file, directory / name)
        return {file: name for name, file in noted.items()}

    def _named(self, directory: Path, objects: list[str], taken: set[str]) -> dict[str, str]:
        """A name for each object, of which no two are alike in any letter case."""
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
        except (
            Exception
        ):  # pydicom raises whatever a file that is broken in the store, too, makes it stumble over
            found = {}
        return {each: None if found.get(each) is None else str(found[each]) for each in keywords}


def _with_digest(file: str, name: str) -> str:
    """A name made unique by the object that it is of."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{file.removesuffix(FILE_SUFFIX)}~{digest}{FILE_SUFFIX}"
