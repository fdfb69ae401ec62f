"""Credentials for signed requests, from where AWS tools look for them."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path


def signing_of(environment: Mapping[str, str]) -> dict[str, str] | None:
    """Return the fields of `route.Route` that sign requests; None without credentials.

    In order: the variables ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_SESSION_TOKEN``; the
    profile ``AWS_PROFILE`` of the shared credentials file; whatever else botocore finds, if it is installed.
    """
    found = _of_environment(environment) or _of_file(environment) or _of_botocore(environment)
    if found is None:
        return None
    key, secret, token = found
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    return {"signature": f"aws:amz:{region}:s3", "credentials": f"{key}:{secret}", "session_token": token}


def _of_environment(environment: Mapping[str, str]) -> tuple[str, str, str] | None:
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    return (key, secret, environment.get("AWS_SESSION_TOKEN", "")) if key and secret else None


def _of_file(environment: Mapping[str, str]) -> tuple[str, str, str] | None:
    named = environment.get("AWS_SHARED_CREDENTIALS_FILE")
    path = Path(named) if named else Path.home() / ".aws" / "credentials"
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        profile = parser[environment.get("AWS_PROFILE") or "default"]
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError):
        return None
    key, secret = profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")
    return (key, secret, profile.get("aws_session_token", "")) if key and secret else None


def _of_botocore(environment: Mapping[str, str]) -> tuple[str, str, str] | None:
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        return None
    try:
        found = Session(profile=environment.get("AWS_PROFILE")).get_credentials()
    except BotoCoreError:
        return None
    if found is None:
        return None
    frozen = found.get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token or ""
