from __future__ import annotations

import pytest

from dataset_dl.errors import SelectionError
from dataset_dl.network import AWS_ENDPOINT_URL, GCS_ENDPOINT_URL, NetworkSettings

URL = "s3://idc-open-data-two/u/*"


def test_the_order_of_precedence() -> None:
    named = {"DATASET_DL_ENDPOINT_URL": "http://mirror"}
    assert NetworkSettings.gather(endpoint_url="http://x", environment=named).endpoint_url == "http://x"
    assert NetworkSettings.gather(environment=named).endpoint_url == "http://mirror"
    assert NetworkSettings.gather(environment={}).endpoint_url == AWS_ENDPOINT_URL
    assert NetworkSettings.gather(source="gcs", environment={}).endpoint_url == GCS_ENDPOINT_URL


def test_buckets_have_other_names_at_google() -> None:
    assert NetworkSettings().bucket_url(URL) == URL
    assert NetworkSettings("gcs").bucket_url(URL) == "s3://idc-open-idc1/u/*"


@pytest.mark.parametrize(
    "url", ["ftp://x", "x", "http://", "http://me:secret@host", "http://a b", "http://h:abc"]
)
def test_what_is_no_endpoint_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(SelectionError) as caught:
        NetworkSettings(endpoint_url=url)
    assert "secret" not in str(caught.value) + caught.value.reference


def test_the_environment_for_s5cmd() -> None:
    given = {"S3_ENDPOINT_URL": "http://elsewhere", "AWS_PROFILE": "x", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "y",
             "HTTPS_PROXY": "http://p", "AWS_CA_BUNDLE": "/ca.pem", "HOME": "/h"}  # fmt: skip
    made = NetworkSettings().child_environment(given)
    assert made == {"HTTPS_PROXY": "http://p", "AWS_CA_BUNDLE": "/ca.pem", "HOME": "/h", "AWS_REGION": "us-east-1",
                    "AWS_SDK_LOAD_CONFIG": "0"}  # fmt: skip
