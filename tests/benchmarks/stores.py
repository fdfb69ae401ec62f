"""What is measured against: nginx as the fastest store there is here, with TLS or not, near or far."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from dataset_dl.model.series import PlannedSeries
from dataset_dl.process import Process
from support.corporate import Authority, free_port, wait_for

BUCKET = "idc-open-data"
NGINX = Path("/usr/sbin/nginx")
# ext4 gives a file 65,000 names at most.
_MOST_NAMES = 60_000
# nginx writes its log once a second.
_LOG_SECONDS = 1.5
_LIST_TIME = "2024-01-01T00:00:00.000Z"
_CONFIGURATION = """
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 2;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_timeout 75; keepalive_requests 100000;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  open_file_cache max=4000 inactive=600s; open_file_cache_valid 600s;
  log_format one '$connection $request_method';
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port}{tls};
    access_log {log} one buffer=64k flush=1s;
    root {root};
    location = /{bucket} {{ default_type application/xml; try_files /lists/$arg_prefix.xml =404; }}
  }}
}}
"""


def fill(root: Path, series: Sequence[PlannedSeries], sizes: Sequence[Sequence[int]]) -> list[PlannedSeries]:
    """Make the objects of real series in made-up sizes, and their listings; returns the series so changed.

    Objects of one size are one file with many names.
    """
    for name in (BUCKET, "lists", "blocks"):
        (root / name).mkdir(parents=True)
    return [_fill(root, each, each_sizes) for each, each_sizes in zip(series, sizes, strict=True)]


def _fill(root: Path, series: PlannedSeries, sizes: Sequence[int]) -> PlannedSeries:
    name = series.crdc_series_uuid
    directory = root / BUCKET / name
    directory.mkdir()
    contents = []
    for index, size_bytes in enumerate(sizes):
        path = directory / f"{uuid.uuid5(uuid.NAMESPACE_OID, f'{name} {index}')}.dcm"
        _link(root / "blocks", size_bytes, path)
        contents.append(
            f"<Contents><Key>{name}/{path.name}</Key><LastModified>{_LIST_TIME}</LastModified>"
            f"<ETag>&quot;{_etag(path)}&quot;</ETag><Size>{size_bytes}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )
    _write_listing(root, f"{name}/", len(contents), "".join(contents))
    prefixes = f"<CommonPrefixes><Prefix>{name}/</Prefix></CommonPrefixes>"
    _write_listing(root, name, 1, prefixes)
    return series._replace(address=f"s3://{BUCKET}/{name}/*", instanceCount=len(sizes), size_bytes=sum(sizes))


def _etag(path: Path) -> str:
    """Return the ETag that nginx gives a file."""
    status = path.stat()
    return f"{int(status.st_mtime):x}-{status.st_size:x}"


def write_listing(root: Path, name: str, files: Sequence[Path]) -> None:
    """Write the listing of a series with these files."""
    contents = "".join(
        f"<Contents><Key>{name}/{path.name}</Key><LastModified>{_LIST_TIME}</LastModified>"
        f"<ETag>&quot;{_etag(path)}&quot;</ETag><Size>{path.stat().st_size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for path in files
    )
    _write_listing(root, f"{name}/", len(files), contents)


def _write_listing(root: Path, prefix: str, count: int, contents: str) -> None:
    listing = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{count}</KeyCount>"
        f"<MaxKeys>{max(1000, count)}</MaxKeys><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
    )
    (root / "lists" / f"{quote(prefix, safe='')}.xml").write_text(listing)


def _link(blocks: Path, size_bytes: int, path: Path) -> None:
    block = blocks / f"{size_bytes}"
    if not block.exists() or block.stat().st_nlink > _MOST_NAMES:
        block.unlink(missing_ok=True)
        block.write_bytes(os.urandom(min(size_bytes, 1 << 20)) * (size_bytes // (1 << 20) + 1))
        os.truncate(block, size_bytes)
    os.link(block, path)


@dataclass(frozen=True)
class Store:
    """A store that runs.

    Attributes
    ----------
    endpoint_url
        Where.
    environment
        What s5cmd and ours are told of it: its authority, if it speaks TLS.
    log
        A line a request: the number of its connection, its method.
    """

    endpoint_url: str
    environment: dict[str, str]
    log: Path

    def forget(self) -> None:
        """Count requests from now on."""
        time.sleep(_LOG_SECONDS)
        self.log.write_bytes(b"")

    def requests(self) -> list[tuple[str, str]]:
        """The requests so far: the number of the connection, and the method."""
        time.sleep(_LOG_SECONDS)
        lines = self.log.read_text().splitlines()
        return [(line.split()[0], line.split()[1]) for line in lines]


@contextmanager
def serve(root: Path, directory: Path, authority: Authority | None = None) -> Iterator[Store]:
    """Serve what `fill` has made."""
    directory.mkdir(parents=True)
    port = free_port()
    tls = ""
    if authority is not None:
        beside = authority.path.parent
        tls = f" ssl; ssl_certificate {beside}/server.pem; ssl_certificate_key {beside}/server.key"
    log = directory / "access.log"
    (directory / "nginx.conf").write_text(
        _CONFIGURATION.format(directory=directory, root=root, port=port, tls=tls, log=log, bucket=BUCKET)
    )
    # nginx gives its work to another user if root starts it, and that one may not read here.
    user = "user root;" if os.geteuid() == 0 else ""
    running = Process(
        [str(NGINX), "-p", str(directory), "-c", str(directory / "nginx.conf"), "-g", user],
        directory=directory, environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    running.ignore_output()
    try:
        wait_for(port, running)
        environment = {} if authority is None else {"AWS_CA_BUNDLE": str(authority.path)}
        scheme = "http" if authority is None else "https"
        yield Store(f"{scheme}://127.0.0.1:{port}", environment, log)
    finally:
        running.stop()


@contextmanager
def far(store: Store, round_trip_seconds: float) -> Iterator[Store]:
    """The same store behind a relay that adds so much to each round trip, that of connecting included."""
    address = urlsplit(store.endpoint_url)
    running = Process(
        [sys.executable, "-m", "benchmarks.relay", str(address.port), str(round_trip_seconds)],
        directory=Path(__file__).parents[1], environment={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        for batch in running.lines(0.05):
            for line in batch:
                if line.startswith(b"relay on "):
                    running.ignore_output()
                    port = int(line.split()[-1])
                    yield Store(f"{address.scheme}://127.0.0.1:{port}", store.environment, store.log)
                    return
            assert running.returncode is None, running.stderr_tail
    finally:
        running.stop()
