"""The tables of a journal: their form today, and what earlier versions of this program wrote."""

from __future__ import annotations

import sqlite3

# “ddlj”, which marks the file as ours; and the version of the schema.
APPLICATION_ID = 0x64646C6A
VERSION = 3
_RENAMED = (
    "CREATE TABLE renamed (key TEXT PRIMARY KEY, files TEXT NOT NULL, template TEXT NOT NULL) WITHOUT ROWID;"
)
# Added in version 2.
_SINCE_2 = """
    CREATE TABLE pinned (
        key TEXT PRIMARY KEY, instanceCount INTEGER NOT NULL, size_bytes INTEGER NOT NULL, files TEXT
    ) WITHOUT ROWID;
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, began REAL, ended REAL, report TEXT
    );
    CREATE TABLE receipts (
        consumer TEXT, key TEXT, options_digest TEXT NOT NULL, delivered_at REAL, made TEXT, run_id TEXT,
        PRIMARY KEY (consumer, key)
    ) WITHOUT ROWID;
"""
# Added in version 3: series that were delivered and then removed.
_SINCE_3 = """
    CREATE TABLE evicted (key TEXT PRIMARY KEY, digest INTEGER NOT NULL, evicted_at REAL) WITHOUT ROWID;
"""
# Digests instead of values that the plan contains anyway keep the journal of all NLST at 40 MB: one covers
# everything that must not change, the other the directory if several series share it.
_SCHEMA = f"""
    BEGIN;
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {VERSION};
    CREATE TABLE series (
        key TEXT PRIMARY KEY,
        digest INTEGER NOT NULL,
        instanceCount INTEGER NOT NULL,
        shared_directory INTEGER,
        names TEXT,
        run INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX sharing ON series (shared_directory) WHERE shared_directory IS NOT NULL;
    {_RENAMED}
    {_SINCE_2}
    {_SINCE_3}
    COMMIT;
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables of an empty journal; migrate those of an earlier version, and keep their entries."""
    if not tables(connection):
        connection.executescript(_SCHEMA)
    version = schema_version(connection)
    if version == 1:
        _migrate_1(connection)
    if version <= 2:
        connection.executescript(f"BEGIN; {_SINCE_3} PRAGMA user_version = {VERSION}; COMMIT;")


def _migrate_1(connection: sqlite3.Connection) -> None:
    renamed = "ALTER TABLE renamed RENAME COLUMN crdc_series_uuid TO key;"
    connection.executescript(f"""
        BEGIN;
        ALTER TABLE series RENAME COLUMN crdc_series_uuid TO key;
        ALTER TABLE series ADD COLUMN run INTEGER;
        {renamed if "renamed" in tables(connection) else _RENAMED}
        {_SINCE_2}
        PRAGMA user_version = 2;
        COMMIT;
    """)


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of a journal's schema."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def tables(connection: sqlite3.Connection) -> list[str]:
    """Return the names of a journal's tables."""
    return [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
