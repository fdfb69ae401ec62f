"""Archives that misbehave: each instance is counted by its answer, and nothing is taken for sent or fetched that is not."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dataset_dl.model.events import Event, FileCompleted
from dataset_dl.model.series import Fetch
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs import commandsets, services
from dataset_dl.pacs.association import Association
from dataset_dl.pacs.engine import make
from dataset_dl.pacs.negotiation import Peer, Proposal, associate
from dataset_dl.pacs.source import DIMSE
from support.cli import PROGRAM, Cli
from support.orthanc import free_port
from support.patients import write_series
from support.peers import Most, node_file, raw, respond, scp, settled
from support.series import downloaded


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A download with two series of 12 and 8 instances."""
    target = tmp_path / "data"
    downloaded(target, [("P1", "1.2", "1.2.1", 12), ("P1", "1.2", "1.2.2", 8)])
    return target


def name(tmp_path: Path, **addresses: str) -> None:
    node_file(tmp_path / "nodes.json", **addresses)


def test_warnings_are_kept(data: Path, tmp_path: Path, cli: Cli) -> None:
    with scp(lambda number, _: 0xB007 if number % 5 == 0 else 0) as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "send", data, "--to", "A")
        assert done.code == 0, done.err
        assert "20 instances sent to A; 4 taken with a warning" in done.out and "B007" in done.out
    rows = cli("pacs", "status", data, "--format", "json").json
    assert len(rows) == 4 and {row["state"] for row in rows} == {"warning"}
    assert all("status B007 (Warning Data Set Does Not Match SOP Class)" in row["answer"] for row in rows)


def test_refused_instances_are_named_and_the_others_are_sent(data: Path, tmp_path: Path, cli: Cli) -> None:
    with scp(lambda number, _: 0xC123 if number in (3, 7) else 0) as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "send", data, "--to", "A", "--retries", "0")
        assert done.code == 3
        assert "did not go to A" in done.err and "status C123 (Failure Cannot Understand)" in done.err
        assert len(archive.stored) == 18
        again = cli("pacs", "send", data, "--to", "A")
        assert again.code == 0 and "2 instances sent to A" in again.out
        assert max(archive.counts.values()) == 2 and archive.counts.total() == 22, (
            "only the refused ones came again"
        )


def test_an_archive_that_is_full_is_asked_again(data: Path, tmp_path: Path, cli: Cli) -> None:
    with scp(lambda number, _: 0xA700 if 4 <= number <= 6 else 0) as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "send", data, "--to", "A")
        assert done.code == 0, done.err
        assert len(archive.stored) == 20


def test_an_association_that_is_aborted_is_made_anew(data: Path, tmp_path: Path, cli: Cli) -> None:
    def answer(number: int, association: Any) -> int:
        if number in (4, 9):
            association.abort()
        return 0

    with scp(answer) as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "send", data, "--to", "A")
        assert done.code == 0, done.err
        assert len(archive.stored) == 20 and archive.counts.total() == 22


def test_another_try_sends_and_counts_only_what_was_refused(data: Path, tmp_path: Path, cli: Cli) -> None:
    with scp(lambda number, _: 0xA700 if number % 25 == 4 else 0xB007 if number == 5 else 0) as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "upload", data, "--to", "A")
        assert done.code == 0 and "20 files: 20 sent to A, 0 sent before, 0 failed" in done.out, done.out
        done = cli("pacs", "upload", data, "--to", "A", "--again")
        assert done.code == 0 and "20 files: 20 sent to A, 0 sent before, 0 failed" in done.out, done.out
        assert sorted(archive.counts.values()) == [2] * 18 + [3] * 2
        archive.counts.clear()
        done = cli("pacs", "send", data, "--to", "A", "--again")
        assert done.code == 0 and "20 instances sent to A; 1 taken with a warning" in done.out, done.out
        assert sorted(archive.counts.values()) == [1] * 19 + [2]


