"""Network access: one set of settings for Python and for s5cmd."""

from dataset_dl.network.settings import (
    AWS_ENDPOINT_URL,
    GCS_ENDPOINT_URL,
    NetworkSettings,
    Store,
    without_secrets,
)

__all__ = [
    "AWS_ENDPOINT_URL",
    "GCS_ENDPOINT_URL",
    "NetworkSettings",
    "Store",
    "without_secrets",
]
