"""Layout templates: from the values of a series to a directory that stays inside the destination.

A template like ``%collection_id/%PatientID`` names columns of the main index. What a value may hold
is not known in advance, so a directory is built under three rules:

- it can be made on Linux, macOS and Windows, and never leads out of the destination;
- two different values never share a directory: whatever is not kept as it is ends in ``~`` and a
  digest of the original, and ``~`` itself is never kept;
- it depends on the series and the IDC version alone, not on what else is downloaded.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from dataset_dl.errors import LayoutError
from dataset_dl.model.series import STATE_DIRECTORY

FILE_SUFFIX = ".dcm"
_FIGURES = 4
# Room for the suffix, and for a digest where two files would have one name.
_STEM_LIMIT_BYTES = 220
# A file system stores 255 bytes a name; a digest must fit after a cut.
_NAME_LIMIT_BYTES = 240
_DIGEST_CHARACTERS = 12
_MOST_LEVELS = 16
# Of a directory from a file; a path of Linux has 4,096 bytes.
_MOST_LEVELS_OF_OTHERS = 64

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(\..*)?",
    re.IGNORECASE | re.DOTALL,
)
# Categories of Unicode: controls, formats (which turn the direction of writing), line and paragraph ends.
_ACTING = ("Cc", "Cf", "Zl", "Zp", "Cs")
# Columns as other programs write them: {PatientID}, ${PatientID}, $PatientID, <PatientID>, [PatientID].
_OTHER_SIGN = re.compile(r"\$?[{<\[](?=(?P<name>\w+)[}>\]])\w+[}>\]]|\$(?P<bare>\w+)")
_TOKEN = re.compile(r"%([A-Za-z_][A-Za-z0-9_]*)?")

# What SQL may keep without asking `Layout.directory`: a stricter form of the rules above, for RE2. It is one
# pattern, matched once a series, so it also refuses every name that begins like a reserved one.
_PLAIN = r"A-Za-z0-9_#@+=,()\[\]{}!&;^$'%\-"
_PLAIN_END = rf"[{_PLAIN}. ]*[{_PLAIN}]"
_RESERVED_BEGINNINGS = ("aux", "com", "con", "lpt", "nul", "prn")
PLAIN_DIRECTORY_LIMIT = _NAME_LIMIT_BYTES


def _plain_component() -> str:
    """A component of plain characters; ``. `` do not begin or end it, and it begins like no reserved name."""
    initials = "".join(beginning[0] + beginning[0].upper() for beginning in _RESERVED_BEGINNINGS)
    branches = [rf"[{_without(initials)}](?:{_PLAIN_END})?"]
    for initial in sorted({beginning[0] for beginning in _RESERVED_BEGINNINGS}):
        rests = [beginning[1:] for beginning in _RESERVED_BEGINNINGS if beginning[0] == initial]
        (second,) = {rest[0] for rest in rests}
        thirds = "".join(rest[1] for rest in rests)
        either = rf"[{second}{second.upper()}](?:{_deviating(thirds)})?"
        branches.append(rf"[{initial}{initial.upper()}](?:{_deviating(second)}|{either})?")
    return f"(?:{'|'.join(branches)})"


def _deviating(letters: str) -> str:
    """The rest of a component whose first character is none of some letters."""
    return rf"[{_without(letters + letters.upper())}](?:{_PLAIN_END})?|[. ]{_PLAIN_END}"


def _without(letters: str) -> str:
    kept = [
        chr(code) for code in range(128) if re.match(f"[{_PLAIN}]", chr(code)) and chr(code) not in letters
    ]
    return "".join(map(re.escape, kept))


@dataclass(frozen=True, slots=True)
class Column:
    """A column named in a template; everything else in it is literal text."""

    name: str


Component = tuple[Column | str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A parsed template.

    Attributes
    ----------
    template
        As it was written.
    components
        One for each level of directories; empty for a flat layout.
    """

    template: str
    components: tuple[Component, ...]
    file_template: str = ""

    @classmethod
    def parse(cls, template: str, columns: Collection[str]) -> Layout:
        """Read a template; ``.`` puts every file straight into the destination.

        Parameters
        ----------
        template
            Names of columns after ``%``, literal text between; the longest name wins.
        columns
            The columns that it may name.

        Raises
        ------
        LayoutError
            If it names something else, or could lead out of the destination.
        """
        if template.strip() in (".", "./"):
            return cls(template, ())
        directories, _, last = template.rpartition("/")
        if last.lower().endswith(FILE_SUFFIX):
            check_file_template(last)
            return replace(cls.parse(directories or ".", columns), template=template, file_template=last)
        if not template.strip() or template.startswith(("/", "\\", "~")) or template[1:2] == ":":
            raise _refused(template, "a layout is a relative directory")
        _refuse_other_signs(template, columns)
        levels = template.removesuffix("/").split("/")
        if len(levels) > _MOST_LEVELS:
            raise _refused(
                template, f"{len(levels):,} levels are more than the {_MOST_LEVELS} that are taken"
            )
        return cls(template, tuple(_component(template, level, columns) for level in levels))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the template names, each once."""
        parts = (part for component in self.components for part in component)
        return tuple(dict.fromkeys(part.name for part in parts if isinstance(part, Column)))

    @property
    def plain_pattern(self) -> str:
        """RE2 pattern of the directories that need no cleaning, at this template's depth."""
        return "/".join([_plain_component()] * len(self.components))

    def directory(
        self,
        values: Mapping[str, str | None],
        twins: Mapping[str, Collection[str]] | None = None,
    ) -> str:
        """The directory of a series, relative, with ``/`` between its parts.

        Parameters
        ----------
        values
            The value of each of `columns`.
        twins
            Per column, the values that differ from another one by letter case alone.
        """
        twins = twins or {}
        return "/".join(
            _fit(
                "".join(
                    part if isinstance(part, str) else _clean(values[part.name], part.name, twins)
                    for part in component
                )
            )
            for component in self.components
        )