@pytest.mark.parametrize("ends", [False, True])
def test_a_copy_counts_like_the_first(tmp_path: Path, cli: Cli, ends: bool) -> None:
    (path,) = write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 1)
    (tmp_path / "b").mkdir()
    shutil.copy(path, tmp_path / "b" / "copy.dcm")

    def answer(number: int, association: Any) -> int:
        if ends:
            association.abort()
        return 0xC000

    with scp(answer) as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "upload", tmp_path / "a", tmp_path / "b", "--to", "A", "--retries", "0")
        assert done.code == 3 and "2 files: 0 sent to A, 0 sent before, 2 failed" in done.out
        assert "2 files did not go to A, 0 others are there" in done.err
        assert "copy.dcm is a copy of the instance" in done.err
    with scp() as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "upload", tmp_path / "a", tmp_path / "b", "--to", "A")
        assert done.code == 0 and "2 files: 1 sent to A, 1 sent before, 0 failed" in done.out


def test_a_copy_is_not_at_a_node_that_leaves(tmp_path: Path, cli: Cli) -> None:
    write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 4)
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            if message.command["CommandField"] != commandsets.C_ECHO:
                return association.abort()
            respond(association, message)

    with raw(serve) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "upload", tmp_path / "a", tmp_path / "b", "--to", "A", "--retries", "0")
        assert done.code == 4 and "no answer for 3 instances in a row" in done.err, done.err
        assert "files are at A" not in done.err


def stores(
    association: Association, told: list[str], *, drops: set[int] = frozenset(), empty: set[int] = frozenset()
) -> None:  # type: ignore[assignment]
    """Take instances, but drop some answers, and give some without a status."""
    while (message := association.receive()) is not None:
        if message.command["CommandField"] == commandsets.C_ECHO:
            respond(association, message)
            continue
        told.append(message.command["AffectedSOPInstanceUID"])
        number = len(told)
        if number in drops:
            continue  # the instance is stored, but nobody will know
        respond(association, message, None if number in empty else 0)


def test_an_answer_without_a_status_is_no_answer(data: Path, tmp_path: Path, cli: Cli) -> None:
    told: list[str] = []
    with raw(lambda association: stores(association, told, empty={5, 6})) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "send", data, "--to", "A")
        assert done.code == 0, done.err
    assert len(set(told)) == 20 and len(told) == 22


def test_an_answer_that_is_dropped_is_asked_for_again(data: Path, tmp_path: Path, cli: Cli) -> None:
    told: list[str] = []
    with raw(lambda association: stores(association, told, drops={5})) as port:
        (tmp_path / "nodes.json").write_text(
            json.dumps([{"name": "A", "dimse": f"dimse://A@127.0.0.1:{port}", "timeout_seconds": 1.0}])
        )
        done = cli("pacs", "send", data, "--to", "A")
        assert done.code == 0, done.err
    assert len(set(told)) == 20 and len(told) == 21


def test_an_archive_that_never_says_is_not_believed(data: Path, tmp_path: Path, cli: Cli) -> None:
    told: list[str] = []
    with raw(lambda association: stores(association, told, empty=set(range(1000)))) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "send", data, "--to", "A", "--retries", "0")
        assert done.code == 3 and "without saying whether it has it" in done.err
    rows = cli("pacs", "status", data, "--format", "json").json
    assert len(rows) == 6 and {row["state"] for row in rows} == {"failed"}


