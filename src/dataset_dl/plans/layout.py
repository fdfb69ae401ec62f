"""Layout templates: turn the values of a series into a directory inside the destination.

A template like ``%collection_id/%PatientID`` names columns of the main index. A value may hold
anything, so a directory follows three rules:

- it can be made on Linux, macOS and Windows, and never leads out of the destination;
- two different values never share a directory: a value that is changed ends in ``~`` and a digest
  of the original, and a ``~`` in a value is always replaced;
- it depends only on the series and the IDC version, not on what else is downloaded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from dataset_dl.errors import LayoutError
from dataset_dl.plans.names import (
    FILE_SUFFIX,
    FORBIDDEN,
    NAME_LIMIT_BYTES,
    TOKEN,
    check_file_template,
    clean,
    either_of,
    fitted_name,
    is_invisible,
    refused,
)

_MOST_LEVELS = 16
# Columns as other programs write them: {PatientID}, ${PatientID}, $PatientID, <PatientID>, [PatientID].
_OTHER_SIGN = re.compile(r"\$?[{<\[](?=(?P<name>\w+)[}>\]])\w+[}>\]]|\$(?P<bare>\w+)")
# Directories that SQL may keep without `Layout.directory`: a stricter form of the rules above, for RE2. It is
# one pattern, matched once per series, so it also rejects every name that begins like a reserved one.
_PLAIN = r"A-Za-z0-9_#@+=,()\[\]{}!&;^$'%\-"
_PLAIN_END = rf"[{_PLAIN}. ]*[{_PLAIN}]"
_RESERVED_BEGINNINGS = ("aux", "com", "con", "lpt", "nul", "prn")
PLAIN_DIRECTORY_LIMIT = NAME_LIMIT_BYTES


def _plain_component() -> str:
    """Pattern of a plain component: no dot or blank at either end, no reserved name at the start."""
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
    """Pattern of the rest of a component that does not start with one of the letters."""
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
        The text that was parsed.
    components
        One per level of directories; empty for a flat layout.
    """

    template: str
    components: tuple[Component, ...]
    file_template: str = ""

    @classmethod
    def parse(cls, template: str, columns: Collection[str]) -> Layout:
        """Parse a template; ``.`` puts every file directly into the destination.

        Parameters
        ----------
        template
            Column names after ``%`` with literal text between; the longest matching name wins.
        columns
            The columns that it may contain.

        Raises
        ------
        LayoutError
            If it names an unknown column, or could lead out of the destination.
        """
        if template.strip() in (".", "./"):
            return cls(template, ())
        directories, _, last = template.rpartition("/")
        if last.lower().endswith(FILE_SUFFIX):
            check_file_template(last)
            return replace(cls.parse(directories or ".", columns), template=template, file_template=last)
        if not template.strip() or template.startswith(("/", "\\", "~")) or template[1:2] == ":":
            raise refused(template, "a layout is a relative directory")
        _refuse_other_signs(template, columns)
        levels = template.removesuffix("/").split("/")
        if len(levels) > _MOST_LEVELS:
            raise refused(template, f"it has {len(levels):,} levels, more than {_MOST_LEVELS}")
        return cls(template, tuple(_component(template, level, columns) for level in levels))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns in the template, each once."""
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
        """The relative directory of a series, with ``/`` between its levels.

        Parameters
        ----------
        values
            The value of each of `columns`.
        twins
            Per column, the values that differ from another one only by letter case.
        """
        twins = twins or {}
        return "/".join(
            fitted_name(
                "".join(
                    part if isinstance(part, str) else clean(values[part.name], part.name, twins)
                    for part in component
                )
            )
            for component in self.components
        )


def _refuse_other_signs(template: str, columns: Collection[str]) -> None:
    """Refuse columns written as in other programs, and a template without a column."""
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
            f"Columns are written %PatientID{'' if example == template else f', here {example}'}; “.”"
            " puts all files into the directory that --to names.",
        )


def _component(template: str, text: str, columns: Collection[str]) -> Component:
    if text in ("", ".", ".."):
        raise refused(template, f"“{text}/” is not a directory below the destination")
    parts: list[Column | str] = []
    position = 0
    for match in TOKEN.finditer(text):
        name = _longest_column(template, match, columns)
        parts += [text[position : match.start()], Column(name)]
        position = match.start() + 1 + len(name)
    parts.append(text[position:])
    component = tuple(part for part in parts if part != "")
    literal = "".join(part if isinstance(part, str) else "x" for part in component)
    if FORBIDDEN.search(literal) or "~" in literal or any(map(is_invisible, literal)):
        raise refused(template, f"“{text}” holds a character that some file systems reject")
    if all(isinstance(part, str) for part in component) and fitted_name(literal) != literal:
        raise refused(template, f"some file systems reject the name “{text}”")
    return component


def _longest_column(template: str, token: re.Match[str], columns: Collection[str]) -> str:
    name = token.group(1) or ""
    fitting = [column for column in columns if name.startswith(column)]
    if fitting:
        return max(fitting, key=len)
    lowered = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)
    hint = "Did you mean " + either_of(f"%{lowered[each]}" for each in near) + "?" if near else ""
    raise LayoutError(
        template,
        f"The layout “{template}” names %{name}, which is no column of the IDC index; nothing was started.",
        hint or "`dataset-dl idc columns idc_index` lists the columns.",
    )
