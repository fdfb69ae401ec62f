"""The tables of transfers, the same in SQLite and in Postgres."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from dataset_dl import configuration
from dataset_dl.errors import MissingExtra, SelectionError

try:
    from sqlalchemy import (
        JSON,
        BigInteger,
        Column,
        Engine,
        Float,
        ForeignKey,
        Index,
        Integer,
        LargeBinary,
        MetaData,
        PrimaryKeyConstraint,
        Table,
        Text,
        create_engine,
        event,
    )
except ImportError:
    raise MissingExtra("pacs", "sqlalchemy") from None

VARIABLE = "DATASET_DL_QUEUE"
_WAIT_SECONDS = 60.0

# SQLite numbers rows only in a column that is called so.
_Number = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()
jobs = Table(
    "transfer_jobs",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("options", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("message", Text, nullable=False, server_default=""),
    # What a running job was asked to become; its tasks see it, and stop.
    Column("wanted", Text),
    Column("priority", _Number, nullable=False),
    Column("hours", Text, nullable=False),
    Column("verified_by", Text, nullable=False, server_default=""),
    Column("created", Float, nullable=False),
    Column("began", Float),
    Column("ended", Float),
    Column("change", _Number, nullable=False),
    sqlite_autoincrement=True,
)
tasks = Table(
    "transfer_tasks",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("job", _Number, ForeignKey("transfer_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("row", _Number),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("PatientID", Text, nullable=False),
    Column("StudyInstanceUID", Text, nullable=False),
    Column("SeriesInstanceUIDs", JSON, nullable=False),
    Column("pseudonym", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("message", Text, nullable=False, server_default=""),
    Column("attempts", _Number, nullable=False, server_default="0"),
    Column("instances", _Number, nullable=False, server_default="0"),
    Column("done", _Number, nullable=False, server_default="0"),
    Column("failed", _Number, nullable=False, server_default="0"),
    Column("warnings", _Number, nullable=False, server_default="0"),
    Column("runner", Text, nullable=False, server_default=""),
    # Whoever does a task says so again and again; after this time it is gone, and another one takes over.
    Column("lease", Float),
    # A task that failed for a passing reason waits until then.
    Column("not_before", Float),
    Column("began", Float),
    Column("ended", Float),
    Column("change", _Number, nullable=False),
    Index("transfer_tasks_of_job", "job", "state"),
    Index("transfer_tasks_waiting", "state", "id"),
    Index("transfer_tasks_changes", "job", "change"),
    sqlite_autoincrement=True,
)
instances = Table(
    "transfer_instances",
    metadata,
    Column("task", _Number, ForeignKey("transfer_tasks.id", ondelete="CASCADE"), nullable=False),
    Column("SOPInstanceUID", Text, nullable=False),
    Column("SeriesInstanceUID", Text, nullable=False),
    Column("StudyInstanceUID", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("status", _Number),
    Column("words", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("size_bytes", _Number, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("task", "SOPInstanceUID"),
)
changes = Table("transfer_changes", metadata, Column("last", _Number, nullable=False))
audit = Table(
    "transfer_audit",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("at", Float, nullable=False),
    Column("person", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)


def address_of(given: str | None) -> str:
    """Return the address of the queue: as given, else ``DATASET_DL_QUEUE``, else a file of this machine.

    Raises
    ------
    SelectionError
        If it is none.
    """
    text = given or os.environ.get(VARIABLE, "")
    if not text:
        return f"sqlite:///{configuration.state_path() / 'transfers.sqlite'}"
    if re.match(r"postgres(ql)?(\+psycopg)?://", text):
        return re.sub(r"^[^:]+", "postgresql+psycopg", text)
    if text.startswith("sqlite:///"):
        return text
    raise SelectionError(
        "queue",
        "The queue is neither postgresql://… nor sqlite:///FILE; nothing was started.",
        f"Give it as --queue, or as {VARIABLE}.",
    )


def engine_of(address: str) -> Engine:
    """Return the engine for an address.

    Raises
    ------
    MissingExtra
        If the library for Postgres is not installed.
    """
    if address.startswith("sqlite"):
        Path(address.removeprefix("sqlite:///")).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _sqlite(address)
    try:
        import psycopg  # noqa: F401 (SQLAlchemy imports it by name)
    except ImportError:
        raise MissingExtra("postgres", "psycopg") from None
    return create_engine(address, pool_pre_ping=True, pool_size=8, max_overflow=24)


def _sqlite(address: str) -> Engine:
    made = create_engine(address, connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False})

    @event.listens_for(made, "connect")
    def _connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions begin below
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(made, "begin")
    def _begun(connection: Any) -> None:
        is_read = connection.get_execution_options().get("is_read", False)
        # A transaction that reads first and writes later could not be repeated by SQLite.
        connection.exec_driver_sql("BEGIN" if is_read else "BEGIN IMMEDIATE")

    return made