def test_an_answer_for_another_instance_is_no_answer(data: Path, tmp_path: Path, cli: Cli) -> None:
    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            if message.command["CommandField"] == commandsets.C_STORE:
                message = message._replace(command={**message.command, "AffectedSOPInstanceUID": "9.9.9"})
            respond(association, message)

    with raw(serve) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "send", data, "--to", "A", "--retries", "0")
        assert done.code == 3 and "answers for 9.9.9 in place of" in done.err


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x04\x00\xff\xff\xff\xff", b""])  # fmt: skip
def test_what_is_no_dicom_is_said(data: Path, tmp_path: Path, cli: Cli, garbage: bytes) -> None:
    import socket
    import threading

    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.recv(10)
            connection.sendall(garbage)
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{listening.getsockname()[1]}")
        done = cli("pacs", "echo", "A")
        assert done.code == 4 and "closes the connection at once" in done.err
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def test_nobody_listens(data: Path, tmp_path: Path, cli: Cli) -> None:
    name(tmp_path, A=f"dimse://A@127.0.0.1:{free_port()}", B=f"http://127.0.0.1:{free_port()}/dicom-web")
    for node in ("A", "B"):
        done = cli("pacs", "send", data, "--to", node)
        assert done.code == 4 and "nothing listens there" in done.err, done.err
    assert cli("pacs", "echo").code == 4


def test_an_archive_that_rejects_us_is_said(data: Path, tmp_path: Path, cli: Cli) -> None:
    from pynetdicom import AE
    from pynetdicom.sop_class import Verification

    entity = AE("STRICT")
    entity.add_supported_context(Verification)
    entity.require_calling_aet = ["SOMEBODY"]
    server: Any = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        name(tmp_path, A=f"dimse://STRICT@127.0.0.1:{server.server_address[1]}")
        done = cli("pacs", "send", data, "--to", "A")
        assert (
            done.code == 2
            and "does not know the calling AE title" in done.err
            and "CALLING_AE_TITLE" in done.err
        )
    finally:
        server.shutdown()


# ---- what is in the files


def test_compressed_instances_for_an_archive_that_takes_none(tmp_path: Path, cli: Cli) -> None:
    source = Path(pydicom.__file__).parent / "data" / "test_files" / "JPEG2000.dcm"
    shutil.copy(source, tmp_path / "a.dcm")
    write_series(tmp_path / "plain", "P1", "1.2", "1.2.1", 2)
    uid = str(pydicom.dcmread(source).SOPInstanceUID)
    with scp(syntaxes=["1.2.840.10008.1.2"]) as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "upload", tmp_path / "a.dcm", "--to", "A")
        assert done.code == 3 and uid in done.err
        assert "only as Implicit VR Little Endian, and this is JPEG 2000 Image Compression" in done.err
        assert "--transcode converts it" in done.err and not archive.stored
        done = cli("pacs", "upload", tmp_path / "a.dcm", tmp_path / "plain", "--to", "A", "--transcode")
        assert done.code == 0, done.err
        assert len(archive.stored) == 3
        got = services.read(archive.stored[uid], "1.2.840.10008.1.2")
        assert (got.pixel_array_bytes if hasattr(got, "pixel_array_bytes") else got.PixelData) == pydicom.dcmread(source).pixel_array.tobytes()  # fmt: skip


def test_files_that_cannot_be_sent_are_named(tmp_path: Path, cli: Cli) -> None:
    place = tmp_path / "disc"
    paths = write_series(place, "P1", "1.2", "1.2.1", 6)
    whole = paths[0].read_bytes()
    (place / "cut.dcm").write_bytes(whole[:-100])
    (place / "readme.txt").write_text("no DICOM")
    for index, keyword in enumerate(
        ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    ):
        made = pydicom.dcmread(paths[1])
        if keyword != "SOPInstanceUID":
            made.SOPInstanceUID = f"1.2.1.9{index}"
        delattr(made, keyword)
        made.save_as(place / f"no_{keyword}.dcm", enforce_file_format=False)
    other = pydicom.dcmread(paths[2])
    other.PatientName = "SOMEBODY^ELSE"
    other.save_as(place / "twin.dcm")
    with scp() as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "upload", place, "--to", "A")
        assert done.code == 3
        assert "6 files did not go to A, 6 others are there" in done.err, done.err
        assert len(archive.stored) == 6
        shown = cli("pacs", "upload", place, "--to", "A").err + done.err
    for words in ("cut.dcm cannot be sent: it is cut off", "no_SOPClassUID.dcm has no SOPClassUID"):
        assert words in shown
    assert "1 without DICOM left out: readme.txt" in done.out