def check_file_template(template: str) -> None:
    """Make sure that a template of file names names attributes of DICOM by their keywords.

    Raises
    ------
    LayoutError
        If it does not.
    """
    from pydicom.datadict import keyword_dict

    names = [match[1] or "" for match in _TOKEN.finditer(template)]
    unknown = [name for name in names if name not in keyword_dict]
    if unknown or not names:
        near = [each for name in unknown for each in difflib.get_close_matches(name, keyword_dict, n=2)]
        what = f"%{unknown[0]}, which is no keyword of DICOM" if unknown else "no attribute of an instance"
        raise LayoutError(
            template,
            f"The file name “{template}” names {what}; nothing was started.",
            f"Did you mean {_either(f'%{each}' for each in near)}?" if near else "Write %InstanceNumber.dcm.",
        )
    literal = _TOKEN.sub("x", template)
    if _FORBIDDEN.search(literal) or "~" in literal or any(map(_is_invisible, literal)):
        raise _refused(template, "it holds a character that no file system takes everywhere")


def file_keywords(template: str) -> list[str]:
    """The keywords that a template of file names names, in its order."""
    return [match[1] for match in _TOKEN.finditer(template)]


def file_name(template: str, values: Mapping[str, str | None]) -> str:
    """The name of a file, with numbers at least four figures wide so that they sort; safe on every system."""

    def cleaned(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is not None and re.fullmatch(r"[0-9]{1,3}", value):
            value = value.zfill(_FIGURES)
        return _clean(value, match[1], {})

    stem = _TOKEN.sub(cleaned, template)[: -len(FILE_SUFFIX)]
    return f"{_fit(stem, _STEM_LIMIT_BYTES)}{FILE_SUFFIX}"


def check_directory(directory: str) -> str | None:
    """Say why a directory from a file must not be used; None if it may."""
    if directory == "":
        return None
    components = directory.split("/")
    if len(components) > _MOST_LEVELS_OF_OTHERS:
        return f"it has {len(components):,} levels, and {_MOST_LEVELS_OF_OTHERS} are taken"
    for component in components:
        if component in ("", ".", ".."):
            return "it leaves the destination"
        if _FORBIDDEN.search(component) or any(map(_is_invisible, component)):
            return "it holds a character that no file system takes everywhere"
        if component.endswith((".", " ")) or _RESERVED.fullmatch(component):
            return "Windows reserves such a name"
        if len(component.encode("utf-8", "surrogatepass")) > _NAME_LIMIT_BYTES:
            return f"a name in it is longer than {_NAME_LIMIT_BYTES} bytes"
    if components[0].casefold() == STATE_DIRECTORY:
        return f"{STATE_DIRECTORY} is where the download keeps its own records"
    return None


def has_control(text: str) -> bool:
    """Whether a text holds a character that a terminal acts on: a control character, or one of direction."""
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


def _refuse_other_signs(template: str, columns: Collection[str]) -> None:
    """Name the mistake where columns are written as in other programs, or where there is none."""
    lowered = {column.lower(): column for column in columns}
    for match in _OTHER_SIGN.finditer(template):
        if column := lowered.get((match["name"] or match["bare"]).lower()):
            raise LayoutError(
                template,
                f"The layout “{template}” writes a column as {match[0]}; nothing was started.",
                f"Write %{column}.",
            )
    if "%" not in template:
        example = template if template.lower() not in lowered else f"%{lowered[template.lower()]}"
        raise LayoutError(
            template,
            f"The layout “{template}” names no column, so every file would go to one directory; nothing was"
            " started.",
            f"Columns are written %PatientID{'' if example == template else f', here {example}'}; “.” is for"
            " one directory, and --to names it.",
        )


def _component(template: str, text: str, columns: Collection[str]) -> Component:
    if text in ("", ".", ".."):
        raise _refused(template, f"“{text}/” is no directory below the destination")
    parts: list[Column | str] = []
    position = 0
    for match in _TOKEN.finditer(text):
        name = _longest_column(template, match, columns)
        parts += [text[position : match.start()], Column(name)]
        position = match.start() + 1 + len(name)
    parts.append(text[position:])
    component = tuple(part for part in parts if part != "")
    literal = "".join(part if isinstance(part, str) else "x" for part in component)
    if _FORBIDDEN.search(literal) or "~" in literal or any(map(_is_invisible, literal)):
        raise _refused(template, f"“{text}” holds a character that no file system takes everywhere")
    if all(isinstance(part, str) for part in component) and _fit(literal) != literal:
        raise _refused(template, f"“{text}” is not a name that every file system takes")
    return component


def _longest_column(template: str, token: re.Match[str], columns: Collection[str]) -> str:
    name = token.group(1) or ""
    fitting = [column for column in columns if name.startswith(column)]
    if fitting:
        return max(fitting, key=len)
    lowered = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    hint = "Did you mean " + _either(f"%{lowered[each]}" for each in near) + "?" if near else ""
    raise LayoutError(
        template,
        f"The layout “{template}” names %{name}, which is no column of the IDC index; nothing was started.",
        hint or "`dataset-dl idc columns idc_index` lists the columns.",
    )


def _clean(value: str | None, column: str, twins: Mapping[str, Collection[str]]) -> str:
    if value is None:
        return "unknown~null"
    if value == "":
        return "unknown~empty"
    text = _FORBIDDEN.sub("_", value).replace("~", "_")
    if text == value and text.isascii() and value not in twins.get(column, ()):
        return value
    # Only ASCII is kept bare: macOS folds and normalizes the rest in ways of its own.
    text = unicodedata.normalize("NFC", "".join("_" if _is_invisible(c) else c for c in text))
    return f"{text}~{_digest(value)}"


def _fit(text: str, limit: int = _NAME_LIMIT_BYTES) -> str:
    """Make a component one that every file system takes, marking it where that changes it."""
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


def _is_invisible(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character)[0] in "CZ"


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)


def _refused(template: str, reason: str) -> LayoutError:
    return LayoutError(
        template,
        f"The layout “{template}” is refused because {reason}; nothing was started.",
        "Write it like %collection_id/%PatientID/%SeriesInstanceUID.",
    )
