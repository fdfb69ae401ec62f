"""What is asked of a store: addresses, redirects, tasks and credentials."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.engines.curl.redirects import may_lead_to
from dataset_dl.engines.curl.route import Route, listing_url
from dataset_dl.engines.curl.signing import signing_of
from dataset_dl.engines.curl.tasks import Task, TaskFile, take_tasks
from dataset_dl.engines.curl.way import route_to
from dataset_dl.network import NetworkSettings

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(prefix=texts.filter(bool), token=texts, most=st.none() | st.integers(1, 1000))
def test_a_listing_asks_for_what_it_says(prefix: str, token: str, most: int | None) -> None:
    url = listing_url("https://s3.example.org/bucket", prefix, token, most)
    query = parse_qsl(urlsplit(url).query, strict_parsing=True, keep_blank_values=True)
    assert query == sorted(query)
    wanted = {"list-type": "2", "prefix": prefix}
    wanted |= {"continuation-token": token} if token else {}
    assert dict(query) == wanted | ({"max-keys": str(most)} if most else {})


@pytest.mark.parametrize(
    ("url", "target", "may"),
    [
        ("https://s3.amazonaws.com/b/k", "https://b.s3.us-west-2.amazonaws.com/k", True),
        ("https://s3.amazonaws.com/b/k", "http://s3.amazonaws.com/b/k", False),
        ("https://s3.amazonaws.com/b/k", "https://amazonaws.com.evil.org/k", False),
        ("https://s3.amazonaws.com/b/k", "https://evilamazonaws.com/k", False),
        ("https://s3.amazonaws.com/b/k", "https://user@s3.amazonaws.com/k", False),
        ("http://127.0.0.1:9000/b/k", "http://127.0.0.1:9000/other", True),
        ("http://127.0.0.1:9000/b/k", "/other", True),
        ("http://127.0.0.1:9000/b/k", "http://127.0.0.1:9001/b/k", False),
        ("http://127.0.0.1:9000/b/k", "http://169.254.169.254/latest", False),
        ("https://mirror.hospital.org/b/k", "https://login.hospital.org/", False),
        ("http://mirror/b/k", "file:///etc/passwd", False),
    ],
)
def test_a_store_may_not_lead_anywhere(url: str, target: str, may: bool) -> None:
    assert may_lead_to(url, target) == may


def task(number: int) -> Task:
    return Task(f"key {number}", f"a/“{number}”\n", "https://s/b", f"{number}/", 10, ["x.dcm"], [None])


def test_tasks_are_as_they_were(tmp_path: Path) -> None:
    several = [task(number) for number in range(5)]
    file = TaskFile(tmp_path / "tasks")
    assert file.add(several[:3]) == 3
    taken = take_tasks(tmp_path / "tasks")
    assert [next(taken) for _ in range(4)] == [*several[:3], None]
    assert file.add(several[3:]) == 2
    file.end()
    assert [each for each in taken if each is not None] == several[3:]
    assert [each for each in take_tasks(tmp_path / "tasks") if each is not None] == []


def take(path: Path) -> list[str]:
    return [each.key for each in take_tasks(path) if each is not None]


def test_each_task_goes_to_one_process(tmp_path: Path) -> None:
    file = TaskFile(tmp_path / "tasks")
    file.add(map(task, range(2_000)))
    file.end()
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        taken = pool.map(take, [tmp_path / "tasks"] * 3)
    together = [key for each in taken for key in each]
    assert len(together) == 2_000
    assert set(together) == {f"key {number}" for number in range(2_000)}


def test_a_proxy_keeps_its_password_apart() -> None:
    route = route_to(
        NetworkSettings(endpoint_url="http://s3.example.org", http_proxy="http://me:p%40ss%3Aword@proxy:3128")
    )
    assert (route.proxy, route.proxy_credentials) == ("http://proxy:3128", "me:p@ss:word")
    assert "p@ss" not in repr(route)


def test_a_host_that_bypasses_the_proxy_has_none() -> None:
    settings = NetworkSettings(
        endpoint_url="http://s3.example.org", http_proxy="http://proxy:3128", no_proxy=".example.org"
    )
    assert route_to(settings) == Route()


def test_credentials_come_from_where_aws_tools_look(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = B\n[other]\naws_access_key_id = C\n"
                    "aws_secret_access_key = D%/+\naws_session_token = E\n")  # fmt: skip
    here = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
    assert signing_of(here) == {
        "signature": "aws:amz:us-east-1:s3",
        "credentials": "A:B",
        "session_token": "",
    }
    other = signing_of(here | {"AWS_PROFILE": "other", "AWS_REGION": "eu-central-1"})
    assert other == {"signature": "aws:amz:eu-central-1:s3", "credentials": "C:D%/+", "session_token": "E"}
    both = {"AWS_ACCESS_KEY_ID": "F", "AWS_SECRET_ACCESS_KEY": "G"}
    found = signing_of(here | both)
    assert found is not None
    assert found["credentials"] == "F:G"


def test_there_may_be_no_credentials() -> None:
    assert (
        signing_of({"AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true"})
        is None
    )
