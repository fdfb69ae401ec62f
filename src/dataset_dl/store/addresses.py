"""S3 addresses, ``s3://BUCKET/KEY``. The only place in Python that parses and builds them."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from dataset_dl.network import NetworkSettings

# IDC's buckets on AWS → the buckets with the same data on Google.
IDC_BUCKETS = {
    "idc-open-data": "idc-open-data",
    "idc-open-data-two": "idc-open-idc1",
    "idc-open-data-cr": "idc-open-cr",
}
# Nearly all of IDC is in this one.
MAIN_BUCKET = "idc-open-data"
# Buckets of earlier IDC versions; manifests from that time still name them.
FORMER_BUCKETS = ("public-datasets-idc",)
# All buckets that a manifest for IDC may name.
KNOWN_BUCKETS = frozenset({*IDC_BUCKETS, *IDC_BUCKETS.values(), *FORMER_BUCKETS})

_ADDRESS = re.compile(r"(?:s3|gs)://(?P<bucket>[^/\s]+)/?(?P<key>.*)", re.IGNORECASE | re.DOTALL)


class S3Address(NamedTuple):
    """A bucket, and a key or the prefix of keys in it."""

    bucket: str
    key: str

    @classmethod
    def of(cls, text: str) -> S3Address:
        """Parse an address.

        Raises
        ------
        ValueError
            If it is not an S3 address.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise ValueError(f"{text} is not an S3 address")
        return cls(match["bucket"], match["key"])

    @property
    def folder(self) -> str:
        """The key up to its first slash; for an IDC address the crdc_series_uuid."""
        return self.key.partition("/")[0]

    @property
    def prefix(self) -> str:
        """The common prefix of all keys that ``…/*`` matches."""
        return self.key.removesuffix("*")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def at_store(address: str, network: NetworkSettings) -> str:
    """Convert the AWS address of a series to its address at the chosen store."""
    if network.store != "gcs":
        return address
    bucket, key = S3Address.of(address)
    return str(S3Address(IDC_BUCKETS.get(bucket, bucket), key))


def object_url(network: NetworkSettings, bucket: str, key: str) -> str:
    """Return the HTTP address of an object, or of the bucket if the key is empty."""
    return f"{network.endpoint_url.rstrip('/')}/{quote(bucket)}/{quote(key)}".rstrip("/")
