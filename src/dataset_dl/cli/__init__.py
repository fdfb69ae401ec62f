"""The command line: arguments in, exit codes out. What is done, is done below."""

from __future__ import annotations

import io
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import click

from dataset_dl import __version__
from dataset_dl.cli.doctor import doctor
from dataset_dl.cli.download import download
from dataset_dl.cli.listings import browse, collections, columns, indices, query
from dataset_dl.cli.manifest import manifest
from dataset_dl.cli.verify import verify
from dataset_dl.errors import DatasetDlError

INTERRUPTED = 130
_INTERRUPTED_WORDS = "Interrupted; what was finished is kept. The same command resumes."
_interrupted: list[int] = []


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dataset-dl")
@click.option("--debug", is_flag=True, help="Show the traceback of an error. Works in any place.")
def cli(debug: bool) -> None:
    """Bulk downloads of public cancer imaging that end in verified files."""


@cli.group()
def idc() -> None:
    """The NCI Imaging Data Commons: look, plan, download, verify."""


for command in (browse, collections, columns, download, indices, manifest, query, verify):
    idc.add_command(command)
cli.add_command(doctor)


def main() -> NoReturn:
    """Run the command line and leave with the exit code that docs/cli.md lists."""
    arguments = [each for each in sys.argv[1:] if each != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or pipe of an old encoding must not turn a finished download into an error.
            stream.reconfigure(errors="backslashreplace")
    for number in _signals():
        signal.signal(number, _interrupt)
    try:
        try:
            code, message = _outcome(arguments, debug)
        finally:
            _deafen()
    except KeyboardInterrupt:  # a second one, while the first was told
        _deafen()
        code, message = INTERRUPTED, _INTERRUPTED_WORDS
    if message is not None:
        click.echo(f"dataset-dl: {message}", err=True)
    sys.exit(code)


def _outcome(arguments: list[str], debug: bool) -> tuple[int, str | None]:
    """Do what was asked; the exit code, and the sentence that goes with it."""
    try:
        code = cli.main(arguments, prog_name="dataset-dl", standalone_mode=False)
        sys.stdout.flush()
        return code or 0, None
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED, _INTERRUPTED_WORDS
    except click.ClickException as error:
        error.show()
        return error.exit_code, None
    except DatasetDlError as error:
        if debug:
            traceback.print_exc()
        return error.exit_code, str(error)
    except Exception as error:
        if debug:
            traceback.print_exc()
        if _interrupted:  # DuckDB makes an error of its own of an interrupt
            return INTERRUPTED, _INTERRUPTED_WORDS
        return 1, (f"dataset-dl failed, and it is its own fault ({type(error).__name__}: {error})."
                   " Run it again with --debug and report what it shows.")  # fmt: skip


def _signals() -> list[signal.Signals]:
    """Those that end the program gently; what is ignored already, as after nohup, stays so."""
    known = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return [each for each in known if each is not None and signal.getsignal(each) is not signal.SIG_IGN]


def _deafen() -> None:
    """What is decided is said, and its exit code is the program's, whatever signal still comes."""
    for number in _signals():
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _interrupted.append(number)
    raise KeyboardInterrupt
