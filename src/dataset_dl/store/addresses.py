"""Addresses of S3: ``s3://BUCKET/KEY``, taken apart and put together here and nowhere else in Python."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from dataset_dl.network import NetworkSettings

# The buckets that IDC publishes on AWS → the same data on Google.
IDC_BUCKETS = {
    "idc-open-data": "idc-open-data",
    "idc-open-data-two": "idc-open-idc1",
    "idc-open-data-cr": "idc-open-cr",
}
# Where IDC's data was in earlier versions; manifests of then still name them.
FORMER_BUCKETS = ("public-datasets-idc",)
# All that a manifest for IDC may name.
KNOWN_BUCKETS = frozenset({*IDC_BUCKETS, *IDC_BUCKETS.values(), *FORMER_BUCKETS})

_ADDRESS = re.compile(r"(?:s3|gs)://(?P<bucket>[^/\s]+)/?(?P<key>.*)", re.IGNORECASE | re.DOTALL)


class S3Address(NamedTuple):
    """A bucket, and a key or the beginning of keys in it."""

    bucket: str
    key: str

    @classmethod
    def of(cls, text: str) -> S3Address:
        """Take an address apart.

        Raises
        ------
        ValueError
            If it is none.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise ValueError(f"{text} is no address of S3")
        return cls(match["bucket"], match["key"])

    @property
    def folder(self) -> str:
        """The key up to its first slash: the crdc_series_uuid of an address of IDC."""
        return self.key.partition("/")[0]

    @property
    def prefix(self) -> str:
        """The beginning that all keys of ``…/*`` have."""
        return self.key.removesuffix("*")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def at_store(address: str, network: NetworkSettings) -> str:
    """The address of a series at the store that is chosen, from its address at AWS."""
    if network.store == "aws":
        return address
    bucket, key = S3Address.of(address)
    return str(S3Address(IDC_BUCKETS.get(bucket, bucket), key))


def object_url(network: NetworkSettings, bucket: str, key: str) -> str:
    """The HTTP address of an object, or of a bucket if the key is empty."""
    return f"{network.endpoint_url.rstrip('/')}/{quote(bucket)}/{quote(key)}".rstrip("/")
