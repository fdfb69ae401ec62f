"""Settings from ``DATASET_DL_…`` environment variables and the configuration file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataset_dl.errors import SelectionError

_PREFIX = "DATASET_DL_"
_TABLES = ("network", "download", "index", "pacs")
_KINDS = {bool: "Boolean", int: "whole number", float: "number", str: "string"}

# A value, and where it was set.
Stated = tuple[Any, str]


def config_path(environment: Mapping[str, str] | None = None) -> Path:
    """Path of the configuration file: ``DATASET_DL_CONFIG``, or the default of this system."""
    inherited = os.environ if environment is None else environment
    if named := inherited.get(f"{_PREFIX}CONFIG"):
        return Path(os.path.expanduser(named))  # noqa: PTH111 (pathlib's raises for an unknown user)
    from platformdirs import user_config_path

    return user_config_path("dataset-dl", appauthor=False) / "config.toml"


def cache_path() -> Path:
    """Return the directory for what can be fetched or made again."""
    if named := os.environ.get("DATASET_DL_CACHE"):
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("dataset-dl", appauthor=False)


def state_path() -> Path:
    """Return the directory for what must outlast a run: jobs, and records of destinations kept outside."""
    if named := os.environ.get("DATASET_DL_STATE"):
        return Path(named).expanduser()
    from platformdirs import user_state_path

    return user_state_path("dataset-dl", appauthor=False)


def stated(
    table: str, kinds: Mapping[str, type], environment: Mapping[str, str] | None = None
) -> dict[str, Stated]:
    """Read settings by name: environment variables override the configuration file.

    Parameters
    ----------
    table
        The table of the configuration file.
    kinds
        The known settings and the type of each value.
    environment
        Environment variables; defaults to those of this process.

    Raises
    ------
    SelectionError
        If a value has the wrong type, or the file contains an unknown table or setting.
    """
    inherited = os.environ if environment is None else environment
    return _of_file(config_path(inherited), table, kinds) | _of_variables(inherited, kinds)


def _of_variables(environment: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, Stated]:
    found: dict[str, Stated] = {}
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
            value, f"“{value}” in {variable} is not a {_KINDS[kind]}; nothing was started."
        ) from None


def _of_file(path: Path, table: str, kinds: Mapping[str, type]) -> dict[str, Stated]:
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
                f"“{name}” in {path} is not a known table; nothing was started.",
                f"The tables are {', '.join(f'[{each}]' for each in _TABLES)}.",
            )
    found: dict[str, Stated] = {}
    for name, value in content.get(table, {}).items():
        kind = kinds.get(name)
        # Compare exact types: TOML distinguishes 1, 1.0 and true, but isinstance(True, int) holds in Python.
        fits = type(value) is kind or (kind is float and type(value) is int)
        if kind is None or not fits:
            what = f": its value is not a {_KINDS[kind]}" if kind is not None else ""
            raise SelectionError(
                str(path),
                f"“{name}” in table [{table}] of {path} is not a valid setting{what}; nothing was started.",
                f"The settings are {', '.join(kinds)}.",
            )
        if value != "":
            found[name] = (value, str(path))
    return found
