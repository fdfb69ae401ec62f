"""What a person has to look at before it leaves: what is in pixels or in documents, no table can remove."""

from __future__ import annotations

from collections.abc import Mapping

from dataset_dl.pseudonyms.profile import Profile

MODALITY, IMAGE_TYPE, BURNED_IN, OVERLAY_BIT = 0x00080060, 0x00080008, 0x00280301, 0x60000102
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."
# Machines of these modalities write names into their pictures, and seldom say so.
_USUALLY_BURNED_IN = ("US", "IVUS", "ES", "GM", "XC", "OT", "DOC", "ECG", "EPS", "HD", "RESP")
_OF_SCREENS = ("SCREEN SAVE", "SCREENSHOT", "SCREENSAVE", "SCREEN_SAVE")


def reason(sop_class: str, told: Mapping[int, str], profile: Profile) -> str:
    """Return why a file is held back for review; empty if it is not.

    Parameters
    ----------
    sop_class
        Its SOPClassUID.
    told
        Its Modality, ImageType, BurnedInAnnotation and OverlayBitPosition, by tag.
    profile
        What is allowed.
    """
    modality = told.get(MODALITY, "").upper()
    allowed = profile.allowed
    if modality in profile.excluded and modality not in allowed:
        return f"its modality is {modality}"
    if sop_class.startswith(_DOCUMENTS) and "documents" not in allowed:
        return "it is an encapsulated document"
    kinds = told.get(IMAGE_TYPE, "").upper().split("\\")
    is_capture = sop_class == _SECONDARY_CAPTURE or sop_class.startswith(f"{_SECONDARY_CAPTURE}.")
    if (is_capture or any(each in _OF_SCREENS for each in kinds)) and "secondary-capture" not in allowed:
        return "it is a secondary capture"
    if told.get(OVERLAY_BIT, "0") not in ("0", "") and "overlays" not in allowed:
        return "its pixels have an overlay among their bits"
    if "burned-in" not in allowed:
        if told.get(BURNED_IN, "").upper() == "YES":
            return "its pixels have burned-in annotation"
        if (
            modality in _USUALLY_BURNED_IN
            and modality not in allowed
            and told.get(BURNED_IN, "").upper() != "NO"
        ):
            return f"images of the modality {modality} usually have burned-in annotation"
    return ""