def test_every_problem_of_a_series_is_named(tmp_path: Path, cli: Cli) -> None:
    target = tmp_path / "data"
    downloaded(target, [("P1", "1.2", "1.2.1", 5)])
    paths = sorted(target.rglob("*.dcm"))
    size = sum(path.stat().st_size for path in paths)
    other = pydicom.dcmread(paths[0])
    other.PatientID = "P2"
    other.save_as(paths[0])
    assert sum(path.stat().st_size for path in paths) == size, "the download is complete by count and bytes"
    with scp() as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "send", target, "--to", "A")
        assert done.code == 3 and "1.2.1.1" in done.err and "has another PatientID than the plan" in done.err
        assert len(archive.stored) == 4
        accepted = cli("deliver", target, "--to", "pacs:A?any-patient-id=yes")
        assert accepted.code == 0 and len(archive.stored) == 5


def test_one_instance_with_two_contents_is_not_sent_over_the_first(tmp_path: Path, cli: Cli) -> None:
    (path,) = write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 1)
    with scp() as archive:
        name(tmp_path, A=archive.address)
        assert cli("pacs", "upload", path, "--to", "A").code == 0
        before = dict(archive.stored)
        write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 1, PatientName="SOMEBODY^ELSE")
        done = cli("pacs", "upload", path, "--to", "A")
        assert done.code == 3 and "went to A before with other contents" in done.err
        assert archive.stored == before
        assert cli("pacs", "upload", path, "--to", "A", "--again").code == 0
        assert archive.stored != before


def test_a_file_that_changes_meanwhile_is_not_sent(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataset_dl.pacs import delivering

    paths = write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 3)
    before = delivering.Delivering.send

    def changed(self: Any, instances: Any, sums: Any) -> Any:
        paths[1].write_bytes(paths[1].read_bytes().replace(b"1.2.1.2", b"1.2.1.9"))
        return before(self, instances, sums)

    monkeypatch.setattr(delivering.Delivering, "send", changed)
    with scp() as archive:
        name(tmp_path, A=archive.address)
        done = cli("pacs", "upload", tmp_path / "a", "--to", "A")
        assert done.code == 3 and "it changed while it was sent" in done.err and len(archive.stored) == 2


# ---- archives that are asked


def finds(association: Association, answers: dict[str, list[dict[str, str]]]) -> bool:
    """Answer one C-FIND by its level; False at the end."""
    message = association.receive()
    if message is None:
        return False
    found(association, message, answers)
    return True


def found(association: Association, message: Any, answers: dict[str, list[dict[str, str]]]) -> None:
    """Answer a message, with rows if it is a C-FIND."""
    if message.command["CommandField"] == commandsets.C_FIND:
        asked = services.read(message.data, message.context.syntax)
        for row in answers.get(asked.QueryRetrieveLevel, []):
            made = pydicom.Dataset()
            with pydicom.config.disable_value_validation():
                for keyword, value in row.items():
                    setattr(made, keyword, value)
            association.send(
                message.context,
                {"AffectedSOPClassUID": services.STUDY_FIND, "CommandField": 0x8020, "MessageIDBeingRespondedTo": message.command["MessageID"], "Status": 0xFF00},
                services.written(made, message.context.syntax),
            )  # fmt: skip
    respond(association, message)


def serving(answers: dict[str, list[dict[str, str]]]) -> Any:
    def serve(association: Association) -> None:
        while finds(association, answers):
            pass

    return serve


STUDY = {"PatientID": "P1", "StudyInstanceUID": "1.2"}
ONE = {"STUDY": [STUDY], "SERIES": [{"SeriesInstanceUID": "1.2.1", "Modality": "CT"}], "IMAGE": [{"SOPInstanceUID": "1.2.1.1"}, {"SOPInstanceUID": "1.2.1.2"}]}  # fmt: skip


