"""A mosaic of a remote CT series: ours beside a script that follows the published steps of idc-series-preview.

That tool is on no package index, so a script stands in for it: a listing, a HEAD and ranges of 5 KiB, 10 KiB … for
each header, the order by ImagePositionPatient, then each slice as a whole; with obstore, pydicom, numpy and Pillow,
many at once, as there, but without the table of all elements that it makes. Where the tool itself was installed
into `.cache/peers` from its repository, it is measured, too.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np

import dataset_dl as dd
from benchmarks import measure
from benchmarks.measure import Row, Run
from benchmarks.stores import BUCKET, Store, far, serve, write_listing
from support.corporate import Authority
from support.dicoms import corpus, encoded, quietly_read

_SLICES, _SIZE = 300, 512
_FAR_SECONDS = 0.04
_PEER = """
import io, os, pickle, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np, obstore, pydicom
from obstore.store import S3Store
from PIL import Image
endpoint, prefix, output, cache = sys.argv[1:]
store = S3Store("idc-open-data", endpoint=endpoint, skip_signature=True, region="us-east-1",
                virtual_hosted_style_request=False,
                client_options={"allow_http": True, "allow_invalid_certificates": True})
def header(path):
    obstore.head(store, path)
    data, step = b"", 5120
    while True:
        data += bytes(obstore.get_range(store, path, start=len(data), length=step))
        try:
            found = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
            return float(found.ImagePositionPatient[2]), path
        except Exception:
            step *= 2
def tile(path):
    found = pydicom.dcmread(io.BytesIO(bytes(obstore.get(store, path).bytes())))
    values = found.pixel_array * float(found.get("RescaleSlope", 1)) + float(found.get("RescaleIntercept", 0))
    low, high = np.percentile(values, (2, 98))
    shown = np.clip((values - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    return Image.fromarray(shown).resize((160, 160))
with ThreadPoolExecutor(8) as pool:
    if os.path.exists(cache):
        order = pickle.load(open(cache, "rb"))
    else:
        paths = [each["path"] for page in obstore.list(store, prefix) for each in page]
        order = [path for _, path in sorted(pool.map(header, paths))]
        pickle.dump(order, open(cache, "wb"))
    chosen = [order[round(place * (len(order) - 1) / 35)] for place in range(36)]
    tiles = list(pool.map(tile, chosen))
sheet = Image.new("L", (960, 960))
for place, each in enumerate(tiles):
    sheet.paste(each, (place % 6 * 160, place // 6 * 160))
sheet.save(output)
"""


def rows(scratch: Path, peers: Path, *, times: int) -> Iterator[Row]:
    """Cold and with the order known, near and far, over TLS."""
    root = scratch / "preview"
    (series,) = dd.plan("1.3.6.1.4.1.9328.50.2.124384")
    _fill(root / "store", series.key)
    authority = Authority.make(root / "authority", "benchmark")
    with serve(root / "store", root / "tls", authority) as near:
        for kind, store in (("near", near), ("40 ms", None)):
            with nullcontext(near) if store else far(near, _FAR_SECONDS) as used:
                yield from _compare(root, peers, used, series.key, kind, times)


def _fill(root: Path, key: str) -> None:
    """Make a CT series: the header of a real one, of 184 elements, with 512 × 512 values of 12 bits."""
    directory = root / BUCKET / key
    directory.mkdir(parents=True)
    (root / "lists").mkdir()
    chance = np.random.default_rng(1)
    values = chance.integers(0, 4096, (_SIZE, _SIZE), dtype=np.int16)
    (real,) = (path for path in corpus() if path.name == "17106")
    for number in range(_SLICES):
        made = quietly_read(real.read_bytes())
        made.Rows = made.Columns = _SIZE
        made.SOPInstanceUID = f"{made.SeriesInstanceUID}.{number}"
        made.ImagePositionPatient = [0, 0, 1.25 * number]
        made.PixelData = values.tobytes()
        (directory / f"{chance.bytes(8).hex()}.dcm").write_bytes(encoded(made))
    write_listing(root, key, sorted(directory.iterdir()))


def _compare(root: Path, peers: Path, store: Store, key: str, kind: str, times: int) -> Iterator[Row]:
    kept = Path(tempfile.mkdtemp(dir=root))

    def ours(*, cold: bool) -> Callable[[], Run]:
        def work() -> Run:
            if cold:
                shutil.rmtree(kept / "cache", ignore_errors=True)
            return measure.python(
                ["-m", "dataset_dl", "preview", "mosaic", key, "-o", kept / "a.png", "--contrast", "auto",
                 "--endpoint-url", store.endpoint_url],
                environment={**store.environment, "DATASET_DL_CACHE": str(kept / "cache")},
            )  # fmt: skip

        return work

    def peer(*, cold: bool) -> Callable[[], Run]:
        def work() -> Run:
            if cold:
                (kept / "order").unlink(missing_ok=True)
            arguments = [store.endpoint_url, f"{key}/", kept / "b.png", kept / "order"]
            return measure.python(["-c", _PEER, *arguments], interpreter=peers)

        return work

    def tool(*, cold: bool) -> Callable[[], Run]:
        def work() -> Run:
            if cold:
                shutil.rmtree(kept / "theirs", ignore_errors=True)
            return measure.python(
                [program, "mosaic", key, kept / "c.jpg", "--cache-dir", kept / "theirs", "-n", "36",
                 "--columns", "6", "--rows", "6", "--contrast", "auto"],
                interpreter=peers,
                environment={
                    "AWS_ENDPOINT_URL": store.endpoint_url, "AWS_REGION": "us-east-1",
                    "AWS_SKIP_SIGNATURE": "true", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
                    "SSL_CERT_FILE": store.environment["AWS_CA_BUNDLE"],
                },
            )  # fmt: skip

        return work

    program = peers.with_name("idc-series-preview")
    rivals: list[tuple[str, Callable[..., Callable[[], Run]], bool]] = [
        ("a script of its steps", peer, False)
    ]
    if program.exists():
        rivals.append(("idc-series-preview", tool, True))
    for cold, wall, processor in ((True, 0.4, 0.25), (False, None, 0.75)):
        work = f"mosaic of {_SLICES} slices, {kind}, {'cold' if cold else 'order known'}"
        mine, *others = measure.repeat(times, ours(cold=cold), *(make(cold=cold) for _, make, _ in rivals))
        requests = _requests(store, ours(cold=cold))
        for (who, make, is_tool), run in zip(rivals, others, strict=True):
            yield Row(work, "seconds", mine.seconds, run.seconds, who, wall if is_tool else None)
            yield Row(
                work, "processor s", mine.cpu_seconds, run.cpu_seconds, who, processor if is_tool else None
            )
            most = 0.55 if cold else None
            yield Row(work, "requests", requests, _requests(store, make(cold=cold)), who, most)


def _requests(store: Store, work: Callable[[], Run]) -> int:
    store.forget()
    work()
    return len(store.requests())
