"""Every way out of the hospital × every way to trust × Python and both engines; docs/networks.md shows the outcome."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dataset_dl.network import NetworkSettings
from dataset_dl.network.trust import read
from dataset_dl.testing import LocalBucket
from support.corporate import STORE_HOST, Authority, Squid

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "networks.md"
TESTS = str(ROOT / "tests")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

TRUST = {
    "public roots only": "nothing",
    "`REQUESTS_CA_BUNDLE`": "REQUESTS_CA_BUNDLE",
    "`CURL_CA_BUNDLE`": "CURL_CA_BUNDLE",
    "`SSL_CERT_FILE`": "SSL_CERT_FILE",
    "`SSL_CERT_DIR`": "SSL_CERT_DIR",
    "`AWS_CA_BUNDLE`": "AWS_CA_BUNDLE",
    "`DATASET_DL_CA_BUNDLE`": "DATASET_DL_CA_BUNDLE",
    "configuration file": "file",
    "the system's store": "system",
}
# Where an authority is named decides nothing else: each of these is tried on one way out, and on the others
# it must make the same settings as the first of them, which is tried on all.
NAMED = (
    "DATASET_DL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_CA_BUNDLE",
    "file",
)
WAYS = ("no proxy", "proxy", "proxy with password", "proxy, no password given", "inspecting proxy")


@dataclass(frozen=True)
class Hospital:
    held: LocalBucket
    port: int
    plain: Squid
    password: Squid
    inspecting: Squid
    private: Authority
    inspector: Authority
    system_store: Path
    scratch: Path
    tried: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)

    def environment(self, way: str, trust: str) -> dict[str, str]:
        host = "127.0.0.1" if way == "no proxy" else STORE_HOST
        made = {"PATH": os.environ["PATH"], "HOME": str(self.scratch), "PYTHONPATH": TESTS,
                "DATASET_DL_ENDPOINT_URL": f"https://{host}:{self.port}",
                "DATASET_DL_CONFIG": str(self.scratch / "config.toml")}  # fmt: skip
        proxies = {
            "proxy": self.plain.url,
            "proxy with password": self.password.url_with_password,
            "proxy, no password given": self.password.url,
            "inspecting proxy": self.inspecting.url,
        }
        if way in proxies:
            made["HTTPS_PROXY"] = proxies[way]
        authority = self.inspector if way == "inspecting proxy" else self.private
        (self.scratch / "config.toml").write_text(
            f'[network]\nca_bundle = "{authority.path}"\n' if trust == "file" else ""
        )
        if trust == "SSL_CERT_DIR":
            folder = self.scratch / "folder"
            folder.mkdir(exist_ok=True)
            (folder / "ca.pem").write_bytes(authority.path.read_bytes())
            made[trust] = str(folder)
        elif trust.isupper():
            made[trust] = str(authority.path)
        return made

    def settings(self, way: str, trust: str) -> tuple[NetworkSettings, list[bytes], dict[str, str]]:
        """What is gathered from the environment, the authorities that it names, and what s5cmd is given."""
        environment = self.environment(way, trust)
        network = NetworkSettings.gather(environment=environment)
        authorities = [each for path in network.ca_bundles for each in read(path, "")]
        child = network.child_environment(environment)
        bundle = Path(child.pop("AWS_CA_BUNDLE")).read_bytes()
        known = {name: value for name, value in child.items() if not name.startswith("DATASET_DL_")}
        return replace(network, ca_bundles=()), [*authorities, bundle], known

    def outcome(self, way: str, trust: str) -> tuple[str, str]:
        """Whether all sides reach the store, and what they say."""
        if trust in NAMED[1:] and way != "proxy":
            assert self.settings(way, trust) == self.settings(way, NAMED[0]), (way, trust)
            trust = NAMED[0]
        if (way, trust) not in self.tried:
            self.tried[way, trust] = self.reach(way, trust)
        told = self.tried[way, trust]
        assert len({outcome for outcome, _ in told}) == 1, (
            f"{way}, {trust}: Python, its many requests, s5cmd, libcurl: {told}"
        )
        return told[0]

    def reach(self, way: str, trust: str) -> list[tuple[str, str]]:
        """The outcome and the words of Python's session, its many requests, s5cmd and libcurl."""
        command = [sys.executable, "-m", "support.reach", self.held.series[0].series_aws_url]
        if trust == "system":
            # In a mount namespace of its own, where the system's list has one authority more.
            authority = self.inspector if way == "inspecting proxy" else self.private
            enlarged = self.scratch / "enlarged.pem"
            enlarged.write_bytes(self.system_store.read_bytes() + authority.path.read_bytes())
            script = f'mount --bind {enlarged} "$(readlink -f {BUNDLE})" && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
        done = subprocess.run(
            command, env=self.environment(way, trust), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        outcome, words = zip(*(line.split("\t", 1) for line in done.stdout.splitlines()), strict=True)
        return list(zip(outcome, words, strict=True))


@pytest.fixture
def hospital(
    held: LocalBucket, store_port: int, plain_proxy: Squid, password_proxy: Squid, inspecting_proxy: Squid,
    private: Authority, inspecting: Authority, system_store: Path, tmp_path: Path,
) -> Hospital:  # fmt: skip
    return Hospital(held, store_port, plain_proxy, password_proxy, inspecting_proxy, private, inspecting,
                    system_store, tmp_path)  # fmt: skip


@pytest.mark.timeout(300)
def test_all_sides_agree_and_the_page_shows_it(hospital: Hospital) -> None:
    lines = [f"| | {' | '.join(WAYS)} |", f"|---|{'---|' * len(WAYS)}"]
    for name, trust in TRUST.items():
        cells = []
        for way in WAYS:
            python, _ = hospital.outcome(way, trust)
            cells.append(python if python == "✓" else f"`{python}`")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    made = "\n".join(lines)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split("<!-- matrix -->\n")
    shown, after = rest.split("\n<!-- /matrix -->")
    if shown != made:
        PAGE.write_text(f"{before}<!-- matrix -->\n{made}\n<!-- /matrix -->{after}", encoding="utf-8")
        pytest.fail("the table of docs/networks.md was out of date; it has been made anew")
    assert made.count("✓") == 8 * 4


def test_the_bytes_went_through_the_proxy_and_past_it(hospital: Hospital) -> None:
    assert [each for each, _ in hospital.reach("proxy", "DATASET_DL_CA_BUNDLE")] == ["✓"] * 4
    through = hospital.plain.requests()
    assert any(line.startswith(f"CONNECT 200 {STORE_HOST}:{hospital.port}") for line in through)
    environment = hospital.environment("proxy", "DATASET_DL_CA_BUNDLE")
    environment |= {"NO_PROXY": "127.0.0.1", "DATASET_DL_ENDPOINT_URL": f"https://127.0.0.1:{hospital.port}"}
    command = [sys.executable, "-m", "support.reach", hospital.held.series[0].series_aws_url]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("✓") == 4
    assert hospital.plain.requests() == through
    # A name that only the proxy knows, taken out of its hands: it is not asked, and the name is unknown.
    environment |= {
        "NO_PROXY": STORE_HOST,
        "DATASET_DL_ENDPOINT_URL": f"https://{STORE_HOST}:{hospital.port}",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("its name does not resolve") == 4
    assert hospital.plain.requests() == through
