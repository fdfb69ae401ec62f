"""Sources: turn what the user names into the rows of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataset_dl.doors import SOURCES
from dataset_dl.model.plan import Rights

if TYPE_CHECKING:
    from dataset_dl.plans.file import PlanFile

__all__ = ["rights_of"]


def rights_of(rows: PlanFile) -> Rights:
    """Licences and citations for all rows of a plan, from the source of each scheme."""
    found = [source.rights(rows) for scheme in rows.schemes() if (source := SOURCES.find(scheme)) is not None]
    return Rights("\n".join(each.licences for each in found), "\n".join(each.citations for each in found))
