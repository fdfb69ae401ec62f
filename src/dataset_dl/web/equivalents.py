"""A cohort as what a person would type: in a shell, and in Python."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from dataset_dl.model.selection import Condition


def command(
    what: Sequence[str], where: Sequence[Condition], to: str, options: Mapping[str, Any] | None = None
) -> str:
    """Return the command line that downloads the same series.

    Parameters
    ----------
    what, where
        The cohort.
    to
        The destination.
    options
        Options of the download by their names in Python; only those that are set.
    """
    sources, rest = _sources(what, where)
    # After “--” nothing is taken for an option, whatever it starts with.
    last = ["--", *sources] if any(each.startswith("-") for each in sources) else []
    words = ["dataset-dl", "idc", "download", *([] if last else sources)]
    for condition in rest:
        words += ["--where", str(condition)]
    words += ["--to", to]
    flags = {"max_rate_mbps": "--max-rate"}
    for name, value in (options or {}).items():
        words += [flags.get(name, f"--{name.replace('_', '-')}"), _number(value)]
    return shlex.join([*words, *last])


def python(
    what: Sequence[str], where: Sequence[Condition], to: str, options: Mapping[str, Any] | None = None
) -> str:
    """Return the Python code that downloads the same series; parameters as for `command`."""
    sources, rest = _sources(what, where)
    parts = [_literal(sources[0] if len(sources) == 1 else list(sources))] if sources else []
    parts.append(f"into={_literal(to)}")
    if rest:
        parts.append(f"where={_where(rest)}")
    parts += [f"{name}={_literal(value)}" for name, value in (options or {}).items()]
    call = ",\n    ".join(parts)
    return f"import dataset_dl as dd\n\ndd.download(\n    {call},\n)"


def _sources(what: Sequence[str], where: Sequence[Condition]) -> tuple[list[str], list[Condition]]:
    """Name collections as such if nothing else is named: that is what people type."""
    named = [each for each in where if each.column == "collection_id" and each.operator == "="]
    if what or len(named) != 1 or any(not each for each in named[0].values):
        return list(what), list(where)
    return list(named[0].values), [each for each in where if each is not named[0]]


def _where(conditions: Sequence[Condition]) -> str:
    columns = [each.column for each in conditions]
    if all(each.operator == "=" for each in conditions) and len(set(columns)) == len(columns):
        mapping = {
            each.column: each.values[0] if len(each.values) == 1 else list(each.values) for each in conditions
        }
        return _literal(mapping)
    return _literal([str(each) for each in conditions])


def _literal(value: Any) -> str:
    """Return a text, list or mapping as Python code, in double quotes where JSON means the same."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() and "\\u" not in text else repr(value)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
