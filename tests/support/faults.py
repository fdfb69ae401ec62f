"""An S3 server on real sockets that serves the folder of a bucket and misbehaves on demand."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from support.web import serving

DATE = "2020-01-01T00:00:00.000Z"


class FaultServer:
    """Answers LIST and GET like S3; `faults` maps a part of an object's key to a fault.

    ``hang``: accepts and never answers. ``cut``: closes in the middle of the body. ``html``: a sign-in
    page with 200. ``future``: a LastModified of the next century. ``slow``: answers after 20 ms. ``close``:
    closes the connection without an answer. ``flood``: an endless body. ``drip``: one byte every 0.1 s.
    ``flip``: another last byte. ``moved`` and ``away``: a redirect to the same object under another path, and to
    another server. ``whole``: the whole object, whatever range was requested. ``unsized``: so, without its length.
    ``unsure``: any ``If-Match`` fails. ``stop``: half of the body, then nothing. A number: that
    status, each time. With ``once``, like ``503 once``: only the first time. ``flip then stop``: one the first time,
    the other one later.
    `each_nth` applies one of these to every nth request for an object, whatever its key.
    `endless` maps series to lists that never end: ``same`` lists the same objects on each page, ``new``
    others. `portal` answers everything with a sign-in page. `listed_too` are names that every list contains
    although no such file exists.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: dict[str, str] = {}
        self.each_nth: tuple[int, str] | None = None
        self.gets: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.lists = 0
        self.listed_too: list[str] = []
        self.portal = False
        self.endless: dict[str, str] = {}
        self.flooded_bytes = 0
        self.released = threading.Event()
        self.endpoint_url = ""

    def fault_of(self, key: str) -> str:
        return next((fault for part, fault in self.faults.items() if part in key), "")

    def fault_now(self, key: str) -> str:
        if self.each_nth is not None and self.gets.total() % self.each_nth[0] == 0:
            return self.each_nth[1]
        first, _, later = self.fault_of(key).removesuffix(" once").partition(" then ")
        is_once = later or self.fault_of(key).endswith(" once")
        return later if is_once and self.gets[key] > 1 else first


