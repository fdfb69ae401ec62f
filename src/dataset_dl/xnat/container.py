"""A container for XNAT's Container Service: ``command.json`` and a Containerfile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from dataset_dl import __version__
from dataset_dl.cli.download import download
from dataset_dl.errors import SelectionError, StorageError
from dataset_dl.scratch import written_whole
from dataset_dl.xnat.rules import problems

# What may be chosen in XNAT, among the options of `tcia download`.
_OFFERED = ("skip_missing", "retries", "max_rate_mbps", "workers")
_EXISTING = ("error", "skip", "append", "replace")
_CONTAINERFILE = """\
# Build it beside a wheel of dataset_dl: podman build -t {image} .
FROM python:3.12-slim
COPY dataset_dl-*.whl /tmp/
RUN pip install --no-cache-dir "$(echo /tmp/dataset_dl-*.whl)[curl,tcia,xnat]"
LABEL org.nrg.commands={label}
ENTRYPOINT ["dataset-dl"]
"""


def command(image: str) -> dict[str, Any]:
    """Return the command that XNAT offers in a project with manifests.

    Parameters
    ----------
    image
        The image with its tag.

    Raises
    ------
    SelectionError
        If XNAT would refuse it.
    """
    offered = [_input(each) for each in download.params if each.name in _OFFERED]
    keys = " ".join(each["replacement-key"] for each in offered)
    consumer = "xnat:#PROJECT#?existing=#EXISTING#&manifest=/manifests/#MANIFEST#"
    made = {
        "name": "dataset-dl-tcia",
        "label": "Fetch the series of a TCIA manifest",
        "description": "Each series of a manifest, from IDC or NBIA, verified, into this project.",
        "version": __version__,
        "schema-version": "1.0",
        "type": "docker",
        "image": image,
        "command-line": (
            f'tcia download "/manifests/#MANIFEST#" --to /work --then "{consumer}" --evict'
            f" --disk-budget 20GB {keys}"
        ),
        "mounts": [
            {"name": "manifests", "writable": False, "path": "/manifests"},
            {"name": "work", "writable": True, "path": "/work"},
        ],
        "environment-variables": {"DATASET_DL_STATE": "/work/.state"},
        "inputs": [
            {"name": "manifest", "label": "Manifest", "type": "string", "required": True,
             "replacement-key": "#MANIFEST#"},
            {"name": "project", "type": "string", "required": True, "replacement-key": "#PROJECT#"},
            {"name": "existing", "label": "If a session exists", "type": "select-one", "required": True,
             "default-value": "error", "select-values": list(_EXISTING), "replacement-key": "#EXISTING#"},
            *offered,
        ],
        "outputs": [],
        "xnat": [_wrapper()],
    }  # fmt: skip
    if complaints := list(problems(made)):
        raise SelectionError(image, f"XNAT would refuse this command: {complaints[0]}.", "Write NAME:TAG.")
    return made


def write_files(directory: Path, image: str) -> list[Path]:
    """Write ``command.json`` and ``Containerfile``; return their paths.

    Raises
    ------
    SelectionError
        If XNAT would refuse the command.
    StorageError
        If they cannot be written.
    """
    made = command(image)
    # The label is a list of commands, as one line of JSON in double quotes.
    label = json.dumps(json.dumps([made], separators=(",", ":"))).replace("$", "\\$")
    files = {
        "command.json": json.dumps(made, indent=2) + "\n",
        "Containerfile": _CONTAINERFILE.format(image=image, label=label),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(str(directory), f"{directory} cannot be written ({error.strerror}).") from None
    for name, text in files.items():
        with written_whole(directory / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    return [directory / name for name in files]


def _input(option: click.Parameter) -> dict[str, Any]:
    """Return an option of the program as an input of the command."""
    assert isinstance(option, click.Option) and option.name is not None
    flag = option.opts[-1]
    made: dict[str, Any] = {
        "name": flag.strip("-"),
        "description": (option.help or "").partition("  [")[0],
        "required": False,
        "replacement-key": f"#{flag.strip('-').replace('-', '_').upper()}#",
    }
    if option.is_flag:
        return {
            **made, "type": "boolean", "default-value": "false", "true-value": flag, "false-value": "",
        }  # fmt: skip
    kind = "number" if isinstance(option.type, (click.IntRange, click.FloatRange)) else "string"
    return {**made, "type": kind, "command-line-flag": flag, "command-line-separator": " "}


def _wrapper() -> dict[str, Any]:
    return {
        "name": "dataset-dl-tcia-project",
        "label": "Fetch the series of a TCIA manifest",
        "description": "For a project with a manifest in its resource TCIA.",
        "contexts": ["xnat:projectData"],
        "external-inputs": [
            {"name": "of-project", "type": "Project", "required": True, "load-children": True},
        ],
        "derived-inputs": [
            {"name": "manifests-of-project", "type": "Resource", "required": True, "user-settable": False,
             "derived-from-wrapper-input": "of-project", "matcher": "@.label == 'TCIA'",
             "provides-files-for-command-mount": "manifests"},
            # Only names that mean nothing to the tokenizer of command lines, nor behind “?”.
            {"name": "manifest-file", "label": "Manifest", "type": "File", "required": True,
             "user-settable": True, "derived-from-wrapper-input": "manifests-of-project",
             "matcher": r"@.name =~ /[A-Za-z0-9._ -]*\.tcia/", "derived-from-xnat-object-property": "name",
             "provides-value-for-command-input": "manifest"},
            {"name": "project-id", "type": "string", "required": True, "user-settable": False,
             "derived-from-wrapper-input": "of-project", "derived-from-xnat-object-property": "id",
             "provides-value-for-command-input": "project"},
        ],
        "output-handlers": [],
    }  # fmt: skip
