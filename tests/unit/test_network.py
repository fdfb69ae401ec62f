from __future__ import annotations

import gc
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from dataset_dl.errors import CertificateError, ProxyError, SelectionError
from dataset_dl.network import AWS_ENDPOINT_URL, GCS_ENDPOINT_URL, NetworkSettings, without_secrets
from dataset_dl.network.bypass import bypasses, check
from dataset_dl.store.addresses import at_store

URL = "s3://idc-open-data-two/u/*"


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


def gather(tmp_path: Path, config: str = "", **environment: str) -> NetworkSettings:
    path = tmp_path / "config.toml"
    path.write_text(config)
    return NetworkSettings.gather(environment={"DATASET_DL_CONFIG": str(path)} | environment)


def test_the_order_of_precedence(tmp_path: Path) -> None:
    config = '[network]\nendpoint_url = "http://of-file"\nproxy = "of-file:1"\n'
    usual = {"HTTPS_PROXY": "http://usual:1"}
    own = {"DATASET_DL_ENDPOINT_URL": "http://own", "DATASET_DL_PROXY": "http://own:1"}
    found = gather(tmp_path, config, **usual, **own)
    assert (found.endpoint_url, found.https_proxy) == ("http://own", "http://own:1")
    assert found.origins["https_proxy"] == "DATASET_DL_PROXY"
    found = gather(tmp_path, config, **usual)
    assert (found.endpoint_url, found.https_proxy) == ("http://of-file", "http://of-file:1")
    assert found.origins["endpoint_url"] == str(tmp_path / "config.toml")
    found = gather(tmp_path, "", **usual)
    assert (found.endpoint_url, found.https_proxy) == (AWS_ENDPOINT_URL, "http://usual:1")
    assert "endpoint_url" not in found.origins
    environment = {"DATASET_DL_CONFIG": str(tmp_path / "config.toml")} | own
    found = NetworkSettings.gather(endpoint_url="http://x", proxy="y:1", environment=environment)
    assert (found.endpoint_url, found.https_proxy) == ("http://x", "http://y:1")
    assert NetworkSettings.gather(store="gcs", environment={}).endpoint_url == GCS_ENDPOINT_URL


def test_the_usual_variables(tmp_path: Path) -> None:
    both = gather(tmp_path, https_proxy="http://lower:1", HTTPS_PROXY="http://upper:1")
    assert both.https_proxy == "http://upper:1"
    every = gather(tmp_path, ALL_PROXY="http://all:1", HTTP_PROXY="http://http:1", no_proxy="a")
    assert (every.https_proxy, every.http_proxy, every.no_proxy) == ("http://all:1", "http://http:1", "a")
    assert gather(tmp_path, all_proxy="http://all:1").http_proxy == "http://all:1"


def test_every_named_authority_counts(tmp_path: Path) -> None:
    found = gather(tmp_path, REQUESTS_CA_BUNDLE="/a", AWS_CA_BUNDLE="/b", SSL_CERT_DIR="/a")
    assert found.ca_bundles == ("/a", "/b")
    assert found.origins["ca_bundles"] == "REQUESTS_CA_BUNDLE, SSL_CERT_DIR, AWS_CA_BUNDLE"
    assert gather(tmp_path, AWS_CA_BUNDLE="/b", DATASET_DL_CA_BUNDLE="/own").ca_bundles == ("/own",)


@pytest.mark.parametrize(
    "config",
    [
        "[network",
        "[network]\nproxi = 'x'",
        "[network]\nsign = 'yes'",
        "[network]\nproxy = 1",
        "[[network]]",
        "network = 3",
        "proxy = 'x'",
        "[Network]\nsign = true",
    ],
)
def test_a_configuration_file_that_is_wrong_is_named(tmp_path: Path, config: str) -> None:
    with pytest.raises(SelectionError, match=r"config\.toml"):
        gather(tmp_path, config)


def test_a_configuration_file_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes('[network]\nproxy = "ü"\n'.encode("latin-1"))
    with pytest.raises(SelectionError, match=r"config\.toml"):
        NetworkSettings.gather(environment={"DATASET_DL_CONFIG": str(path)})


def test_words_for_truth(tmp_path: Path) -> None:
    assert gather(tmp_path, DATASET_DL_SIGN="yes").sign
    assert not gather(tmp_path, DATASET_DL_SIGN="0").sign
    assert gather(tmp_path, "[network]\nsign = true").sign
    with pytest.raises(SelectionError, match="neither true nor false"):
        gather(tmp_path, DATASET_DL_SIGN="maybe")


