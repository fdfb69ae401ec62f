"""Names of directories and files that every file system accepts. Pure."""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping

from dataset_dl.errors import LayoutError
from dataset_dl.model.series import STATE_DIRECTORY

FILE_SUFFIX = ".dcm"
_FIGURES = 4
# Leaves room for the suffix, and for a digest if two files would get the same name.
_STEM_LIMIT_BYTES = 220
# File systems allow 255 bytes per name; a digest must fit after a cut.
NAME_LIMIT_BYTES = 240
_DIGEST_CHARACTERS = 12
# Limit for directories read from a file; a Linux path has at most 4,096 bytes.
_MOST_LEVELS_OF_OTHERS = 64
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(\..*)?",
    re.IGNORECASE | re.DOTALL,
)
# Unicode categories: controls, formats (such as direction marks), line and paragraph ends, surrogates.
_ACTING = ("Cc", "Cf", "Zl", "Zp", "Cs")
TOKEN = re.compile(r"%([A-Za-z_][A-Za-z0-9_]*)?")


def check_file_template(template: str) -> None:
    """Check that a template of file names consists of DICOM keywords and safe characters.

    Raises
    ------
    LayoutError
        If it does not, or contains no keyword.
    """
    from pydicom.datadict import keyword_dict

    names = [match[1] or "" for match in TOKEN.finditer(template)]
    unknown = [name for name in names if name not in keyword_dict]
    if unknown or not names:
        near = [each for name in unknown for each in difflib.get_close_matches(name, keyword_dict, n=2)]
        what = f"%{unknown[0]}, which is not a DICOM keyword" if unknown else "no attribute of an instance"
        raise LayoutError(
            template,
            f"The file name “{template}” names {what}; nothing was started.",
            f"Did you mean {either_of(f'%{each}' for each in near)}?"
            if near
            else "Write %InstanceNumber.dcm.",
        )
    literal = TOKEN.sub("x", template)
    if FORBIDDEN.search(literal) or "~" in literal or any(map(is_invisible, literal)):
        raise refused(template, "it holds a character that some file systems reject")


def file_keywords(template: str) -> list[str]:
    """The DICOM keywords in a template of file names, in order."""
    return [match[1] for match in TOKEN.finditer(template)]


def file_name(template: str, values: Mapping[str, str | None]) -> str:
    """A file name that is safe on every system; numbers have at least four digits so that they sort."""

    def cleaned(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is not None and re.fullmatch(r"[0-9]{1,3}", value):
            value = value.zfill(_FIGURES)
        return clean(value, match[1], {})

    stem = TOKEN.sub(cleaned, template)[: -len(FILE_SUFFIX)]
    return f"{fitted_name(stem, _STEM_LIMIT_BYTES)}{FILE_SUFFIX}"


def check_directory(directory: str) -> str | None:
    """Say why a directory read from a file must not be used; None if it may."""
    if directory == "":
        return None
    components = directory.split("/")
    if len(components) > _MOST_LEVELS_OF_OTHERS:
        return f"it has {len(components):,} levels, more than {_MOST_LEVELS_OF_OTHERS}"
    for component in components:
        if component in ("", ".", ".."):
            return "it leaves the destination"
        if FORBIDDEN.search(component) or any(map(is_invisible, component)):
            return "it holds a character that some file systems reject"
        if component.endswith((".", " ")) or _RESERVED.fullmatch(component):
            return "Windows reserves such a name"
        if len(component.encode("utf-8", "surrogatepass")) > NAME_LIMIT_BYTES:
            return f"a name in it is longer than {NAME_LIMIT_BYTES} bytes"
    if components[0].casefold() == STATE_DIRECTORY:
        return f"{STATE_DIRECTORY} is where the download keeps its own records"
    return None


def has_control(text: str) -> bool:
    """Whether a text holds a character that a terminal acts on: a control character or direction mark."""
    return any(unicodedata.category(each) in _ACTING for each in text)


def shorten(directory: str, limit: int) -> str:
    """Cut the longest components until the directory has at most `limit` characters.

    Raises
    ------
    LayoutError
        If it cannot be cut that far.
    """
    components = directory.split("/")
    excess = len(directory) - limit
    for index in sorted(range(len(components)), key=lambda i: -len(components[i])):
        if excess <= 0:
            break
        component = components[index]
        kept = max(len(component) - excess - _DIGEST_CHARACTERS - 1, 1)
        cut = _stem(component[:kept]) + "~" + _digest(component)
        if len(cut) < len(component):
            excess -= len(component) - len(cut)
            components[index] = cut
    if excess > 0:
        raise LayoutError(
            directory,
            f"The directory “{directory}” cannot be made short enough for this system's paths"
            f" ({limit} characters are left below the destination).",
            "Choose a destination with a shorter path, or a layout with fewer levels.",
        )
    return "/".join(components)


def clean(value: str | None, column: str, twins: Mapping[str, Collection[str]]) -> str:
    """A value as part of a name; only plain ASCII without a twin stays as it is, all else gets a digest."""
    if value is None:
        return "unknown~null"
    if value == "":
        return "unknown~empty"
    text = FORBIDDEN.sub("_", value).replace("~", "_")
    if text == value and text.isascii() and value not in twins.get(column, ()):
        return value
    # Non-ASCII text always gets a digest: macOS folds and normalizes it in its own way.
    text = unicodedata.normalize("NFC", "".join("_" if is_invisible(c) else c for c in text))
    return f"{text}~{_digest(value)}"


def fitted_name(text: str, limit: int = NAME_LIMIT_BYTES) -> str:
    """Make a component valid on every file system; if that changes it, append a digest."""
    fitted = text
    if fitted.startswith((".", " ")):
        fitted = "_" + fitted[1:]
    if fitted.endswith((".", " ")):
        fitted = fitted[:-1] + "_"
    if _RESERVED.fullmatch(fitted):
        fitted = "_" + fitted
    if fitted == text and len(text.encode()) <= limit:
        return text
    room = limit - _DIGEST_CHARACTERS - 1
    return _stem(fitted.encode()[:room].decode(errors="ignore")) + "~" + _digest(text)


def _stem(text: str) -> str:
    return text.rstrip(". ") or "_"


def is_invisible(character: str) -> bool:
    """Whether a character is invisible, or changes the direction of writing."""
    return not character.isascii() and unicodedata.category(character)[0] in "CZ"


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]


def either_of(names: Iterable[str]) -> str:
    """Names joined with “or”."""
    return " or ".join(names)


def refused(template: str, reason: str) -> LayoutError:
    """The error for a template that is refused."""
    return LayoutError(
        template,
        f"The layout “{template}” is refused because {reason}; nothing was started.",
        "Write it like %collection_id/%PatientID/%SeriesInstanceUID.",
    )
