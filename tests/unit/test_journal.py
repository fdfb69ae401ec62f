from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from dataset_dl.destination.journal import Journal
from support.plans import row


def test_what_is_recorded_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.record(row(1))
        journal.record(row(2), ["b.dcm", "a.dcm"])
    with Journal(path) as journal:
        assert journal.set_aside is None
        assert journal.holds(row(1))
        assert journal.holds(row(2))
        assert journal.names(row(1)) is None
        assert journal.names(row(2)) == ["a.dcm", "b.dcm"]
        assert not journal.holds(row(3))


@pytest.mark.parametrize("change", [{"directory": "other"}, {"count": 3}, {"size": 21}])
def test_it_holds_a_series_only_as_it_was(tmp_path: Path, change: dict[str, object]) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.record(row(1), ["a.dcm"])
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.holds(row(1))
        assert journal.names(row(1)) == ["a.dcm"]
        assert journal.names(row(1, **change)) is None  # type: ignore[arg-type]
        assert not journal.holds(row(1, **change))  # type: ignore[arg-type]


def test_what_is_forgotten_is_not_there(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.record(row(1))
        journal.forget(row(1))
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert not journal.holds(row(1))


def test_the_sum_of_a_shared_directory(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.record(row(1, directory="d", count=2, size=20), ["a", "b"])
        journal.record(row(2, directory="d", count=1, size=7), ["c"])
        journal.record(row(3, directory="e", count=9, size=9), ["c"])
        assert journal.instances("d") == 3
        assert journal.instances("nowhere") == 0


def damaged(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)


def text(path: Path) -> None:
    path.write_text("shopping list")


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (a)")
    connection.close()


def newer(path: Path) -> None:
    Journal(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def torn(path: Path) -> None:
    with Journal(path) as journal:
        for number in range(5_000):
            journal.record(row(number))
    data = path.read_bytes()
    path.write_bytes(data[:8192] + bytes(4096) + data[12288:])


@pytest.mark.parametrize("spoil", [damaged, text, foreign, newer, torn])
def test_what_is_no_journal_is_set_aside_and_kept(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "journal.sqlite"
    spoil(path)  # type: ignore[operator]
    data = path.read_bytes()
    with Journal(path) as journal:
        assert journal.set_aside is not None
        assert journal.set_aside.read_bytes() == data
        assert not journal.holds(row(1))
        journal.record(row(1))
    with Journal(path) as journal:
        assert journal.set_aside is None
        assert journal.holds(row(1))


def test_an_empty_file_is_a_journal_that_was_just_begun(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.touch()
    with Journal(path) as journal:
        assert journal.set_aside is None


def test_a_process_that_is_killed_leaves_it_sound(tmp_path: Path) -> None:
    import os
    import signal
    import subprocess
    import sys

    path = tmp_path / "journal.sqlite"
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from dataset_dl.destination import journal; from support.plans import row\n"
        "journal._COMMIT_SECONDS = 0.01\n"
        "kept = journal.Journal(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    kept.record(row(number))\n"
        "    if number == 20_000: print('going', flush=True)\n"
    )
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", code, str(path), tests], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
    with Journal(path) as journal:
        assert journal.set_aside is None
        assert journal.holds(row(1))
