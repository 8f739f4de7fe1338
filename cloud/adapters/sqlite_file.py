"""A SQLite file that keeps what it has committed, as journal and embedded series store use it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.errors import Refused, Unreachable

PAGE_BYTES = 8192
"""Large blobs cost a fifth less than in pages of 4 kB, and small commits still write little."""


def connect(path: Path, *, timeout_s: float, exclusive: bool = False) -> sqlite3.Connection:
    """Open or create a file in WAL mode; a commit returns when it is on the disk.

    Args:
        path: the file.
        timeout_s: how long to wait for another connection's lock.
        exclusive: keep every other connection out until this one is closed.

    Raises:
        Refused: the file is in use, damaged, or no SQLite file.
    """
    connection = sqlite3.connect(
        path, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    try:
        if exclusive:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        # Debian's SQLite overwrites what is deleted with zeros: twenty times the work.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise Refused(
            f"{path} cannot be used ({error}): stop the other gateway that works in this data "
            "directory, or put the file aside or restore it from a backup"
        ) from error
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or nothing of it.

    Raises:
        Unreachable: the disk is full or broken, or another connection holds the lock.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if is_bug(error):
            raise
        raise Unreachable(f"{error}") from error
    finally:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")


def is_damage(error: BaseException | None) -> bool:
    """Tell a file that is damaged, or never was a database."""
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(error, sqlite3.Error) and error.sqlite_errorcode in codes


def is_bug(error: BaseException | None) -> bool:
    """Tell a wrong statement, which is ours, from a disk or a lock, which may get better."""
    return isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_ERROR