def test_a_success_with_nothing_sent_is_no_success(tmp_path: Path, cli: Cli) -> None:
    with raw(serving(ONE)) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data", "--retries", "0")
        assert (
            done.code == 3
            and "sent 0 of 2 instances" in done.out + done.err
            and "1.2.1.1" in done.out + done.err
        )


def test_an_archive_that_ignores_a_condition_is_not_believed(tmp_path: Path, cli: Cli) -> None:
    with raw(serving({**ONE, "STUDY": [STUDY, {"PatientID": "P2", "StudyInstanceUID": "1.3"}]})) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "query", "A", "--patient-id", "P1")
        assert done.code == 2 and "ignores the condition PatientID=P1" in done.err
        series = cli("pacs", "query", "A", "--study", "1.2", "--modality", "MR", "--level", "series")
        assert series.code == 2


@pytest.mark.parametrize(
    ("images", "told", "words"),
    [([], "", "lists 0"), ([{"SOPInstanceUID": "1.2.1.1"}], "2", "has 2 instances, but lists 1"), ([{"SOPInstanceUID": "../etc"}], "", "lists an instance of 1.2.1 as '../etc'")],
)  # fmt: skip
def test_an_archive_that_does_not_know_its_instances(
    tmp_path: Path, cli: Cli, images: list[dict[str, str]], told: str, words: str
) -> None:
    series = {"SeriesInstanceUID": "1.2.1", "Modality": "CT", "NumberOfSeriesRelatedInstances": told}
    with raw(serving({**ONE, "SERIES": [series], "IMAGE": images})) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data")
        assert done.code == 2 and words in done.err, done.err
    assert not (tmp_path / "data").exists()


def gives(
    instances: dict[str, list[bytes]], *, status: int = 0, during: Callable[[], Any] = nullcontext
) -> Any:
    """An archive that answers C-GET with data sets that are not all what was asked for."""

    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            field = message.command["CommandField"]
            if field == commandsets.C_FIND:
                asked = services.read(message.data, message.context.syntax)
                for row in ONE[asked.QueryRetrieveLevel]:
                    made = pydicom.Dataset()
                    for keyword, value in {
                        **row,
                        **(
                            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}
                            if asked.QueryRetrieveLevel == "IMAGE"
                            else {}
                        ),
                    }.items():
                        setattr(made, keyword, value)
                    association.send(message.context, {"AffectedSOPClassUID": services.STUDY_FIND, "CommandField": 0x8020, "MessageIDBeingRespondedTo": message.command["MessageID"], "Status": 0xFF00}, services.written(made, message.context.syntax))  # fmt: skip
            elif field == commandsets.C_GET:
                context = association.context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
                assert context is not None
                with during():
                    for uid, content in [
                        (uid, each) for uid, several in instances.items() for each in several
                    ]:
                        association.send(context, {"AffectedSOPClassUID": context.abstract, "CommandField": commandsets.C_STORE, "MessageID": 7, "Priority": 0, "AffectedSOPInstanceUID": uid}, content)  # fmt: skip
                        association.receive()
            respond(association, message, status if field == commandsets.C_GET else 0)

    return serve


def data_set(tmp_path: Path, **elements: object) -> bytes:
    (path,) = write_series(tmp_path / "made", "P1", "1.2", "1.2.1", 1, **elements)
    data = path.read_bytes()
    from dataset_dl.pixels.identity import identity_of

    return data[identity_of(data).begins_at :]


