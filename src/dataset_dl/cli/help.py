"""The layout of ``--help``: examples, and options in groups."""

from __future__ import annotations

from typing import Any

import click

_GROUPS = {
    "What": (
        "where", "licences", "original_only", "limit", "sample", "seed", "strict", "with_references",
        "with_annotations", "idc_version", "skip_missing",
    ),
    "Where to": ("destination", "layout", "output", "force", "dry_run"),
    "How": (
        "engine", "workers", "reuse", "retries", "stall_timeout_seconds", "verify", "trust_journal",
        "durable", "max_rate_mbps",
    ),
    "Network": ("endpoint_url", "store", "sign", "credentials", "proxy", "ca_bundle"),
}  # fmt: skip
_EXAMPLES = {
    "cli": (
        "dataset-dl idc collections --search lung",
        "dataset-dl idc download rider_pilot --to data",
        "dataset-dl doctor",
    ),
    "idc": ("dataset-dl idc collections", "dataset-dl idc download rider_pilot --to data --dry-run"),
    "collections": ("dataset-dl idc collections --search breast", "dataset-dl idc collections --format csv"),
    "indices": ("dataset-dl idc indices", "dataset-dl idc indices fetch sm_index"),
    "update": ("dataset-dl idc indices update", "dataset-dl idc indices update --version 24.0.1"),
    "fetch": ("dataset-dl idc indices fetch sm_index seg_index",),
    "columns": ("dataset-dl idc columns idc_index",),
    "query": ('dataset-dl idc query "SELECT Modality, count(*) FROM idc_index GROUP BY 1"',),
    "browse": ("dataset-dl idc browse rider_pilot",),
    "cite": ("dataset-dl idc cite rider_pilot --style bibtex",),
    "manifest": (
        "dataset-dl idc manifest rider_pilot -o cohort.parquet",
        "dataset-dl idc manifest 'tcga_*' --where Modality=CT --sample 100 -o sample.csv",
    ),
    "download": (
        "dataset-dl idc download rider_pilot --to data",
        "dataset-dl idc download nlst --where 'PatientAge>=70' --limit 100 --to data --dry-run",
        "dataset-dl idc download cohort.csv --to data --workers 32",
    ),
    "verify": ("dataset-dl idc verify data", "dataset-dl idc verify data --md5 --repair"),
    "diff": ("dataset-dl idc diff data", "dataset-dl idc diff data --update"),
    "doctor": ("dataset-dl doctor --to data",),
}


class Command(click.Command):
    """A command whose help shows examples, and options in groups.

    Parameters
    ----------
    examples
        Those of a wing's command; others are in this file, by the name of the command.
    """

    def __init__(self, *arguments: Any, examples: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples and options, in groups."""
        write_options(self, ctx, formatter)


def write_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the examples and the options of a command."""
    if examples := getattr(command, "examples", ()) or _EXAMPLES.get(command.name or ""):
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
    every = {
        parameter.name: record
        for parameter in command.get_params(ctx)
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)) is not None
    }
    records = dict(every)
    grouped = {
        title: [records.pop(name) for name in names if name in records] for title, names in _GROUPS.items()
    }
    if sum(1 for several in grouped.values() if several) < 2:
        records, grouped = every, {}
    for title, several in [*grouped.items(), ("Options", list(records.values()))]:
        if several:
            with formatter.section(title):
                formatter.write_dl(several)
