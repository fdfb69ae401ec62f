"""The container for XNAT: its command keeps the Container Service's rules, and does what it says."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataset_dl.testing.nbia import LocalNbia
from dataset_dl.testing.xnat import LocalXnat
from dataset_dl.testing.xnat_store import instances_of
from dataset_dl.xnat.container import command
from dataset_dl.xnat.rules import problems
from support.cli import Cli
from tcia.conftest import made

ROOT = Path(__file__).parents[2]


def test_the_command_keeps_the_rules(cli: Cli, tmp_path: Path) -> None:
    done = cli("xnat", "container", tmp_path, "--image", "registry.test:5000/dataset-dl:1.0")
    assert done.code == 0, done.err
    written = json.loads((tmp_path / "command.json").read_text())
    assert not list(problems(written))
    label = re.search(
        r"^LABEL org\.nrg\.commands=(.*)$", (tmp_path / "Containerfile").read_text(), re.MULTILINE
    )
    assert label is not None
    # A builder takes the quotes away, as a shell does.
    assert json.loads(shlex.split(label[1])[0]) == [written]
    refused = cli("xnat", "container", tmp_path, "--image", "registry.test:5000/dataset-dl")
    assert (refused.code, "has no tag" in refused.err) == (2, True)


def changed(change: Callable[[Any], None]) -> list[str]:
    made = copy.deepcopy(command("dataset-dl:1"))
    change(made)
    return list(problems(made))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(name=" "), "has no name"),
        (lambda c: c.update(image="dataset-dl"), "has no tag"),
        (lambda c: c.update(type="podman"), "does not exist"),
        (lambda c: c.update({"label-description": "x"}), "means nothing"),
        (lambda c: c.update({"command-line": "#" * 2100}), "2,048 characters"),
        (lambda c: c["mounts"].append(dict(c["mounts"][0])), "is there twice"),
        (lambda c: c["mounts"][0].pop("path"), "has no path"),
        (lambda c: c["inputs"][0].update(name="a b"), "has no name of letters"),
        (lambda c: c["inputs"][0].update(type="text"), "does not exist"),
        (lambda c: c["inputs"][0].update({"select-values": ["a"]}), "values to select from"),
        (lambda c: c["inputs"][2].update({"default-value": "maybe"}), "none of its values"),
        (lambda c: c["inputs"][0].update({"replacement-key": "PROJECT"}), "is within another one"),
        (lambda c: c["inputs"][0].update({"replacement-key": "#NOWHERE#"}), "is not used"),
        (lambda c: c["outputs"].append({"name": "out", "mount": "work"}), "is not handled"),
        (lambda c: c["xnat"][0].update(name=""), "no name"),
        (lambda c: c["xnat"][0]["derived-inputs"].reverse(), "not declared before it"),
        (lambda c: c["xnat"][0]["derived-inputs"][1].update(type="file-of"), "does not exist"),
        (lambda c: c["xnat"][0]["derived-inputs"][1].update({"provides-value-for-command-input": "x"}),
         "does not exist"),
    ],
)  # fmt: skip
def test_each_rule_complains(change: Callable[[Any], None], words: str) -> None:
    assert any(words in each for each in changed(change)), changed(change)


def resolved(made: dict[str, Any], values: dict[str, str]) -> str:
    """The command line as the Container Service makes it (CommandResolutionServiceImpl.resolveTemplate)."""
    line: str = made["command-line"]
    for each in made["inputs"]:
        value = values.get(each["name"], each.get("default-value", ""))
        if each["type"] == "boolean":
            value = each["true-value"] if value == "true" else each["false-value"]
        if value and each.get("command-line-flag"):
            value = f"{each['command-line-flag']}{each.get('command-line-separator', ' ')}{value}"
        line = line.replace(each["replacement-key"], value)
    return line


@pytest.mark.timeout(400)
def test_its_steps_and_its_command_line_in_a_bare_environment(
    xnat: LocalXnat, tmp_path: Path, cli: Cli
) -> None:
    """No image can be built here: the steps run in an empty environment, the command with only XNAT's own."""
    assert cli("xnat", "container", tmp_path, "--image", "dataset-dl:1").code == 0
    written = json.loads((tmp_path / "command.json").read_text())
    steps = (tmp_path / "Containerfile").read_text()
    place = tmp_path / "image"
    subprocess.run([sys.executable, "-m", "venv", place / "env"], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", place / "tmp", ROOT],
        check=True,
    )
    bare = {
        name: value
        for name, value in os.environ.items()
        if name in ("HOME", "PIP_INDEX_URL", "PIP_CONFIG_FILE")
    }
    bare["PATH"] = f"{place}/env/bin:/usr/bin:/bin"
    runs = re.findall(r"^RUN (.*)$", steps, re.MULTILINE)
    assert len(runs) == 1
    for step in runs:
        subprocess.run(["sh", "-ec", step.replace("/tmp/", f"{place}/tmp/")], check=True, env=bare)
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", steps, re.MULTILINE)[0])
    nbia = LocalNbia()
    uids = {nbia.add(data) for _ in range(2) for data in made(3).values()}
    (tmp_path / "manifests").mkdir()
    manifest = tmp_path / "manifests" / "my cohort.tcia"
    manifest.write_text("\r\n".join(["ListOfSeriesToDownload=", *uids, ""]))
    line = resolved(written, {"manifest": manifest.name, "project": "WARD", "retries": "2"})
    for mount in written["mounts"]:
        line = line.replace(mount["path"], str(tmp_path / mount["name"]))
    state = written["environment-variables"]["DATASET_DL_STATE"].replace("/work", str(tmp_path / "work"))
    environment = {
        **bare, "DATASET_DL_STATE": state, "XNAT_HOST": xnat.url, "XNAT_USER": xnat.user, "XNAT_PASS": xnat.password,
    }  # fmt: skip
    with nbia:
        done = subprocess.run(
            [*entry, *shlex.split(line)], env={**environment, "DATASET_DL_NBIA_URL": nbia.url},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = instances_of(xnat.store.archive)
    assert set(found) == {uid for each in nbia.series.values() for uid in each.files}
    assert xnat.store.projects["WARD"]["TCIA"][manifest.name] == manifest.read_bytes()
    assert xnat.password not in done.stdout + done.stderr