def test_buckets_have_other_names_at_google() -> None:
    assert at_store(URL, NetworkSettings()) == URL
    assert at_store(URL, NetworkSettings("gcs")) == "s3://idc-open-idc1/u/*"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "x",
        "http://",
        "http://me:secret@host",
        "http://a b",
        "http://h:abc",
        "http://h?k=secret",
        "https://:secret@h",
        "https://h/#secret",
        "HTTPS://h",
    ],
)
def test_what_is_no_endpoint_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(SelectionError) as caught:
        NetworkSettings(endpoint_url=url)
    assert "secret" not in str(caught.value) + caught.value.reference


@pytest.mark.parametrize(
    "url", ["socks5://me:secret@h:1", "ftp://me:secret@h", "http://me:secret@h:abc", "me:secret@", "http://"]
)
def test_what_is_no_proxy_is_refused_without_its_secret(tmp_path: Path, url: str) -> None:
    with pytest.raises(ProxyError) as caught:
        gather(tmp_path, HTTPS_PROXY=url)
    assert "HTTPS_PROXY" in str(caught.value)
    assert "secret" not in str(caught.value) + caught.value.reference + repr(caught.value)


def test_a_proxy_without_a_scheme_is_meant_as_http(tmp_path: Path) -> None:
    assert gather(tmp_path, HTTPS_PROXY="me:pw@proxy:3128").https_proxy == "http://me:pw@proxy:3128"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("http://u:50%off@p:1", "http://u:50%25off@p:1"),
        (" http://p:1/\r", "http://p:1"),
        ("http://u:é^|@p:1", "http://u:%C3%A9%5E%7C@p:1"),
        ("http://u:a%40b@p:1", "http://u:a%40b@p:1"),
        ("HTTP://[fd00::1]:3128", "http://[fd00::1]:3128"),
    ],
)
def test_a_proxy_is_written_so_that_both_sides_read_the_same(tmp_path: Path, given: str, made: str) -> None:
    assert gather(tmp_path, HTTPS_PROXY=given).https_proxy == made


@pytest.mark.parametrize(
    "url", ["http://u:geheim?x@p:1", "socks5://u:geheim?x@p:1", "u:geheim://b@p:1", "http://u:geheim?x@127.0.0.1:9",
            "http://u:12/geheim@p:1", "http://u:ge\nheim@p:1", "http://u:#geheim@p"]
)  # fmt: skip
def test_no_sign_in_a_password_gives_it_away(tmp_path: Path, url: str) -> None:
    with pytest.raises(ProxyError) as caught:
        gather(tmp_path, HTTPS_PROXY=url)
    assert "geheim" not in str(caught.value) + caught.value.reference
    assert "heim" not in str(caught.value)


def test_an_empty_value_says_nothing(tmp_path: Path) -> None:
    found = gather(tmp_path, '[network]\nca_bundle = ""\nproxy = ""\n', HTTPS_PROXY="http://p:1")
    assert (found.ca_bundles, found.https_proxy) == ((), "http://p:1")
    assert NetworkSettings.gather(ca_bundle="", proxy="", endpoint_url="", environment={}).ca_bundles == ()


def test_no_proxy_counts_whoever_named_the_proxy(tmp_path: Path) -> None:
    assert gather(tmp_path, DATASET_DL_PROXY="http://p:1", NO_PROXY=".x.test").no_proxy == ".x.test"


def test_a_list_of_folders(tmp_path: Path) -> None:
    assert gather(tmp_path, SSL_CERT_DIR="/a:/b").ca_bundles == ("/a", "/b")


def test_google_is_asked_by_bucket() -> None:
    google = NetworkSettings("gcs", https_proxy="http://p:1", no_proxy="idc-open-data.storage.googleapis.com")
    assert "HTTPS_PROXY" not in google.child_environment({})


def test_no_password_is_shown() -> None:
    assert without_secrets("http://me:secret@h:1") == "http://***@h:1"
    assert without_secrets("http://h:1") == "http://h:1"
    assert without_secrets("me:secret@h:1") == "h:1"
    assert without_secrets("https://h/a?token=secret") == "https://h/a"
    assert "secret" not in repr(NetworkSettings(https_proxy="http://me:secret@h:1"))


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("s3.test", "https://s3.test", True),
        ("s3.test", "https://a.s3.test", True),
        ("s3.test", "https://xs3.test", False),
        (".s3.test", "https://s3.test", True),
        ("*.s3.test", "https://a.s3.test", True),
        ("S3.Test", "https://s3.test.", True),
        ("s3.test:8443", "https://s3.test:8443", True),
        ("s3.test:8443", "https://s3.test", False),
        ("s3.test:443", "https://s3.test", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://s3.test", False),
        ("10.1.2.3", "https://10.1.2.3:9", True),
        ("10.1.2.3:9", "https://10.1.2.3:9", True),
        ("fd00::/8", "https://[fd00::1]:9", True),
        ("[fd00::1]:9", "https://[fd00::1]:9", True),
        ("fd00::1", "https://[fd00::1]:9", True),
        ("*", "https://s3.test", True),
        ("", "https://s3.test", False),
        ("", "https://localhost:9", True),
        ("", "http://127.0.0.2:9", True),
        ("a, b s3.test", "https://s3.test", True),
    ],
)
def test_which_hosts_are_reached_directly(entry: str, url: str, direct: bool) -> None:
    assert bypasses(url, entry) is direct
    check(entry, "NO_PROXY")


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/99", "a/b", "a:b", "http://x", "10.*", "a*.b", "<local>", "a;b", "10.0.0.1-10.0.0.9"]
)
def test_an_entry_that_cannot_be_understood_is_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(SelectionError, match="NO_PROXY"):
        gather(tmp_path, NO_PROXY=entry)


