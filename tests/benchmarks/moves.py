"""Moving bytes: ours beside raw s5cmd with its best number of workers, idc-index, obstore and awscrt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dataset_dl as dd
from benchmarks import measure
from benchmarks.measure import Row, Run
from benchmarks.stores import Store, far, fill, serve
from dataset_dl.engines.s5cmd import binary
from dataset_dl.model.series import PlannedSeries
from support.corporate import Authority
from support.plans import plan_of

WORKERS = (16, 64, 256)
FAR_SECONDS = 0.04
_OBSTORE_TRIES = 5
ENGINES = ("s5cmd", "curl")
# What curl may take of the wall and processor time of raw s5cmd over TLS, by the first word of a load.
_CURL_NEAR: dict[str, tuple[float | None, float]] = {
    "small": (0.4, 0.35), "ct": (0.9, 0.55), "large": (1.05, 1.05), "mix": (None, 0.6),
}  # fmt: skip
_CURL_FAR = {"small": 0.5, "ct": 0.75}
_OURS = """
import json, resource, sys, time
import dataset_dl as dd
plan = dd.plan(sys.argv[1], into=sys.argv[2])
def used():
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime
before, began, workers = used(), time.monotonic(), 0
for event in dd.download_events(plan, endpoint_url=sys.argv[3], **eval(sys.argv[4])):
    workers = getattr(event, "workers", workers)
report = event.report
assert report.ok and report.fetched_series == plan.series_count
seconds, after = time.monotonic() - began, used()
print(json.dumps({"seconds": seconds, "own": after[0] - before[0], "s5cmd": after[1] - before[1], "workers": workers}))
"""
_IDC_INDEX = """
import sys
import idc_index.index
idc_index.index.aws_endpoint_url = sys.argv[1]
import time
client = idc_index.index.IDCClient()
began = time.monotonic()
client.download_from_manifest(sys.argv[2], sys.argv[3], quiet=True)
print(time.monotonic() - began)
"""
_OBSTORE = """
import asyncio, os, sys
from obstore.store import S3Store
endpoint, manifest, to, workers = sys.argv[1:]
store = S3Store("idc-open-data", endpoint=endpoint, skip_signature=True, region="us-east-1",
                virtual_hosted_style_request=False,
                client_options={"allow_http": True, "allow_invalid_certificates": True})
async def fetch(key, path, gate):
    async with gate:
        answer = await store.get_async(key)
        with open(path, "wb") as file:
            async for piece in answer.stream():
                file.write(piece)
async def main():
    gate, tasks = asyncio.Semaphore(int(workers)), []
    for line in open(manifest):
        _, url, directory = line.split()
        prefix = url.split("/", 3)[3].rstrip("*")
        os.makedirs(os.path.join(to, directory), exist_ok=True)
        async for page in store.list(prefix):
            for each in page:
                path = os.path.join(to, directory, each["path"].rsplit("/", 1)[1])
                tasks.append(asyncio.create_task(fetch(each["path"], path, gate)))
    await asyncio.gather(*tasks)
asyncio.run(main())
"""
# It cannot list, so it is given the names: a floor.
_AWSCRT = """
import os, sys
from awscrt import http, io, s3
endpoint, manifest, to, store = sys.argv[1:]
tls, mode = None, s3.S3RequestTlsMode.DISABLED
if endpoint.startswith("https"):
    options, mode = io.TlsContextOptions(), s3.S3RequestTlsMode.ENABLED
    options.verify_peer = False
    tls = io.ClientTlsContext(options).new_connection_options()
client = s3.S3Client(bootstrap=io.ClientBootstrap.get_or_create_static_default(), region="us-east-1",
                     tls_connection_options=tls, tls_mode=mode, throughput_target_gbps=10)
host, running = http.HttpHeaders([("Host", endpoint.split("//")[1])]), []
for line in open(manifest):
    _, url, directory = line.split()
    prefix = url.split("/", 2)[2].rstrip("*")
    os.makedirs(os.path.join(to, directory), exist_ok=True)
    for name in os.listdir(os.path.join(store, prefix)):
        request = http.HttpRequest("GET", "/" + prefix + name, host)
        running.append(client.make_request(type=s3.S3RequestType.GET_OBJECT, request=request,
                                           recv_filepath=os.path.join(to, directory, name)).finished_future)
for each in running:
    each.result()
