"""A download, a check and a ticket from inside the wall."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataset_dl.engines.curl import engine as curl_engine
from dataset_dl.engines.s5cmd import engine as s5cmd_engine
from dataset_dl.testing import LocalBucket
from support.cli import PROGRAM, Cli
from support.corporate import PASSWORD, PASSWORD_QUOTED, STORE_HOST, Authority, Squid
from support.faults import serve


@pytest.fixture
def run(tmp_path: Path, held: LocalBucket, store_port: int, private: Authority, engine: str) -> Cli:
    """The command as a user of the hospital runs it."""
    environment = {"PATH": os.environ["PATH"], "DATASET_DL_ENGINE": engine, "HOME": str(tmp_path), "COLUMNS": "200",
                   "DATASET_DL_ENDPOINT_URL": f"https://{STORE_HOST}:{store_port}",
                   "DATASET_DL_CA_BUNDLE": str(private.path)}  # fmt: skip
    return Cli(tmp_path, environment)


def test_a_download_through_a_proxy_with_a_password(
    run: Cli, held: LocalBucket, password_proxy: Squid, tmp_path: Path
) -> None:
    before = len(password_proxy.requests())
    uuid = held.series[0].crdc_series_uuid
    env = {"HTTPS_PROXY": password_proxy.url_with_password}
    done = run.process("idc", "download", uuid, "--to", "d", "--json", "--debug", env=env)
    assert done.code == 0, done.err
    moved = [line.split() for line in password_proxy.requests()[before:]]
    assert (
        sum(int(words[3]) for words in moved if words[:2] == ["CONNECT", "200"]) > held.series[0].size_bytes
    )
    checked = run("idc", "verify", "d", "--md5", env=env)
    assert checked.code == 0, checked.err


def test_a_preview_through_a_proxy_with_a_password(
    run: Cli, held: LocalBucket, password_proxy: Squid, tmp_path: Path
) -> None:
    uuid = held.series[0].crdc_series_uuid
    arguments = ("preview", "mosaic", uuid, "-o", "a.png", "--columns", 3, "--rows", 2)
    cache = {"DATASET_DL_CACHE": str(tmp_path / "cache")}
    done = run.process(*arguments, env={"HTTPS_PROXY": password_proxy.url_with_password, **cache})
    assert done.code == 0, done.err
    assert (tmp_path / "a.png").exists()
    done = run.process(*arguments, env={"HTTPS_PROXY": password_proxy.url, **cache})
    assert done.code == 4
    assert "proxy" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_password_is_nowhere(run: Cli, held: LocalBucket, password_proxy: Squid, tmp_path: Path) -> None:
    """Not in an output, an error, a record, a file of ours, nor in the arguments of s5cmd."""
    uuid = held.series[0].crdc_series_uuid
    wrong = password_proxy.url_with_password.replace(PASSWORD_QUOTED, "planted-secret")
    right = password_proxy.url_with_password
    said = ""
    for proxy in (
        wrong,
        right,
        f"{right}0000000",
        wrong.replace("http:", "socks5:"),
        wrong.replace("@", "@@"),
    ):
        for command in (
            ["idc", "download", uuid, "--to", "d", "--json", "--debug"],
            ["idc", "download", uuid, "--to", "d2", "--debug"],
            ["idc", "verify", "d", "--md5", "--debug"],
            ["doctor", "--json"],
            ["doctor"],
        ):
            # What a process writes to its streams past Python is seen only of a real one.
            start = run.process if proxy in (wrong, right) else run
            done = start(*command, env={"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy})
            said += done.out + done.err
    written = "".join(
        path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*")
        if path.is_file() and path.suffix != ".dcm"
    )  # fmt: skip
    for secret in ("planted-secret", PASSWORD, PASSWORD_QUOTED):
        assert secret not in said
        assert secret not in written
    assert "***@" in said
    refused = run("idc", "download", uuid, "--to", "d", "--proxy", wrong)
    assert refused.code == 2
    assert "DATASET_DL_PROXY" in refused.err
    assert "planted-secret" not in refused.err


@pytest.mark.skipif(sys.platform != "linux", reason="arguments are read from /proc")
def test_a_password_is_in_no_argument(
    held: LocalBucket, password_proxy: Squid, private: Authority, store_port: int, tmp_path: Path, engine: str
) -> None:
    """Nor, for curl, in an environment: its workers hear it through a pipe."""
    import psutil

    environment = {"PATH": os.environ["PATH"], "DATASET_DL_ENGINE": engine, "HOME": str(tmp_path),
                   "DATASET_DL_ENDPOINT_URL": f"https://{STORE_HOST}:{store_port}",
                   "DATASET_DL_CA_BUNDLE": str(private.path),
                   "HTTPS_PROXY": password_proxy.url_with_password}  # fmt: skip
    command = [PROGRAM, "idc", "download", held.series[0].crdc_series_uuid, "--to", tmp_path / "d"]
    seen = set()
    with subprocess.Popen(
        [*command, "--workers", "1"], env=environment, stdout=subprocess.DEVNULL
    ) as program:
        while program.poll() is None:
            for child in psutil.Process(program.pid).children():
                try:
                    seen.add(" ".join(child.cmdline()))
                    if "dataset_dl.engines.curl.worker" in child.cmdline():
                        seen.add(str(child.environ()))
                except psutil.Error:
                    continue
    assert program.returncode == 0
    words = ("s5cmd", " run ") if engine == "s5cmd" else ("-m dataset_dl.engines.curl.worker",)
    assert any(all(word in line for word in words) for line in seen)
    assert not [line for line in seen if PASSWORD in line or PASSWORD_QUOTED in line]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HTTPS_PROXY": "{password}"}, "the proxy wants another user name or password"),
        ({"HTTPS_PROXY": "{password}", "_user": "wrong:wrong@"}, "the proxy wants another user name or password"),
        ({"HTTPS_PROXY": "http://127.0.0.1:9"}, "the proxy does not answer"),
        ({}, "its name does not resolve"),
        ({"HTTPS_PROXY": "{plain}", "DATASET_DL_CA_BUNDLE": ""}, "its certificate is not trusted here"),
        ({"HTTPS_PROXY": "{plain}", "DATASET_DL_ENDPOINT_URL": "https://forbidden.hospital.test"},
         "the proxy refuses to connect to it"),
        ({"HTTPS_PROXY": "{plain}", "DATASET_DL_ENDPOINT_URL": "https://nowhere.hospital.test"},
         "the proxy does not reach it"),
        ({"HTTPS_PROXY": "{inspecting}"}, "its certificate is not trusted here"),
        ({"HTTPS_PROXY": "socks5://127.0.0.1:9"}, "is a SOCKS proxy"),
        ({"DATASET_DL_CA_BUNDLE": "/nowhere.pem"}, "does not exist"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_said_within_seconds(
    run: Cli, held: LocalBucket, plain_proxy: Squid, password_proxy: Squid, inspecting_proxy: Squid,
    tmp_path: Path, variables: dict[str, str], words: str,
) -> None:  # fmt: skip
    named = {"plain": plain_proxy.url, "password": password_proxy.url, "inspecting": inspecting_proxy.url}
    user = variables.get("_user", "")
    given = {
        name: value.format(**named).replace("//", f"//{user}")
        for name, value in variables.items() if not name.startswith("_")
    }  # fmt: skip
    began = time.monotonic()
    done = run("idc", "download", held.series[0].crdc_series_uuid, "--to", "d", env=given)
    assert done.code == 4, done.err
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert time.monotonic() - began < 15
    assert not (tmp_path / "d").exists()


def test_a_firewall_that_drops_is_told(run: Cli, held: LocalBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in (s5cmd_engine, curl_engine):
        monkeypatch.setattr(engine, "_PROBE_SECONDS", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = run("idc", "download", held.series[0].crdc_series_uuid, "--to", "d", "--endpoint-url", url)
    assert done.code == 4
    assert "no answer in time" in done.err


def test_a_sign_in_page_is_told_before_the_download(run: Cli, held: LocalBucket) -> None:
    with serve(held.root) as server:
        server.portal = True
        done = run("idc", "download", held.series[0].crdc_series_uuid, "--to", "d", "--endpoint-url",
                   server.endpoint_url, env={"DATASET_DL_CA_BUNDLE": ""})  # fmt: skip
    assert done.code == 4
    assert "not as an S3 service does" in done.err
    assert "sign-in page" in done.err


def test_doctor_tells_where_each_setting_is_from(run: Cli, plain_proxy: Squid, tmp_path: Path) -> None:
    done = run(
        "doctor", "--json", "--to", tmp_path, env={"HTTPS_PROXY": plain_proxy.url, "no_proxy": "x.test"}
    )
    checks = {each["name"]: each for each in done.json}
    assert done.code == 0, done.out
    assert checks["https_proxy"]["detail"] == f"{plain_proxy.url} (from HTTPS_PROXY)"
    assert checks["no_proxy"]["detail"] == "x.test (from no_proxy)"
    assert checks["ca_bundles"]["detail"].endswith("(from DATASET_DL_CA_BUNDLE)")
    assert checks["store"]["detail"] == "aws (from the default)"
    assert f"through {plain_proxy.url}" in checks["endpoint"]["detail"]
    assert "letter case kept" in checks["destination"]["detail"]
    assert {checks[name]["outcome"] for name in ("AWS", "Google", "index tables", "citations")} == {"warned"}


def test_doctor_names_the_issuer(
    run: Cli, held: LocalBucket, store_port: int, plain_proxy: Squid, private: Authority
) -> None:
    from dataset_dl.network import NetworkSettings
    from dataset_dl.verbs.doctor import look_at_address

    network = NetworkSettings(https_proxy=plain_proxy.url, ca_bundles=(str(private.path),))
    url = f"https://{STORE_HOST}:{store_port}/idc-open-data?list-type=2&max-keys=1"
    check = look_at_address(network, "mirror", url)
    assert check.outcome == "passed"
    assert check.detail == f"{STORE_HOST} answers 200, through {plain_proxy.url}, certificate by Hospital"
    direct = look_at_address(
        NetworkSettings(ca_bundles=(str(private.path),)), "mirror", url.replace(STORE_HOST, "127.0.0.1")
    )
    assert "directly, certificate by Hospital" in direct.detail


def test_doctor_fails_with_4_where_the_way_is_blocked(run: Cli, password_proxy: Squid) -> None:
    done = run("doctor", env={"HTTPS_PROXY": password_proxy.url})
    assert done.code == 4
    assert "the proxy wants another user name or password" in " ".join(done.out.split())


def test_without_a_network_everything_but_the_download_works(tmp_path: Path, held: LocalBucket) -> None:
    uuid = held.series[0].crdc_series_uuid
    for arguments, code in (
        (["idc", "collections"], 0),
        (["idc", "indices"], 0),
        (["idc", "query", "SELECT 1"], 0),
        (["idc", "manifest", uuid, "-o", "plan.parquet"], 0),
        (["idc", "download", uuid, "--to", "d", "--dry-run"], 0),
        (["idc", "browse", uuid, "--print"], 0),
        (["idc", "download", uuid, "--to", "d"], 4),
    ):
        done = subprocess.run(
            ["unshare", "--net", PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, timeout=60,
        )  # fmt: skip
        assert done.returncode == code, (arguments, done.stderr)