@given(st.text(max_size=30))
def test_no_list_makes_it_fail_otherwise(text: str) -> None:
    try:
        check(text, "NO_PROXY")
    except SelectionError:
        return
    bypasses("https://s3.test:8443", text)


def test_the_environment_for_s5cmd(tmp_path: Path, authority: Path) -> None:
    given = {"S3_ENDPOINT_URL": "http://elsewhere", "AWS_PROFILE": "x", "AWS_SECRET_ACCESS_KEY": "s",
             "AWS_REGION": "y", "https_proxy": "p:1", "NO_PROXY": "x.test", "SSL_CERT_FILE": str(authority),
             "HOME": str(tmp_path)}  # fmt: skip
    settings = NetworkSettings.gather(environment=given)
    made = settings.child_environment(given)
    bundle = Path(made.pop("AWS_CA_BUNDLE"))
    assert made == {"HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://p:1", "HOME": str(tmp_path),
                    "AWS_REGION": "us-east-1", "AWS_SDK_LOAD_CONFIG": "0"}  # fmt: skip
    assert "".join(authority.read_text().split()) in "".join(bundle.read_text().split())
    assert bundle.read_text().count("BEGIN CERTIFICATE") > 100
    assert bundle.stat().st_mode & 0o077 == 0
    del settings
    gc.collect()
    assert not bundle.exists()


def test_what_is_reached_directly_has_no_proxy_in_its_environment() -> None:
    given = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".amazonaws.com"}
    made = NetworkSettings.gather(environment=given).child_environment(given)
    assert not {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"} & made.keys()


def test_credentials_are_handed_on_only_to_sign() -> None:
    given = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-x"}
    assert "AWS_SECRET_ACCESS_KEY" not in NetworkSettings().child_environment(given)
    signing = NetworkSettings(sign=True).child_environment(given)
    assert (signing["AWS_SECRET_ACCESS_KEY"], signing["AWS_REGION"]) == ("s", "eu-x")


def refused(path: Path) -> str:
    with pytest.raises(CertificateError) as caught:
        _ = NetworkSettings(ca_bundles=(str(path),), origins={"ca_bundles": "AWS_CA_BUNDLE"}).bundle
    assert "AWS_CA_BUNDLE" in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_no_certificate_is_refused(tmp_path: Path, authority: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.pem")
    (tmp_path / "text.pem").write_text("hello")
    assert "holds no certificate" in refused(tmp_path / "text.pem")
    (tmp_path / "empty.pem").touch()
    assert "holds no certificate" in refused(tmp_path / "empty.pem")
    cut = authority.read_text().splitlines()
    (tmp_path / "cut.pem").write_text("\n".join([*cut[:3], *cut[5:]]))
    assert "is not a certificate file" in refused(tmp_path / "cut.pem")
    (tmp_path / "der.cer").write_bytes(b"\x30\x82garbage")
    assert "is not a certificate file" in refused(tmp_path / "der.cer")
    (tmp_path / "folder").mkdir()
    assert "holds no certificate" in refused(tmp_path / "folder")
    assert "cannot be read" in refused(tmp_path / ("long" * 100))


def test_an_authority_that_has_expired_is_refused(tmp_path: Path) -> None:
    path = expired(tmp_path)
    assert "have expired" in refused(path)
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(path.read_bytes() + trustme.CA().cert_pem.bytes())
    assert NetworkSettings(ca_bundles=(str(mixed),)).bundle is not None


def test_a_folder_and_a_file_in_der_are_read(tmp_path: Path, authority: Path) -> None:
    import ssl

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.crt").write_bytes(authority.read_bytes())
    (folder / "readme.txt").write_text("no certificate")
    (folder / "gone.pem").symlink_to("nowhere")
    (folder / "old.pem").mkdir()
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    der = tmp_path / "a.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(authority.read_text()))
    wanted = "".join(authority.read_text().split())
    for path in (folder, der):
        settings = NetworkSettings(ca_bundles=(str(path),))
        bundle = settings.bundle
        assert bundle is not None
        assert wanted in "".join(bundle.read_text().split())


def expired(directory: Path) -> Path:
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Old")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2010, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2011, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "expired.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path
