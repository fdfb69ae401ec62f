"""Google Cloud Storage for tests: the emulator holds the objects, and a gate before it does what it does not.

The emulator (gcp-storage-emulator) stores objects, computes CRC32C, and serves bodies and ranges. It knows neither
HEAD nor lists as XML, sends no generation, and accepts any signature. The gate translates these from the emulator's
JSON, checks every signature with code of its own, and misbehaves on demand.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from gcp_storage_emulator.server import create_server

from support.web import serving

EMAIL = "reader@samples.iam.gserviceaccount.com"


@dataclass(frozen=True)
class Key:
    """A throwaway key, and the file that holds it."""

    private: rsa.RSAPrivateKey = field(repr=False)
    path: Path

    @classmethod
    def make(cls, path: Path, email: str = EMAIL) -> Key:
        private = rsa.generate_private_key(65537, 2048)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        values = {"type": "service_account", "client_email": email, "private_key": pem.decode(),
                  "token_uri": "http://127.0.0.1:9/token"}  # fmt: skip
        path.write_text(json.dumps(values))
        return cls(private, path)

    @property
    def secrets(self) -> list[str]:
        """Lines of the key that must appear nowhere."""
        return json.loads(self.path.read_text())["private_key"].splitlines()[1:4]


class Emulator:
    """The real emulator, in memory."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers or {})
        with closing(urllib.request.urlopen(request)) as response:
            return response.status, dict(response.headers), response.read()

    def make_bucket(self, bucket: str) -> None:
        self.ask("/storage/v1/b", json.dumps({"name": bucket}).encode(), {"Content-Type": "application/json"})

    def put(self, bucket: str, key: str, data: bytes) -> None:
        path = f"/upload/storage/v1/b/{bucket}/o?name={quote(key, safe='')}"
        if data:
            self.ask(f"{path}&uploadType=media", data, {"Content-Type": "application/octet-stream"})
            return
        parts = [b"application/json\r\n\r\n{}", b"application/octet-stream\r\n\r\n"]
        body = b"".join(b"--x\r\nContent-Type: " + each + b"\r\n" for each in parts) + b"--x--"
        self.ask(f"{path}&uploadType=multipart", body, {"Content-Type": "multipart/related; boundary=x"})

    def about(self, bucket: str, key: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.ask(f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")[2])
        return found

    def below(self, bucket: str, prefix: str) -> list[dict[str, str]]:
        _, _, body = self.ask(f"/storage/v1/b/{bucket}/o?prefix={quote(prefix, safe='')}")
        found: list[dict[str, str]] = json.loads(body)["items"]
        return sorted(found, key=lambda each: each["name"])


class Gate:
    """What the gate has seen, and how it misbehaves.

    `faults` maps a part of a key to what happens to requests for its bytes. ``cut``: closes in the middle. ``html``: a
    sign-in page with 200. ``padded``: one as long as the object. ``flip``: another last byte. ``whole``: all of it,
    whatever range was asked. ``other``: another range. ``stop``: half, then nothing. ``slow``: 16 KiB each 20 ms.
    ``moved``: a redirect. ``expired``: the signature has expired. ``replaced``: another one was stored. A number: that
    status. With ``once`` only the first time; with ``head`` before it, requests for what the object is.
    """

    def __init__(self, emulator: Emulator, public: rsa.RSAPublicKey) -> None:
        self.emulator = emulator
        self.public = public
        self.faults: dict[str, str] = {}
        self.denied: set[str] = set()
        self.page_size = 1000
        self.portal = False
        self.asked: list[tuple[str, str, str]] = []
        self.signatures: list[str] = []
        self.unsigned: list[str] = []
        self.seen: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.url = ""

    def fault(self, kind: str, key: str) -> str:
        for part, fault in self.faults.items():
            is_head = fault.startswith("head ")
            if part in key and is_head == (kind == "HEAD"):
                name = f"{kind} {part}"
                self.seen[name] += 1
                bare = fault.removeprefix("head ")
                if bare.endswith(" once") and self.seen[name] > 1:
                    return ""
                return bare.removesuffix(" once")
        return ""

    def bodies(self) -> list[tuple[str, str]]:
        """Key and range of each request for bytes."""
        return [(key, range_) for method, key, range_ in self.asked if method == "GET" and key]

    def problem(self, method: str, target: str, headers: Any) -> tuple[int, str] | None:
        """Check a signature as Google describes it, without the code under test."""
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            signature = bytes.fromhex(query.pop("X-Goog-Signature"))
            names = query["X-Goog-SignedHeaders"].split(";")
            began = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            email, scope = query["X-Goog-Credential"].split("/", 1)
        except (KeyError, ValueError):
            self.unsigned.append(target)
            return 403, "AccessDenied"
        canonical = "\n".join([
            method,
            url.path,
            "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(query.items())),
            *(f"{name}:{headers[name]}" for name in names),
            "",
            query["X-Goog-SignedHeaders"],
            "UNSIGNED-PAYLOAD",
        ])  # fmt: skip
        extra = {name.lower() for name in headers if name.lower().startswith("x-goog-")}
        text = f"GOOG4-RSA-SHA256\n{query['X-Goog-Date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        try:
            self.public.verify(signature, text.encode(), padding.PKCS1v15(), SHA256())
        except InvalidSignature:
            return 403, "SignatureDoesNotMatch"
        if email != EMAIL or not extra <= set(names) or "host" not in names:
            return 403, "SignatureDoesNotMatch"
        self.signatures.append(signature.hex())
        if datetime.now(UTC) > began + timedelta(seconds=int(query["X-Goog-Expires"])):
            return 400, "ExpiredToken"
        return None


def handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self.respond()

        def do_GET(self) -> None:
            with gate.lock:
                gate.at_once += 1
                gate.most_at_once = max(gate.most_at_once, gate.at_once)
            try:
                self.respond()
            finally:
                with gate.lock:
                    gate.at_once -= 1

        def respond(self) -> None:
            bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
            gate.asked.append((self.command, key, self.headers.get("Range", "")))
            if gate.portal:
                return self.answer(200, b"<html>Sign in</html>", {"Content-Type": "text/html"})
            if problem := gate.problem(self.command, self.path, self.headers):
                return self.refuse(*problem)
            if any(part in key for part in gate.denied):
                return self.refuse(403, "AccessDenied")
            try:
                if key:
                    self.object(bucket, key)
                else:
                    self.listing(bucket)
            except urllib.error.HTTPError as error:
                error.close()
                self.refuse(404, "NoSuchKey" if key else "NoSuchBucket")

        def object(self, bucket: str, key: str) -> None:
            fault = gate.fault(self.command, key)
            about = gate.emulator.about(bucket, key)
            told = {
                "x-goog-generation": about["generation"],
                "x-goog-hash": f"crc32c={about['crc32c']},md5={about['md5Hash']}",
                "x-goog-stored-content-length": about["size"],
                "ETag": f'"{about["etag"]}"',
            }
            if fault.isdigit():
                return self.refuse(int(fault), "Fault")
            if fault == "expired":
                return self.refuse(400, "ExpiredToken")
            if fault == "moved":
                return self.answer(302, b"", {"Location": f"{gate.url}/{bucket}/elsewhere"})
            if self.command == "HEAD":
                return self.answer(200, b"", told, int(about["size"]))
            wanted = self.headers.get("x-goog-if-generation-match", about["generation"])
            if wanted != about["generation"] or fault == "replaced":
                return self.refuse(412, "PreconditionFailed")
            range_ = self.headers.get("Range", "")
            asked = (
                {"Range": "bytes=1-" if fault == "other" else range_} if range_ and fault != "whole" else {}
            )
            status, headers, body = gate.emulator.ask(f"/{bucket}/{quote(key)}", headers=asked)
            if "Content-Range" in headers:
                told["Content-Range"] = headers["Content-Range"]
            self.body(status, body, told, fault)

        def body(self, status: int, body: bytes, told: dict[str, str], fault: str) -> None:
            if fault in ("html", "padded"):
                page = b"<html>Sign in</html>"
                self.answer(
                    200, page.ljust(len(body)) if fault == "padded" else page, {"Content-Type": "text/html"}
                )
            elif fault == "flip":
                self.answer(status, body[:-1] + bytes([body[-1] ^ 1]), told)
            elif fault in ("cut", "stop"):
                self.answer(status, body[: len(body) // 2], told, len(body))
                self.wfile.flush()
                if fault == "stop":
                    gate.released.wait(30)
                self.close_connection = True
            elif fault == "slow":
                self.answer(status, b"", told, len(body))
                with suppress(OSError):
                    for start in range(0, len(body), 1 << 14):
                        self.wfile.write(body[start : start + (1 << 14)])
                        time.sleep(0.02)
            else:
                self.answer(status, body, told)

        def listing(self, bucket: str) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            several = gate.emulator.below(bucket, query.get("prefix", ""))
            begin = int(query.get("continuation-token", "0"))
            end = begin + gate.page_size
            items = "".join(
                f"<Contents><Key>{escape(each['name'])}</Key><Generation>{each['generation']}</Generation>"
                f"<Size>{each['size']}</Size></Contents>"
                for each in several[begin:end]
            )
            more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < len(several) else ""
            truncated = f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
            space = "http://doc.s3.amazonaws.com/2006-03-01"
            page = f'<ListBucketResult xmlns="{space}"><Name>{bucket}</Name>{truncated}{more}{items}</ListBucketResult>'
            self.answer(200, page.encode(), {"Content-Type": "application/xml"})

        def refuse(self, status: int, code: str) -> None:
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
            self.answer(status, b"" if self.command == "HEAD" else body, {})

        def answer(self, status: int, body: bytes, told: dict[str, str], length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            for name, value in told.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

    return Handler


@contextmanager
def emulator() -> Iterator[Emulator]:
    """Run the emulator on a free port of loopback."""
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    try:
        yield Emulator(f"http://127.0.0.1:{server._api._httpd.server_port}")
    finally:
        server.stop()


@contextmanager
def gate(running: Emulator, key: Key) -> Iterator[Gate]:
    """Run a gate before an emulator."""
    made = Gate(running, key.private.public_key())
    with serving(handler(made)) as made.url:
        try:
            yield made
        finally:
            made.released.set()
