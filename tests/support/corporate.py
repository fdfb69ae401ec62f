"""A hospital's network on loopback: squid, a private certificate authority, a store behind TLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from dataset_dl.process import Process
from dataset_dl.testing import serve_rclone

# A name that only the proxy resolves, because Go never sends loopback addresses through a proxy.
STORE_HOST = "s3.hospital.test"
USER, PASSWORD = "reader", "pa:ss w@rd%"
PASSWORD_QUOTED = "pa%3Ass%20w%40rd%25"
SQUID = Path("/usr/sbin/squid")
_SQUID_LIBRARY = Path("/usr/lib/squid")
_START_SECONDS = 20.0


@dataclass(frozen=True)
class Authority:
    """A private certificate authority: its PEM file, and a PEM file with its key and certificate."""

    path: Path
    key_and_certificate: Path

    @classmethod
    def make(cls, directory: Path, name: str) -> Authority:
        made = trustme.CA(organization_name=name)
        directory.mkdir(parents=True, exist_ok=True)
        made.cert_pem.write_to_path(directory / "ca.pem")
        combined = directory / "ca-with-key.pem"
        combined.write_bytes(made.private_key_pem.bytes() + made.cert_pem.bytes())
        issued = made.issue_cert(STORE_HOST, "127.0.0.1", "localhost")
        issued.private_key_pem.write_to_path(directory / "server.key")
        (directory / "server.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return cls(directory / "ca.pem", combined)


@contextmanager
def tls_store(root: Path, authority: Authority) -> Iterator[int]:
    """Serve buckets over TLS; yield the port on 127.0.0.1."""
    beside = authority.path.parent
    server, address = serve_rclone(root, "--cert", f"{beside}/server.pem", "--key", f"{beside}/server.key")
    try:
        yield int(address.rpartition(":")[2])
    finally:
        server.stop()


@contextmanager
def signing_store(root: Path, key: str, secret: str) -> Iterator[str]:
    """Serve buckets to signed requests only; yield the address."""
    server, address = serve_rclone(root, "--auth-key", f"{key},{secret}")
    try:
        yield address
    finally:
        server.stop()


@dataclass(frozen=True)
class Squid:
    """A running proxy."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url_with_password(self) -> str:
        return f"http://{USER}:{PASSWORD_QUOTED}@127.0.0.1:{self.port}"

    def requests(self) -> list[str]:
        """Return the requests that passed through: method, status and target of each."""
        time.sleep(0.1)
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


@contextmanager
def squid(
    directory: Path,
    *,
    password: bool = False,
    authority: Authority | None = None,
    upstream: Path | None = None,
) -> Iterator[Squid]:
    """Run squid; with `authority` it intercepts TLS, and itself trusts the authority at `upstream`."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)
    for parent in directory.parents:
        if parent.stat().st_mode & 0o005 != 0o005 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    port = free_port()
    (directory / "hosts").write_text(f"127.0.0.1 {STORE_HOST}\n")
    lines = [
        f"pid_filename {directory}/squid.pid",
        f"hosts_file {directory}/hosts",
        "logformat brief %rm %>Hs %ru %<st",
        f"access_log stdio:{directory}/access.log brief",
        f"cache_log {directory}/cache.log",
        f"coredump_dir {directory}",
        "cache deny all",
        "shutdown_lifetime 0 seconds",
        "acl forbidden dstdomain forbidden.hospital.test",
        "http_access deny forbidden",
    ]
    if password:
        hashed = subprocess.run(
            ["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True
        ).stdout
        (directory / "users").write_text(f"{USER}:{hashed}")
        lines += [
            f"auth_param basic program {_SQUID_LIBRARY}/basic_ncsa_auth {directory}/users",
            "acl known proxy_auth REQUIRED",
            "http_access allow known",
            "http_access deny all",
        ]
    else:
        lines.append("http_access allow all")
    if authority is None:
        lines.append(f"http_port 127.0.0.1:{port}")
    else:
        store = directory / "certificates"
        shutil.copy(authority.key_and_certificate, directory / "bump.pem")
        (directory / "bump.pem").chmod(0o644)
        subprocess.run(
            [_SQUID_LIBRARY / "security_file_certgen", "-c", "-s", store, "-M", "4MB"],
            check=True, capture_output=True,
        )  # fmt: skip
        for path in [store, *store.rglob("*")]:
            path.chmod(0o777)
        lines += [
            f"http_port 127.0.0.1:{port} ssl-bump tls-cert={directory}/bump.pem generate-host-certificates=on",
            f"sslcrtd_program {_SQUID_LIBRARY}/security_file_certgen -s {store} -M 4MB",
            "sslcrtd_children 2",
            "ssl_bump bump all",
            f"tls_outgoing_options cafile={upstream}",
        ]
    (directory / "squid.conf").write_text("\n".join(lines) + "\n")
    running = Process(
        [str(SQUID), "-N", "-f", str(directory / "squid.conf")], directory=directory,
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    running.ignore_output()
    try:
        wait_for(port, running)
        yield Squid(port, directory / "access.log")
    finally:
        running.stop(grace_seconds=0.2)  # squid takes longer to react to SIGTERM, so kill it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: Process) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.returncode is None, process.stderr_tail
        time.sleep(0.05)
    raise AssertionError(f"nothing listens at {port}: {process.stderr_tail}")
