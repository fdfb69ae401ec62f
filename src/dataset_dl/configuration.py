"""Settings outside of calls and commands: ``DATASET_DL_…`` variables and the configuration file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataset_dl.errors import SelectionError

_PREFIX = "DATASET_DL_"
_TABLES = ("network", "download", "index")
_KINDS = {bool: "truth value", int: "whole number", float: "number", str: "text"}

# A value, and where it was said.
Said = tuple[Any, str]


def config_path(environment: Mapping[str, str] | None = None) -> Path:
    """The configuration file: that of ``DATASET_DL_CONFIG``, or ours where the system keeps such files."""
    inherited = os.environ if environment is None else environment
    if named := inherited.get(f"{_PREFIX}CONFIG"):
        return Path(os.path.expanduser(named))  # noqa: PTH111 (pathlib's raises for a user who is not there)
    from platformdirs import user_config_path

    return user_config_path("dataset-dl", appauthor=False) / "config.toml"


def said(
    table: str, kinds: Mapping[str, type], environment: Mapping[str, str] | None = None
) -> dict[str, Said]:
    """Settings by name: those of variables before those of a table of the configuration file.

    Parameters
    ----------
    table
        The table of the file.
    kinds
        Each setting that there is, and the type of its value.
    environment
        The variables; those of this process if not given.

    Raises
    ------
    SelectionError
        If a value is of another type, or the file holds something that is not known.
    """
    inherited = os.environ if environment is None else environment
    return _of_file(config_path(inherited), table, kinds) | _of_variables(inherited, kinds)


def _of_variables(environment: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, Said]:
    found: dict[str, Said] = {}
    for name, kind in kinds.items():
        variable = f"{_PREFIX}{name.upper()}"
        if value := environment.get(variable):
            found[name] = (_parsed(value, kind, variable), variable)
    return found


def _parsed(value: str, kind: type, variable: str) -> Any:
    if kind is bool:
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if value.lower() not in words:
            raise SelectionError(value, f"“{value}” in {variable} is neither true nor false.")
        return words[value.lower()]
    try:
        return kind(value)
    except ValueError:
        raise SelectionError(
            value, f"“{value}” in {variable} is no {_KINDS[kind]}; nothing was started."
        ) from None


def _of_file(path: Path, table: str, kinds: Mapping[str, type]) -> dict[str, Said]:
    import tomllib

    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise SelectionError(
            str(path), f"The configuration file {path} cannot be read: {error}.", "Nothing was started."
        ) from None
    for name, values in content.items():
        if name not in _TABLES or not isinstance(values, dict):
            raise SelectionError(
                str(path),
                f"“{name}” in {path} is not known; nothing was started.",
                f"There are the tables {', '.join(f'[{each}]' for each in _TABLES)}.",
            )
    found: dict[str, Said] = {}
    for name, value in content.get(table, {}).items():
        kind = kinds.get(name)
        # TOML tells 1 from 1.0 and from true, and Python takes one for the other.
        fits = type(value) is kind or (kind is float and type(value) is int)
        if kind is None or not fits:
            what = f", or not a {_KINDS[kind]}" if kind is not None else ""
            raise SelectionError(
                str(path),
                f"“{name}” in the table [{table}] of {path} is not a setting{what}; nothing was started.",
                f"The settings are {', '.join(kinds)}.",
            )
        if value != "":
            found[name] = (value, str(path))
    return found
