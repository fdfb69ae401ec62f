"""dcmtk on both sides: its servers get and give what we ask, and its clients send to our receiver."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pydicom
import pytest
import trustme

from dataset_dl.engines.receiving import Receiving
from dataset_dl.model.events import Event, FileCompleted
from dataset_dl.model.series import Fetch
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.engine import make
from dataset_dl.pacs.intake import Intake
from dataset_dl.pacs.ledger import Ledger
from dataset_dl.pacs.nodes import Node
from dataset_dl.pacs.receiver import Receiver
from dataset_dl.pacs.source import DIMSE
from dataset_dl.pacs.titles import Titles
from dataset_dl.pacs.transfers.nouns import Wanted
from dataset_dl.pacs.transfers.steering import Steering
from dataset_dl.pacs.transfers.store import Store
from dataset_dl.pacs.transfers.worker import Worker
from dataset_dl.pixels.identity import identify, is_uid
from dataset_dl.pixels.unreadable import Unreadable
from support.cli import Cli
from support.dicoms import corpus, quietly_read
from support.orthanc import Orthanc, free_port
from support.patients import write_series
from support.peers import node_file, scp, tls_in_front
from support.plans import row


@contextmanager
def program(*arguments: object, port: int) -> Iterator[int]:
    """Run a server of dcmtk until it listens."""
    process = subprocess.Popen(
        [*map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "it has not started"
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def storescp(directory: Path, *options: str) -> Iterator[int]:
    directory.mkdir(exist_ok=True)
    port = free_port()
    with program("storescp", "--fork", *options, "-od", directory, port, port=port):
        yield port


@contextmanager
def dcmqrscp(directory: Path, receiver_port: int, *options: str) -> Iterator[int]:
    (directory / "db").mkdir(parents=True)
    port = free_port()
    config = directory / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\ndl = (DATASET_DL, 127.0.0.1, {receiver_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQR {directory / 'db'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with program("dcmqrscp", *options, "-c", config, port=port):
        yield port


def sendable() -> list[Path]:
    """The files of the corpus that are whole and have every UID, each instance once."""
    found: dict[str, Path] = {}
    for path in corpus():
        try:
            identity = identify(path)
        except Unreadable:
            continue
        if all(map(is_uid, identity[:4])) and identity.TransferSyntaxUID != "1.2.840.10008.1.2.2":
            found.setdefault(identity.SOPInstanceUID, path)
    return list(found.values())


def test_storescp_gets_every_kind_of_object_as_it_is(tmp_path: Path, cli: Cli) -> None:
    disc, paths = tmp_path / "disc", sendable()
    disc.mkdir()
    for number, path in enumerate(paths):
        shutil.copy(path, disc / f"{number}.dcm")
    with storescp(tmp_path / "got", "+xa", "+B", "--promiscuous") as port:
        node_file(tmp_path / "nodes.json", A=f"dimse://ANY@127.0.0.1:{port}")
        done = cli("pacs", "upload", disc, "--to", "A", "--retries", "0")
        rows = {row["SOPInstanceUID"]: row for row in cli("pacs", "status", "--all", "--format", "json").json}
    assert len(rows) == len(paths) > 100
    got = {quietly_read(path.read_bytes(), stop_before_pixels=True).file_meta.MediaStorageSOPInstanceUID: path for path in (tmp_path / "got").iterdir()}  # fmt: skip
    for path in paths:
        identity, told = identify(path), rows[identify(path).SOPInstanceUID]
        if told["state"] == "failed":
            # dcmtk knows fewer transfer syntaxes than there are.
            assert "and this is" in told["answer"] or "does not take" in told["answer"], (path.name, told)
            continue
        theirs = got[identity.SOPInstanceUID].read_bytes()
        ours = path.read_bytes()
        other = identify(got[identity.SOPInstanceUID])
        data = ours[identity.begins_at :]
        # A deflated data set of odd length gets another byte (PS3.5, A.5).
        assert theirs[other.begins_at :] in (data, data + b"\0"), path.name
    failed = sum(row["state"] == "failed" for row in rows.values())
    assert failed < len(rows) / 10 and done.code == (3 if failed else 0)


@pytest.fixture
def archive(tmp_path: Path, receiver_port: int, request: pytest.FixtureRequest) -> Iterator[None]:
    """dcmqrscp, filled by its own storescu; with or without C-GET."""
    yield from filled(tmp_path, receiver_port, *getattr(request, "param", ()))


def filled(tmp_path: Path, receiver_port: int, *options: str) -> Iterator[None]:
    with dcmqrscp(tmp_path / "qr", receiver_port, *options) as port:
        node_file(tmp_path / "nodes.json", QR=f"dimse://QR@127.0.0.1:{port}")
        disc = tmp_path / "disc"
        write_series(disc, "P1", "1.2", "1.2.1", 30)
        write_series(disc, "P1", "1.2", "1.2.2", 10, Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
        write_series(disc, "P2", "1.3", "1.3.1", 5)
        subprocess.run(["storescu", "-aec", "QR", "127.0.0.1", str(port), "+sd", disc], check=True)
        yield


@pytest.fixture
def archive_without_get(tmp_path: Path, receiver_port: int) -> Iterator[None]:
    yield from filled(tmp_path, receiver_port, "--disable-get")


@pytest.mark.parametrize("archive", [(), ("--disable-get",)], indirect=True, ids=["C-GET", "C-MOVE"])
def test_dcmqrscp_is_asked_and_gives(archive: None, tmp_path: Path, cli: Cli) -> None:
    studies = cli("pacs", "query", "QR", "--patient-id", "P*", "--format", "json")
    assert studies.code == 0 and {each["StudyInstanceUID"] for each in studies.json} == {"1.2", "1.3"}
    series = cli(
        "pacs", "query", "QR", "--study", "1.2", "--modality", "MR", "--level", "series", "--format", "json"
    )
    assert [each["SeriesInstanceUID"] for each in series.json] == ["1.2.2"]
    done = cli("pacs", "download", "QR", "--patient-id", "P1", "--to", tmp_path / "data")
    assert done.code == 0, done.err
    found = {path.name: pydicom.dcmread(path) for path in (tmp_path / "data").rglob("*.dcm")}
    assert len(found) == 40
    for path in (tmp_path / "disc").glob("1.2.*.dcm"):
        sent = pydicom.dcmread(path)
        assert found[f"{sent.SOPInstanceUID}.dcm"] == sent
    for path in sorted((tmp_path / "data").rglob("*.dcm"))[:7]:
        path.unlink()
    again = cli("pacs", "download", "QR", "--patient-id", "P1", "--to", tmp_path / "data", "--json")
    assert again.code == 0, again.err
    new = {Path(event["path"]).name for event in again.events if event["event"] == "file_completed" and event["size_bytes"]}  # fmt: skip
    assert len(new) == 7, "only what was missing was asked for"


def test_c_move_to_a_title_that_the_archive_does_not_know(
    archive: None, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIVER_AE_TITLE", "STRANGER")
    with dcmqrscp(tmp_path / "qr2", 1, "--disable-get") as port:
        node_file(tmp_path / "nodes.json", QR=f"dimse://QR@127.0.0.1:{port}")
        subprocess.run(
            ["storescu", "-aec", "QR", "127.0.0.1", str(port), "+sd", tmp_path / "disc"], check=True
        )
        done = cli("pacs", "download", "QR", "--study", "1.3", "--to", tmp_path / "data", "--retries", "0")
    assert done.code == 3 and "does not know the AE title STRANGER to send to" in done.out, done.out


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[Receiver, Intake]]:
    """Our receiver, which awaits 20 instances."""
    directory = tmp_path / "taken"
    directory.mkdir()
    running = Receiver(Titles("DATASET_DL", "DATASET_DL", "127.0.0.1", free_port()))
    planned = row(1)._replace(PatientID="P1", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1")
    intake = Intake(
        planned,
        {f"1.2.1.{n}" for n in range(1, 21)},
        directory,
        Node(name="A", dimse="dimse://A@127.0.0.1:1"),
        Ledger(tmp_path / "ledger"),
        Receiving(stall_seconds=60, max_rate_mbps=None),
    )
    running.await_instances(intake)
    try:
        yield running, intake
    finally:
        running.close()


def test_tasks_at_once_share_the_receiver(tmp_path: Path, receiver_port: int) -> None:
    place = tmp_path / "disc"
    for number in range(4):
        write_series(place / str(number), f"P{number}", f"1.4.{number}", f"1.4.{number}.1", 20)
    with dcmqrscp(tmp_path / "qr", receiver_port, "--disable-get") as port, scp() as target:
        node_file(tmp_path / "nodes.json", QR=f"dimse://QR@127.0.0.1:{port}", TARGET=target.address)
        subprocess.run(["storescu", "-aec", "QR", "127.0.0.1", str(port), "+sd", "+r", place], check=True)
        with closing(Store(f"sqlite:///{tmp_path / 'queue.sqlite'}")) as store:
            # The first study twice: two that await the same instances.
            several = [Wanted("QR", "TARGET", f"P{n}", f"1.4.{n}") for n in (0, 1, 2, 3)]
            jobs = [store.create("selective", each, owner="ada") for each in (several, several[:1])]
            for each in jobs:
                Steering(store, "ada").act(each.id, "start")
            Worker(store, at_once=4).run(until_idle=True)
            tasks = [task for each in jobs for task in store.tasks(each.id)]
    assert [(each.state, each.attempts) for each in tasks] == [("SUCCESS", 1)] * 5, tasks
    assert len(target.counts) == 80


def test_two_downloads_of_a_process_share_the_receiver(archive_without_get: None, tmp_path: Path) -> None:
    engine = make(DownloadSettings(), NetworkSettings.gather())
    rows = {row.SeriesInstanceUID: row for row in DIMSE.rows("dimse://QR/studies?PatientID=P*")}

    def events(uid: str, to: str) -> Generator[Event]:
        (tmp_path / to).mkdir()
        yield from engine.run([Fetch.whole(rows[uid])], tmp_path / to)

    with closing(events("1.2.1", "1")) as first:
        assert any(isinstance(each, FileCompleted) for each in first), "it goes on"
        told = list(events("1.3.1", "2"))
        assert sum(isinstance(each, FileCompleted) for each in told) == 5, told
        assert sum(isinstance(each, FileCompleted) for each in first) == 29


def test_two_processes_follow_each_other_at_the_port(
    archive_without_get: None, tmp_path: Path, receiver_port: int, cli: Cli
) -> None:
    with socket.create_server(("127.0.0.1", receiver_port)) as other:
        threading.Timer(1, other.close).start()
        done = cli("pacs", "download", "QR", "--study", "1.3", "--to", tmp_path / "data", "--retries", "0")
    assert done.code == 0, done.out


def test_our_receiver_outlives_a_lack_of_files(receiver: tuple[Receiver, Intake]) -> None:
    running, _ = receiver
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as connection:
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
        try:
            connection.connect(("127.0.0.1", running.port))
            time.sleep(1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    echo = ["echoscu", "-to", "60", "-ta", "60", "-aec", "DATASET_DL", "127.0.0.1", str(running.port)]
    assert subprocess.run(echo, check=False).returncode == 0


def sent(port: int, *arguments: object) -> int:
    return subprocess.run(
        ["storescu", "-aet", "OTHER", "-aec", "DATASET_DL", "127.0.0.1", str(port), *map(str, arguments)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    ).returncode  # fmt: skip


def test_storescu_sends_to_our_receiver(receiver: tuple[Receiver, Intake], tmp_path: Path) -> None:
    running, intake = receiver
    paths = write_series(tmp_path / "disc", "P1", "1.2", "1.2.1", 20)
    assert (
        subprocess.run(
            ["echoscu", "-aec", "DATASET_DL", "127.0.0.1", str(running.port)], check=False
        ).returncode
        == 0
    )
    assert sent(running.port, "+sd", tmp_path / "disc") == 0
    assert not intake.missing
    assert intake.receiving.received_bytes > 20 * 1000, "the rate of the node is held by what is counted"
    recorded = Ledger(tmp_path / "ledger").find("received", "A", "dimse://A@127.0.0.1:1", intake.wanted)
    assert recorded.keys() == intake.wanted
    for path in paths:
        original = pydicom.dcmread(path)
        taken = pydicom.dcmread(tmp_path / "taken" / f"{original.SOPInstanceUID}.dcm")
        assert taken == original and taken.file_meta.SourceApplicationEntityTitle == "OTHER"


def test_our_receiver_takes_only_what_it_awaits(receiver: tuple[Receiver, Intake], tmp_path: Path) -> None:
    running, intake = receiver
    (other,) = write_series(tmp_path / "disc", "P1", "1.2", "1.2.1", 1, SOPInstanceUID="1.2.1.999")
    assert sent(running.port, other) != 0
    (wrong,) = write_series(tmp_path / "disc", "P2", "1.2", "1.2.1", 1)
    assert sent(running.port, wrong) != 0
    assert len(intake.missing) == 20 and not list((tmp_path / "taken").iterdir())
    assert subprocess.run(["echoscu", "-aec", "SOMEBODY", "127.0.0.1", str(running.port)], stderr=subprocess.DEVNULL, check=False).returncode != 0  # fmt: skip


def test_our_receiver_acknowledges_nothing_that_is_not_on_the_disk(
    receiver: tuple[Receiver, Intake], tmp_path: Path
) -> None:
    running, intake = receiver
    write_series(tmp_path / "disc", "P1", "1.2", "1.2.1", 20)
    shutil.rmtree(tmp_path / "taken")
    assert sent(running.port, "+sd", tmp_path / "disc") != 0
    assert len(intake.missing) == 20 and intake.failure is not None


# ---- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tls")
    made = trustme.CA()
    made.cert_pem.write_to_path(place / "ca.pem")
    server, client = made.issue_cert("127.0.0.1", "localhost"), made.issue_cert("client.example")
    server.private_key_pem.write_to_path(place / "server.key")
    server.cert_chain_pems[0].write_to_path(place / "server.pem")
    client.private_key_and_cert_chain_pem.write_to_path(place / "client.pem")
    trustme.CA().cert_pem.write_to_path(place / "other.pem")
    return place


def tls_nodes(tmp_path: Path, address: str, **more: object) -> None:
    (tmp_path / "nodes.json").write_text(json.dumps([{"name": "A", "dimse": address, "tls": True, **more}]))


def test_dimse_through_tls(
    tmp_path: Path, authority: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_series(tmp_path / "disc", "P1", "1.2", "1.2.1", 4)
    keys = ("+tls", str(authority / "server.key"), str(authority / "server.pem"))
    with storescp(tmp_path / "got", *keys, "--ignore-peer-cert") as port:
        tls_nodes(tmp_path, f"dimse://A@127.0.0.1:{port}")
        refused = cli("pacs", "echo", "A")
        assert refused.code == 4 and "certificate" in refused.err
        other = cli("pacs", "echo", "A", "--ca-bundle", authority / "other.pem")
        assert other.code == 4 and "certificate" in other.err
        done = cli("pacs", "upload", tmp_path / "disc", "--to", "A", "--ca-bundle", authority / "ca.pem")
        assert done.code == 0, done.err
        assert len(list((tmp_path / "got").iterdir())) == len(paths)
        node_file(tmp_path / "nodes.json", A=f"dimse://A@127.0.0.1:{port}")
        plain = cli("pacs", "echo", "A")
        assert plain.code == 4 and "TLS" in plain.err
    with storescp(tmp_path / "plain") as port:
        tls_nodes(tmp_path, f"dimse://A@127.0.0.1:{port}", timeout_seconds=3.0)
        done = cli("pacs", "echo", "A", "--ca-bundle", authority / "ca.pem")
        assert done.code == 4 and "does not speak TLS" in done.err


def test_an_archive_that_asks_for_our_certificate(tmp_path: Path, authority: Path, cli: Cli) -> None:
    write_series(tmp_path / "disc", "P1", "1.2", "1.2.1", 4)
    keys = (
        "+tls",
        str(authority / "server.key"),
        str(authority / "server.pem"),
        "+cf",
        str(authority / "ca.pem"),
    )
    with storescp(tmp_path / "got", *keys, "--require-peer-cert") as port:
        address = f"dimse://A@127.0.0.1:{port}"
        tls_nodes(tmp_path, address)
        assert (
            cli("pacs", "upload", tmp_path / "disc", "--to", "A", "--ca-bundle", authority / "ca.pem").code
            == 4
        )
        tls_nodes(tmp_path, address, client_certificate=str(authority / "client.pem"))
        done = cli("pacs", "upload", tmp_path / "disc", "--to", "A", "--ca-bundle", authority / "ca.pem")
        assert done.code == 0, done.err
        tls_nodes(tmp_path, address, client_certificate=str(authority / "ca.pem"))
        done = cli("pacs", "echo", "A", "--ca-bundle", authority / "ca.pem")
        assert done.code == 4 and "cannot be used" in done.err


def test_dicomweb_through_tls(
    tmp_path: Path, authority: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Orthanc's own TLS ends connections with OpenSSL 3, so something in front of it speaks TLS.
    with (
        Orthanc(tmp_path_factory.mktemp("tls"), "TLS") as archive,
        tls_in_front(archive.http, authority / "server.key", authority / "server.pem") as port,
    ):
        node_file(tmp_path / "nodes.json", A=f"https://127.0.0.1:{port}/dicom-web")
        refused = cli("pacs", "echo", "A")
        assert refused.code == 4 and "certificate" in refused.err
        write_series(tmp_path / "disc", "P1", "1.2", "1.2.1", 4)
        trusted = ("--ca-bundle", authority / "ca.pem")
        assert cli("pacs", "upload", tmp_path / "disc", "--to", "A", *trusted).code == 0
        done = cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data", *trusted)
        assert done.code == 0, done.err
        sent = cli("pacs", "transfer", "--from", "A", "--to", tmp_path / "x.zip", "--study", "1.2", *trusted)
        assert sent.code == 0, sent.err
