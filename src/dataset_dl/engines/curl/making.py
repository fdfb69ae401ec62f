"""Make the engine of libcurl, if it is installed."""

from __future__ import annotations

import os
from importlib.util import find_spec

from dataset_dl.engines.curl.signing import signing_of
from dataset_dl.engines.protocol import Engine
from dataset_dl.errors import EngineMissing, MissingExtra
from dataset_dl.model.settings import DownloadSettings
from dataset_dl.network import NetworkSettings


def make(settings: DownloadSettings, network: NetworkSettings) -> Engine:
    """Make the engine for these settings.

    Raises
    ------
    MissingExtra
        If pycurl is not installed.
    EngineMissing
        If requests must be signed and only another engine may find credentials.
    """
    if find_spec("pycurl") is None:
        raise MissingExtra("curl", "pycurl")
    if network.sign and settings.engine == "auto" and signing_of(os.environ) is None:
        raise EngineMissing("curl", "The engine curl finds no credentials, so nothing was started.")
    from dataset_dl.engines.curl.engine import CurlEngine

    return CurlEngine(
        network,
        workers=settings.workers,
        stall_seconds=settings.stall_timeout_seconds,
        max_rate_mbps=settings.max_rate_mbps,
        md5=settings.verify == "md5",
    )
