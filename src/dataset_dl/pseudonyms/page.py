"""For pages that upload: the rules, so that a browser puts pseudonyms in before anything leaves it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from dataset_dl.model.page import EVERYBODY, Call, Given, Page, Place
from dataset_dl.pixels.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dataset_dl.pseudonyms import require
from dataset_dl.pseudonyms.profile import Profile
from dataset_dl.pseudonyms.rewriting import METHOD


def rules(place: Place, given: Given) -> dict[str, Any]:
    """Return what happens to each attribute, and how attributes are encoded; no key has to do with it."""
    require()
    return _rules()


@cache
def _rules() -> dict[str, Any]:
    from pydicom._dicom_dict import DicomDictionary

    profile = Profile()
    actions: dict[str, list[str]] = {}
    for tag, action in profile.actions.items():
        actions.setdefault(action, []).append(f"{tag:08X}")
    vrs: dict[str, list[str]] = {}
    for tag, entry in DicomDictionary.items():
        vrs.setdefault(entry[0][:2], []).append(f"{tag:08X}")
    return {
        "method": METHOD,
        "implementation": [IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME],
        "actions": {action: " ".join(tags) for action, tags in actions.items()},
        "vrs": {vr: " ".join(tags) for vr, tags in vrs.items()},
        "codes": profile.codes,
        "longitudinal": profile.longitudinal,
        "excluded": profile.excluded,
    }


PAGE = Page(
    "Pseudonyms",
    Path(__file__).parent / "static" / "pseudonymise.js",
    (
        Call(
            "pseudonyms/rules",
            rules,
            "How pseudonyms are put in: the action and the VR of each attribute.",
            rights=EVERYBODY,
        ),
    ),
    require,
    rights=EVERYBODY,
)
