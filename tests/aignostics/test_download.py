"""Samples end in files whose checksum is the store's, whatever happens on the way."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import dataset_dl as dd
from aignostics.conftest import BUCKET, CONTENT
from dataset_dl.aignostics import download
from dataset_dl.destination.records import kept_plan
from support.cli import PROGRAM, Cli
from support.gcs import EMAIL, Gate, Key

ALL = f"gs://{BUCKET}/slides/"
ONE, TWO = f"gs://{BUCKET}/slides/one.tiff", f"gs://{BUCKET}/slides/two.svs"
BELOW = {name: data for name, data in CONTENT.items() if name.startswith("slides/")}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as short as tests need."""
    monkeypatch.setattr("dataset_dl.aignostics.fetching._PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("dataset_dl.transfer.rounds.pause_before", lambda *_: 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second request inside of the session, which pauses for seconds."""
    from dataset_dl.network.session import session

    monkeypatch.setattr(
        "dataset_dl.aignostics.requesting.session", lambda network: session(network, retries=0)
    )


def files_of(target: Path) -> dict[str, bytes]:
    root = target / BUCKET
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_everything_below_a_folder_comes(gate: Gate, tmp_path: Path) -> None:
    gate.page_size = 2
    report = download(ALL, tmp_path)
    assert report.ok
    assert (report.fetched_series, report.fetched_bytes) == (4, sum(map(len, BELOW.values())))
    assert files_of(tmp_path) == BELOW
    assert not gate.unsigned
    assert dd.verify(tmp_path).ok
    assert dd.verify(tmp_path, md5=True).ok
    assert not dd.verify(tmp_path, md5=True).unchecked


def test_a_second_run_fetches_nothing(gate: Gate, tmp_path: Path) -> None:
    download([ONE, TWO, ONE], tmp_path)
    gate.asked.clear()
    report = download([ONE, TWO], tmp_path)
    assert (report.ok, report.fetched_series, report.complete_series) == (True, 0, 2)
    assert not gate.bodies()


def test_it_goes_through_the_proxy(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate is the proxy here: nobody resolves the name of this store."""
    monkeypatch.setenv("DATASET_DL_GCS_ENDPOINT_URL", "http://storage.example.test")
    assert download(ONE, tmp_path, proxy=gate.url).ok
    assert files_of(tmp_path) == {"slides/one.tiff": CONTENT["slides/one.tiff"]}
    assert not gate.unsigned


def test_several_come_at_once(gate: Gate, tmp_path: Path) -> None:
    gate.faults = {"slides/": "slow"}
    assert download(ALL, tmp_path, workers=3).ok
    assert gate.most_at_once == 3


def test_what_is_cut_again_and_again_goes_on_as_long_as_bytes_come(gate: Gate, tmp_path: Path) -> None:
    gate.faults = {"one": "cut"}  # each time half of the rest comes, at last nothing
    report = download(ONE, tmp_path, check=False, retries=0)
    assert [each.cause for each in report.failures] == ["truncated"]
    assert len(gate.bodies()) > 15
    gate.faults = {}
    gate.asked.clear()
    assert download(ONE, tmp_path).ok
    assert gate.bodies() == [("slides/one.tiff", "bytes=700000-")]


def test_what_is_cut_goes_on_where_it_ended(gate: Gate, tmp_path: Path) -> None:
    gate.faults = {"one": "cut once"}
    assert download(ONE, tmp_path).ok
    assert [range_ for _, range_ in gate.bodies()] == ["", "bytes=350000-"]
    assert files_of(tmp_path) == {"slides/one.tiff": CONTENT["slides/one.tiff"]}


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("html", "truncated"),
        ("padded", "altered"),
        ("flip", "altered"),
        ("moved", "network"),
        ("replaced", "altered"),
        ("403", "access_denied"),
        ("400", "unknown"),
        ("404", "not_found"),
    ],
)
def test_what_is_not_the_object_is_no_file(gate: Gate, tmp_path: Path, fault: str, cause: str) -> None:
    gate.faults = {"one": fault}
    report = download([ONE, TWO], tmp_path, check=False, retries=1)
    assert [(each.planned.address, each.cause) for each in report.failures] == [(ONE, cause)]
    there = files_of(tmp_path)
    assert {name for name in there if not Path(name).name.startswith(".")} == {"slides/two.svs"}
    gate.faults = {}
    assert download([ONE, TWO], tmp_path).ok
    assert files_of(tmp_path) == {name: BELOW[name] for name in ("slides/one.tiff", "slides/two.svs")}


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_store_that_is_busy_is_asked_again(gate: Gate, tmp_path: Path, status: str) -> None:
    gate.faults = {"one": f"{status} once", "two": f"head {status} once"}
    assert download([ONE, TWO], tmp_path).ok
    assert len(gate.bodies()) == 3


@pytest.mark.usefixtures("impatient")
def test_a_store_that_stays_busy_fails_that_object_only(gate: Gate, tmp_path: Path) -> None:
    gate.faults = {"one": "503"}
    with pytest.raises(dd.TransferIncomplete, match=r"gs://.*one\.tiff, server_error"):
        download([ONE, TWO], tmp_path, retries=1)
    assert (tmp_path / BUCKET / "slides" / "two.svs").exists()


@pytest.mark.parametrize("fault", ["expired once", "head expired once"])
def test_an_expired_signature_is_made_anew(gate: Gate, tmp_path: Path, fault: str) -> None:
    gate.faults = {"one": fault}
    assert download(ONE, tmp_path).ok
    heads, bodies = (sum(method == kind for method, *_ in gate.asked) for kind in ("HEAD", "GET"))
    assert (heads, bodies) == ((3, 2) if fault == "expired once" else (4, 2))


def test_each_request_is_signed_anew(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature that was valid for a second when the download began is of no use for the rest."""
    from dataset_dl.aignostics import engine

    made = engine.GcsEngine.__init__
    monkeypatch.setattr(
        engine.GcsEngine, "__init__", lambda self, *args, **more: made(self, *args, **more, valid_seconds=1)
    )
    gate.faults = {"one": "slow"}
    assert download(ONE, tmp_path).ok
    gate.faults = {"two": "cut once"}
    time.sleep(1.1)
    assert download(TWO, tmp_path).ok


@pytest.mark.parametrize("fault", ["whole", "other"])
def test_a_server_that_does_not_continue_is_refused(gate: Gate, tmp_path: Path, fault: str) -> None:
    begun(gate, tmp_path)
    gate.faults = {"one": fault}
    report = download(ONE, tmp_path, check=False, retries=0)
    assert [each.cause for each in report.failures] == ["network"]
    gate.faults = {}
    assert download(ONE, tmp_path).ok
    assert gate.bodies()[-1][1] == "bytes=350000-"


def begun(gate: Gate, target: Path) -> Path:
    """Leave the first half of an object, as a run that was killed does."""
    download(ONE, target)
    whole = target / BUCKET / "slides" / "one.tiff"
    (row,) = dd.plan(target)
    part = whole.with_name(f".one.tiff.{row.key.rpartition('#')[2]}.part")
    whole.rename(part)
    part.write_bytes(CONTENT["slides/one.tiff"][:350_000])
    gate.asked.clear()
    return part


def test_a_rest_that_was_damaged_is_fetched_anew(gate: Gate, tmp_path: Path) -> None:
    part = begun(gate, tmp_path)
    part.write_bytes(b"\0" * 350_000)
    assert download(ONE, tmp_path).ok
    assert [range_ for _, range_ in gate.bodies()] == ["bytes=350000-", ""]
    assert files_of(tmp_path) == {"slides/one.tiff": CONTENT["slides/one.tiff"]}


def test_a_rest_that_is_too_long_is_fetched_anew(gate: Gate, tmp_path: Path) -> None:
    begun(gate, tmp_path).write_bytes(b"\0" * 700_002)
    assert download(ONE, tmp_path).ok
    assert [range_ for _, range_ in gate.bodies()] == [""]


def test_a_link_in_place_of_a_rest_is_not_followed(gate: Gate, tmp_path: Path) -> None:
    part = begun(gate, tmp_path / "to")
    outside = tmp_path / "outside"
    outside.write_text("mine")
    part.unlink()
    part.symlink_to(outside)
    assert download(ONE, tmp_path / "to").ok
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("size", [700_001, 5_000])
def test_an_object_that_was_replaced_is_fetched_anew(gate: Gate, tmp_path: Path, size: int) -> None:
    begun(gate, tmp_path)
    download(TWO, tmp_path)
    first = {row.key for row in kept_plan(tmp_path) or ()}
    for name in ("slides/one.tiff", "slides/two.svs"):
        gate.emulator.put(BUCKET, name, b"n" * (size if "one" in name else 300_000))
    report = download([ONE, TWO], tmp_path)
    assert (report.ok, report.fetched_series) == (True, 2)
    assert files_of(tmp_path) == {"slides/one.tiff": b"n" * size, "slides/two.svs": b"n" * 300_000}
    kept = list(kept_plan(tmp_path) or ())
    assert len(kept) == 2
    assert not first & {row.key for row in kept}
    assert dd.verify(tmp_path, md5=True).ok


def test_an_object_that_is_replaced_meanwhile_fails_once(gate: Gate, tmp_path: Path) -> None:
    from dataset_dl.aignostics.planning import Samples

    samples = Samples.plan_for([ONE], tmp_path, None, {"retries": 0})
    gate.emulator.put(BUCKET, "slides/one.tiff", b"n" * 700_001)
    events = list(samples.events([]))
    (failure,) = events[-1].report.failures  # type: ignore[attr-defined]
    assert (failure.cause, "the same command" in failure.message) == ("altered", True)
    assert not files_of(tmp_path) if (tmp_path / BUCKET).exists() else True
    assert download(ONE, tmp_path).ok


def test_files_of_others_are_compared_before_they_count(gate: Gate, tmp_path: Path) -> None:
    folder = tmp_path / BUCKET / "slides"
    folder.mkdir(parents=True)
    (folder / "one.tiff").write_bytes(b"x" * 700_001)
    (folder / "two.svs").write_bytes(CONTENT["slides/two.svs"])
    report = download([ONE, TWO], tmp_path)
    assert (report.ok, report.fetched_series) == (True, 1)
    assert [key for key, _ in gate.bodies()] == ["slides/one.tiff"]


def test_names_differ_on_every_file_system(gate: Gate, tmp_path: Path) -> None:
    names = [
        "x/Slide.svs",
        "x/slide.svs",
        "x/slide",
        "x/slide/in it.tiff",
        "x/Präparat~1.tiff",
        "x/a:b?.dcm",
        "x//y",
    ]
    for number, name in enumerate(names):
        gate.emulator.put(BUCKET, name, b"%d" % number)
    report = download(f"gs://{BUCKET}/x/", tmp_path)
    assert report.ok
    found = files_of(tmp_path)
    assert len(found) == len({name.casefold() for name in found}) == len(names)
    assert sorted(found.values()) == [b"%d" % number for number in range(len(names))]
    assert all(name.isascii() or "~" in name for name in found)
    assert dd.verify(tmp_path).ok
    assert download(f"gs://{BUCKET}/x/", tmp_path).fetched_series == 0


def test_a_plan_of_it_is_checked_like_any_other(gate: Gate, tmp_path: Path) -> None:
    download(ALL, tmp_path)
    saved = dd.plan(tmp_path).save(tmp_path / "plan.csv")
    assert len(list(dd.plan(saved))) == 4
    text = saved.read_text()
    for old, new in (
        (f"{BUCKET}/slides,", f"{BUCKET}/other,"),
        ("one.tiff:700001", "autorun.inf:700001"),
        ("one.tiff:700001", ".one.tiff:700001"),
        ("one.tiff:700001", "../one.tiff:700001"),
        (f"{ONE}#", f"{TWO}#"),
        (f",{ONE},", f",gs://{BUCKET}/slides/,"),
    ):
        assert old in text
        saved.write_text(text.replace(old, new, 1))
        with pytest.raises(dd.ManifestError):
            dd.plan(saved)


def test_it_is_handed_on_and_removed(gate: Gate, tmp_path: Path) -> None:
    taken: list[tuple[str, int]] = []

    def count(series: dd.Series) -> None:
        taken.extend((path.name, path.stat().st_size) for path in series.paths)

    report = download(ALL, tmp_path, then=count, evict=True, disk_budget=800_000)
    assert report.ok
    assert sorted(taken) == sorted((Path(name).name, len(data)) for name, data in BELOW.items())
    assert not [path for path in (tmp_path / BUCKET).rglob("*") if path.is_file()]
    gate.asked.clear()
    assert download(ALL, tmp_path, then=count, evict=True, disk_budget=800_000).ok
    assert not gate.bodies()


def test_it_is_copied_from_another_destination(gate: Gate, tmp_path: Path) -> None:
    download(ALL, tmp_path / "a")
    gate.asked.clear()
    assert download(ALL, tmp_path / "b", reuse=tmp_path / "a").ok
    assert files_of(tmp_path / "b") == BELOW
    assert not gate.bodies()


def test_a_file_that_was_damaged_is_repaired(gate: Gate, tmp_path: Path) -> None:
    download(ALL, tmp_path)
    path = tmp_path / BUCKET / "slides" / "two.svs"
    path.write_bytes(b"x" * 300_000)
    (tmp_path / BUCKET / "slides" / "one.tiff").unlink()
    found = dd.verify(tmp_path, md5=True)
    assert {(each.problem, each.file) for each in found.deviations} == {
        ("altered", "two.svs"),
        ("missing", "one.tiff"),
    }
    assert dd.repair(found).ok
    assert files_of(tmp_path) == BELOW


def test_the_rate_is_limited(gate: Gate, tmp_path: Path) -> None:
    began = time.monotonic()
    assert download(ONE, tmp_path, max_rate_mbps=0.7).ok
    assert time.monotonic() - began > 0.6


def test_a_connection_that_stalls_is_left(gate: Gate, tmp_path: Path) -> None:
    gate.faults = {"one": "stop once"}
    assert download(ONE, tmp_path, stall_timeout_seconds=1.0).ok
    assert [range_ for _, range_ in gate.bodies()] == ["", "bytes=350000-"]


def test_leaving_a_stream_of_events_ends_it_at_once(gate: Gate, tmp_path: Path) -> None:
    from dataset_dl.aignostics.planning import Samples
    from dataset_dl.model.events import BytesWritten

    gate.faults = {"one": "stop"}
    events = Samples.plan_for([ONE], tmp_path, None, {}).events([])
    next(event for event in events if isinstance(event, BytesWritten) and event.size_bytes)
    began = time.monotonic()
    events.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 1.5
    gate.faults = {}
    gate.asked.clear()
    assert download(ONE, tmp_path).ok
    assert gate.bodies() == [("slides/one.tiff", "bytes=350000-")]


def test_a_kill_costs_nothing(gate: Gate, tmp_path: Path) -> None:
    gate.faults = {"one": "slow"}
    command = [PROGRAM, "aignostics", "download", ONE, TWO, "--to", tmp_path / "to", "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            parts = [
                each for each in (tmp_path / "to").rglob(".one.tiff.*.part") if each.stat().st_size > 100_000
            ]
            if parts and (tmp_path / "to" / BUCKET / "slides" / "two.svs").exists():
                break
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
    (part,) = parts
    left = part.stat().st_size
    assert 100_000 < left < 700_001
    gate.faults = {}
    gate.asked.clear()
    assert download([ONE, TWO], tmp_path / "to").ok
    assert gate.bodies() == [("slides/one.tiff", f"bytes={left}-")]
    assert files_of(tmp_path / "to") == {name: BELOW[name] for name in ("slides/one.tiff", "slides/two.svs")}


def test_a_full_disk_is_said(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataset_dl.aignostics import saving

    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".part":
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(saving.os, "write", full)
        with pytest.raises(dd.StorageError, match="No space left"):
            download(ONE, tmp_path)
    assert download(ONE, tmp_path).ok


def test_a_destination_has_one_writer(gate: Gate, tmp_path: Path) -> None:
    from dataset_dl.aignostics.planning import Samples
    from dataset_dl.model.events import BytesWritten

    gate.faults = {"one": "slow"}
    events = Samples.plan_for([ONE], tmp_path, None, {}).events([])
    next(event for event in events if isinstance(event, BytesWritten))
    with pytest.raises(dd.StorageError, match="Another download writes"):
        download(TWO, tmp_path)
    events.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        (f"gs://{BUCKET}/nothing.tiff", 2, f"gs://{BUCKET}/nothing.tiff does not exist; nothing was started"),
        (f"gs://{BUCKET}/nowhere/", 2, "There is nothing below"),
        ("gs://no-such-bucket/", 2, "There is no bucket no-such-bucket"),
        (f"gs://{BUCKET}/notes.csv", 4, f"{EMAIL} may not read gs://{BUCKET}/notes.csv (AccessDenied)"),
        ("s3://bucket/key", 2, "does not begin with gs://"),
        ("gs://B/x", 2, "not the name of a bucket"),
        (f"gs://{BUCKET}/a/../b", 2, "no request can name"),
    ],
)
def test_a_wrong_request_starts_nothing(gate: Gate, cli: Cli, address: str, code: int, words: str) -> None:
    gate.denied = {"notes"}
    done = cli("aignostics", "download", address, "--to", "to")
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert not (cli.directory / "to").exists()


def test_a_page_in_place_of_the_store_is_said(gate: Gate, cli: Cli) -> None:
    gate.portal = True
    for address in (ONE, ALL):
        done = cli("aignostics", "download", address, "--to", "to")
        assert (done.code, "not as Google Cloud Storage does" in done.err) == (4, True)


@pytest.mark.usefixtures("impatient")
def test_a_store_that_is_not_there_is_said(cli: Cli, key: Key) -> None:
    env = {"DATASET_DL_GCS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = cli("aignostics", "download", ONE, "--to", "to", "--credentials", key.path, env=env)
    assert (done.code, "nothing listens there" in done.err) == (4, True)


def test_the_command_line(gate: Gate, cli: Cli) -> None:
    dry = cli("aignostics", "download", ALL, "--to", "to", "--dry-run")
    assert dry.code == 0, dry.err
    assert "4 objects, 1.2 MB" in dry.out
    assert f"{BUCKET}/slides/deep/er/three.dcm" in dry.out
    listed = cli("aignostics", "download", ALL, "--to", "to", "--dry-run", "--json").json
    assert {each["address"] for each in listed["objects"]} == {f"gs://{BUCKET}/{name}" for name in BELOW}
    assert not gate.bodies()
    assert not (cli.directory / "to").exists()
    done = cli("aignostics", "download", ALL, "--to", "to")
    assert done.code == 0, done.err
    assert "4 of 4 objects complete" in done.out
    assert "CRC32C" in done.out
    again = cli("aignostics", "download", ALL, "--to", "to", "--json")
    assert again.code == 0
    assert again.events[-1]["event"] == "finished"
    gate.faults = {"notes": "404"}
    failed = cli("aignostics", "download", f"gs://{BUCKET}/notes.csv", ONE, "--to", "to")
    assert failed.code == 3
    assert f"failed: gs://{BUCKET}/notes.csv (not_found" in failed.out
    assert "resumes" in failed.err
    assert cli("idc", "verify", "to").code == 3
    gate.faults = {}
    assert cli("idc", "verify", "to", "--md5", "--repair").code == 0


def test_no_secret_is_told(
    gate: Gate, key: Key, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    gate.faults = {"one": "503 once", "two": "flip"}
    report = download(ALL, tmp_path, check=False, retries=0)
    assert report.failures
    gate.denied = {"notes"}
    with pytest.raises(dd.NetworkError) as refused:
        download(f"gs://{BUCKET}/notes.csv", tmp_path)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    told = " ".join(
        [caplog.text, *capfd.readouterr(), repr(refused.value), repr(report), json.dumps(report.to_dict())]
    )
    assert "X-Goog-Signature=***" in caplog.text  # the log of urllib3 was on
    for secret in [*gate.signatures, *key.secrets]:
        assert secret not in told
        assert not any(secret.encode() in each for each in written)
