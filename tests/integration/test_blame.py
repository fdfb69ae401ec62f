"""What stands in the way is told as what it is, and nothing hangs."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import openpyxl
import pytest

import dataset_dl as dd
from dataset_dl.errors import ManifestError, StorageError
from dataset_dl.manifest.contents import parse
from dataset_dl.testing import LocalBucket
from support.cli import PROGRAM, Cli
from support.faults import serve
from support.plans import plan_of, row


def uuids(bucket: LocalBucket, count: int = 1) -> str:
    return ",".join(each.crdc_series_uuid for each in bucket.series[:count])


def shell(
    cli: Cli, command: str, *, limit: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"{limit} {command}"], cwd=cli.directory, env=os.environ | (env or {}),
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def download(bucket: LocalBucket, *more: str) -> str:
    words = [
        str(PROGRAM),
        "idc",
        "download",
        uuids(bucket),
        "--to",
        "data",
        "--endpoint-url",
        bucket.endpoint_url,
        *more,
    ]
    return shlex.join(words)


@pytest.mark.parametrize(
    ("redirection", "code"),
    [("2>&-", 0), (">&-", 0), (">&- 2>&-", 0), ("2>/dev/full", 0), (">/dev/full", 5), ("--json 2>&-", 0),
     ("--json >/dev/full", 5), ("--json >&-", 0), ("<&- >&- 2>&-", 0)],
)  # fmt: skip
def test_a_download_does_not_need_to_be_heard(
    cli: Cli, bucket: LocalBucket, redirection: str, code: int
) -> None:
    done = shell(cli, f"{download(bucket)} {redirection}")
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    assert dd.verify(cli.directory / "data").ok
    if code == 5 and "2>" not in redirection:
        assert "written (No space left on device)" in done.stderr


def test_a_reader_of_events_that_goes_does_not_end_the_download(cli: Cli, bucket: LocalBucket) -> None:
    done = shell(cli, f"{download(bucket, '--json')} | head -n 1; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 0
    assert json.loads(done.stdout)["event"] == "started"
    assert dd.verify(cli.directory / "data").ok


def test_a_service_without_standard_error_can_download(
    bucket: LocalBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    assert dd.download(uuids(bucket), tmp_path / "to", endpoint_url=bucket.endpoint_url).ok


@pytest.fixture
def full_disk(tmp_path: Path):
    """A real file system with next to no room, if this machine may mount one."""
    place = tmp_path / "full"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", place], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("only root mounts a disk")
    (place / "filled").write_bytes(bytes(8192))
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_temporary_directory_is_named(cli: Cli, bucket: LocalBucket, full_disk: Path) -> None:
    for command in (
        download(bucket),
        shlex.join([str(PROGRAM), "idc", "manifest", "nlst", "--limit", "2000", "-o", "p.parquet"]),
    ):
        done = shell(cli, command, env={"TMPDIR": str(full_disk)})
        assert done.returncode == 5, done.stderr
        assert f"The temporary directory {full_disk} cannot be written to" in done.stderr
        assert "TMPDIR" in done.stderr
    assert not (cli.directory / "data").exists()


def test_doctor_ends_with_the_code_of_what_failed(cli: Cli, bucket: LocalBucket, full_disk: Path) -> None:
    done = cli("doctor", "--to", full_disk / "x", "--endpoint-url", bucket.endpoint_url)
    assert done.code == 5
    assert cli("doctor").code == 4  # nothing answers at the endpoint of these tests


def test_low_memory_is_told_as_such(cli: Cli, bucket: LocalBucket, tmp_path: Path) -> None:
    plan_of([row(number) for number in range(100)]).save(cli.directory / "p.parquet")
    command = shlex.join([str(PROGRAM), "idc", "manifest", "p.parquet", "-o", "q.parquet", "--force"])
    said = set()
    for limit in (350_000, 450_000, 600_000, 800_000):
        done = shell(cli, command, limit=f"ulimit -v {limit};")
        said.add(done.returncode)
        assert "is not a plan" not in done.stderr
        assert (
            done.returncode == 0
            or "Traceback" not in done.stderr
            or "MemoryError" in done.stderr
            or limit < 450_000
        )
    assert said <= {0, 1, 5, 134, -6, -11, 139, 127, -9}


NAMES = {
    "not UTF-8": b"caf\xe9",
    "with a line break": b"a\nb",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_destination_of_any_name_will_do(cli: Cli, bucket: LocalBucket, name: str) -> None:
    place = os.fsdecode(NAMES[name])
    command = ["idc", "download", uuids(bucket), "--to", place, "--endpoint-url", bucket.endpoint_url]
    for done in (cli.process(*command), cli(*command, "--json")):
        assert done.code == 0, done.err
    assert len(list((cli.directory / place).rglob("*.dcm"))) == bucket.series[0].instanceCount
    for words in (
        ["verify", place],
        ["verify", place, "--json"],
        ["diff", place],
        ["diff", place, "--format", "json"],
        ["manifest", place, "-o", f"{place}.parquet"],
    ):
        done = cli("idc", *words)
        assert done.code == 0, done.err


def test_nobodys_home_is_no_directory(cli: Cli) -> None:
    done = cli("idc", "download", "rider_pilot", "--to", "~nouser-of-that-name/x")
    assert done.code == 5
    assert "There is no user “nouser-of-that-name”" in done.err
    assert list(cli.directory.iterdir()) == []


def test_a_working_directory_that_is_gone_is_told(cli: Cli) -> None:
    gone = cli.directory / "gone"
    command = shlex.join([str(PROGRAM), "idc", "download", "rider_pilot", "--to", "x"])
    done = shell(cli, f"mkdir {gone}; cd {gone}; rmdir {gone}; {command}")
    assert done.returncode == 5, done.stderr
    assert "The working directory is gone" in done.stderr
    listing = shlex.join([str(PROGRAM), "idc", "collections", "--search", "phantom"])
    assert shell(cli, f"mkdir {gone}; cd {gone}; rmdir {gone}; {listing}").returncode == 0


def test_a_name_that_is_too_long_is_told_before_anything_starts(cli: Cli) -> None:
    done = cli("idc", "download", "rider_pilot", "--to", "a" * 300)
    assert done.code == 5
    assert "has 300 bytes, and a name there has 255 at most; nothing was started" in done.err


@pytest.mark.parametrize("text", ["x" * 200_000, '"' * 7, "a\x1bb", "'", '"a', "\ufeff", "#", "://"])
def test_a_file_of_one_line_is_no_fault_of_the_program(cli: Cli, text: str) -> None:
    (cli.directory / "m.txt").write_text(text)
    done = cli("idc", "download", "m.txt", "--to", "d")
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert "\x1b" not in done.err
    assert len(done.err) < 1_000


def test_objects_that_are_nobodys_are_told_as_such(bucket: LocalBucket, tmp_path: Path) -> None:
    with serve(bucket.root) as server:
        server.listed_too = ["00000000-0000-0000-0000-000000000000.dcm"]
        report = dd.download(
            uuids(bucket), tmp_path / "to", endpoint_url=server.endpoint_url, check=False, retries=0
        )
    for failure in report.failures:
        counts = [word for word in failure.message.split() if word[0].isdigit()]
        assert len(set(counts)) == len(counts), failure.message


def bomb(entries: int, size: int) -> bytes:
    book = openpyxl.Workbook()
    book.worksheets[0].append(["SeriesInstanceUID"])
    data = io.BytesIO()
    book.save(data)
    with zipfile.ZipFile(data, "a", zipfile.ZIP_DEFLATED) as archive:
        for number in range(entries):
            archive.writestr(f"xl/worksheets/sheet{number + 2}.xml", bytes(size))
    return data.getvalue()


@pytest.mark.timeout(30)
def test_a_workbook_that_unpacks_without_end_is_refused_at_once() -> None:
    for entries in (1, 10):
        data = bomb(entries, 50_000_000)
        assert len(data) < 1_000_000
        with pytest.raises(ManifestError, match=f"would unpack to {50 * entries} MB"):
            parse(data, "bomb.xlsx")


def test_a_large_workbook_is_read() -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("all")
    sheet.append(["SeriesInstanceUID"])
    for number in range(60_000):
        sheet.append([f"1.3.6.1.4.1.14519.5.2.1.{number}.{number}"])
    data = io.BytesIO()
    book.save(data)
    (account,) = parse(data.getvalue(), "m.xlsx").accounts
    assert account.rows == 60_000


def test_what_a_killed_program_leaves_is_swept_by_the_next(cli: Cli, bucket: LocalBucket) -> None:
    scratch = cli.directory / "tmp"
    scratch.mkdir()
    env = os.environ | {"TMPDIR": str(scratch)}
    with serve(bucket.root) as server:
        server.faults = {".dcm": "hang"}
        words = ["idc", "download", uuids(bucket), "--to", "data", "--endpoint-url", server.endpoint_url]
        process = subprocess.Popen([PROGRAM, *words], cwd=cli.directory, env=env, stderr=subprocess.DEVNULL)
        while not list(scratch.glob("dataset-dl-run-*/commands.txt")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(scratch.glob("dataset-dl-*"))
    stranger = scratch / "dataset-dl-notes"
    stranger.mkdir()
    words = ["idc", "download", uuids(bucket), "--to", "data", "--endpoint-url", bucket.endpoint_url]
    assert cli.process(*words, env=env).code == 0
    assert list(scratch.glob("dataset-dl-*")) == [stranger]


def test_the_directory_of_a_living_process_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_dl import scratch

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    code = "import time; from dataset_dl.scratch import Scratch; s = Scratch('x'); print(s.path, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    path = Path(process.stdout.readline().strip())
    with scratch.Scratch("mine"):
        scratch._swept.clear()
        scratch.Scratch("again").close()
        assert path.is_dir()
    process.kill()
    process.wait()
    scratch._swept.clear()
    scratch.Scratch("again").close()
    assert not path.exists()
    process.stdout.close()


def test_a_dry_run_that_does_not_fit_says_so_with_its_code(cli: Cli) -> None:
    done = cli("idc", "download", "nlst", "--to", "d", "--dry-run")
    assert done.code == 5
    assert "DOES NOT FIT" in done.out
    assert "TB are needed" in done.err
    as_json = cli("idc", "download", "nlst", "--to", "d", "--dry-run", "--json")
    assert as_json.code == 5
    assert as_json.json["needed_bytes"] > as_json.json["free_bytes"]


def test_repair_is_only_advised_where_it_helps(cli: Cli, bucket: LocalBucket) -> None:
    assert cli("idc", "download", uuids(bucket), "--to", "d", "--endpoint-url", bucket.endpoint_url).code == 0
    file = next((cli.directory / "d").rglob("*.dcm"))
    (file.parent / "more.dcm").write_text("x")
    extra = cli("idc", "verify", "d")
    assert extra.code == 3
    assert "--repair" not in extra.err
    assert "1 directory below d is not as it should be" in extra.err
    (file.parent / "more.dcm").unlink()
    file.unlink()
    assert "--repair" in cli("idc", "verify", "d").err


def test_a_password_without_a_host_is_never_shown(cli: Cli) -> None:
    for name in ("DATASET_DL_PROXY", "HTTPS_PROXY", "DATASET_DL_ENDPOINT_URL"):
        for value in ("http://bob:S3cr3tPw", "http://bob:S3cr3tPw@", "bob:S3cr3tPw", "https://b:S3cr3tPw/x"):
            env = {name: value}
            for command in (["doctor"], ["idc", "download", "rider_pilot", "--to", "d"]):
                done = cli(*command, env=env)
                assert "S3cr3tPw" not in done.out + done.err, (name, value, command)


def test_verify_on_a_terminal_ends_its_progress_before_the_result(cli: Cli, bucket: LocalBucket) -> None:
    assert (
        cli("idc", "download", uuids(bucket), "--to", "data", "--endpoint-url", bucket.endpoint_url).code == 0
    )
    code = (
        "import sys;"
        "sys.argv = ['dataset-dl', 'idc', 'verify', 'data']; from dataset_dl.cli import main; main()"
    )
    done = shell(cli, f"script -qec {shlex.quote(shlex.join([sys.executable, '-c', code]))} /dev/null")
    lines = done.stdout.replace("\r\n", "\n").split("\n")
    (result,) = [line for line in lines if "all complete" in line]
    assert "looked at" in done.stdout
    assert result.split("\x1b[2K")[-1].startswith("data: 1 series")
    assert not result.split("\x1b[2K")[-1].endswith("looked at")


def test_a_stranger_cannot_write_on_the_terminal(cli: Cli) -> None:
    name = "x\x1b[2J\x1b[1;1HEvery series is on disk, its count and bytes checked.\n"
    done = cli("idc", "download", name, "--to", "d")
    assert "\x1b" not in done.err
    assert done.err.count("\n") == 1
    (cli.directory / "m.s5cmd").write_text(f"cp s3://a/{name.strip()} .\n")
    assert "\x1b" not in cli("idc", "download", "m.s5cmd", "--to", "d").err


def test_rights_hold_no_markup_of_a_stranger(tmp_path: Path) -> None:
    from dataset_dl.sources.idc import rights

    evil = row(1)._replace(
        collection_id="a|b](http://evil)<script>", license_short_name="CC BY 4.0 | **free** [x](y)",
        source_DOI="10.1/x}, author={Evil}, url={http://evil) <b>",
    )  # fmt: skip
    shares = rights.shares(plan_of([evil]))
    works = rights.works(share.source_DOI for share in shares if share.source_DOI)
    text = rights.licences_text(shares, works)
    line = next(line for line in text.splitlines() if "script" in line)
    assert "<script>" not in line
    assert not re.search(r"(?<!\\)\]\(http://evil", line)
    assert line.replace("\\|", "").count("|") == 7
    entry = rights.bibtex(works).split("\n\n")[0]
    assert entry.count("{") == entry.count("}")
    assert "author={Evil}" not in entry


def test_files_that_are_no_files_do_not_hang(tmp_path: Path, bucket: LocalBucket) -> None:
    target = tmp_path / "to"
    assert dd.download(uuids(bucket), target, endpoint_url=bucket.endpoint_url).ok
    for name in ("plan.parquet", "journal.sqlite", "requests.json"):
        path = target / ".dataset-dl" / name
        kept = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        with pytest.raises((StorageError, ManifestError)):
            dd.download(uuids(bucket, 2), target, endpoint_url=bucket.endpoint_url)
        path.unlink()
        if kept is not None:
            path.write_bytes(kept)