"""


@dataclass(frozen=True)
class Load:
    """What is moved: a name, and the sizes of the objects of each series, in bytes."""

    name: str
    sizes: Sequence[Sequence[int]]

    @property
    def objects(self) -> int:
        """How many objects."""
        return sum(map(len, self.sizes))

    @property
    def size_mb(self) -> float:
        """Their sizes together, in MB."""
        return sum(map(sum, self.sizes)) / 1e6


def loads(scale: float) -> list[Load]:
    """The five loads; `scale` 1 is what docs/performance.md quotes."""

    def some(count: int) -> int:
        return max(1, round(count * scale))

    return [
        Load("small: 50 series of 100 objects of 100 KiB", [[102_400] * some(100)] * 50),
        Load("ct: 25 series of 80 objects of 512 KiB", [[512 << 10] * some(80)] * 25),
        Load("large: 40 objects of 64 MiB", [[64 << 20]] * some(40)),
        Load("mix: 300 series as in the index, scaled", _mix(scale)),
        Load("single: 3,000 series of one object of 50 KB", [[50_000]] * some(3000)),
    ]


def long_load(scale: float) -> Load:
    """One that lasts: what is done once before the first byte hardly counts in it."""
    return Load("long: 500 series of 100 objects of 100 KiB", [[102_400] * max(1, round(100 * scale))] * 500)


def _mix(scale: float) -> list[list[int]]:
    """The counts and sizes of 300 random series: a third of the counts, together 1.5 GB."""
    frame = dd.query(
        "SELECT instanceCount AS count, series_size_MB * 1e6 / instanceCount AS size FROM idc_index"
        " ORDER BY hash(crdc_series_uuid) LIMIT 300"
    )
    counts = [max(1, round(count * scale / 3)) for count in frame["count"]]
    total = sum(count * size for count, size in zip(counts, frame["size"], strict=True))
    shrink = 1.5e9 * scale / total
    return [
        [max(1000, int(size * shrink))] * count for count, size in zip(counts, frame["size"], strict=True)
    ]


class Course:
    """A load on its stores, and the ways to move it."""

    def __init__(self, root: Path, load: Load, peers: Path) -> None:
        self.load, self.root, self._peers = load, root, peers
        self.rows = fill(root / "store", real_series(len(load.sizes)), load.sizes)
        self.plan = root / "plan.parquet"
        plan_of(self.rows).save(self.plan)
        self.manifest = root / "manifest.s5cmd"
        self.manifest.write_text(
            "".join(f"cp {each.series_aws_url} ./{each.directory}/\n" for each in self.rows)
        )
        self._portal = root / "portal.s5cmd"
        self._portal.write_text("".join(f"cp {each.series_aws_url} .\n" for each in self.rows))
        self.to = root / "to"
        self.binary = binary.require().path

    def fresh(self) -> Path:
        shutil.rmtree(self.to, ignore_errors=True)
        self.to.mkdir()
        return self.to

    def _counted(self, run: Run) -> Run:
        found = sum(path.is_file() for path in self.to.rglob("*.dcm"))  # a PatientID may end in .dcm, too
        if found != self.load.objects:
            raise RuntimeError(f"{found} of {self.load.objects} objects arrived")
        return run

    def ours(self, store: Store, **options: object) -> Run:
        """`download` in a process that has started and has its plan; `peak_mb` is the process's."""
        environment = {"AWS_CA_BUNDLE": store.environment["AWS_CA_BUNDLE"]} if store.environment else {}
        run = measure.python(
            ["-c", _OURS, self.plan, self.fresh(), store.endpoint_url, repr(options)],
            environment=environment,
        )
        told = json.loads(run.stdout)
        return self._counted(
            Run(told["seconds"], told["own"], told["s5cmd"], run.peak_mb, str(told["workers"]))
        )

    def raw(self, store: Store, workers: int) -> Run:
        """``s5cmd run`` with a manifest made by hand."""
        argv = [self.binary, "--json", "--no-sign-request", "--endpoint-url", store.endpoint_url,
                "--numworkers", str(workers), "run", self.manifest]  # fmt: skip
        environment = {"AWS_REGION": "us-east-1", **store.environment}
        return self._counted(measure.command(argv, environment=environment, directory=self.fresh()))

    def idc_index(self, store: Store) -> Run:
        """``download_from_manifest`` of a client that has started."""
        run = measure.python(
            ["-c", _IDC_INDEX, store.endpoint_url, self._portal, self.fresh()],
            interpreter=self._peers, environment={"AWS_REGION": "us-east-1", **store.environment},
        )  # fmt: skip
        return self._counted(
            Run(float(run.stdout), run.cpu_seconds, run.children_cpu_seconds, run.peak_mb, "")
        )

    def obstore(self, store: Store, workers: int) -> Run:
        """The same objects by obstore in one process, which aborts now and then."""
        for attempt in range(_OBSTORE_TRIES):
            arguments = [store.endpoint_url, self.manifest, self.fresh(), str(workers)]
            try:
                return self._counted(measure.python(["-c", _OBSTORE, *arguments], interpreter=self._peers))
            except RuntimeError:
                if attempt == _OBSTORE_TRIES - 1:
                    raise
        raise AssertionError

    def awscrt(self, store: Store) -> Run:
        """The same objects by the AWS Common Runtime, which is told their names."""
        arguments = [store.endpoint_url, self.manifest, self.fresh(), self.root / "store"]
        return self._counted(measure.python(["-c", _AWSCRT, *arguments], interpreter=self._peers))


