"""Archives: sends, fetches and the ledger, beside dcmtk and dicomweb-client, with one Orthanc for all.

Each contestant sends instances of its own, for an archive that has one already has less to do. Whole commands are
measured, from start to end; by HTTP also the part in which instances come or go: Python starts half a second later
than a program in C, and the lists of instances that we ask for first, and no peer does, take Orthanc half of the time.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import measure
from benchmarks.measure import Row, Run
from dataset_dl.pacs.ledger import Entry, Ledger, now
from support.dicoms import encoded, slice_of
from support.namespace import namespace
from support.orthanc import Orthanc

_CLIENT = """
import sys, time
from pathlib import Path
from dicomweb_client.api import DICOMwebClient
out = Path(sys.argv[2])
out.mkdir()
began = time.monotonic()
for each in DICOMwebClient(url=sys.argv[1]).iter_series(sys.argv[3], sys.argv[4]):
    each.save_as(out / f"{each.SOPInstanceUID}.dcm")
print(time.monotonic() - began)
"""
_FETCH = """
import sys, time
import dataset_dl as dd
from dataset_dl.model.events import EngineStarted, SeriesCompleted
at = {}
plan = dd.plan(sys.argv[1], into=sys.argv[2])
dd.download(plan, progress="none", observers=[lambda event: at.setdefault(type(event), time.monotonic())])
print(at[SeriesCompleted] - at[EngineStarted])
"""
_SEND = """
import sys, time
from pathlib import Path
from dataset_dl.network import NetworkSettings
from dataset_dl.pacs.nodes import Nodes
from dataset_dl.pacs.upload import Uploaded, upload
node, result, began = Nodes().find(sys.argv[1]), Uploaded(), time.monotonic()
for _ in upload([Path(sys.argv[2])], node, NetworkSettings.gather(), result):
    pass
