"""Who may ask the page, and what harm others can do: none."""

from __future__ import annotations

import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import pytest
import requests
from playwright.sync_api import Browser

from dataset_dl.web.guard import MOST_BODY_BYTES
from support.cli import Cli
from support.pages import Served, served
from support.web import serving


def plain(
    page: Served, method: str = "GET", path: str = "/api/about", **options: object
) -> requests.Response:
    """A request of somebody who was never given the link."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, page.address + path, timeout=30, allow_redirects=False, **options)  # type: ignore[arg-type]


def test_a_link_works_once_and_a_stolen_one_does_not(root: Path, environment: dict[str, str]) -> None:
    with served(root, environment=environment) as page:
        page.enter()
        assert page.get("about")["roots"][0]["path"] == str(root)
        stolen = plain(page, path=page.link.removeprefix(page.address))
        assert (stolen.status_code, "Set-Cookie" in stolen.headers) == (403, False)
        guessed = plain(page, path="/?token=guess")
        assert (guessed.status_code, "Set-Cookie" in guessed.headers) == (403, False)
        # Whoever is in already may follow it again.
        assert page.session.get(page.link, timeout=30).status_code == 200
        assert page.stop() == 0


def test_without_the_link_nothing_is_told(page: Served) -> None:
    for path in (
        "/",
        "/explore",
        "/api/about",
        "/api/cube",
        "/static/app.js",
        "/api/openapi.json",
        "/api/events",
    ):
        assert plain(page, path=path).status_code == 401, path
    assert (
        plain(page, headers={"Cookie": f"dataset-dl-{page.address.rpartition(':')[2]}=guess"}).status_code
        == 401
    )
    assert plain(page, headers={"Authorization": "Bearer guess"}).status_code == 401
    told = plain(page, path="/", headers={"Accept": "text/html"})
    assert told.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Open the link that `dataset-dl web` printed" in told.text


def test_programs_use_the_token(page: Served) -> None:
    token = {"Authorization": f"Bearer {page.get('about')['token']}"}
    assert plain(page, headers=token).status_code == 200
    done = plain(page, "POST", "/api/cohort", json={"collection_id": ["nlst"]}, headers=token)
    assert done.status_code == 200, done.text
    # A page that has the token is still not this page.
    assert plain(page, headers=token | {"Origin": "http://127.0.0.1:1"}).status_code == 403


@pytest.mark.parametrize("host", ["evil.test", "localhost", "127.0.0.1", "[::1]", "127.0.0.1:1", "127.0.0.1:{port}.evil.test"])  # fmt: skip
def test_a_rebound_name_is_another_host(page: Served, host: str) -> None:
    port = page.address.rpartition(":")[2]
    answer = page.session.get(
        f"{page.address}/api/about", headers={"Host": host.format(port=port)}, timeout=30
    )
    assert answer.status_code == 421


def test_changes_come_from_the_page_itself(page: Served, root: Path) -> None:
    body = {"kind": "verify", "to": str(root)}
    # Another port of this machine is the same site: a browser sends the cookie with its forms.
    for origin in (
        "http://127.0.0.1:1",
        "http://localhost:80",
        "null",
        "https://evil.test",
        page.address + "0",
    ):
        assert page.post("check", body, headers={"Origin": origin}).status_code == 403, origin
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        form = page.session.post(
            f"{page.address}/api/check", data='{"kind": "verify"}', timeout=30,
            headers={"Origin": page.address, "Content-Type": kind},
        )  # fmt: skip
        assert form.status_code == 415, kind
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert page.session.request(method, f"{page.address}/api/check", timeout=30).status_code == 405
    assert page.get("jobs") == []


def test_other_pages_cannot_embed_or_read_it(page: Served) -> None:
    for site in ("same-site", "cross-site"):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
        assert page.session.get(f"{page.address}/api/about", headers=headers, timeout=30).status_code == 403
    headers = page.session.get(f"{page.address}/explore", timeout=30).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers
    assert "server" not in {name.lower() for name in headers}
    assert "HttpOnly" in page.set_cookie and "SameSite=Strict" in page.set_cookie


@pytest.mark.parametrize(
    "to", ["/", "/etc", "../elsewhere", "sub/../../elsewhere", "~/x", "link/x", "a\0b", "  "]
)
def test_a_path_outside_the_directories_is_refused(page: Served, root: Path, to: str) -> None:
    link = root / "link"
    if not link.is_symlink():
        link.symlink_to("/tmp")
    for path, body in (
        ("jobs", {"collection_id": ["rider_pilot"], "to": to}),
        ("cohort", {"collection_id": ["rider_pilot"], "to": to}),
        ("check", {"kind": "verify", "to": to}),
    ):
        done = page.post(path, body)
        if to.strip() or path != "cohort":
            assert done.status_code == 400, (path, done.text)
            assert "nothing was started" in done.json()["error"]
    assert page.get("jobs") == []
    diff = page.session.get(f"{page.address}/api/disk/diff", params={"tree": to}, timeout=30)
    assert diff.status_code == 400


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/server.py", "/pages/series/..%2fpage.py", "/static/app.py", "/static/"])  # fmt: skip
def test_only_files_of_the_page_are_served(page: Served, path: str) -> None:
    with socket.create_connection(("127.0.0.1", int(page.address.rpartition(":")[2]))) as connection:
        cookie = "; ".join(f"{each.name}={each.value}" for each in page.session.cookies)
        host = page.address.removeprefix("http://")
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split()[1] == b"404", answer[:200]


def test_a_large_upload_is_refused_before_it_is_read(page: Served) -> None:
    before = memory(page)
    port = int(page.address.rpartition(":")[2])
    head = (
        f"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {page.address}\r\n"
        f"Authorization: Bearer {page.key}\r\n"
        "Content-Type: application/json\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{head}Content-Length: 1000000000\r\n\r\n".encode())
        assert connection.recv(65536).split()[1] == b"413"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(30)
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        sent = 0
        try:
            while sent < 1_000_000_000:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
        assert sent < 20 * MOST_BODY_BYTES
    assert memory(page) - before < 100e6
    assert page.get("about")


def memory(page: Served) -> int:
    return int(psutil.Process(page.child.pid).memory_info().rss)


def test_slow_clients_and_fifty_streams_hold_nobody_up(page: Served) -> None:
    port = int(page.address.rpartition(":")[2])
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    is_over = threading.Event()

    def drip() -> None:
        while not is_over.wait(0.1):
            for each in slow:
                each.send(b"G")

    threading.Thread(target=drip, daemon=True).start()
    streams = [page.session.get(f"{page.address}/api/events", stream=True, timeout=30) for _ in range(50)]
    try:
        assert [each.status_code for each in streams] == [200] * 50
        assert page.get("about")
        more = [page.session.get(f"{page.address}/api/events", stream=True, timeout=30) for _ in range(20)]
        try:
            assert {each.status_code for each in more} == {200, 503}
        finally:
            for each in more:
                each.close()
        for each in streams:
            assert next(each.iter_lines()) == b"retry: 1000"
    finally:
        is_over.set()
        for each in [*streams, *slow]:
            each.close()
    deadline = time.monotonic() + 60
    while page.session.get(f"{page.address}/api/events", stream=True, timeout=30).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_page_listens_on_this_machine_only(page: Served, cli: Cli) -> None:
    listening = [each for each in psutil.Process(page.child.pid).net_connections() if each.status == "LISTEN"]
    assert [each.laddr.ip for each in listening] == ["127.0.0.1"]
    done = cli("web", "--host", "0.0.0.0")
    assert (done.code, "in plain; nothing was started" in done.err) == (2, True)
    taken = cli("web", "--port", page.address.rpartition(":")[2], "--no-open")
    assert (taken.code, "cannot be used" in taken.err) == (2, True)
    nowhere = cli("web", "--no-open", "--root", "/nonexistent")
    assert (nowhere.code, "nothing was started" in nowhere.err) == (2, True)


def test_secrets_are_in_no_argument_and_no_file(page: Served, environment: dict[str, str]) -> None:
    secrets = [
        re.split("token=", page.link)[1],
        page.get("about")["token"],
        page.key,
        *page.session.cookies.values(),
    ]
    process = psutil.Process(page.child.pid)
    words = " ".join(
        [*process.cmdline(), *(word for each in process.children(recursive=True) for word in each.cmdline())]
    )
    state = Path(environment["DATASET_DL_STATE"])
    kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    for secret in secrets:
        assert secret and secret not in words and secret.encode() not in kept


def test_the_cookie_alone_only_shows_the_page(page: Served) -> None:
    """Another program of this machine gets it, because browsers send cookies to every port of a host."""
    stolen = {"Cookie": "; ".join(f"{each.name}={each.value}" for each in page.session.cookies)}
    assert plain(page, path="/explore", headers=stolen).status_code == 200
    for path in ("/api/about", "/api/jobs", "/api/events", "/api/cohort/file?id=nlst"):
        assert plain(page, path=path, headers=stolen).status_code == 401, path
    origin = {"Origin": page.address}
    done = plain(page, "POST", "/api/check", json={"kind": "verify", "to": "."}, headers=stolen | origin)
    assert done.status_code == 401
    again = plain(page, path=page.link.removeprefix(page.address), headers=stolen)
    assert (again.status_code, again.headers["Location"]) == (303, "/")


def test_cookies_of_others_do_not_lock_anybody_out(page: Served) -> None:
    own = "; ".join(f"{each.name}={each.value}" for each in page.session.cookies)
    for others in ('pref={"a": 1}; x y=[]', "é=ü", "=; ;;", own.partition("=")[0] + "=another"):
        headers = {"Cookie": f"{others}; {own}".encode()}
        assert plain(page, path="/explore", headers=headers).status_code == 200, others


def test_a_page_of_another_port_gets_nothing(page: Served, browser: Browser) -> None:
    told: list[str] = []
    attack = f"""
        const to = "{page.address}";
        const tries = [
            () => fetch(to + "/api/about", {{ credentials: "include" }}).then((each) => each.text()),
            () => fetch(to + "/api/about", {{ credentials: "include", mode: "no-cors" }}).then((each) => each.text()),
            () => fetch(to + "/api/check", {{ method: "POST", credentials: "include", mode: "no-cors", body: "{{}}" }}).then((each) => each.text()),
            () => import(to + "/static/dom.js").then((each) => each.ask("about")),
        ];
        window.found = [];
        for (const each of tries) {{ try {{ window.found.push(await each()); }} catch {{ window.found.push("refused"); }} }}
        const form = Object.assign(document.createElement("form"), {{ method: "post", action: to + "/api/check", enctype: "text/plain", target: "frame" }});
        const frame = Object.assign(document.createElement("iframe"), {{ name: "frame" }});
        document.body.append(frame, form);
        form.submit();
    """

    class Attacker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(self.headers.get("Cookie", ""))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html><body><script type=module>{attack}</script>".encode())

    with serving(Attacker) as address:
        context = browser.new_context()
        for cookie in page.session.cookies:
            context.add_cookies([{"name": cookie.name, "value": str(cookie.value), "url": page.address}])
        window = context.new_page()
        window.goto(address)
        window.wait_for_function("window.found?.length === 4")
        window.wait_for_timeout(500)
        assert {*window.evaluate("window.found")} <= {"refused", ""}
        context.close()
    # It did get the cookie, which is why that alone opens nothing.
    assert any("dataset-dl-" in each for each in told)
    assert page.get("jobs") == []


@pytest.mark.parametrize("named", ["/etc/passwd", "/etc/hostname", "-", "pyproject.toml", "s3://idc-open-data/x/*", "https://127.0.0.1/x", "file:///etc/passwd", "nbia://x/1.2"])  # fmt: skip
def test_a_cohort_names_identifiers_and_no_files(page: Served, named: str) -> None:
    for path in ("jobs", "cohort"):
        done = page.post(path, {"id": [named], "to": "x"})
        assert (done.status_code, "matches nothing in IDC" in done.json()["error"]) == (400, True), done.text
    done = page.session.get(
        f"{page.address}/api/cohort/file", params={"id": named, "format": "csv"}, timeout=60
    )
    assert (done.status_code, "root:" in done.text) == (400, False)


def test_silent_connections_are_closed(page: Served) -> None:
    port = int(page.address.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    try:
        assert page.get("about")
        silent[0].settimeout(30)
        assert silent[0].recv(1) == b""
    finally:
        for each in silent:
            each.close()
