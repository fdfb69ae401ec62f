"""Start a module of this package as a child process, and end it in order."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import dataset_dl
from dataset_dl.process.child import LineQueue, Process


def end_on_signal() -> Callable[[], bool]:
    """End in order at the first signal that asks for it; more of them would interrupt what is cleaned up.

    Returns
    -------
    callable
        Says whether that signal has come: a library may turn what it raises into an error of its own.
    """
    came: list[int] = []

    def end(number: int, frame: object) -> None:
        came.append(number)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    return lambda: bool(came)


def end_with_input(on_line: Callable[[bytes], object] = lambda line: None) -> None:
    """Ask this process to end, as a signal would, when its standard input ends: then its parent is gone.

    Parameters
    ----------
    on_line
        Takes each line that comes until then, in a thread of its own.
    """

    def watch() -> None:
        rest = b""
        while data := os.read(0, 4096):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                on_line(line)
        if sys.platform == "win32":
            signal.raise_signal(signal.SIGTERM)  # os.kill would not let it end in order
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def start_module(
    module: str,
    *,
    directory: Path,
    orders: bytes,
    lines: LineQueue | None = None,
    is_unwanted: Callable[[str], bool] = lambda variable: False,
    variables: Mapping[str, str] | None = None,
    gather_seconds: float = 0.0,
) -> Process:
    """Start ``python -m MODULE``.

    Parameters
    ----------
    module
        Its name.
    directory
        Its working directory.
    orders
        What it reads from its standard input first; that stays open as long as this process lives.
    lines
        The queue for its lines, if several children share one.
    is_unwanted
        Whether to leave out a variable of the environment.
    variables
        Variables to add.
    gather_seconds
        As for `Process`.

    Raises
    ------
    FileNotFoundError
        If this Python does not know its own program.
    OSError
        If it cannot start.
    """
    if not sys.executable:
        raise FileNotFoundError("this Python does not know its own program")
    environment = {name: value for name, value in os.environ.items() if not is_unwanted(name)}
    here = str(Path(dataset_dl.__file__).parents[1])
    environment |= variables or {}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environment.get("PYTHONPATH")]))
    return Process(
        # Without -P, a file of the directory could be imported in place of a module.
        [sys.executable, "-P", "-m", module],
        directory=directory,
        environment=environment,
        gather_seconds=gather_seconds,
        stdin=orders,
        queue_of_lines=lines,
    )
