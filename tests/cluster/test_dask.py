"""Dask: workers fetch, this process keeps the records. The contract of engines is in tests/contract."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import dataset_dl as dd
from dataset_dl.cluster import DaskEngine, batch, connecting, map_series
from dataset_dl.model.events import FileCompleted
from dataset_dl.model.series import Fetch
from dataset_dl.testing import LocalBucket
from support.cli import PROGRAM, Cli
from support.corporate import free_port
from support.faults import FaultServer, serve
from support.many import many_series
from support.storm import Storm

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """Three workers of a test's own, which it may kill."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=3, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50, processes=True
    ) as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultServer]:
    with serve(tmp_path / "buckets") as running:
        yield running


def workers(client: Client) -> list[int]:
    return [int(each) for each in client.run(os.getpid).values()]


def test_it_is_chosen_by_address(dask_client: Client, bucket: LocalBucket, cli: Cli, saved: Path) -> None:
    address = dask_client.scheduler.address.replace("tcp://", "dask://")  # type: ignore[union-attr]
    done = cli(
        "idc", "download", saved, "--to", "data", "--engine", address, "--endpoint-url", bucket.endpoint_url,
        "--verify", "md5",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "by dask with" in done.err
    assert cli("idc", "verify", "data", "--md5", "--endpoint-url", bucket.endpoint_url).code == 0


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("dask://127.0.0.1:9", 4, "No scheduler of Dask answers at dask://127.0.0.1:9"),
        ("dask", 2, "Write --engine dask://HOST:8786"),
        ("dask://nohost", 2, "is not the address of a scheduler of Dask"),
        ("dask://", 2, "is not the address of a scheduler of Dask"),
        ("nonsense://x", 2, "There is no engine “nonsense”"),
    ],
)
def test_a_wrong_address_is_told(
    cli: Cli, saved: Path, address: str, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_CONNECT_SECONDS", 1.0)
    done = cli("idc", "download", saved, "--to", "data", "--engine", address)
    assert (done.code, words in done.err) == (code, True), done.err


def test_auto_never_means_dask(cli: Cli, saved: Path, bucket: LocalBucket) -> None:
    done = cli(
        "idc", "download", saved, "--to", "data", "--engine", "auto", "--endpoint-url", bucket.endpoint_url
    )
    assert done.code == 0, done.err
    assert "dask" not in done.err


def test_what_is_no_client(dask_client: Client, tmp_path: Path) -> None:
    with pytest.raises(dd.SelectionError, match=r"'x' is no distributed\.Client"):
        DaskEngine("x")  # type: ignore[arg-type]
    with pytest.raises(dd.SelectionError, match=r"'x' is no distributed\.Client"):
        map_series(print, tmp_path, "x")  # type: ignore[arg-type]
    with pytest.raises(dd.ManifestError, match="No download went to"):
        map_series(print, tmp_path / "nowhere", dask_client)


def test_a_scheduler_without_workers() -> None:
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty, Client(empty) as client:
        with pytest.raises(dd.NetworkError, match="has no workers"):
            DaskEngine(client)


def test_a_worker_with_a_disk_of_its_own_writes_nothing(
    dask_client: Client, tmp_path: Path, filled: LocalBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dd.plan([each.key for each in filled.series])
    with (
        pytest.raises(dd.StorageError, match="does not see"),
        connecting.seen_by_all(
            Elsewhere(dask_client),
            tmp_path,  # type: ignore[arg-type]
        ),
    ):
        pass
    # One that comes later looks for itself.
    row = next(iter(plan))
    late = batch.fetch(batch.Way({}, {}), [Fetch(row)], str(tmp_path), str(tmp_path / "no mark"), "run")
    assert late.failures == [(row.key, "disk", f"a worker does not see {tmp_path}")]
    assert list(tmp_path.iterdir()) == []


def test_a_run_leaves_the_mark_of_another_one(dask_client: Client, tmp_path: Path) -> None:
    left = tmp_path / "dask.0123456789ab.part"
    left.touch()
    os.utime(left, (1, 1))
    with connecting.seen_by_all(dask_client, tmp_path) as mark:
        with connecting.seen_by_all(dask_client, tmp_path):
            pass
        assert [str(path) for path in tmp_path.iterdir()] == [mark]
    assert list(tmp_path.iterdir()) == []


class Elsewhere:
    """A client whose workers look at another disk."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(self, function: Any, mark: str, **options: Any) -> Any:
        return self._client.run(function, f"/nonexistent{mark}", **options)


def test_another_version_on_a_worker_is_refused(
    dask_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dd, "__version__", "0.0.1")
    with pytest.raises(dd.PlanError, match=r"has dataset-dl .*, this is 0\.0\.1"):
        with connecting.seen_by_all(dask_client, tmp_path):
            pass


def test_a_killed_workers_batch_goes_to_another_one(
    cluster: LocalCluster, server: FaultServer, tmp_path: Path
) -> None:
    from distributed import Client

    storm = Storm(tmp_path, server, seed=5, series=120, engine="curl")
    with Client(cluster) as client:
        engine = DaskEngine(client, engine="s5cmd")
        struck = False
        events = dd.download_events(
            storm.plan, storm.target, engine=engine, endpoint_url=server.endpoint_url, max_rate_mbps=6
        )
        for event in events:
            if isinstance(event, FileCompleted) and not struck:
                struck = True
                os.kill(workers(client)[0], signal.SIGKILL)
    assert struck
    storm.check_tree()
    assert dd.verify(storm.target, progress="none").ok
    again = [key for key, count in server.gets.items() if count > 1]
    assert len(again) <= 32 * 60, "one batch at most"


COORDINATOR = """
import sys
import dataset_dl as dd
plan, target, address, endpoint = sys.argv[1:]
dd.download(plan, target, engine=address, endpoint_url=endpoint, progress="none", max_rate_mbps=3)
"""


def test_a_killed_coordinator_leaves_workers_idle_and_is_resumed(
    cluster: LocalCluster, server: FaultServer, tmp_path: Path
) -> None:
    from distributed import Client

    storm = Storm(tmp_path, server, seed=6, series=150, engine="curl")
    address = cluster.scheduler_address.replace("tcp://", "dask://")
    arguments = [storm.plan, storm.target, address, server.endpoint_url]
    program = subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, *map(str, arguments)], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not sum(1 for _ in storm.target.rglob("*.dcm")) > 500:
        assert time.monotonic() < deadline and program.poll() is None, program.stderr
        time.sleep(0.1)
    program.kill()
    program.communicate()
    with Client(cluster) as client:
        until(lambda: not any(engines(pid) for pid in workers(client)), "workers go on for nobody")
        right = {key for key, path in storm.places() if storm.is_right(key, path)}
        assert len(right) > 100
        server.gets.clear()
        report = dd.download(
            storm.plan,
            storm.target,
            engine=DaskEngine(client),
            endpoint_url=server.endpoint_url,
            progress="none",
        )
    assert report.ok
    assert not right & server.gets.keys()
    storm.check_tree()


def engines(pid: int) -> list[psutil.Process]:
    """Return the processes of engines that a worker has started."""
    found = []
    for each in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if "s5cmd" in each.name() or "dataset_dl.engines" in " ".join(each.cmdline()):
                found.append(each)
    return found


def until(holds: Any, what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_workers_take_no_secret_from_here(dask_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataset_dl.model.settings import DownloadSettings
    from dataset_dl.network import NetworkSettings

    monkeypatch.setenv("DATASET_DL_PROXY", "http://user:secret@proxy.example.org:3128")
    network = NetworkSettings.gather(endpoint_url="http://store.example.org", sign=True)
    engine = DaskEngine(dask_client).configured(DownloadSettings(), network)
    assert "secret" not in repr(engine._way)
    assert engine._way.network == {"store": "aws", "sign": True, "endpoint_url": "http://store.example.org"}


def note_pid(series: dd.Series) -> dict[str, int]:
    return {"files": len(series.paths), "pid": os.getpid()}


def fail_once(series: dd.Series) -> None:
    mark = series.directory.parent / f"{series.planned.key}.tried"
    if not mark.exists():
        mark.touch()
        raise ValueError("not now")


def test_a_function_is_run_where_the_series_are(dask_client: Client, tmp_path: Path) -> None:
    with many_series(8, tmp_path / "store") as bucket:
        plan = dd.plan([each.key for each in bucket.series])
        dd.download(plan, tmp_path / "to", endpoint_url=bucket.endpoint_url, progress="none")
    dask_client.run(add_path, str(Path(__file__).parent.parent))
    delivery = map_series(note_pid, tmp_path / "to", dask_client, progress="none")
    assert (delivery.delivered, delivery.failures) == (8, ())
    from dataset_dl.destination.records import receipts

    (name,) = delivery.consumers
    made = [each.made for each in receipts(tmp_path / "to", name)]
    assert len(made) == 8
    assert {each["pid"] for each in made} <= set(workers(dask_client))
    assert os.getpid() not in {each["pid"] for each in made}
    again = map_series(note_pid, tmp_path / "to", dask_client, progress="none")
    assert (again.delivered, again.delivered_before) == (0, 8)
    with pytest.raises(dd.DeliveryIncomplete, match="not now"):
        map_series(fail_once, tmp_path / "to", dask_client, progress="none")
    assert map_series(fail_once, tmp_path / "to", dask_client, progress="none").delivered == 8


class OfAnotherMachine:
    """A consumer that no worker can load."""

    name = "elsewhere"
    options: Mapping[str, Any] = {}

    def take(self, series: dd.Series) -> Mapping[str, Any]:
        raise AssertionError("it is never loaded")

    def __reduce__(self) -> tuple[Any, ...]:
        return (int, ("no number",))


def test_what_no_worker_can_load_is_told_as_that(dask_client: Client, tmp_path: Path) -> None:
    with many_series(1, tmp_path / "store") as bucket:
        plan = dd.plan([each.key for each in bucket.series])
        dd.download(plan, tmp_path / "to", endpoint_url=bucket.endpoint_url, progress="none")
    with pytest.raises(
        dd.DeliveryIncomplete,
        match=r"failed \(RuntimeError: Error during deserialization of the task graph\)",
    ):
        map_series(OfAnotherMachine(), tmp_path / "to", dask_client, progress="none")


def add_path(path: str) -> None:
    sys.path.insert(0, path)


def test_a_consumer_is_run_by_the_command(
    dask_client: Client, cli: Cli, saved: Path, bucket: LocalBucket
) -> None:
    assert cli("idc", "download", saved, "--to", "data", "--endpoint-url", bucket.endpoint_url).code == 0
    address = dask_client.scheduler.address.replace("tcp://", "dask://")  # type: ignore[union-attr]
    done = cli.process("cluster", "map", "data", "--to", "thumbnails:pictures", "--on", address)
    assert done.code == 0, done.err
    assert len(list((cli.directory / "pictures").rglob("*.png"))) == 243, "below the caller's directory"
    done = cli.process("cluster", "map", "data", "--to", "thumbnails:pictures", "--on", address)
    assert (done.code, "3" in done.out) == (0, True)
    done = cli.process("cluster", "map", "data", "--to", "nobody", "--on", address)
    assert done.code == 2
    account = {"XNAT_USER": "ada", "XNAT_PASS": "lovelace"}
    done = cli.process(
        "cluster", "map", "data", "--to", "xnat:http://127.0.0.1:9/P", "--on", address, env=account
    )
    assert (done.code, "cannot be spread over" in done.err) == (2, True), done.err


@pytest.mark.parametrize("what", ["scheduler", "workers"])
def test_dask_that_is_gone_is_told(what: str, server: FaultServer, tmp_path: Path) -> None:
    """The download ends with a sentence, and goes on with another Dask."""
    storm = Storm(tmp_path, server, seed=7, series=60, engine="curl")
    with scheduler(tmp_path) as (address, processes):
        program = subprocess.Popen(
            [PROGRAM, "idc", "download", storm.plan, "--to", storm.target, "--engine", address,
             "--endpoint-url", server.endpoint_url, "--max-rate", "1", "--retries", "0"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            until(lambda: any(storm.target.rglob("*.dcm")) or program.poll() is not None, "nothing comes")
            processes[what].kill()
            _, errors = program.communicate(timeout=120)
        finally:
            program.kill()
            program.wait()
    assert program.returncode in (3, 4), errors
    assert "Traceback" not in errors
    gone = "the scheduler of dask is gone" if what == "scheduler" else "all workers of dask are gone"
    assert gone in errors.lower()
    storm.run()
    storm.check_tree()


@contextmanager
def scheduler(root: Path) -> Iterator[tuple[str, dict[str, subprocess.Popen[bytes]]]]:
    """A scheduler and a worker as programs of their own, on loopback, that know each other."""
    from distributed import Client

    port = free_port()
    loopback = ("--dashboard-address", "127.0.0.1:0")
    with ExitStack() as stack:
        processes = {}
        for name, command in (
            ("scheduler", ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port), *loopback]),
            ("workers", ["dask_worker", f"tcp://127.0.0.1:{port}", "--host", "127.0.0.1", "--no-nanny",
                         "--nthreads", "1", *loopback]),
        ):  # fmt: skip
            module = f"distributed.cli.{command[0]}"
            process = subprocess.Popen(
                [sys.executable, "-m", module, *command[1:]],
                cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes[name] = process
        with Client(f"tcp://127.0.0.1:{port}", timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
        yield f"dask://127.0.0.1:{port}", processes
