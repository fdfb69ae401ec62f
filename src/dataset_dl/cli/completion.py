"""Shell completion: collections, tables, columns and their values."""

from __future__ import annotations

import re

import click
from click.shell_completion import CompletionItem

_MOST_VALUES = 100
_BEGUN_CONDITION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(!=|=)((?:.*,)?)([^,]*)", re.DOTALL)


def sources(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete collections and analysis results; fall back to files."""
    from dataset_dl.duck import Database
    from dataset_dl.sources.idc.tables import table_sql

    done, comma, rest = incomplete.rpartition(",")
    begun = rest.lower().replace("-", "_")
    names = Database().column(
        f"SELECT collection_id FROM {table_sql('collections_index')} WHERE starts_with(collection_id, $1)"
        f" UNION ALL SELECT analysis_result_id FROM {table_sql('analysis_results_index')}"
        " WHERE starts_with(analysis_result_id, $1) ORDER BY 1",
        [begun],
    )
    items = [CompletionItem(f"{done}{comma}{name}") for name in names]
    return items or [CompletionItem(incomplete, type="file")]


def tables(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the tables that IDC publishes."""
    from dataset_dl.sources.idc import tables

    return [CompletionItem(name) for name in tables.tables() if name.startswith(incomplete.lower())]


def condition(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a column, or its values after the operator."""
    from dataset_dl.duck import Database
    from dataset_dl.sources.idc.tables import main_columns, table_sql

    columns = {name.lower(): name for name in main_columns()}
    match = _BEGUN_CONDITION.fullmatch(incomplete)
    if match is None:
        return [
            CompletionItem(f"{name}=") for key, name in columns.items() if key.startswith(incomplete.lower())
        ]
    column = columns.get(match[1].lower())
    if column is None:
        return []
    values = Database().column(
        f'SELECT DISTINCT "{column}"::VARCHAR FROM {table_sql()}'
        f' WHERE starts_with(lower("{column}"::VARCHAR), lower($1)) ORDER BY 1 LIMIT {_MOST_VALUES}',
        [match[4]],
    )
    begun = f"{column}{match[2]}{match[3]}"
    return [CompletionItem(begun + (f'"{value}"' if "," in value else value)) for value in values]


def layout(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the column after the last ``%``."""
    from dataset_dl.sources.idc.tables import main_columns

    before, _, begun = incomplete.rpartition("%")
    return [
        CompletionItem(f"{before}%{name}")
        for name in main_columns()
        if name.lower().startswith(begun.lower())
    ]
