"""Whether what an archive answers is what was asked for (PS3.4, C.2.2.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import translate

DATES = frozenset({"StudyDate", "PatientBirthDate", "SeriesDate"})
# They have several values, or ranges of another kind.
_UNCHECKED = ("ModalitiesInStudy", "StudyTime")


def agreement(keys: Mapping[str, str]) -> Callable[[Mapping[str, str]], bool]:
    """Return whether a row contradicts none of several conditions."""
    checks = {name: matcher(name, value) for name, value in keys.items() if name not in _UNCHECKED}
    return lambda row: all(not row.get(name) or matches(row[name]) for name, matches in checks.items())


def matcher(keyword: str, wanted: str) -> Callable[[str], bool]:
    """Return whether a value is one that was asked for."""
    if keyword in DATES and "-" in wanted:
        begin, _, end = wanted.partition("-")
        return lambda value: (not begin or value[:8] >= begin) and (not end or value[:8] <= end)
    several = re.split(r"[\\,]" if keyword.endswith("UID") else r"\\", wanted)
    # In a wildcard of DICOM, brackets mean themselves.
    patterns = [re.compile(translate(each.strip().replace("[", "[[]")), re.IGNORECASE) for each in several]
    # A name may end in empty components, and have others than the alphabetic group.
    plain = (lambda value: value.partition("=")[0].rstrip("^ ")) if keyword.endswith("Name") else str.strip
    return lambda value: any(
        pattern.fullmatch(plain(value)) or pattern.fullmatch(value) for pattern in patterns
    )