def real_series(count: int) -> list[PlannedSeries]:
    """Series that idc-index knows, too; small ones, for it wants room for the sizes of the index."""
    frame = dd.query(
        "SELECT crdc_series_uuid AS uuid FROM idc_index WHERE aws_bucket = 'idc-open-data'"
        f" ORDER BY series_size_MB, crdc_series_uuid LIMIT {count}"
    )
    return list(dd.plan(list(frame["uuid"])))


@contextmanager
def _course(root: Path, load: Load, peers: Path) -> Iterator[Course]:
    root.mkdir()
    try:
        yield Course(root, load, peers)
    finally:
        shutil.rmtree(root)


def connections(store: Store, work: Callable[[], Run]) -> int:
    """How many connections the store saw during a work."""
    store.forget()
    work()
    return len({connection for connection, _ in store.requests()})


def near(
    root: Path, peers: Path, *, scale: float, times: int, engines: Sequence[str] = ENGINES
) -> Iterator[Row]:
    """On loopback, without TLS and with it."""
    authority = Authority.make(root / "authority", "benchmark")
    for number, load in enumerate(loads(scale)):
        with (
            _course(root / f"near-{number}", load, peers) as course,
            serve(course.root / "store", course.root / "plain") as plain,
            serve(course.root / "store", course.root / "tls", authority) as tls,
        ):
            for store, kind in ((plain, ""), (tls, ", TLS")):
                yield from _compare(course, store, load.name + kind, times, engines)
            for engine in engines:
                yield from _peers(course, plain, tls, engine)
    lasting = long_load(scale)
    with (
        _course(root / "near-long", lasting, peers) as course,
        serve(course.root / "store", course.root / "plain") as plain,
        serve(course.root / "store", course.root / "tls", authority) as tls,
    ):
        yield from _compare(course, plain, lasting.name, times, engines, WORKERS[:1])
        yield from _compare(course, tls, lasting.name + ", TLS", times, engines, WORKERS[:1])


def _peers(course: Course, plain: Store, tls: Store, engine: str) -> Iterator[Row]:
    """One engine against other programs, and how many connections it opens."""
    name = f"{course.load.name}, {engine}"
    runs = measure.repeat(1, lambda: course.ours(plain, engine=engine), lambda: course.idc_index(plain))
    yield Row(name, "seconds", runs[0].seconds, runs[1].seconds, "idc-index", 1.0)
    workers = 16
    seen = connections(tls, lambda: course.ours(tls, engine=engine, workers=workers))
    yield Row(name + ", TLS", "connections", seen, workers, "workers", 1.1 if engine == "curl" else None)
    yield from _libraries(course, plain, name, engine)
    yield from _libraries(course, tls, name + ", TLS", engine)


def _libraries(course: Course, store: Store, name: str, engine: str) -> Iterator[Row]:
    """One engine against libraries, which a script would use."""
    peers = (
        ("obstore, 64 at once", lambda: course.obstore(store, 64)),
        ("awscrt, told the names", lambda: course.awscrt(store)),
    )
    mine, *others = measure.repeat(1, lambda: course.ours(store, engine=engine), *(work for _, work in peers))
    for (peer, _), run in zip(peers, others, strict=True):
        yield Row(name, "seconds", mine.seconds, run.seconds, peer)
        spent = [each.cpu_seconds + each.children_cpu_seconds for each in (mine, run)]
        yield Row(name, "processor s", *spent, peer)


