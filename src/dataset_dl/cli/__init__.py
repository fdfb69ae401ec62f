"""The command line: arguments in, exit codes out. The work is done by the verbs."""

from __future__ import annotations

import _thread
import atexit
import difflib
import errno
import importlib
import io
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from contextvars import copy_context
from types import FrameType
from typing import Any, NoReturn

import click

from dataset_dl import __version__
from dataset_dl.cli.help import write_options
from dataset_dl.cli.options import index_version
from dataset_dl.doors import COMMANDS
from dataset_dl.errors import DatasetDlError, SelectionError, SelectionWarning, StorageError
from dataset_dl.wording import shortened, visible

INTERRUPTED = 130
_INTERRUPTED_WORDS = "Interrupted; what was finished is kept. The same command resumes."
_interrupted: list[int] = []
_put_off: list[int] = []
# An import that takes longer than five seconds is interrupted nevertheless.
_PUT_OFF_SECONDS, _MOST_PUT_OFF = 0.01, 500
# Errors of an output that can no longer be written to.
_UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EFBIG)


# The module of each command: only the module of the command that runs is imported.
_IDC_COMMANDS = {
    "browse": "listings",
    "cite": "cite",
    "collections": "listings",
    "columns": "listings",
    "diff": "diff",
    "download": "download",
    "facets": "facets",
    "indices": "listings",
    "manifest": "manifest",
    "query": "listings",
    "verify": "verify",
}


class _Group(click.Group):
    """A group that imports commands on demand and suggests the nearest name for an unknown one."""

    def __init__(self, *arguments: Any, homes: Mapping[str, str], prefix: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._homes = homes
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *self._homes, *self._of_wings()})

    def _of_wings(self) -> list[str]:
        """Return the names of commands that wings add to this group."""
        parts = (name.rpartition(".") for name in COMMANDS.names())
        return [name for group, _, name in parts if group == self._prefix]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None if it does not exist."""
        if cmd_name in self._homes and cmd_name not in self.commands:
            home = importlib.import_module(f"dataset_dl.cli.{self._homes[cmd_name]}")
            command = getattr(home, cmd_name)
            if self._prefix == "idc":
                # Users also write --index-version behind the command; its help does not repeat the option.
                for each in [command, *getattr(command, "commands", {}).values()]:
                    index_version(hidden=True)(each)
            self.add_command(command)
        if (known := super().get_command(ctx, cmd_name)) is not None:
            return known
        return COMMANDS.find(f"{self._prefix}.{cmd_name}" if self._prefix else cmd_name)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples, options and commands."""
        write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name.

        Raises
        ------
        click.UsageError
            If it does not exist; the message suggests the nearest names.
        """
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        words = {each: f"{ctx.command_path} {each}" for each in self.list_commands(ctx)}
        if ctx.parent is None:
            words |= {each: f"{ctx.command_path} idc {each}" for each in _IDC_COMMANDS}
        near = [words[each] for each in difflib.get_close_matches(name.lower(), words, n=2)]
        hint = (
            f"Did you mean `{'` or `'.join(near)}`?" if near else f"`{ctx.command_path} --help` lists them."
        )
        raise click.UsageError(f"There is no command “{shortened(name)}”. {hint}", ctx)


@click.group(
    cls=_Group,
    homes={"deliver": "deliver", "doctor": "doctor", "jobs": "jobs"},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="dataset-dl")
@click.option("--debug", is_flag=True, help="Show the traceback of an error. Works in any position.")
def cli(debug: bool) -> None:
    """Bulk downloads of public cancer imaging that end in verified files."""


@cli.group(cls=_Group, homes=_IDC_COMMANDS, prefix="idc")
@index_version()
def idc() -> None:
    """The NCI Imaging Data Commons: look, plan, download, verify."""


def main() -> NoReturn:
    """Run the command line and exit with a code that docs/cli.md lists."""
    _open_closed_streams()
    arguments = [each for each in sys.argv[1:] if each != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or pipe with a limited encoding must not turn a finished download into an error.
            stream.reconfigure(errors="backslashreplace")
    for number in _signals():
        signal.signal(number, _interrupt)
    warnings.showwarning = _show_warning
    try:
        try:
            code, message = _outcome(arguments, debug)
        finally:
            _deafen()
    except KeyboardInterrupt:  # a second one, while the first was being handled
        _deafen()
        code, message = INTERRUPTED, _INTERRUPTED_WORDS
    if message is not None:
        with suppress(OSError, ValueError):  # nobody reads the stream; the exit code remains
            click.echo(f"dataset-dl: {visible(message)}", err=True)
    _leave(code)


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Print what was left out as a line for the user; other warnings are for programmers."""
    if issubclass(category, SelectionWarning):
        click.echo(visible(str(message)), err=True)


def _open_closed_streams() -> None:
    """Open standard streams that were closed at the start, so that no other file takes their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _leave(code: int) -> NoReturn:
    """Exit without a slow cleanup: the system frees everything at once, above all DuckDB's memory."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader has closed the pipe
            stream.flush()
    os._exit(code)


def _outcome(arguments: list[str], debug: bool) -> tuple[int, str | None]:
    """Run the command; return the exit code and its message."""
    try:
        # Settings that a command makes, like the version of the index, end with it.
        code = copy_context().run(cli.main, arguments, prog_name="dataset-dl", standalone_mode=False)
        sys.stdout.flush()
        return code or 0, None
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED, _INTERRUPTED_WORDS
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" See `{context.command_path} --help`." if context is not None else ""
        text = error.format_message().rstrip(".")
        message = text if text.endswith(("?", "`")) else f"{text}.{hint}"
        _report_as_json(arguments, error.exit_code, message)
        return error.exit_code, message
    except DatasetDlError as error:
        if debug:
            traceback.print_exc()
        if error.exit_code == SelectionError.exit_code:
            _report_as_json(arguments, error.exit_code, str(error))
        return error.exit_code, str(error)
    except Exception as error:
        if isinstance(error, MemoryError):
            return (
                StorageError.exit_code,
                "This machine has too little free memory for that; finished files are kept.",
            )
        if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
            failed_output = f"The output of this command cannot be written ({error.strerror})"
            return StorageError.exit_code, f"{failed_output}; fetched files are kept."
        if debug:
            traceback.print_exc()
        if _interrupted:  # DuckDB turns an interrupt into an error of its own
            return INTERRUPTED, _INTERRUPTED_WORDS
        return 1, (f"dataset-dl failed: this is a bug in dataset-dl ({type(error).__name__}: {error})."
                   " Run it again with --debug and report what it shows.")  # fmt: skip


def _report_as_json(arguments: list[str], code: int, message: str) -> None:
    """Report a wrong request as JSON with --json; nothing else has been written to that stream yet."""
    if "--json" in arguments:
        click.echo(json.dumps({"event": "error", "exit_code": code, "message": message}))


def _signals() -> list[signal.Signals]:
    """Return the signals that stop the program in order; ignored ones, as after nohup, stay ignored."""
    known = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return [each for each in known if each is not None and signal.getsignal(each) is not signal.SIG_IGN]


def _deafen() -> None:
    """Ignore further signals, so that they change neither the message nor the exit code."""
    for number in _signals():
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # An exception during an import can leave Python's import lock locked; the thread that starts s5cmd would
    # then wait for it forever.
    if _is_importing(frame) and len(_put_off) < _MOST_PUT_OFF:
        _put_off.append(number)
        _thread.start_new_thread(_interrupt_again, (number,))
        return
    _interrupted.append(number)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _interrupt_again(number: int) -> None:
    time.sleep(_PUT_OFF_SECONDS)
    signal.raise_signal(number)
