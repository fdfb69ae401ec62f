from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from dataset_dl.process import Process, run_to_end
from support.children import running


def start(code: str, directory: Path) -> Process:
    return Process(
        [sys.executable, "-u", "-c", code],
        directory=directory,
        environment=dict(os.environ),
        is_paused_often=True,
    )


def lines(process: Process) -> list[bytes]:
    return [line for batch in process.lines(0.05) for line in batch]


def test_both_outputs_arrive_to_the_last_line(tmp_path: Path) -> None:
    process = start(
        "import sys; print('a'); print('b', file=sys.stderr); sys.stdout.write('no end')", tmp_path
    )
    assert sorted(lines(process)) == [b"a", b"b", b"no end"]
    assert process.returncode == 0
    assert process.stderr_tail == "b"
    assert process.stdout_bytes == 8
    process.stop()


def test_it_runs_in_its_directory_and_group(tmp_path: Path) -> None:
    process = start("import os; print(os.getcwd()); print(os.getpgid(0) == os.getpid())", tmp_path)
    assert lines(process) == [str(tmp_path).encode(), b"True"]


def test_silence_ticks(tmp_path: Path) -> None:
    process = start("import time; time.sleep(0.5)", tmp_path)
    assert sum(batch == [] for batch in process.lines(0.05)) >= 3


def test_more_output_than_a_pipe_holds(tmp_path: Path) -> None:
    code = "import sys\nfor n in range(200_000): print(n, 'x' * 50, file=sys.stderr if n % 2 else sys.stdout)"
    assert len(lines(start(code, tmp_path))) == 200_000


def test_stop_while_no_one_reads(tmp_path: Path) -> None:
    process = start("while True: print('x' * 1000)", tmp_path)
    time.sleep(0.5)
    began = time.monotonic()
    process.stop()
    assert process.returncode == -signal.SIGTERM
    assert time.monotonic() - began < 30
    process.stop()


def test_what_is_paused_rests_and_still_ends_gently(tmp_path: Path) -> None:
    process = start("import time\nwhile True: print('x'); time.sleep(0.01)", tmp_path)
    while not process.stdout_bytes:
        time.sleep(0.01)
    process.pause()
    time.sleep(0.2)
    before = process.stdout_bytes
    time.sleep(0.5)
    assert process.stdout_bytes == before
    process.resume()
    while process.stdout_bytes == before:
        time.sleep(0.01)
    process.pause()
    process.stop()
    assert process.returncode == -signal.SIGTERM
    process.pause()  # it has ended
    process.resume()


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    process = start(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('on')\nwhile True: time.sleep(1)",
        tmp_path,
    )
    next(iter(process.lines(5)))
    process.stop(grace_seconds=0.2)
    assert process.returncode == -signal.SIGKILL


def test_what_cannot_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Process(["/no/such/program"], directory=tmp_path, environment={})
    with pytest.raises(FileNotFoundError):
        Process([sys.executable], directory=tmp_path / "none", environment={})


def test_threads_do_not_stay(tmp_path: Path) -> None:
    before = threading.active_count()
    for _ in range(3):
        process = start("print(1)", tmp_path)
        lines(process)
        process.stop()
    assert threading.active_count() == before


def test_the_end_of_the_interpreter_ends_the_child(tmp_path: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from dataset_dl.process import Process
process = Process([sys.executable, "-c", "import time; time.sleep(60)"], directory=Path({str(tmp_path)!r}), environment=dict(os.environ), is_paused_often=True)
print(process.pid)
"""
    answer = run_to_end([sys.executable, "-c", code], environment=dict(os.environ), timeout_seconds=30)
    assert answer.returncode == 0, answer.stderr
    assert not psutil.pid_exists(int(answer.stdout))


def test_ask_answers_or_gives_up() -> None:
    answer = run_to_end(
        [sys.executable, "-c", "import sys; print(1); sys.exit('no')"], environment={}, timeout_seconds=30
    )
    assert (answer.returncode, answer.stdout.strip(), answer.stderr.strip()) == (1, "1", "no")
    with pytest.raises(TimeoutError):
        run_to_end([sys.executable, "-c", "import time; time.sleep(60)"], environment={}, timeout_seconds=0.3)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such timer")
def test_an_interrupt_while_it_starts_leaves_no_child(tmp_path: Path) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(60):
            process = None
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + number * 0.0002)
                process = Process(["sleep", "30"], directory=tmp_path, environment={})
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                pass
            if process is not None:
                process.stop()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not running("sleep")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a POSIX system")
def test_a_question_whose_asker_is_killed_is_asked_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"if [ -e {mark} ]; then echo answer; else touch {mark}; kill -9 $$; fi"
    environment = {"PATH": os.environ["PATH"]}
    answer = run_to_end(["/bin/sh", "-c", script], environment=environment, timeout_seconds=20)
    assert (answer.returncode, answer.stdout) == (0, "answer\n")
    assert run_to_end(["/bin/sh", "-c", "kill -9 $$"], environment={}, timeout_seconds=20).returncode == -9


def test_what_cannot_be_a_command_line_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null"):
        Process(["sl\0eep"], directory=tmp_path, environment={})


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such timer")
def test_an_interrupt_while_it_is_heard_never_hangs_its_end(tmp_path: Path) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(60):
            process = Process(["yes", "line"], directory=tmp_path, environment={})
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001 + number * 0.0003)
                for _ in process.lines(0.0005):
                    pass
            except KeyboardInterrupt:
                pass
            process.stop()
            assert process.returncode is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child ends when it next writes")
def test_a_paused_child_dies_with_its_parent(tmp_path: Path) -> None:
    """The system wakes a paused orphan, but not one that is paused in the moment of its parent's death."""
    script = """
import os, sys, time
from pathlib import Path
import psutil
from dataset_dl.process import Process
child = Process(["sleep", "600"], directory=Path("/"), environment=dict(os.environ), is_paused_often=True)
os.setsid()  # from now on the child's group is an orphan, which the system does not wake again
child.pause()
while psutil.Process(child.pid).status() != "stopped":
    time.sleep(0.01)
print(child.pid, flush=True)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie":
        assert time.monotonic() < deadline, "the paused child lives on"
        time.sleep(0.02)
