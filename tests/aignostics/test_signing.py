"""Signatures are those of Google's own library, for any request."""

from __future__ import annotations

import copy
import functools
import json
import pickle
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataset_dl as dd
from dataset_dl.aignostics.account import Account, find_account
from dataset_dl.aignostics.signing import canonical_request, resource_of, signed_url, without_signature
from support.cli import Cli
from support.gcs import EMAIL, Key

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
KEYS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)
NAMES = st.text(
    st.characters(codec="ascii", categories=("L", "N"), include_characters="-"), min_size=1, max_size=12
)
VALUES = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), max_size=20)


@pytest.fixture(scope="module")
def account(key: Key) -> Account:
    return find_account(key.path)


@functools.cache
def theirs_of(path: Path) -> Any:
    """The same account for Google's library."""
    from google.oauth2 import service_account

    return service_account.Credentials.from_service_account_file(str(path))


@given(key_=KEYS, query=st.dictionaries(NAMES, VALUES, max_size=4), headers=st.dictionaries(NAMES, VALUES, max_size=3),
       method=st.sampled_from(["GET", "HEAD"]), seconds=st.integers(1, 604_800))  # fmt: skip
def test_it_signs_as_googles_library_does(
    key: Key,
    account: Account,
    key_: str,
    query: dict[str, str],
    headers: dict[str, str],
    method: str,
    seconds: int,
) -> None:
    from google.cloud.storage._signing import generate_signed_url_v4

    headers = {f"x-goog-{name.lower()}": value for name, value in headers.items()}
    endpoint = "https://storage.googleapis.com"
    resource = resource_of("a-bucket", key_)
    theirs = generate_signed_url_v4(
        theirs_of(key.path), resource, seconds, endpoint, method, headers=copy.copy(headers),
        query_parameters=copy.copy(query), _request_timestamp="20260203T040506Z",
    )  # fmt: skip
    ours = signed_url(
        account, method, endpoint, resource, query=query, headers=headers, now=NOW, valid_seconds=seconds
    )
    assert ours == theirs


def test_a_resource_is_that_of_googles_library(key: Key) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    bucket = Client("project", AnonymousCredentials()).bucket("a-bucket")
    for name in ("a b/ü~(1)+&?#%.tiff", "a//b", "-_.~"):
        theirs = bucket.blob(name).generate_signed_url(60, version="v4", credentials=theirs_of(key.path))
        assert urlsplit(theirs).path == resource_of("a-bucket", name)


@given(KEYS, st.dictionaries(NAMES, VALUES, max_size=4))
def test_a_canonical_request_has_one_spelling(key: str, query: dict[str, str]) -> None:
    resource = resource_of("a-bucket", key)
    assert unquote(resource) == f"/a-bucket/{key}"
    assert resource.isascii()
    turned = dict(reversed(query.items()))
    headers = {"Host": "example.org", "X-Goog-A": " 1   2 "}
    once = canonical_request("GET", resource, query, headers)
    assert once == canonical_request("GET", resource, turned, dict(reversed(headers.items())))
    method, path, joined, *lines = once.split("\n")
    assert (method, path) == ("GET", resource)
    assert dict(parse_qsl(joined, keep_blank_values=True)) == query
    assert lines == ["host:example.org", "x-goog-a:1 2", "", "host;x-goog-a", "UNSIGNED-PAYLOAD"]


def test_signatures_are_taken_out_of_texts(account: Account) -> None:
    url = signed_url(account, "GET", "https://example.org", "/b/k", now=NOW)
    shown = without_signature(f"GET {url} and {url}")
    assert shown.count("X-Goog-Signature=***") == 2
    assert url.rpartition("=")[2] not in shown


def test_an_account_keeps_its_key_to_itself(account: Account) -> None:
    assert repr(account) == f"Account('{EMAIL}')"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(account)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "authorized_user"}, "of the type “authorized_user”"),
        (
            {"private_key": "-----BEGIN PRIVATE KEY-----\nnot a key\n-----END PRIVATE KEY-----\n"},
            "cannot be read",
        ),
        ({"client_email": 7}, "only the key of a service account"),
    ],
)
def test_credentials_of_another_kind_are_refused(
    key: Key, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    values = json.loads(key.path.read_text()) | change
    path = tmp_path / "key.json"
    path.write_text(json.dumps(values))
    with pytest.raises(dd.SelectionError, match=words) as refused:
        find_account(path)
    assert not any(secret in str(refused.value) for secret in [*key.secrets, "not a key"])


def test_a_key_that_is_not_rsa_is_refused(key: Key, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "key.json"
    path.write_text(json.dumps(json.loads(key.path.read_text()) | {"private_key": pem.decode()}))
    with pytest.raises(dd.SelectionError, match="not an RSA key"):
        find_account(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
def test_what_is_no_credentials_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(dd.SelectionError, match="cannot be used"):
        find_account(path)
    with pytest.raises(dd.SelectionError, match="cannot be read"):
        find_account(tmp_path / "nothing.json")


def test_no_credentials_are_said(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    done = cli("aignostics", "download", "gs://bucket/key", "--to", "to")
    assert (done.code, "GOOGLE_APPLICATION_CREDENTIALS" in done.err) == (2, True)


@pytest.mark.parametrize("library", ["cryptography", "google_crc32c"])
def test_without_the_extra_it_says_so(
    key: Key, cli: Cli, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    done = cli("aignostics", "download", "gs://bucket/key", "--to", "to", "--credentials", key.path)
    assert done.code == 2
    assert 'Run `pip install "dataset-dl[aignostics]"`.' in done.err
