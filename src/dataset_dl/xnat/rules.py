"""The rules that a command of XNAT's Container Service keeps.

They are those of the server's source (NrgXnat/container-service 3.7, ``Command.validate``). It ignores words
that it does not know, and names that lead nowhere; those are complained of here, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_TAGGED = re.compile(r".+:[a-zA-Z0-9_.-]+")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
# As the Container Service documents it; newer servers take longer ones.
_MOST_COMMAND_LINE = 2048
_KINDS = {
    "string", "boolean", "number", "Directory", "File[]", "File", "Project", "ProjectAsset", "Subject",
    "SubjectAssessor", "Session", "Scan", "Assessor", "Resource", "Config", "file",
}  # fmt: skip
_WORDS: Mapping[str, frozenset[str]] = {
    "command": frozenset(
        (
            "name", "label", "description", "version", "schema-version", "info-url", "image",
            "container-name", "type", "index", "hash", "working-directory", "command-line",
            "command-metadata", "override-entrypoint", "mounts", "environment-variables", "ports", "inputs",
            "outputs", "xnat",
            "reserve-memory", "limit-memory", "limit-cpu", "runtime", "ipc-mode", "auto-remove", "shm-size",
            "network", "container-labels", "gpus", "generic-resources", "ulimits", "secrets", "visibility",
        )
    ),
    "mount": frozenset(("name", "writable", "path")),
    "input": frozenset(
        (
            "name", "label", "description", "type", "required", "matcher", "default-value", "replacement-key",
            "command-line-flag", "command-line-separator", "true-value", "false-value", "sensitive",
            "select-values", "multiple-delimiter",
        )
    ),
    "wrapper": frozenset(
        ("name", "label", "description", "contexts", "external-inputs", "derived-inputs", "output-handlers")
    ),
    "wrapper input": frozenset(
        (
            "name", "label", "description", "type", "matcher", "default-value", "user-settable",
            "replacement-key", "sensitive", "required", "load-children", "provides-value-for-command-input",
            "provides-files-for-command-mount", "via-setup-command", "derived-from-wrapper-input",
            "derived-from-xnat-object-property", "multiple", "parser",
        )
    ),
}  # fmt: skip


def problems(made: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the Container Service would refuse a command, or silently do something else."""
    yield from _unknown("command", [made])
    for word in ("name", "image"):
        if not str(made.get(word, "")).strip():
            yield f"the command has no {word}"
    if not _TAGGED.fullmatch(str(made.get("image", ""))):
        yield f"the image “{made.get('image', '')}” has no tag"
    if made.get("type", "docker") not in ("docker", "docker-setup", "docker-wrapup"):
        yield f"the type {made['type']} does not exist"
    if len(str(made.get("command-line", ""))) > _MOST_COMMAND_LINE:
        yield f"the command line has more than {_MOST_COMMAND_LINE:,} characters"
    mounts, inputs, outputs = (list(made.get(each, [])) for each in ("mounts", "inputs", "outputs"))
    yield from _unknown("mount", mounts)
    yield from _unknown("input", inputs)
    for what, several in (("mount", mounts), ("input", inputs), ("output", outputs)):
        yield from _names(what, several)
    for mount in mounts:
        if not str(mount.get("path", "")).startswith("/"):
            yield f"the mount {mount.get('name')} has no path"
    for each in inputs:
        yield from _of_input(each)
    yield from _of_keys(made, inputs)
    for wrapper in made.get("xnat", []):
        yield from _of_wrapper(wrapper, mounts, inputs, outputs)


def _of_input(each: Mapping[str, Any]) -> Iterator[str]:
    name, kind, values = each.get("name"), each.get("type", "string"), each.get("select-values")
    if kind not in ("string", "boolean", "number", "select-one", "select-many", "file"):
        yield f"the input {name} has the type {kind}, which does not exist"
    if kind.startswith("select-") != bool(values):
        yield f"the input {name} needs values to select from, or must have none"
    if values and each.get("default-value") is not None and each["default-value"] not in values:
        yield f"the default of the input {name} is none of its values"


def _of_keys(made: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Keys are replaced in any order, so none may be within another one, and each should be used."""
    keys = [str(each.get("replacement-key") or f"#{each.get('name')}#") for each in inputs]
    templates = [str(made.get("command-line", "")), json.dumps(made.get("environment-variables", {}))]
    for key in keys:
        if sum(key in other for other in keys) > 1:
            yield f"the key {key} is within another one"
        if not any(key in each for each in templates):
            yield f"the key {key} is not used"


def _of_wrapper(
    wrapper: Mapping[str, Any],
    mounts: Sequence[Mapping[str, Any]],
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    yield from _unknown("wrapper", [wrapper])
    if not wrapper.get("name"):
        yield "a wrapper has no name"
    external, derived = list(wrapper.get("external-inputs", [])), list(wrapper.get("derived-inputs", []))
    yield from _unknown("wrapper input", [*external, *derived])
    yield from _names("wrapper input", [*external, *derived])
    known = {each.get("name") for each in external}
    for each in (*external, *derived):
        name = each.get("name")
        if each.get("type", "string") not in _KINDS:
            yield f"the input {name} has the type {each['type']}, which does not exist"
        for word, several in (
            ("provides-value-for-command-input", inputs),
            ("provides-files-for-command-mount", mounts),
        ):
            if word in each and each[word] not in [one.get("name") for one in several]:
                yield f"the input {name} {word} {each[word]}, which does not exist"
    for each in derived:
        name, parent = each.get("name"), each.get("derived-from-wrapper-input")
        if parent not in known:
            yield f"the input {name} derives from {parent}, which is not declared before it"
        known.add(name)
    handled = {each.get("accepts-command-output") for each in wrapper.get("output-handlers", [])}
    for each in outputs:
        if each.get("name") not in handled:
            yield f"the output {each.get('name')} is not handled"


def _names(what: str, several: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = [str(each.get("name", "")) for each in several]
    for name in names:
        if not _NAME.fullmatch(name):
            yield f"the {what} “{name}” has no name of letters, digits, “-” and “_”"
        if names.count(name) > 1:
            yield f"the {what} {name} is there twice"


def _unknown(what: str, several: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for each in several:
        for word in each:
            if word not in _WORDS[what]:
                yield f"the {what} {each.get('name', '')} has the word {word}, which means nothing"
