"""Dates of DICOM, moved by days."""

from __future__ import annotations

import re
from datetime import date, timedelta

# A date (DA), a date and time (DT), and as ACR-NEMA wrote dates; the year alone, or with the month, too.
_ZONE = r"(?:[+-]\d{4})?"
_TIME = rf"\d{{2}}(?:\d{{2}}(?:\d{{2}}(?:\.\d{{1,6}})?)?)?{_ZONE}"
_DATE = re.compile(rf"(\d{{4}})(?:(\d{{2}})(?:(\d{{2}})({_TIME})?)?)?({_ZONE})")
_OLDER = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})()()")


def moved(text: str, days: int) -> str | None:
    """Return a date, or a date and time, some days later and as precise as it was.

    Returns
    -------
    str or None
        Empty for an empty text; None for what is no date.
    """
    text = text.strip("\0 ")
    if not text:
        return ""
    match = _OLDER.fullmatch(text) or _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, rest, zone = match.groups()
    try:
        then = date(int(year), int(month or 1), int(day or 1)) + timedelta(days)
    except (ValueError, OverflowError):
        return None
    digits = 8 if day else 6 if month else 4
    return f"{then.year:04}{then.month:02}{then.day:02}"[:digits] + (rest or "") + zone
