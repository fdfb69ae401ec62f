"""Resolve what the user types to values of the index, or suggest what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dataset_dl.duck import Database
from dataset_dl.errors import SelectionError
from dataset_dl.sources.idc import instances
from dataset_dl.sources.idc.conditions import among
from dataset_dl.sources.idc.tables import idc_version, table_sql
from dataset_dl.sources.idc.versions import as_of, collections_then, with_earlier
from dataset_dl.wording import shortened

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(?P<doi>10\.[0-9]{4,9}/\S+)", re.IGNORECASE)
_PATTERN = re.compile(r"[*?]")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NAMED_AT_MOST = 5
# Longer than any name or PatientID; a search for names similar to a longer text takes minutes.
_LONGEST_NAME = 128
_KEPT = "kept"
_KNOWN_FILES = (
    " Only single files of slides can be found by name; if a table also names the series of each file,"
    " remove the column of files to get whole series."
)


@dataclass(frozen=True, slots=True)
class Matches:
    """What the identifiers match.

    Attributes
    ----------
    values
        Column of the main index → its requested values.
    rows
        SQL for a table that contains them: the whole index, only their rows, or the index with series of
        earlier versions.
    has_earlier
        Whether `rows` may include series of earlier versions, about which less is known.
    missing
        Optional identifiers that match nothing.
    files
        The single files that were named.
    growing
        Identifiers that may match more in a newer index: all but series and files.
    """

    values: dict[str, list[str]]
    rows: str
    has_earlier: bool = False
    missing: tuple[str, ...] = ()
    files: tuple[instances.NamedFile, ...] = ()
    growing: frozenset[str] = frozenset()

    def terms(self) -> tuple[list[str], list[object]]:
        """Return a condition for each column, any of which may hold, and what to bind to them."""
        terms: list[str] = []
        parameters: list[object] = []
        for column, values in self.values.items():
            term, bound = among(f'"{column}"', values)
            terms.append(term)
            parameters += bound
        return terms, parameters


def resolve(
    database: Database,
    identifiers: Sequence[str],
    columns: Sequence[str] = (),
    version: int | None = None,
    optional: Collection[str] = frozenset(),
    only_series: Collection[str] = frozenset(),
) -> Matches:
    """Find what each identifier names: one collection or analysis result, else series, study, patient, file.

    Parameters
    ----------
    database
        The session to query.
    identifiers
        As the user typed them.
    columns
        Columns of the main index that `Matches.rows` must also contain.
    version
        The IDC version to search; None for the current one.
    optional
        Identifiers that may match nothing.
    only_series
        Identifiers that can only be SeriesInstanceUIDs.

    Raises
    ------
    SelectionError
        If any other identifier matches nothing; the message suggests similar names.
    """
    is_today = version in (None, idc_version())
    names = _named(database, is_today)
    values: dict[str, list[str]] = {}
    base = rows = table_sql() if version is None else as_of(version, columns)
    has_earlier = not is_today
    rest, growing = [], set[str]()
    for identifier in identifiers:
        if doi := _DOI.fullmatch(identifier):
            sql = f"SELECT DISTINCT source_DOI FROM {base} WHERE lower(source_DOI) = lower($1)"
            if works := database.column(sql, [doi["doi"].rstrip("/")]):
                values["source_DOI"] = [*values.get("source_DOI", ()), *works]
                growing.add(identifier)
                continue
        if (match := names.get(_squash(identifier))) is not None:
            values.setdefault(match[0], []).append(match[1])
            growing.add(identifier)
        else:
            rest.append(identifier)
    for column, shape in (
        ("crdc_series_uuid", _UUID),
        ("SeriesInstanceUID", _UID),
        ("StudyInstanceUID", _UID),
        ("PatientID", None),
    ):
        candidates = {
            _canonical(column, each): each
            for each in rest
            if (shape is None or shape.fullmatch(each))
            and (column == "SeriesInstanceUID" or each not in only_series)
        }
        if candidates:
            is_alone = len(identifiers) == len(candidates) == 1 and is_today
            if is_alone:
                found = set(_keep(database, column, next(iter(candidates)), columns))
                rows = _KEPT if found else rows
            else:
                found = set(present(database, base, column, list(candidates)))
            if column == "crdc_series_uuid" and is_today and (lost := candidates.keys() - found):
                # A uuid means the same content of the same series in every version.
                widened, earlier = with_earlier(database, sorted(lost), [*values, column, *columns])
                if earlier:
                    rows, has_earlier = widened, True
                    found |= earlier
            if found:
                values[column] = sorted(found)
                if column in ("StudyInstanceUID", "PatientID"):
                    growing |= found
                rest = [each for each in rest if _canonical(column, each) not in found]
    for pattern in [each for each in rest if _PATTERN.search(each)]:
        if (liked := _matching(database, names, base, pattern)) is not None:
            column, several = liked
            values[column] = sorted({*values.get(column, ()), *several})
            growing.add(pattern)
            rest.remove(pattern)
    files = instances.named(database, rest) if rest and is_today else []
    known = {file.identifier for file in files}
    rest = [each for each in rest if each not in known]
    missing = tuple(each for each in rest if each in optional)
    rest = [each for each in rest if each not in optional]
    if rest:
        raise _unknown(database, rest, names, version or idc_version())
    return Matches(values, rows, has_earlier, missing, tuple(files), frozenset(growing))


def _named(database: Database, is_today: bool) -> dict[str, tuple[str, str]]:
    """Collections and analysis results by their name without case and punctuation."""
    names = {}
    if not is_today:
        names = {_squash(value): ("collection_id", value) for value in collections_then(database)}
    for column, table in (
        ("analysis_result_id", "analysis_results_index"),
        ("collection_id", "collections_index"),
    ):
        for value in database.column(f"SELECT {column} FROM {table_sql(table)}"):
            names[_squash(value)] = (column, value)
    return names


def _matching(
    database: Database, names: dict[str, tuple[str, str]], rows: str, pattern: str
) -> tuple[str, list[str]] | None:
    """Match a pattern with ``*`` and ``?``: the first column with matching values, and these values."""
    wanted = pattern.lower()
    for column in ("collection_id", "analysis_result_id"):
        of_column = [name for kind, name in names.values() if kind == column]
        known = [name for name in of_column if fnmatchcase(name.lower(), wanted.replace("-", "_"))]
        known += [name for name in of_column if name not in known and fnmatchcase(name.lower(), wanted)]
        if known:
            return column, known
    for column in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        several = database.column(
            f"SELECT DISTINCT {column} FROM {rows} WHERE lower({column}) GLOB $1",
            [wanted.replace("[", "[[]")],
        )
        if several:
            return column, several
    return None


def _squash(name: str) -> str:
    # A UID or a number must not be read as a name that happens to have the same digits.
    return re.sub(r"[^a-z0-9]", "", name.lower()) if re.search(r"[a-z]", name, re.IGNORECASE) else name


def _canonical(column: str, identifier: str) -> str:
    return identifier.lower() if column == "crdc_series_uuid" else identifier


def present(database: Database, rows: str, column: str, values: list[str]) -> list[str]:
    """The given values that occur in a column of some rows."""
    clause, bound = among(column, values)
    return database.column(f"SELECT DISTINCT {column} FROM {rows} WHERE {clause}", bound)


def _keep(database: Database, column: str, value: str, columns: Iterable[str]) -> list[str]:
    """Like `present` for one value, but store its rows: scanning the index is most of a small plan."""
    names = ", ".join(f'"{name}"' for name in dict.fromkeys([column, *columns]))
    clause, bound = among(column, [value])
    select = f"SELECT {names} FROM {table_sql()} WHERE {clause}"
    database.run(f"CREATE OR REPLACE TEMP TABLE {_KEPT} AS {select}", bound)
    return database.column(f"SELECT DISTINCT {column} FROM {_KEPT}")


def _unknown(
    database: Database, rest: list[str], names: dict[str, tuple[str, str]], version: int
) -> SelectionError:
    sentences = [_about_one(database, each, names, version) for each in rest[:_NAMED_AT_MOST]]
    if len(rest) > _NAMED_AT_MOST:
        sentences.append(f"{len(rest) - _NAMED_AT_MOST:,} more match nothing.")
    return SelectionError(rest[0], " ".join(sentences), "Nothing was started.")


def _about_one(database: Database, identifier: str, names: dict[str, tuple[str, str]], version: int) -> str:
    if _UUID.fullmatch(identifier) or _UID.fullmatch(identifier):
        if versions := _prior_versions(database, identifier):
            lacks = "and is no longer in" if version > versions[1] else "and not in"
            return (
                f"“{identifier}” was in IDC v{versions[0]} to v{versions[1]} {lacks} v{version}:"
                f" `--idc-version {versions[1]}` has it."
            )
        near = _starting_alike(database, identifier)
        hint = "" if near else instances.hint_of_unknown() + _KNOWN_FILES
    elif len(identifier) > _LONGEST_NAME:
        near, hint = [], ""
    else:
        hint = ""
        near = [names[each][1] for each in difflib.get_close_matches(_squash(identifier), names, n=3)]
        near += database.column(
            f"SELECT PatientID FROM (SELECT DISTINCT PatientID FROM {table_sql()})"
            " WHERE jaro_winkler_similarity(lower(PatientID), lower($1)) > 0.93"
            " ORDER BY jaro_winkler_similarity(lower(PatientID), lower($1)) DESC, PatientID LIMIT 2",
            [identifier],
        )
    meant = f" Did you mean {' or '.join(near)}?" if near else hint
    return f"“{shortened(identifier)}” matches nothing in IDC v{version}.{meant}"


def _prior_versions(database: Database, identifier: str) -> tuple[int, int] | None:
    rows = list(
        database.run(
            f"SELECT min(min_idc_version), max(max_idc_version) FROM {table_sql('prior_versions_index')}"
            " WHERE crdc_series_uuid = lower($1) OR SeriesInstanceUID = $1 OR StudyInstanceUID = $1",
            [identifier],
        )
    )
    low, high = rows[0]
    return None if low is None else (low, high)


def _starting_alike(database: Database, identifier: str) -> list[str]:
    """Identifiers that a truncated copy, or one with a wrong last digit, may have meant."""
    start = identifier[: max(len(identifier) - 2, 20)]
    near: list[str] = []
    for column in ("SeriesInstanceUID", "StudyInstanceUID"):
        near += database.column(
            f"SELECT DISTINCT {column} FROM {table_sql()} WHERE starts_with({column}, $1) ORDER BY 1 LIMIT 2",
            [start],
        )
    return near[:2]
