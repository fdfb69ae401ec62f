"""A long-running child process: drained, watched and stopped."""

from __future__ import annotations

import _thread
import atexit
import os
import queue
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dataset_dl.process.starting import start, terminate

if TYPE_CHECKING:
    import subprocess

    import psutil

_READ_BYTES = 1 << 16
# Reads buffered for a slow consumer: 256 reads are up to 60,000 files; after that s5cmd waits.
_QUEUE_READS = 256
_TAIL_LINES = 20
_TICK_SECONDS = 0.002
_FULL_TICK_SECONDS = 0.02
# After a child has ended, its standard error is read for so long.
_INHERITED_SECONDS = 1.0
# After a read this large, read again at once: the pipe holds only 64 KB on Linux.
_MANY_BYTES = 1 << 14
# Batches of lines, and None at the end of each child.
LineQueue = queue.SimpleQueue[list[bytes] | None]


class Process:
    """A long-running child process; its output lines are passed on as they arrive.

    One thread starts the child, reads its standard output and waits for it; a second one reads its standard
    error, because an undrained pipe would block the child; a third one writes its standard input, if it has
    one. The threads share no lock that is acquired in Python code, not even to start and end, so `threading`
    is not used: a Ctrl-C right after acquiring such a lock would leave it locked.

    Parameters
    ----------
    argv, directory, environment
        Command, working directory and environment of the child.
    gather_seconds
        How long to gather lines into a batch: passing on a batch costs ten times as much as a line in it.
    stdin
        What the child reads from its standard input first. The input then stays open as long as this process
        lives, or until `end_input`. None for an empty input.
    queue_of_lines
        The queue for its lines, if several children share one; see `lines_of`.
    is_paused_often
        Whether `pause` will be used: then it is killed if this process dies, because a paused child does not
        hear that it should end.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        gather_seconds: float = 0.0,
        stdin: bytes | None = None,
        queue_of_lines: LineQueue | None = None,
        is_paused_often: bool = False,
    ) -> None:
        self._argv = list(argv)
        self._directory = directory
        self._environment = dict(environment)
        self._gather_seconds = gather_seconds
        self._is_fed = stdin is not None
        self._is_paused_often = is_paused_often
        # What the child is to read; None ends its input.
        self._input: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.feed(stdin or b"")
        self._queue: LineQueue = queue.SimpleQueue() if queue_of_lines is None else queue_of_lines
        self._discard = False
        self._is_begun = self._is_started = self._is_drained = self._is_over = False
        self._is_unwanted = self._is_paused = False
        self._start_error: BaseException | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._stderr: deque[bytes] = deque(maxlen=_TAIL_LINES)
        self.stdout_bytes = 0
        self._made_in = os.getpid()
        _living.add(self)
        try:
            _thread.start_new_thread(self._run, ())
            while not self._is_started:
                time.sleep(_TICK_SECONDS)
            if self._start_error is not None:
                raise self._start_error
        except BaseException:  # Ctrl-C may come at any moment
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Process id of the child."""
        assert self._child is not None
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """Exit code of the child, negative for a signal; None while it runs."""
        return self._child.returncode if self._child else None

    @property
    def stderr_tail(self) -> str:
        """Last lines of the child's standard error."""
        return b"\n".join(self._stderr).decode(errors="replace")

    def lines(self, tick_seconds: float) -> Iterator[list[bytes]]:
        """Yield lines of both outputs in batches; an empty batch after each `tick_seconds` of silence."""
        return lines_of(self._queue, 1, tick_seconds)

    def feed(self, data: bytes) -> None:
        """Let the child read something from its standard input; never waits for the child."""
        if data:
            self._input.put(data)

    def end_input(self) -> None:
        """End the child's standard input, after what was fed so far."""
        self._input.put(None)

    def ignore_output(self) -> None:
        """Discard all output from now on."""
        self._discard = True

    def pause(self) -> None:
        """Suspend the child until `resume`, unless it is being stopped: it must be able to clean up."""
        if not self._is_unwanted:
            self._is_paused = True
            self._ask(lambda child: child.suspend())

    def resume(self) -> None:
        """Resume the child."""
        self._ask(lambda child: child.resume())

    def _ask(self, act: Callable[[psutil.Process], None]) -> None:
        import psutil

        with suppress(psutil.Error):  # the child has just ended
            act(psutil.Process(self.pid))

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Stop the child, see `stop_all`."""
        stop_all([self], grace_seconds)

    def _begin_to_stop(self) -> None:
        self._is_unwanted = self._discard = True
        # A thread that has not begun sees `_is_unwanted` and starts no child.
        while self._is_begun and not self._is_started:
            time.sleep(_TICK_SECONDS)
        if self._is_alive():
            assert self._child is not None
            terminate(self._child)

    def _is_alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def _is_going(self) -> bool:
        """Whether the child, or a thread that owns it, has not ended yet."""
        if self._is_paused and self._is_alive():
            self.resume()  # another thread may just have paused it
        return self._child is not None and not self._is_over

    def _kill(self) -> None:
        if self._is_alive():
            assert self._child is not None
            self._child.kill()

    def _run(self) -> None:
        self._is_begun = True
        try:
            if not self._is_unwanted:
                self._own()
        finally:
            self._put(None)
            self._is_started = self._is_over = True

    def _own(self) -> None:
        try:
            child = start(
                self._argv, self._directory, self._environment,
                is_fed=self._is_fed, is_paused_often=self._is_paused_often,
            )  # fmt: skip
        except BaseException as error:
            self._start_error = error
            return
        self._child = child
        self._is_started = True
        assert child.stdout is not None and child.stderr is not None
        _thread.start_new_thread(self._drain_errors, (child.stderr,))
        if child.stdin is not None:
            _thread.start_new_thread(self._feed, (child.stdin,))
        with child.stdout:
            self._pump(child.stdout, None)
        ended_at: float | None = None
        while not self._is_drained:
            time.sleep(_TICK_SECONDS)
            if ended_at is None:
                ended_at = None if child.poll() is None else time.monotonic()
            elif time.monotonic() - ended_at > _INHERITED_SECONDS:
                break  # a process that the child has started, and that lives on, has it open
        self.end_input()
        child.wait()

    def _feed(self, stream: IO[bytes]) -> None:
        with stream, suppress(OSError):  # the child has ended
            while (data := self._input.get()) is not None:
                rest = memoryview(data)
                while rest:
                    rest = rest[stream.write(rest) :]

    def _drain_errors(self, stream: IO[bytes]) -> None:
        try:
            with stream:
                self._pump(stream, self._stderr)
        finally:
            self._is_drained = True

    def _pump(self, stream: IO[bytes], tail: deque[bytes] | None) -> None:
        rest = b""
        while chunk := os.read(stream.fileno(), _READ_BYTES):
            if tail is None:
                self.stdout_bytes += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            if tail is not None:
                tail.extend(lines)
            if lines:
                self._put(lines)
            if self._gather_seconds and len(chunk) < _MANY_BYTES:
                time.sleep(self._gather_seconds)
        if rest:
            self._put([rest])

    def _put(self, batch: list[bytes] | None) -> None:
        while self._queue.qsize() >= _QUEUE_READS and not self._discard:
            time.sleep(_FULL_TICK_SECONDS)
        if not self._discard:
            self._queue.put(batch)


def stop_all(several: Iterable[Process], grace_seconds: float = 5.0) -> None:
    """Stop children, gently at first: they remove their temporary files on a signal; then kill them."""
    # A fork inherits the objects, but the children belong to the parent.
    ours = [each for each in several if each._made_in == os.getpid()]
    try:
        for each in ours:
            each._begin_to_stop()
        deadline = time.monotonic() + grace_seconds
        while sum(each._is_going() for each in ours) and time.monotonic() < deadline:
            time.sleep(_TICK_SECONDS)
    finally:  # a second Ctrl-C ends the wait
        for each in ours:
            each._kill()
    while any(each._is_going() for each in ours):
        time.sleep(_TICK_SECONDS)
    _living.difference_update(ours)


def lines_of(several: LineQueue, count: int, tick_seconds: float) -> Iterator[list[bytes]]:
    """Yield the lines of some children that share a queue, until all have ended; see `Process.lines`."""
    while count:
        try:
            batch = several.get(timeout=tick_seconds)
        except queue.Empty:
            yield []
            continue
        if batch is None:
            count -= 1
        else:
            yield batch


_living: weakref.WeakSet[Process] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    stop_all(list(_living))
