from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.engines.s5cmd.output import cause_of, network_error, parse_line
from dataset_dl.engines.words import redacted
from dataset_dl.errors import CertificateError, ConnectionTimeout, NetworkError, ProxyError
from dataset_dl.model.events import CommandFailed, EngineMessage, FileCompleted

UUID = "085e85b3-3780-47f6-8538-585bcca95336"


def test_words_in_a_page_are_no_cause() -> None:
    page = "SerializationError: failed to decode XML, status code: 502, body: 3ff407c4 certificate"
    assert "not as an S3 service" in str(network_error(page, "http://h"))
    at_port = 'Get "http://h:40731": dial tcp 127.0.0.1:40731: connect: connection refused'
    assert "nothing listens" in str(network_error(at_port, "http://h:40731"))


def test_a_finished_file() -> None:
    line = (
        b'{"operation":"cp","success":true,"source":"s3://b/%s/i.dcm","destination":"d/i.dcm",'
        b'"object":{"type":"file","size":10}}' % UUID.encode()
    )
    assert parse_line(line) == FileCompleted(UUID, "d/i.dcm", 10)


def test_an_empty_file_has_no_size() -> None:
    line = b'{"operation":"cp","success":true,"source":"s3://b/u/i.dcm","destination":"i.dcm","object":{"type":"file"}}'
    assert parse_line(line) == FileCompleted("u", "i.dcm", 0)


def test_a_failed_command() -> None:
    line = b'{"operation":"cp","command":"cp s3://b/%s/* d/","error":"no object found"}' % UUID.encode()
    assert parse_line(line) == CommandFailed(UUID, "not_found", "no object found")


def test_an_error_without_a_command() -> None:
    event = parse_line(b'{"error":"session: fetching region failed: RequestError: send request failed"}')
    assert isinstance(event, CommandFailed)
    assert (event.key, event.cause) == ("", "network")


@given(
    st.binary(max_size=200)
    | st.text().map(str.encode)
    | st.text().map(lambda t: b'{"error":' + t.encode() + b"}")
)
def test_no_line_raises(line: bytes) -> None:
    assert isinstance(parse_line(line), FileCompleted | CommandFailed | EngineMessage)


@given(st.dictionaries(st.sampled_from(["operation", "success", "source", "destination", "object", "error", "command"]),
                       st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())))  # fmt: skip
def test_no_json_raises(fields: dict[str, object]) -> None:
    import json

    assert isinstance(parse_line(json.dumps(fields).encode()), FileCompleted | CommandFailed | EngineMessage)


# The words are those that s5cmd 2.3.0 was seen to say.
@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("no object found", "not_found"),
        ("NoSuchKey: The specified key does not exist. status code: 404", "not_found"),
        ("AccessDenied: Access Denied status code: 403", "access_denied"),
        ("InternalError: We encountered an internal error status code: 500", "server_error"),
        ("SlowDown: Please reduce your request rate. status code: 503", "server_error"),
        ("unexpected EOF", "truncated"),
        ("write /d/x.dcm123: no space left on device", "disk"),
        ("open /d/x: read-only file system", "disk"),
        ("open /d/x: file name too long", "name_too_long"),
        (
            "RequestError: send request failed caused by: dial tcp 127.0.0.1:1: connect: connection refused",
            "network",
        ),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "network"),
        ("Proxy Authentication Required", "network"),
        ("something new", "unknown"),
    ],
)
def test_causes(message: str, cause: str) -> None:
    assert cause_of(message) == cause


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Proxy Authentication Required", ProxyError),
        ("SerializationError: status code: 407", ProxyError),
        ("proxyconnect tcp: dial tcp 10.0.0.1:3128: connect: connection refused", ProxyError),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            CertificateError,
        ),
        ("LoadCustomCABundleError: failed to load custom CA bundle PEM file", CertificateError),
        ("dial tcp: lookup nonesuch.invalid: no such host", NetworkError),
        ("dial tcp 127.0.0.1:1: connect: connection refused", NetworkError),
        ("NoSuchBucket: The specified bucket does not exist", NetworkError),
        ("SerializationError: failed to decode REST XML response", NetworkError),
        ("timeout: no answer within 20 s", ConnectionTimeout),
        ("something new", NetworkError),
    ],
)
def test_network_errors_are_sentences(message: str, kind: type[NetworkError]) -> None:
    error = network_error(message, "http://s3.example")
    assert type(error) is kind
    assert error.exit_code == 4
    assert "http://s3.example" in str(error)


def test_secrets_are_masked() -> None:
    text = redacted('Get "http://me:secret@proxy:3128/x": refused, https://a@b/c')
    assert "secret" not in text and "me:" not in text
    assert text == 'Get "http://***@proxy:3128/x": refused, https://***@b/c'
