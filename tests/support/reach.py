"""Whether Python, its many small requests, s5cmd and libcurl reach a bucket: `python -m support.reach URL` prints the outcome of each.

Runs in a process of its own, so that it has exactly the environment and the system's trust store that a test
gives it.
"""

from __future__ import annotations

import sys

from dataset_dl.engines.curl.engine import CurlEngine
from dataset_dl.engines.s5cmd.binary import require
from dataset_dl.engines.s5cmd.engine import S5cmdEngine
from dataset_dl.errors import DatasetDlError
from dataset_dl.network import NetworkSettings
from dataset_dl.network.rules import plain_words
from dataset_dl.network.session import session
from dataset_dl.store.listing import objects_below
from dataset_dl.store.ranges import Ranges


def main() -> None:
    series_aws_url = sys.argv[1]
    for side in (python, many, s5cmd, curl):
        try:
            network = NetworkSettings.gather()
            side(network, series_aws_url)
        except DatasetDlError as error:
            print(type(error).__name__, str(error), sep="\t")  # noqa: T201
        else:
            print("✓", "", sep="\t")  # noqa: T201


def python(network: NetworkSettings, series_aws_url: str) -> None:
    bucket, key = series_aws_url.removeprefix("s3://").split("/")[:2]
    url = f"{network.endpoint_url}/{bucket}?list-type=2&prefix={key}/"
    with plain_words(url), session(network, retries=0) as requesting, requesting.get(url) as answer:
        assert f"{key}/" in answer.text


def many(network: NetworkSettings, series_aws_url: str) -> None:
    bucket, key = series_aws_url.removeprefix("s3://").split("/")[:2]
    found = list(objects_below(network, bucket, f"{key}/"))
    with Ranges(network) as ranges:
        part = ranges.read(f"{network.endpoint_url}/{bucket}/{key}/{found[0].name}", 0, 132)
    assert part.data.endswith(b"DICM")


def s5cmd(network: NetworkSettings, series_aws_url: str) -> None:
    engine = S5cmdEngine(require(), network)
    engine.probe(series_aws_url)


def curl(network: NetworkSettings, series_aws_url: str) -> None:
    CurlEngine(network).probe(series_aws_url)


if __name__ == "__main__":
    main()
