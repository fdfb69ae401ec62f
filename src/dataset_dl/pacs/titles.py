"""AE titles: what this program calls itself, and where it receives what archives send."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from dataset_dl import configuration
from dataset_dl.errors import SelectionError

_SETTINGS: Mapping[str, type] = {
    "calling_ae_title": str,
    "receiver_ae_title": str,
    "receiver_host": str,
    "receiver_port": int,
}
_DEFAULT_TITLE, _DEFAULT_PORT = "DATASET_DL", 11112
# PS3.5, 6.2: sixteen characters, no backslash and no control characters.
_AE_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")


class Titles(NamedTuple):
    """What this program calls itself, and where it receives.

    Attributes
    ----------
    calling
        The AE title by which it asks.
    receiver
        The AE title to which archives send (C-MOVE).
    host, port
        Where it listens then; every address of this machine if the host is empty.
    """

    calling: str
    receiver: str
    host: str
    port: int

    @classmethod
    def gather(cls) -> Titles:
        """Read ``DATASET_DL_CALLING_AE_TITLE`` and others, the table ``[pacs]``, or ``CALLING_AE_TITLE``.

        Raises
        ------
        SelectionError
            If one is not valid.
        """
        stated = {name: value for name, (value, _) in configuration.stated("pacs", _SETTINGS).items()}
        calling = str(stated.get("calling_ae_title") or os.environ.get("CALLING_AE_TITLE") or _DEFAULT_TITLE)
        receiver = str(stated.get("receiver_ae_title") or os.environ.get("RECEIVER_AE_TITLE") or calling)
        port = stated.get("receiver_port") or _DEFAULT_PORT
        if not 0 < port < 65536:
            raise SelectionError(str(port), f"{port} is no port to receive at; nothing was started.")
        return cls(
            checked_title(calling), checked_title(receiver), str(stated.get("receiver_host", "")), int(port)
        )


def checked_title(title: str) -> str:
    """Return an AE title if it is valid.

    Raises
    ------
    SelectionError
        If it is not.
    """
    if not _AE_TITLE.fullmatch(title):
        raise SelectionError(
            title,
            f"“{title}” is no AE title; nothing was started.",
            "It has 1 to 16 characters, and no backslash.",
        )
    return title