@pytest.mark.parametrize(
    ("elements", "cut", "words"),
    [
        ({"PatientID": "P2"}, 0, "the instance 1.2.1.1 has another PatientID than A says"),
        (
            {"SeriesInstanceUID": "1.2.9", "SOPInstanceUID": "1.2.1.1"},
            0,
            "the instance 1.2.1.1 is of the series 1.2.9",
        ),
        ({"StudyInstanceUID": "1.9"}, 0, "the instance 1.2.1.1 is of the study 1.9"),
        ({}, 50, "an instance came damaged: it is cut off"),
    ],
)
def test_instances_that_are_not_what_was_asked_for(
    tmp_path: Path, cli: Cli, elements: dict[str, object], cut: int, words: str
) -> None:
    given = {"SOPInstanceUID": "1.2.1.1", **elements}
    wrong, right = data_set(tmp_path, **given), data_set(tmp_path, SOPInstanceUID="1.2.1.2")
    with raw(gives({"1.2.1.1": [wrong[: len(wrong) - cut]], "1.2.1.2": [right]})) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data", "--retries", "0")
        assert done.code == 3 and words in done.out, done.out
        assert [path.name for path in (tmp_path / "data").rglob("*.dcm")] == ["1.2.1.2.dcm"]
        if "PatientID" in elements:
            (tmp_path / "nodes.json").write_text(json.dumps([{"name": "A", "dimse": f"dimse://A@127.0.0.1:{port}", "any_patient_id": True}]))  # fmt: skip
            assert cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data").code == 0


def test_an_instance_that_comes_twice_with_two_contents(tmp_path: Path, cli: Cli) -> None:
    first, second = (data_set(tmp_path, SOPInstanceUID="1.2.1.1", PatientName=each) for each in ("A", "B"))
    other = data_set(tmp_path, SOPInstanceUID="1.2.1.2")
    with raw(gives({"1.2.1.1": [first, second], "1.2.1.2": [other, other]})) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data", "--retries", "0")
        assert done.code == 3 and "the instance 1.2.1.1 came twice, with different contents" in done.out


def test_an_archive_that_says_it_failed_is_quoted(tmp_path: Path, cli: Cli) -> None:
    one = data_set(tmp_path, SOPInstanceUID="1.2.1.1")
    with raw(gives({"1.2.1.1": [one]}, status=0xA702)) as port:
        name(tmp_path, A=f"dimse://A@127.0.0.1:{port}")
        done = cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data", "--retries", "0")
        assert (
            done.code == 3
            and "sent 1 of 2 instances (status A702" in done.out
            and "it lacks 1.2.1.2" in done.out
        )


# Longer in all than the node is given for a sign of life.
_WORK, _WORK_SECONDS = 7, 0.8


def moves(port: int, data: dict[str, bytes], *, pieces: int, tells: bool) -> Any:
    """An archive without C-GET that sends each instance in several pieces, with a pause after each."""

    def slowly(receiver: Association, uid: str) -> None:
        (context,) = receiver.contexts.values()
        command = {"AffectedSOPClassUID": context.abstract, "CommandField": commandsets.C_STORE, "MessageID": 7, "Priority": 0, "AffectedSOPInstanceUID": uid, "CommandDataSetType": commandsets.DATA_SET}  # fmt: skip
        receiver._piece = len(data[uid]) // pieces
        receiver._write(list(receiver._pieces(context, commandsets.encoded(command), 1)))
        buffers = list(receiver._pieces(context, data[uid], 0))
        for begin in range(0, len(buffers), 2):
            receiver._write(buffers[begin : begin + 2])
            time.sleep(_WORK_SECONDS)
        receiver.receive()

    def serve(association: Association) -> None:
        while (message := association.receive()) is not None:
            if message.command["CommandField"] == commandsets.C_MOVE:
                for _ in range(_WORK * tells):
                    respond(association, message, 0xFF00)
                    time.sleep(_WORK_SECONDS)
                peer = Peer("us", "127.0.0.1", port, "DATASET_DL", "A")
                with associate(
                    peer, [Proposal("1.2.840.10008.5.1.4.1.1.2", (services.EXPLICIT,))]
                ) as receiver:
                    for uid in data:
                        slowly(receiver, uid)
                respond(association, message, 0, NumberOfCompletedSuboperations=len(data))
            elif message.command["CommandField"] == commandsets.C_GET:
                respond(association, message, 0x0122)
            else:
                found(association, message, ONE)

    return serve


