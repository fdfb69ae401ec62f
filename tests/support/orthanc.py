"""Orthanc of Debian, which listens on every address: only for use in a `namespace`."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from dataset_dl.process import Process

_START_SECONDS = 30.0
_PROGRAM = "/usr/sbin/Orthanc"
_DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Orthanc:
    """A running Orthanc.

    Attributes
    ----------
    directory
        Where its files are.
    aet
        Its AE title.
    peers
        AE title → port of those that it may send to.
    options
        More of its configuration.
    """

    directory: Path
    aet: str
    peers: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    http: int = 0
    process: Process | None = None

    @property
    def dimse(self) -> str:
        return f"dimse://{self.aet}@127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    @property
    def web(self) -> str:
        return f"{self.url}/dicom-web"

    def start(self) -> Orthanc:
        self.port, self.http = self.port or free_port(), self.http or free_port()
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "orthanc.json"
        path.write_text(
            json.dumps(
                {
                    "Name": self.aet,
                    "StorageDirectory": str(self.directory / "storage"),
                    "IndexDirectory": str(self.directory / "index"),
                    "HttpPort": self.http,
                    "DicomPort": self.port,
                    "DicomAet": self.aet,
                    "DicomCheckCalledAet": False,
                    "DicomAlwaysAllowEcho": True,
                    "DicomAlwaysAllowStore": True,
                    "DicomAlwaysAllowFind": True,
                    "DicomAlwaysAllowGet": True,
                    "DicomAlwaysAllowMove": True,
                    "DicomModalities": {name: [name, "127.0.0.1", port] for name, port in self.peers.items()},
                    "AuthenticationEnabled": bool(self.users),
                    "RegisteredUsers": dict(self.users),
                    "RemoteAccessAllowed": True,
                    "Plugins": [_DICOMWEB],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                    "OverwriteInstances": False,
                    **self.options,
                }
            )
        )
        self.process = Process(
            [_PROGRAM, str(path)], directory=self.directory, environment={**os.environ, "TCP_NODELAY": "1"}
        )
        self._wait()
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                self.ask("/system")
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except (OSError, requests.RequestException):
                time.sleep(0.05)
        raise AssertionError("Orthanc has not started")

    def ask(self, path: str) -> Any:
        auth = next(iter(self.users.items()), None)
        response = requests.get(f"{self.url}{path}", auth=auth, timeout=10)
        response.raise_for_status()
        return response.json()

    @property
    def instances(self) -> set[str]:
        """The SOPInstanceUIDs that it has."""
        told = self.ask("/instances?expand&limit=1000000&since=0")
        return {each["MainDicomTags"]["SOPInstanceUID"] for each in told}

    @property
    def count(self) -> int:
        return int(self.ask("/statistics")["CountInstances"])

    def forget(self) -> None:
        """Remove everything that it has."""
        for patient in self.ask("/patients"):
            requests.delete(f"{self.url}/patients/{patient}", timeout=60).raise_for_status()

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()
            self.process = None

    def __enter__(self) -> Orthanc:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()
