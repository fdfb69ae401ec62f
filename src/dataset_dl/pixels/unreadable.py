"""What every room here raises about an object; apart, because pydicom takes long to import."""

from __future__ import annotations


class Unreadable(ValueError):
    """An object cannot be read or decoded; the message is half a sentence about it.

    Whoever knows the name of the object makes an `errors.UnreadableObject` of it.
    """
