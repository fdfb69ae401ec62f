"""How the network is reached: one source of truth for where to ask and with what environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

from dataset_dl.errors import SelectionError

Source = Literal["aws", "gcs"]

AWS_ENDPOINT_URL = "https://s3.amazonaws.com"
GCS_ENDPOINT_URL = "https://storage.googleapis.com"

# The buckets that IDC publishes on AWS → the same data on Google.
IDC_BUCKETS = {
    "idc-open-data": "idc-open-data",
    "idc-open-data-two": "idc-open-idc1",
    "idc-open-data-cr": "idc-open-cr",
}

# Settings of AWS tools that would change where s5cmd goes or make it fail before it starts.
_UNWANTED = (
    "S3_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Where the buckets are asked for.

    Attributes
    ----------
    source
        ``aws`` or ``gcs``: whose names the buckets go by.
    endpoint_url
        Address of the S3 service; of the source's own service if it is not given.
    """

    source: Source = "aws"
    endpoint_url: str = field(default="")

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise SelectionError(self.source, f"“{self.source}” is no source; there are aws and gcs.")
        if not self.endpoint_url:
            url = GCS_ENDPOINT_URL if self.source == "gcs" else AWS_ENDPOINT_URL
            object.__setattr__(self, "endpoint_url", url)
        try:
            parts = urlsplit(self.endpoint_url)
            usable = " " not in self.endpoint_url and (parts.port or True)
        except ValueError:  # a port that is no number
            parts, usable = urlsplit(""), False
        if not usable or parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            shown = self.endpoint_url.rpartition("@")[2]  # what stands before may be a password
            raise SelectionError(
                shown,
                f"“{shown}” is not the address of an S3 service.",
                "Write it like https://s3.example.org or http://127.0.0.1:9000.",
            )

    @classmethod
    def gather(
        cls,
        *,
        endpoint_url: str | None = None,
        source: Source = "aws",
        environment: Mapping[str, str] | None = None,
    ) -> NetworkSettings:
        """The settings given, then ``DATASET_DL_ENDPOINT_URL``, then the source's own service."""
        inherited = os.environ if environment is None else environment
        return cls(source, endpoint_url or inherited.get("DATASET_DL_ENDPOINT_URL", ""))

    def bucket_url(self, series_aws_url: str) -> str:
        """The address of a series at this source, from its address at AWS."""
        if self.source == "aws":
            return series_aws_url
        bucket, _, rest = series_aws_url.removeprefix("s3://").partition("/")
        return f"s3://{IDC_BUCKETS[bucket]}/{rest}"

    def child_environment(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment for s5cmd: the given one without what would lead it astray."""
        inherited = os.environ if environment is None else environment
        kept = {name: value for name, value in inherited.items() if name not in _UNWANTED}
        # Without a region s5cmd asks for one; a broken ~/.aws/config would be fatal to it.
        return kept | {"AWS_REGION": "us-east-1", "AWS_SDK_LOAD_CONFIG": "0"}
