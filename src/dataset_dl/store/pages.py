"""Parse a page of ListObjectsV2. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple
from xml.etree import ElementTree

from dataset_dl.model.series import PlannedSeries, StoredObject

# Acceptable names of objects: they become part of commands and paths.
OBJECT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

# Limits of a list: this far above twice the count of a series, or the most if its count is unknown. The
# largest series has 91,980 objects.
_MORE_LISTED, _MOST_LISTED = 1_000, 1_000_000


def most_listed(series: PlannedSeries) -> int:
    """Return how many objects the list of a series may have; a longer one has no end."""
    return 2 * series.instanceCount + _MORE_LISTED if series.instanceCount else _MOST_LISTED


class Page(NamedTuple):
    """One page of a listing.

    Attributes
    ----------
    objects
        The objects; their names, relative to the prefix, are unchecked.
    token
        What to ask the next page with; empty on the last page.
    """

    objects: list[StoredObject]
    token: str


def parse_page(content: bytes, prefix: str) -> Page | None:
    """Parse the response to a listing of a prefix; None if it is not one."""
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError:
        return None
    if not root.tag.endswith("ListBucketResult"):
        return None
    space = root.tag.removesuffix("ListBucketResult")
    key_tag, size_tag, etag_tag = f"{space}Key", f"{space}Size", f"{space}ETag"
    objects = []
    for each in root.iterfind(f"{space}Contents"):
        size = each.findtext(size_tag, "")
        if size.isdigit():  # others cannot be fetched and checked
            name = each.findtext(key_tag, "").removeprefix(prefix)
            objects.append(StoredObject(name, int(size), each.findtext(etag_tag, "").strip('"')))
    is_last = root.findtext(f"{space}IsTruncated", "").strip().lower() == "false"
    return Page(objects, "" if is_last else root.findtext(f"{space}NextContinuationToken", ""))
