"""Trusted certificate authorities: those of the system, the public ones, and those in CA bundles."""

from __future__ import annotations

import os
import ssl
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dataset_dl.errors import CertificateError
from dataset_dl.scratch import Scratch, writing_scratch

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
# Go also looks here for the system's list, independent of how OpenSSL was built.
_SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_SUFFIXES = (".pem", ".crt", ".cer", ".0", ".1")


def read(name: str, origin: str) -> list[bytes]:
    """Read the certificates of a file (PEM, or one in DER), or of all such files in a folder, as DER.

    Raises
    ------
    CertificateError
        If there are none, if they cannot be read, or if all of them have expired.
    """
    path = Path(os.path.expanduser(name))  # noqa: PTH111 (pathlib's raises for an unknown user)
    try:
        found = _of_folder(path) if path.is_dir() else _of_file(path)
        loaded = _load(found)
    except ssl.SSLError as error:
        reason = (error.reason or "it is damaged").lower().replace("_", " ")
        raise _refused(path, origin, f"is not a certificate file: {reason}") from None
    except FileNotFoundError:
        raise _refused(path, origin, "does not exist") from None
    except OSError as error:
        raise _refused(path, origin, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise _refused(path, origin, "is not a certificate file: it is damaged") from None
    if not found:
        raise _refused(path, origin, "holds no certificate")
    expired = _expired(loaded)
    current = [each for each in found if each not in expired]
    if not current:
        ended = ", ".join(sorted(set(expired.values())))
        raise _refused(path, origin, f"holds only certificates that have expired ({ended})")
    return current


def has_system() -> bool:
    """Whether the system has a list; only checks that its file is not empty, which is faster than parsing."""
    if os.name == "nt":
        return bool(system())
    return any(os.path.isfile(name) and os.path.getsize(name) for name in _system_files())  # noqa: PTH113, PTH202


def system_file() -> str:
    """Return the file with the authorities that the system trusts; empty if it has another kind of list."""
    if os.name == "nt":
        return ""
    return next((name for name in _system_files() if os.path.isfile(name) and os.path.getsize(name)), "")  # noqa: PTH113, PTH202


def system() -> list[bytes]:
    """Return the certificates that the system trusts, as far as it lists them; unchecked."""
    if os.name == "nt":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        return context.get_ca_certs(binary_form=True)
    for name in _system_files():
        with suppress(OSError, ValueError):
            return _of_file(Path(name))
    return []


def _system_files() -> tuple[str, ...]:
    # Not from environment variables: `NetworkSettings` reads those.
    return (ssl.get_default_verify_paths().openssl_cafile, *_SYSTEM_FILES)


def public() -> list[bytes]:
    """Return the public authorities on Mozilla's list."""
    import certifi

    return _of_file(Path(certifi.where()))


def write(certificates: Iterable[bytes], owner: object) -> Path:
    """Write certificates to a temporary file, which is removed with its owner."""
    scratch = Scratch("ca")
    weakref.finalize(owner, scratch.close)
    path = scratch.path / "authorities.pem"
    with writing_scratch(), path.open("w", encoding="ascii") as file:
        path.chmod(0o600)
        file.writelines(ssl.DER_cert_to_PEM_cert(each) for each in dict.fromkeys(certificates))
    return path


def _of_file(path: Path) -> list[bytes]:
    """Return the certificates of a file as DER, unchecked."""
    data = path.read_bytes()
    text = data.decode("ascii", errors="ignore")
    if _BEGIN not in text:
        return [data] if data[:1] == b"\x30" else []
    parts = (part.partition(_END)[0] for part in text.split(_BEGIN)[1:])
    return [ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{part}{_END}\n") for part in parts]


def _of_folder(path: Path) -> list[bytes]:
    """Return the valid certificates of a folder; skip others, which are an error in a single file."""
    found: dict[bytes, None] = {}
    for each in sorted(path.iterdir()):
        if each.suffix.lower() in _SUFFIXES:
            with suppress(ValueError, OSError):
                found |= dict.fromkeys(_of_file(each))
    try:
        _load(list(found))
    except ssl.SSLError:
        return [each for each in found if _is_sound(each)]
    return list(found)


def _is_sound(certificate: bytes) -> bool:
    try:
        _load([certificate])
    except ssl.SSLError:
        return False
    return True


def _load(certificates: list[bytes]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificates:
        context.load_verify_locations(cadata=b"".join(certificates))
    return context


def _expired(context: ssl.SSLContext) -> dict[bytes, str]:
    """Return expired certificates of authorities, and when they expired; OpenSSL lists no others."""
    listed = zip(context.get_ca_certs(binary_form=True), context.get_ca_certs(), strict=True)
    ends = ((der, str(certificate["notAfter"])) for der, certificate in listed)
    return {der: end for der, end in ends if ssl.cert_time_to_seconds(end) < time.time()}


def _refused(path: Path, origin: str, what: str) -> CertificateError:
    return CertificateError(
        str(path),
        f"The CA bundle {path} ({origin}) {what}; nothing was started.",
        "Give a PEM file, or a folder of PEM files, with your organisation's certificate authority.",
    )