def distant(
    root: Path, peers: Path, *, scale: float, times: int, full: bool, engines: Sequence[str] = ENGINES
) -> Iterator[Row]:
    """Behind a relay that adds 40 ms to each round trip."""
    authority = Authority.make(root / "authority", "benchmark")
    chosen = loads(scale)
    for number, load in enumerate(chosen if full else [chosen[0], chosen[1], chosen[4]]):
        with (
            _course(root / f"far-{number}", load, peers) as course,
            serve(course.root / "store", course.root / "plain") as plain,
            serve(course.root / "store", course.root / "tls", authority) as tls,
            far(plain, FAR_SECONDS) as plain_far,
            far(tls, FAR_SECONDS) as tls_far,
        ):
            for engine in engines:
                for store, kind in ((plain_far, ", 40 ms"), (tls_far, ", TLS, 40 ms")):
                    yield from _choice(course, store, load.name + kind, times, engine)
                    yield from _libraries(course, store, f"{load.name}{kind}, {engine}", engine)


def _compare(
    course: Course,
    store: Store,
    name: str,
    times: int,
    engines: Sequence[str],
    numbers: Sequence[int] = WORKERS,
) -> Iterator[Row]:
    """Ours with each engine against raw s5cmd with some numbers of workers, by turns."""

    def ours(engine: str) -> Callable[[], Run]:
        return lambda: course.ours(store, engine=engine)

    def raw(workers: int) -> Callable[[], Run]:
        return lambda: course.raw(store, workers)

    runs = measure.repeat(times, *map(ours, engines), *map(raw, numbers))
    raws = runs[len(engines) :]
    best = min(range(len(numbers)), key=lambda index: raws[index].seconds)
    for engine, run in zip(engines, runs, strict=False):
        work, peer = f"{name}, {engine}", f"s5cmd, best: {numbers[best]} workers; ours: {run.stdout}"
        wall, processor = (1.03, None) if engine == "s5cmd" else (None, None)
        if engine == "curl" and name.endswith("TLS"):
            wall, processor = _CURL_NEAR.get(name.partition(":")[0], (None, None))
        yield Row(work, "seconds", run.seconds, raws[best].seconds, peer, wall)
        spent = run.cpu_seconds + run.children_cpu_seconds
        yield Row(work, "processor s, whole", spent, raws[best].cpu_seconds, peer, processor)
        for workers, other in zip(numbers, raws, strict=True):
            yield Row(work, "seconds", run.seconds, other.seconds, f"s5cmd, {workers} workers")
        own = "the s5cmd it runs" if engine == "s5cmd" else "its workers"
        bound = 0.05 if engine == "s5cmd" else None
        yield Row(work, "processor s", run.cpu_seconds, run.children_cpu_seconds, own, bound)


def _choice(course: Course, store: Store, name: str, times: int, engine: str) -> Iterator[Row]:
    """Ours with the number of workers that it chooses, and with others; raw s5cmd beside it."""

    def ours(workers: int) -> Callable[[], Run]:
        return lambda: course.ours(store, workers=workers, engine=engine)

    def raw(workers: int) -> Callable[[], Run]:
        return lambda: course.raw(store, workers)

    works = [work(workers) for work in (ours, raw) for workers in WORKERS]
    chosen, *others = measure.repeat(times, lambda: course.ours(store, engine=engine), *works)
    mine, raws = others[: len(WORKERS)], others[len(WORKERS) :]
    bound = _CURL_FAR.get(name.partition(":")[0]) if engine == "curl" and "TLS" in name else None
    for label, runs, most in (("ours", mine, 1.10), ("s5cmd", raws, bound)):
        best = min(range(len(WORKERS)), key=lambda index: runs[index].seconds)
        which = f"{label}, best: {WORKERS[best]} workers; chosen: {chosen.stdout}"
        yield Row(f"{name}, {engine}", "seconds", chosen.seconds, runs[best].seconds, which, most)
        for workers, run in zip(WORKERS, runs, strict=True):
            yield Row(
                f"{name}, {engine}", "seconds", chosen.seconds, run.seconds, f"{label}, {workers} workers"
            )
