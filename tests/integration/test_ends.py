"""However a caller's program ends, its children end with it, and the next run goes on."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import dataset_dl as dd
from dataset_dl.destination.journal import Journal
from support.cli import PROGRAM
from support.faults import FaultServer

BEGIN = """
import os, sys, multiprocessing, threading
import dataset_dl as dd
plan, endpoint_url, to = dd.plan(sys.argv[1]), sys.argv[2], sys.argv[3]
"""
ENDINGS = {
    "an exception in the callback": """
def stop(progress):
    if progress.completed_files:
        raise ValueError("the caller's own")
dd.download(plan, to, endpoint_url=endpoint_url, progress_callback=stop)
""",
    "an exception in the loop": """
for event in dd.download_events(plan, to, endpoint_url=endpoint_url):
    if type(event).__name__ == "FileCompleted":
        raise ValueError("the caller's own")
""",
    "sys.exit in the loop": """
for event in dd.download_events(plan, to, endpoint_url=endpoint_url):
    if type(event).__name__ == "FileCompleted":
        sys.exit(7)
""",
    "a generator that is dropped": """
def begin():
    for event in dd.download_events(plan, to, endpoint_url=endpoint_url):
        if type(event).__name__ == "FileCompleted":
            return
begin()
import psutil
assert not psutil.Process().children()
""",
    "the end of the interpreter": """
events = dd.download_events(plan, to, endpoint_url=endpoint_url)
while type(next(events)).__name__ != "FileCompleted":
    pass
""",
    "the end in another thread": """
events = dd.download_events(plan, to, endpoint_url=endpoint_url)
def run():
    while type(next(events)).__name__ != "FileCompleted":
        pass
thread = threading.Thread(target=run)
thread.start()
thread.join()
""",
    "no end at all": """
for event in dd.download_events(plan, to, endpoint_url=endpoint_url):
    if type(event).__name__ == "FileCompleted":
        os._exit(0)
""",
}


@pytest.fixture
def server(server: FaultServer) -> FaultServer:
    server.each_nth = (1, "slow")
    return server


@pytest.fixture
def plan(saved: Path, tmp_path: Path) -> Path:
    return shutil.copy(saved, tmp_path / "plan.parquet")


def of_destination(target: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if process.info["cwd"] == str(target)
        and any(
            each.endswith("/s5cmd") or each == "dataset_dl.engines.curl.worker"
            for each in process.info["cmdline"] or ()
        )
    ]


def temporaries(target: Path) -> list[Path]:
    return [path for path in target.rglob("*.dcm?*") if path.is_file()]


def resumes(plan: Path, server: FaultServer, target: Path) -> bool:
    with Journal(target / ".dataset-dl" / "journal.sqlite") as journal:
        assert journal.set_aside is None
    server.each_nth = None
    report = dd.download(dd.plan(plan), target, endpoint_url=server.endpoint_url, progress="none")
    return report.ok and dd.verify(target, deep=True).ok


@pytest.mark.parametrize("options", ['engine="s5cmd"', 'engine="s5cmd", max_rate_mbps=0.2', 'engine="curl"'])
@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_of_it(
    plan: Path, server: FaultServer, tmp_path: Path, ending: str, options: str
) -> None:
    """Held to a rate, s5cmd is paused most of the time."""
    target = tmp_path / "to"
    code = BEGIN + ENDINGS[ending].replace("=endpoint_url", f"=endpoint_url, {options}")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, plan, server.endpoint_url, target],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert time.monotonic() - began < 30
    if "exception" in ending:
        assert "the caller's own" in done.stderr
    else:
        assert done.returncode == (7 if "sys.exit" in ending else 0), done.stderr
    deadline = time.monotonic() + 5
    while of_destination(target) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not of_destination(target)
    if ending != "no end at all":  # a child that the system tells to end does not always come to it
        assert not temporaries(target)
    assert resumes(plan, server, target)
    assert not temporaries(target)


@pytest.mark.skipif(sys.platform != "linux", reason="stopping a process is told by /proc")
def test_the_second_signal_ends_at_once(plan: Path, server: FaultServer, tmp_path: Path, engine: str) -> None:
    target = tmp_path / "to"
    with begun(plan, server, target) as program:
        for child in of_destination(target):
            child.suspend()  # so that it cannot end gently
        program.send_signal(signal.SIGINT)
        time.sleep(1)
        assert program.poll() is None
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=20)
    assert time.monotonic() - began < 2
    assert program.returncode == 130
    assert not of_destination(target)
    assert not temporaries(target)
    assert resumes(plan, server, target)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a POSIX system")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_after_the_outcome_does_not_change_it(name: str) -> None:
    late = (
        "import atexit, os, signal, sys\n"
        "from dataset_dl.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"atexit.register(os.kill, os.getpid(), signal.{name})\n"
        "sys.argv = ['dataset-dl', '--version']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", late], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a POSIX system")
def test_a_download_under_nohup_outlives_its_terminal(
    plan: Path, server: FaultServer, tmp_path: Path
) -> None:
    with begun(plan, server, tmp_path / "to", "nohup") as program:
        program.send_signal(signal.SIGHUP)
        program.communicate(timeout=60)
    assert program.returncode == 0
    assert dd.verify(tmp_path / "to").ok


def test_downloads_in_threads_do_not_disturb_each_other(
    plan: Path, server: FaultServer, tmp_path: Path
) -> None:
    reports: dict[int, dd.Report] = {}

    def run(number: int) -> None:
        reports[number] = dd.download(
            dd.plan(plan), tmp_path / str(number), endpoint_url=server.endpoint_url, progress="none"
        )

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reports[number].ok for number in range(3)] == [True, True, True]


def test_downloads_in_processes_do_not_disturb_each_other(
    plan: Path, server: FaultServer, tmp_path: Path
) -> None:
    code = (
        BEGIN
        + """
def run(number):
    return dd.download(plan, f"{to}/{number}", endpoint_url=endpoint_url, progress="none").ok
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(run, range(3)) == [True, True, True]
    assert dd.download(plan, f"{to}/3", endpoint_url=endpoint_url, progress="none").ok
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", code, plan, server.endpoint_url, tmp_path / "to"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def begun(plan: Path, server: FaultServer, target: Path, *before: str) -> subprocess.Popen[bytes]:
    """The command, when s5cmd has written its first file."""
    program = subprocess.Popen(
        [*before, PROGRAM, "idc", "download", plan, "--to", target, "--endpoint-url", server.endpoint_url,
         "--workers", "4", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Of a background job it is ignored, and would stay so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert program.stdout is not None
    for line in program.stdout:
        if b"file_completed" in line:
            break
    return program
