"""Start a child that dies with its parent, and ask it to end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: a child between fork and exec must not wait for a lock.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def start(
    argv: Sequence[str],
    directory: Path | None,
    environment: Mapping[str, str],
    *,
    is_fed: bool = False,
    is_paused_often: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a child in its own process group, so that Ctrl-C reaches only us and we stop the child."""
    # A child that is paused when its parent dies does not hear a gentle signal, so nothing would end it.
    farewell = signal.SIGKILL if is_paused_often and _prctl is not None else signal.SIGTERM
    group: dict[str, object] = {"process_group": 0, "preexec_fn": _dying_with(os.getpid(), farewell)}
    if sys.platform == "win32":
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    # On Linux the child gets a signal when its parent dies; SIGPIPE stays ignored, so that the broken pipe
    # does not kill it first.
    group["restore_signals"] = _prctl is None
    child: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
        argv,
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.PIPE if is_fed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        **group,
    )
    return child


def _dying_with(parent: int, farewell: signal.Signals) -> Callable[[], None] | None:
    """Return a function that makes a child on Linux end when its parent is killed; None elsewhere.

    Linux signals the child when the thread that started it ends, so that thread lives as long as the child.
    On other systems a child whose parent was killed ends when it next writes to its closed pipe.
    """
    if _prctl is None:
        return None
    prctl = _prctl

    def end_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, farewell)
        if os.getppid() != parent:  # the parent was killed in between
            os._exit(1)

    return end_with_parent


def terminate(child: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, as the system does that."""
    gentle = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM)
    with suppress(OSError):
        child.send_signal(gentle)
