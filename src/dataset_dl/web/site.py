"""What the page works with: the jobs, and the directories that it may write to."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dataset_dl.errors import SelectionError
from dataset_dl.model.page import OWNER, Given, Person
from dataset_dl.model.selection import Condition
from dataset_dl.sources.idc.cube import FACETS
from dataset_dl.sources.named import Identifier
from dataset_dl.verbs.jobs import Jobs

_BY_RIGHT = "by-right"


class Site:
    """The jobs and the directories of a page.

    Parameters
    ----------
    roots
        The directories that it may write below.
    jobs
        The jobs that it shows.
    is_hosted
        Whether several people use it.
    person
        Who sees it.
    """

    def __init__(
        self, roots: Sequence[Path], jobs: Jobs, *, is_hosted: bool = False, person: Person = OWNER
    ) -> None:
        self.roots = tuple(Path(os.path.realpath(each)) for each in roots)
        self.jobs = jobs
        self.is_hosted = is_hosted
        self._person = person

    def seen_by(self, person: Person) -> Site:
        """Return the part that a person sees: all of it is the owner's, others have a directory each."""
        if person.is_owner:
            return self
        own = self.roots[0] / "people" / re.sub(r"[^A-Za-z0-9_-]", "_", person.name)
        own.mkdir(parents=True, exist_ok=True)
        return Site([own], self.jobs, is_hosted=self.is_hosted, person=person)

    def directory_for(self, verb: str, subject: str) -> Path:
        """Return a directory for what a person may see as long as they have a right."""
        return self.inside(f"{_BY_RIGHT}/{verb}@{subject}")

    def inside(self, path: str) -> Path:
        """Return an absolute path without symbolic links, which is in one of the roots.

        A relative path is below the first root.

        Raises
        ------
        SelectionError
            If it is elsewhere.
        """
        if "\0" in path or not path.strip():
            raise SelectionError("to", "A directory needs a name; nothing was started.")
        resolved = Path(os.path.realpath(self.roots[0] / os.path.expanduser(path)))  # noqa: PTH111 (pathlib's raises for an unknown user)
        if not any(resolved.is_relative_to(root) for root in self.roots):
            raise SelectionError(
                path,
                f"{resolved} is not below {' or '.join(map(str, self.roots))}; nothing was started.",
                "`dataset-dl web --root DIR` allows another directory.",
            )
        return resolved

    def directory_of(self, identifier: str) -> Path | None:
        """Return the directory of a series that is completely below the roots; None if none is."""
        from dataset_dl.web.trees import directory_of, trees

        found = directory_of(trees(self.roots, self.jobs), identifier)
        return found if found is not None and self._may_see(found) else None

    def _may_see(self, directory: Path) -> bool:
        """Whether the right by which something came here is still there."""
        for root in self.roots:
            below = root / _BY_RIGHT
            if directory.is_relative_to(below):
                verb, _, subject = directory.relative_to(below).parts[0].partition("@")
                return self._person.may(verb, subject)
        return True


class Asked(NamedTuple):
    """A cohort: identifiers, and conditions on facets and other columns."""

    what: list[Identifier]
    where: list[Condition]

    @classmethod
    def of(cls, given: Given) -> Asked:
        """Read a cohort from a query or a body: facets by their names, ``where`` and ``id``.

        Raises
        ------
        SelectionError
            If a condition is none.
        """
        facets = [Condition(facet, "=", tuple(given.all(facet))) for facet in FACETS if given.all(facet)]
        return cls(
            [Identifier(each) for each in given.all("id")],
            [*facets, *map(Condition.parse, given.all("where"))],
        )