assert not result.problems and result.sent == result.files
print(time.monotonic() - began)
"""
_ROOT = "1.2.826.0.1.3680043.8.498"


def rows(scratch: Path, peers: Path, *, times: int) -> Iterator[Row]:
    """All of them."""
    with namespace(), Orthanc(scratch / "orthanc", "BENCH", options={"MaximumPduLength": 131072}) as archive:
        bench = _Bench(scratch, peers, archive)
        for work, pixels, count in (("0.5 MB", 512, 1000), ("12 KB", 76, 3000)):
            yield from bench.sends(work, pixels, count, times)
            yield from bench.fetches(work, pixels, count, times)
    yield _ledger()


class _Bench:
    def __init__(self, scratch: Path, peers: Path, archive: Orthanc) -> None:
        self._scratch = scratch
        self._peers = peers
        self._archive = archive
        self._number = 0
        several = [
            {"name": "ONE", "dimse": archive.dimse, "at_once": 1},
            {"name": "TWO", "dimse": archive.dimse, "at_once": 2},
            {"name": "STOW", "dicomweb": archive.web, "at_once": 4},
        ]
        (scratch / "nodes.json").write_text(json.dumps(several))
        self._environment = {
            "DATASET_DL_NODES": str(scratch / "nodes.json"), "DATASET_DL_CONFIG": "/nonexistent/config.toml",
        }  # fmt: skip

    def sends(self, work: str, pixels: int, count: int, times: int) -> Iterator[Row]:
        def ours(node: str) -> Callable[[], Run]:
            return lambda: self._upload(node, self._files(pixels, count))

        contestants = [
            lambda: self._storescu(self._files(pixels, count)),
            ours("ONE"),
            ours("TWO"),
            ours("STOW"),
            lambda: self._send("STOW", self._files(pixels, count)),
        ]
        peer, one, two, stow, going = measure.repeat(times, *contestants)
        floor, as_they_go = count / peer.seconds, count / float(going.stdout)
        yield Row(f"C-STORE ×1, {work}", "instances/s", count / one.seconds, floor, "storescu ×1", 0.5, True)
        yield Row(f"C-STORE ×2, {work}", "instances/s", count / two.seconds, floor, "storescu ×1", 0.8, True)
        yield Row(
            f"STOW-RS ×4, {work}, as they go", "instances/s", as_they_go, floor, "storescu ×1", 1.5, True
        )
        yield Row(
            f"STOW-RS ×4, {work}", "instances/s", count / stow.seconds, floor, "storescu ×1", None, True
        )
        yield Row(f"C-STORE ×2, {work}", "memory MB", two.peak_mb, 200, "target", 1.0)
        yield Row(f"STOW-RS ×4, {work}", "memory MB", stow.peak_mb, 200, "target", 1.0)

    def fetches(self, work: str, pixels: int, count: int, times: int) -> Iterator[Row]:
        files = self._files(pixels, count)
        study, series = f"{_ROOT}.{self._number}.0", f"{_ROOT}.{self._number}"
        self._upload("STOW", files)
        getscu, get, wado, part, client = measure.repeat(
            times,
            lambda: self._getscu(study, series, count),
            lambda: self._download("ONE", series, count),
            lambda: self._download("STOW", series, count),
            lambda: self._fetch(study, series, count),
            lambda: self._client(study, series, count),
        )
        rates = [count / float(each.stdout) for each in (part, client)]
        yield Row(
            f"C-GET, {work}", "instances/s", count / get.seconds, count / getscu.seconds, "getscu", 0.3, True
        )
        yield Row(f"WADO-RS, {work}, as they come", "instances/s", *rates, "dicomweb-client", 2.0, True)
        yield Row(f"WADO-RS, {work}", "instances/s", count / wado.seconds, count / client.seconds, "dicomweb-client", None, True)  # fmt: skip
        yield Row(f"C-GET, {work}", "memory MB", get.peak_mb, 200, "target", 1.0)
        yield Row(f"WADO-RS, {work}", "memory MB", wado.peak_mb, 200, "target", 1.0)

    def _fetch(self, study: str, series: str, count: int) -> Run:
        target = self._scratch / "part"
        shutil.rmtree(target, ignore_errors=True)
        address = f"dicomweb://STOW/studies/{study}/series/{series}"
        done = measure.python(["-c", _FETCH, address, target], environment=self._environment)
        assert len(list(target.rglob("*.dcm"))) == count
        return done

    def _files(self, pixels: int, count: int) -> Path:
        """A new series with noise for pixels, in four directories; the archive forgets those before it."""
        self._archive.forget()
        self._number += 1
        place = self._scratch / "files"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        noise = np.random.default_rng(self._number).integers(0, 4096, (pixels, pixels)).astype(np.int16)
        series = f"{_ROOT}.{self._number}"
        for number in range(1, count + 1):
            made = slice_of(
                (0, 0, float(number)), values=np.roll(noise, number), SOPInstanceUID=f"{series}.{number}",
                SeriesInstanceUID=series, StudyInstanceUID=f"{series}.0", PatientID="BENCH", InstanceNumber=number,
                StudyDate="20240101",
            )  # fmt: skip
            half = place / str(number % 4)
            half.mkdir(exist_ok=True)
            (half / f"{number}.dcm").write_bytes(encoded(made))
        return place

    def _storescu(self, files: Path) -> Run:
        argv = ["storescu", "-aec", "BENCH", "127.0.0.1", str(self._archive.port), "+sd", "+r", str(files)]
        return measure.command(argv, environment={"TCP_NODELAY": "1"})

    def _upload(self, node: str, files: Path) -> Run:
        return self._ours("pacs", "upload", files, "--to", node)

    def _send(self, node: str, files: Path) -> Run:
        environment = {**self._environment, "DATASET_DL_STATE": tempfile.mkdtemp(dir=self._scratch)}
        return measure.python(["-c", _SEND, node, files], environment=environment)

    def _download(self, node: str, series: str, count: int) -> Run:
        target = self._scratch / "data"
        shutil.rmtree(target, ignore_errors=True)
        done = self._ours("pacs", "download", node, "--series", series, "--to", target)
        assert len(list(target.rglob("*.dcm"))) == count
        return done

    def _ours(self, *arguments: object) -> Run:
        state = Path(tempfile.mkdtemp(dir=self._scratch))
        environment = {**self._environment, "DATASET_DL_STATE": str(state)}
        return measure.python(["-m", "dataset_dl", *map(str, arguments)], environment=environment)

    def _getscu(self, study: str, series: str, count: int) -> Run:
        target = self._scratch / "got"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        keys = ["-k", "0008,0052=SERIES", "-k", f"0020,000D={study}", "-k", f"0020,000E={series}"]
        argv = [
            "getscu",
            "-aec",
            "BENCH",
            "-S",
            *keys,
            "-od",
            str(target),
            "127.0.0.1",
            str(self._archive.port),
        ]
        done = measure.command(argv, environment={"TCP_NODELAY": "1"})
        assert len(list(target.iterdir())) == count
        return done

    def _client(self, study: str, series: str, count: int) -> Run:
        target = self._scratch / "client"
        shutil.rmtree(target, ignore_errors=True)
        done = measure.python(
            ["-c", _CLIENT, self._archive.web, target, study, series], interpreter=self._peers
        )
        assert len(list(target.iterdir())) == count
        return done


def _ledger() -> Row:
    """An entry and its commit, on a disk."""
    with tempfile.TemporaryDirectory() as place:
        ledger, each = Ledger(Path(place)), []
        for number in range(2000):
            began = time.monotonic()
            ledger.record([Entry("sent", "A", "", f"1.2.{number}", "1.2", "1.3", 0, "", bytes(16), 1, now())])
            each.append(1000 * (time.monotonic() - began))
        ledger.close()
    return Row("ledger, an instance", "ms", statistics.mean(each), 5.0, "target", 1.0)
