"""Run a short command to its end."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataset_dl.process.starting import start

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """Exit code and output of a short command."""

    returncode: int
    stdout: str
    stderr: str


def run_to_end(argv: Sequence[str], *, environment: Mapping[str, str], timeout_seconds: float) -> Answer:
    """Run a command that ends by itself; retry it if a signal killed it.

    Raises
    ------
    OSError
        If it cannot be started.
    TimeoutError
        If it does not end in time; it is then killed.
    """
    for _ in range(_TRIES):
        answer = _ask(argv, environment, timeout_seconds)
        if answer.returncode >= 0:
            break
    return answer


def _ask(argv: Sequence[str], environment: Mapping[str, str], timeout_seconds: float) -> Answer:
    child = start(argv, None, environment)
    with child:
        try:
            stdout, stderr = child.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"no answer within {timeout_seconds:.0f} s") from None
        finally:
            child.kill()
    return Answer(child.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace"))
