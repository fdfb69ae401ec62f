"""PET and CT of one study: from the tables of IDC where they have the collection, else from NBIA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dataset_dl.errors import SelectionError
from dataset_dl.network import NetworkSettings
from dataset_dl.tcia.service import Nbia

COLUMNS = ("collection", "PatientID", "study_instance_uid", "series_instance_uid", "Modality")
_BOTH = ("PT", "CT")
_SQL = """
    SELECT collection_id, PatientID, StudyInstanceUID, SeriesInstanceUID, Modality FROM {index}
    WHERE collection_id = $1 AND Modality IN ('PT', 'CT') AND analysis_result_id IS NULL
    AND StudyInstanceUID IN (
        SELECT StudyInstanceUID FROM {index} WHERE collection_id = $1 AND Modality IN ('PT', 'CT')
        AND analysis_result_id IS NULL GROUP BY StudyInstanceUID HAVING count(DISTINCT Modality) = 2
    ) ORDER BY PatientID, StudyInstanceUID, Modality DESC, SeriesInstanceUID
"""


def pairs_of(collections: Sequence[str], network: NetworkSettings) -> Iterator[tuple[Any, ...]]:
    """Yield the series of studies with both modalities, study by study; see `COLUMNS`.

    Parameters
    ----------
    collections
        Collections of IDC or TCIA, in any spelling.
    network
        How to reach NBIA.

    Raises
    ------
    SelectionError
        If neither has a collection.
    NetworkError
        If NBIA has to be asked and does not answer.
    """
    from dataset_dl.duck import Database
    from dataset_dl.sources.idc.resolve import resolve
    from dataset_dl.sources.idc.tables import table_sql

    for name in collections:
        matches = resolve(Database(), [name], optional=[name])
        if of_idc := matches.values.get("collection_id"):
            for each in of_idc:
                yield from Database().run(_SQL.format(index=table_sql()), [each])
        else:
            yield from _of_nbia(name, Nbia(network))


def _of_nbia(name: str, nbia: Nbia) -> Iterator[tuple[Any, ...]]:
    known = [str(row.get("Collection")) for row in nbia.rows("getCollectionValues")]
    found = next((each for each in known if each.lower() == name.lower()), None)
    if found is None:
        raise SelectionError(
            name,
            f"Neither IDC nor NBIA has a collection “{name}”.",
            "`dataset-dl tcia collections` lists NBIA's.",
        )
    studies: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in nbia.rows("getSeries", Collection=found):
        if row.get("Modality") in _BOTH:
            key = str(row.get("PatientID")), str(row.get("StudyInstanceUID"))
            studies.setdefault(key, []).append((str(row["Modality"]), str(row.get("SeriesInstanceUID"))))
    for (patient, study), several in sorted(studies.items()):
        if {modality for modality, _ in several} == set(_BOTH):
            for modality, uid in sorted(several, reverse=True):
                yield found, patient, study, uid, modality
