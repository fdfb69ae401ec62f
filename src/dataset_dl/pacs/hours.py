"""Hours of the day in which something may happen, like ``20:00-06:00``."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from dataset_dl.errors import SelectionError

HOURS = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])-([01]?[0-9]|2[0-4]):([0-5][0-9])")


def opens_at(hours: str, now: datetime) -> datetime:
    """Return `now` if it is in the hours, or if there are none, else when they begin."""
    match = HOURS.fullmatch(hours)
    if match is None:
        return now
    begin, end = (60 * int(hour) + int(minute) for hour, minute in (match.group(1, 2), match.group(3, 4)))
    minutes = 60 * now.hour + now.minute
    is_open = begin <= minutes < end if begin < end else minutes >= begin or minutes < end
    if is_open or begin == end:
        return now
    opening = datetime.combine(now.date(), time(begin // 60 % 24, begin % 60), now.tzinfo)
    return opening if opening > now else opening + timedelta(days=1)


def check_hours(hours: str) -> str:
    """Return hours; refuse what is none.

    Raises
    ------
    SelectionError
        If it is none.
    """
    if hours and not HOURS.fullmatch(hours):
        raise SelectionError(hours, f"“{hours}” are no hours; nothing was changed.", "Write 20:00-06:00.")
    return hours
