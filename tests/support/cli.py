"""The command line: in this process, which is fast, or as the installed program if a test needs a process."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from unittest import mock

from dataset_dl import cli as program
from dataset_dl.errors import SelectionWarning
from dataset_dl.sources.idc import tables

PROGRAM = Path(sysconfig.get_path("scripts")) / "dataset-dl"


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """Runs commands in a working directory, with the environment of the tests or with another one."""

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.environment = environment

    def __call__(
        self, *arguments: object, stdin: str | bytes = b"", env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run `main` with these arguments in this process."""
        with ExitStack() as stack:
            # Real files, because some code needs their descriptors.
            given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            given.write(_bytes(stdin))
            given.seek(0)
            stack.enter_context(_as_in_a_process(self.directory, self._environment(env)))
            with _streams(given, out, err):
                code = _main([str(PROGRAM), *map(str, arguments)])
            return Outcome(code, _content(out), _content(err))

    def process(
        self, *arguments: object, stdin: str | bytes = b"", env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run the installed program with these arguments in a process of its own."""
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=self.directory,
            env=self._environment(env),
            input=_bytes(stdin),
            capture_output=True,
            timeout=90,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def _environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        return {**(os.environ if self.environment is None else self.environment), **(env or {})}


class _Left(BaseException):
    """Raised when the program would exit."""

    def __init__(self, code: int) -> None:
        self.code = code


def _leave(code: int) -> NoReturn:
    raise _Left(code)


def _main(argv: list[str]) -> int:
    with mock.patch.object(sys, "argv", argv), mock.patch.object(program, "_leave", _leave):
        try:
            program.main()
        except _Left as left:
            return left.code
        except SystemExit as ended:  # completion exits directly, without `_leave`
            return int(ended.code or 0)


@contextmanager
def _as_in_a_process(directory: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Set up the state that a new process starts with, and restore everything that would end with it."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = Path.cwd()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, environment, clear=True))
        stack.enter_context(mock.patch.object(tempfile, "tempdir", None))
        # Otherwise pytest's handlers would receive records meant for standard error, and vice versa.
        for log in (logging.getLogger(), logging.getLogger("dataset_dl")):
            heard = [each for each in log.handlers if isinstance(each, logging.NullHandler)]
            stack.enter_context(mock.patch.object(log, "handlers", heard))
            stack.callback(log.setLevel, log.level)
        # Stricter than a process: a warning that is not for the user is an error.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")
        warnings.simplefilter("default", SelectionWarning)
        os.chdir(directory)
        tables.look_again()
        try:
            yield
        finally:
            os.chdir(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            program._interrupted.clear()
            program._put_off.clear()
            tables.look_again()


@contextmanager
def _streams(given: BinaryIO, out: BinaryIO, err: BinaryIO) -> Iterator[None]:
    """Replace the standard streams with files, as for a process that does not run in a terminal."""
    with (
        os.fdopen(os.dup(given.fileno()), encoding="utf-8") as stdin,
        os.fdopen(os.dup(out.fileno()), "w", encoding="utf-8") as stdout,
        os.fdopen(
            os.dup(err.fileno()), "w", buffering=1, encoding="utf-8", errors="backslashreplace"
        ) as stderr,
        mock.patch.multiple(sys, stdin=stdin, stdout=stdout, stderr=stderr),
    ):
        yield


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _content(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode()