@pytest.mark.parametrize("tells", [False, True])
def test_c_move_waits_for_an_archive_that_is_at_work(
    tmp_path: Path, cli: Cli, receiver_port: int, tells: bool
) -> None:
    data = {uid: data_set(tmp_path, SOPInstanceUID=uid) for uid in ("1.2.1.1", "1.2.1.2")}
    with raw(moves(receiver_port, data, pieces=1 if tells else _WORK, tells=tells)) as port:
        node = {"name": "A", "dimse": f"dimse://A@127.0.0.1:{port}", "timeout_seconds": 4.0}
        (tmp_path / "nodes.json").write_text(json.dumps([node]))
        done = cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data", "--retries", "0")
        assert done.code == 0, done.out + done.err
    assert len(list((tmp_path / "data").rglob("*.dcm"))) == 2


def test_what_fetches_at_once_shares_the_limit_of_a_node(tmp_path: Path) -> None:
    data = {uid: [data_set(tmp_path, SOPInstanceUID=uid)] for uid in ("1.2.1.1", "1.2.1.2")}
    most = Most()
    with raw(gives(data, during=most.one)) as port:
        node = {"name": "A", "dimse": f"dimse://A@127.0.0.1:{port}", "at_once": 1}
        (tmp_path / "nodes.json").write_text(json.dumps([node]))
        (row,) = DIMSE.rows("dimse://A/studies/1.2")

        def fetch(name: str) -> list[Event]:
            (tmp_path / name).mkdir()
            engine = make(DownloadSettings(), NetworkSettings.gather())
            return list(engine.run([Fetch.whole(row)], tmp_path / name))

        with ThreadPoolExecutor(3) as pool:
            told = list(pool.map(fetch, ("1", "2", "3")))
    assert [sum(isinstance(event, FileCompleted) for event in each) for each in told] == [2, 2, 2]
    assert most.count == 1


# ---- killed, restarted, full


