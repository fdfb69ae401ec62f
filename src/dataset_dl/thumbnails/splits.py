"""Divide patients into parts for training and testing; no patient is ever in two."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from dataset_dl.errors import SelectionError


@dataclass(frozen=True)
class Splits:
    """Parts and their sizes.

    The part of a patient depends on nothing but the seed, the collection and the PatientID, so it stays when
    data is added.

    Attributes
    ----------
    fractions
        Name of a part → its fraction of the patients; together 1. Empty for no parts.
    seed
        Another seed divides otherwise.

    Raises
    ------
    SelectionError
        If the fractions are not positive, or are not 1 together.
    """

    fractions: Mapping[str, float]
    seed: int = 0

    def __post_init__(self) -> None:
        values = list(self.fractions.values())
        if values and (min(values) <= 0 or not math.isclose(sum(values), 1.0, abs_tol=1e-6)):
            raise SelectionError(
                "fractions",
                f"The fractions {', '.join(map(str, values))} are not positive numbers that are 1 together.",
            )

    def of(self, collection_id: str, patient_id: str, study_uid: str = "") -> str | None:
        """Return the part of a patient; of the study if the patient is unknown. None without parts."""
        who = f"patient {patient_id}" if patient_id else f"study {study_uid}"
        text = f"{self.seed}\0{collection_id}\0{who}"
        place = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
        last = None
        for name, fraction in self.fractions.items():
            last = name
            if place < fraction:
                return name
            place -= fraction
        return last

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps({"fractions": list(self.fractions.items()), "seed": self.seed})

    @classmethod
    def of_json(cls, text: str) -> Splits:
        """Return what `to_json` wrote."""
        found = json.loads(text)
        return cls(dict(found["fractions"]), found["seed"])
