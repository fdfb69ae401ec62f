"""The database of transfers of the server, opened when somebody needs it."""

from __future__ import annotations

import getpass
import os
import threading
from contextlib import suppress

from dataset_dl import configuration
from dataset_dl.errors import DatasetDlError
from dataset_dl.model.page import Person
from dataset_dl.pacs.transfers.store import Store
from dataset_dl.pacs.transfers.tables import VARIABLE, address_of

_lock = threading.Lock()
_stores: dict[str, Store] = {}


def store() -> Store:
    """Return the store of this process."""
    address = address_of(None)
    with _lock:
        if address not in _stores:
            _stores[address] = Store(address)
        return _stores[address]


def name_of(person: Person) -> str:
    """Return what a person is called on record; the owner of the own page is the user."""
    return person.name or getpass.getuser()


def log(person: Person, verb: str, subject: str, detail: str = "") -> None:
    """Record what somebody did.

    Raises
    ------
    StorageError
        If it cannot be recorded.
    """
    store().log(name_of(person), verb, subject, detail)


def is_used() -> bool:
    """Whether there are transfers, so that somebody has to do them."""
    with suppress(DatasetDlError):
        return bool(os.environ.get(VARIABLE)) or (configuration.state_path() / "transfers.sqlite").exists()
    return False