def started(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [PROGRAM, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_send_goes_on(tmp_path: Path, cli: Cli, seed: int) -> None:
    target = tmp_path / "data"
    downloaded(target, [("P1", "1.2", f"1.2.{number}", 40) for number in range(1, 6)])

    def slowly(number: int, association: Any) -> int:
        time.sleep(0.004)
        return 0

    with scp(slowly) as archive:
        name(tmp_path, A=archive.address)
        dice = random.Random(seed)
        kills = 0
        for _ in range(3):
            had = archive.counts.total()
            process = started("pacs", "send", target, "--to", "A")
            wanted = had + dice.randint(5, 50)
            settled(lambda: archive.counts.total() >= wanted or process.poll() is not None)  # noqa: B023
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
        done = cli("pacs", "send", target, "--to", "A")
        assert done.code == 0, done.err
        assert len(archive.stored) == 200
        assert kills and archive.counts.total() <= 200 + 2 * kills, "at most what was on its way came twice"


def test_an_archive_that_is_restarted_gets_the_rest(data: Path, tmp_path: Path, cli: Cli) -> None:
    port = free_port()
    name(tmp_path, A=f"dimse://SCP@127.0.0.1:{port}")

    def dies(number: int, association: Any) -> int:
        if number >= 7:
            association.abort()
            time.sleep(0.2)
        return 0xA700 if number >= 7 else 0

    with scp(dies, port=port) as archive:
        first = cli("pacs", "send", data, "--to", "A", "--retries", "0")
        assert first.code == 3
        had = set(archive.stored)
    assert cli("pacs", "send", data, "--to", "A").code == 4
    with scp(port=port) as archive:
        done = cli("pacs", "send", data, "--to", "A")
        assert done.code == 0, done.err
        assert len(had | set(archive.stored)) == 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 20 MB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_here_is_said_and_nothing_is_half_written(
    tmp_path: Path, cli: Cli, small_disk: Path, ward: Any, nodes: Path
) -> None:
    write_series(tmp_path / "big", "BIG", "1.88", "1.88.1", 30, pixels=700, Modality="PT")
    assert cli("pacs", "upload", tmp_path / "big", "--to", "WARD").code == 0
    for node in ("WARD", "WARDWEB"):
        done = cli("pacs", "download", node, "--study", "1.88", "--to", small_disk / node)
        assert done.code == 5 and re.search("No space left|disk is full", done.err), done.err
        for path in (small_disk / node).rglob("*.dcm"):
            assert pydicom.dcmread(path).pixel_array.shape == (700, 700)
        assert not list((small_disk / node).rglob("*.part"))
        shutil.rmtree(small_disk / node)


def test_a_full_archive_is_said(tmp_path: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    from support.orthanc import Orthanc

    place = tmp_path_factory.mktemp("full")
    storage = place / "storage"
    storage.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", storage], check=True)
    try:
        with Orthanc(place, "FULL") as archive:
            name(tmp_path, A=archive.dimse)
            write_series(tmp_path / "big", "BIG", "1.88", "1.88.1", 30, pixels=300)
            done = cli("pacs", "upload", tmp_path / "big", "--to", "A", "--retries", "0")
            assert done.code == 3 and "did not go to A" in done.err and "A700" in done.err
            there = archive.count
            subprocess.run(["mount", "-o", "remount,size=64m", storage], check=True)
            done = cli("pacs", "upload", tmp_path / "big", "--to", "A")
            assert done.code == 0 and f"{there:,} sent before" in done.out, done.out
            assert archive.count == 30
    finally:
        subprocess.run(["umount", "-l", storage], check=True)


def test_secrets_are_in_no_output(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from support.orthanc import Orthanc

    with Orthanc(tmp_path_factory.mktemp("locked"), "LOCKED", users={"me": "s3cret-Pacs"}) as archive:
        name(tmp_path, A=archive.web)
        refused = cli("pacs", "echo", "A")
        assert refused.code == 2 and "does not let this user in" in refused.err
        assert "DATASET_DL_NODE_A_TOKEN" in refused.err
        monkeypatch.setenv("DATASET_DL_NODE_A_USER", "me")
        monkeypatch.setenv("DATASET_DL_NODE_A_PASSWORD", "s3cret-Pacs")
        write_series(tmp_path / "a", "P1", "1.2", "1.2.1", 3)
        done = cli("pacs", "upload", tmp_path / "a", "--to", "A", "--debug")
        assert done.code == 0, done.err
        fetched = cli("pacs", "download", "A", "--study", "1.2", "--to", tmp_path / "data", "--json")
        assert fetched.code == 0, fetched.err
        for text in (done.out, done.err, fetched.out, fetched.err, refused.err):
            assert "s3cret" not in text
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or b"s3cret" not in path.read_bytes()
    assert "s3cret" not in os.environ.get("DATASET_DL_NODES", "")


@pytest.mark.parametrize("command", ["upload", "send"])
def test_an_interrupt_ends_it_and_the_same_command_goes_on(tmp_path: Path, cli: Cli, command: str) -> None:
    target = tmp_path / "data"
    downloaded(target, [("P1", "1.2", "1.2.1", 300)])

    def slowly(number: int, association: Any) -> int:
        time.sleep(0.02)
        return 0

    with scp(slowly) as archive:
        name(tmp_path, A=archive.address)
        process = started("pacs", command, target, "--to", "A")
        assert settled(lambda: len(archive.stored) >= 20)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130 and b"The same command resumes" in said
        assert len(archive.stored) < 290, "it has not waited for the end"
        done = cli("pacs", command, target, "--to", "A")
        assert done.code == 0, done.err
        assert len(archive.stored) == 300 and archive.counts.total() <= 302
