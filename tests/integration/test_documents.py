"""Documents say what is so: the tutorial runs as printed, and every command in them is one."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from pathlib import Path

import click
import pytest

from dataset_dl.cli import cli
from support import sessions

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_MARKS = set("();<>|&")


def test_the_tutorial_runs_as_printed(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    with sessions.bucket(tmp_path / "bucket") as served:
        env = {"DATASET_DL_ENDPOINT_URL": served.endpoint_url}
        steps = list(sessions.steps(text))
        assert len(steps) > 8
        for step in steps:
            output = sessions.run(step, home, env)
            assert "Traceback" not in output, output
            if step.kind == "console":
                assert output == step.printed, step.source
            else:
                assert output.strip(), step.source


def commands(text: str) -> list[str]:
    """Every call of the program in a document's code."""
    code = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    code += re.findall(r"^ {4,}(dataset-dl .*)$", text, re.MULTILINE)
    lines = "\n".join(code).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`(dataset-dl [^`]+)`", text.replace("\n", " "))
    found = [re.search(r"^(?:\$ |until |\s)*(dataset-dl\s.*)$", line) for line in lines]
    return [match[1] for match in found if match]


def words_of(line: str) -> list[str]:
    """The words of a command, up to where the shell begins another."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(takewhile(lambda word: not set(word) <= _MARKS, lexer))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_is_one(path: Path) -> None:
    for line in commands(path.read_text(encoding="utf-8")):
        if "…" in line or "[ID]" in line or "COMMAND" in line:
            continue
        words = words_of(line)[1:]
        command: click.Command = cli
        context = click.Context(cli)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0)
            found = command.get_command(context, name)
            assert found is not None, f"{path.name}: {line}"
            command, context = found, click.Context(found, parent=context)
        known = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            if word.startswith("-") and word != "-":
                assert word.split("=")[0] in known | {"--help", "-h", "--debug"}, f"{path.name}: {line}"


def test_there_are_commands() -> None:
    assert sum(len(commands(path.read_text(encoding="utf-8"))) for path in DOCUMENTS) > 40