@functools.cache
def etag(path: Path, mtime_ns: int) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@contextmanager
def serve(root: Path) -> Iterator[FaultServer]:
    faults = FaultServer(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if faults.portal:
                return self.answer(200, b"<html>Sign in</html>")
            bucket, _, key = unquote(url.path).strip("/").partition("/")
            if key:
                self.object(bucket, key)
            else:
                query = parse_qs(url.query)
                self.listing(bucket, query.get("prefix", [""])[0], query.get("continuation-token", [""])[0])

        def listing(self, bucket: str, prefix: str, token: str) -> None:
            faults.lists += 1
            items = []
            folder = faults.root / bucket / prefix
            is_folder = prefix and not prefix.endswith("/") and folder.is_dir()
            if is_folder:
                items.append(f"<CommonPrefixes><Prefix>{prefix}/</Prefix></CommonPrefixes>")
            for path in [] if is_folder else sorted(folder.glob("*")):
                key = f"{prefix}{path.name}"
                date = DATE.replace("2020", "2120") if faults.fault_of(key) == "future" else DATE
                items.append(
                    f"<Contents><Key>{escape(key)}</Key><LastModified>{date}</LastModified>"
                    f"<ETag>&quot;{etag(path, path.stat().st_mtime_ns)}&quot;</ETag>"
                    f"<Size>{path.stat().st_size}</Size></Contents>"
                )
            items += [
                f"<Contents><Key>{escape(prefix + name)}</Key><LastModified>{DATE}</LastModified>"
                "<ETag>&quot;x&quot;</ETag><Size>4</Size></Contents>"
                for name in faults.listed_too
            ]
            more = "<IsTruncated>false</IsTruncated>"
            endless = next((how for part, how in faults.endless.items() if prefix.endswith(f"{part}/")), "")
            if endless:
                more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{len(token)}{token}</NextContinuationToken>"
            if endless == "new" and token:
                items = [
                    f"<Contents><Key>{prefix}{uuid.uuid4()}.dcm</Key><LastModified>{DATE}</LastModified>"
                    "<ETag>&quot;x&quot;</ETag><Size>4</Size></Contents>"
                    for _ in range(200)
                ]
            body = (
                f"<ListBucketResult><Name>{bucket}</Name><Prefix>{prefix}</Prefix>"
                f"{more}{''.join(items)}</ListBucketResult>"
            )
            self.answer(200, body.encode())

        def object(self, bucket: str, key: str) -> None:
            faults.gets[key] += 1
            fault = faults.fault_now(key)
            path = faults.root / bucket / key
            is_made_up = key.endswith(tuple(faults.listed_too or "\0")) or not path.exists()
            body = b"evil" if is_made_up else path.read_bytes()
            tag = "x" if is_made_up else etag(path, path.stat().st_mtime_ns)
            status, part = 200, ""
            if fault == "unsure":
                tag = "another"
            if self.headers.get("If-Match", f'"{tag}"') != f'"{tag}"':
                return self.answer(412, b"")
            if (wanted := self.headers.get("Range")) and fault not in ("whole", "unsized"):
                faults.ranges.append(wanted)
                begin, _, end = wanted.removeprefix("bytes=").partition("-")
                if int(begin) >= len(body):
                    return self.answer(416, b"", part=f"bytes */{len(body)}")
                end = str(min(int(end), len(body) - 1))
                part = f"bytes {begin}-{end}/{len(body)}"
                status, body = 206, body[int(begin) : int(end) + 1]
            if fault == "hang":
                faults.released.wait(60)
                self.close_connection = True
            elif fault == "unsized":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True
            elif fault == "stop":
                self.answer(status, body[: len(body) // 2], len(body), part=part)
                faults.released.wait(60)
                self.close_connection = True
            elif fault == "cut":
                self.answer(status, body[: len(body) // 2], len(body), part=part)
                self.close_connection = True
            elif fault == "flip":
                self.answer(status, body[:-1] + bytes([body[-1] ^ 1]), tag=tag, part=part)
            elif fault in ("moved", "away"):
                where = f"/{bucket}/{key}" if fault == "moved" else f"http://127.0.0.1:9/{bucket}/{key}"
                self.answer(307, b"", location=where)
            elif fault == "flood":
                self.flood()
            elif fault == "drip":
                self.drip(body)
            elif fault == "html":
                self.answer(200, b"<html>Sign in</html>")
            elif fault == "slow":
                time.sleep(0.02)
                self.answer(200, body)
            elif fault == "close":
                self.close_connection = True
            elif fault.isdigit():
                self.answer(int(fault), b"<Error><Code>Fault</Code></Error>")
            else:
                self.answer(status, body, tag=tag, part=part)

        def flood(self) -> None:
            chunk = bytes(1 << 20)
            self.answer(200, b"", 10**11)
            with contextlib.suppress(OSError):
                while not faults.released.is_set():
                    self.wfile.write(chunk)
                    faults.flooded_bytes += len(chunk)
            self.close_connection = True

        def drip(self, body: bytes) -> None:
            self.answer(200, b"", len(body))
            with contextlib.suppress(OSError):
                for place in range(len(body)):
                    if faults.released.wait(0.1):
                        break
                    self.wfile.write(body[place : place + 1])
                    self.wfile.flush()
            self.close_connection = True

        def answer(
            self,
            status: int,
            body: bytes,
            length: int | None = None,
            *,
            tag: str = "x",
            location: str = "",
            part: str = "",
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
            self.send_header("ETag", f'"{tag}"')
            for name, value in (("Location", location), ("Content-Range", part)):
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as faults.endpoint_url:
        try:
            yield faults
        finally:
            faults.released.set()
