"""The file of a score table: its layout, how it is opened, and errors that say what to do.

Names (reader keys, sample ids, record ids, variants) stand once in ``names``; a value is found by
four of their numbers. That keeps a pair of 15 answers near a hundred bytes.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from jomed.storage import locked

KINDS = ("scores", "generations")
"""The tables of values in a file, all of one layout."""
KEY = ("reader", "sample", "record", "variant")

_LAYOUT = 2
_APPLICATION = 0x4A4F4D44
"""Marks the SQLite files that are ours."""
_WAIT_SECONDS = 120.0
_CACHE_KIB = 65536
_REMAKE = (
    "delete it, with the -wal and -shm files beside it where there are any: it is a cache, what "
    "it held is scored again"
)
_REMEDIES = {
    ("SQLITE_NOTADB", "SQLITE_CORRUPT"): f"the file is damaged or was cut off; {_REMAKE}",
    ("SQLITE_BUSY", "SQLITE_LOCKED"): (
        f"another process has held the file for {_WAIT_SECONDS:.0f} s; wait for it or end it"
    ),
    ("SQLITE_FULL",): "free space on the disk and start again; what was written before is kept",
    ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"): (
        "make the file and its folder writable, or choose another runs_dir"
    ),
    ("SQLITE_IOERR",): "the disk failed or is full; what was written before is kept",
}


class ScoreTableError(RuntimeError):
    """A score table cannot be used; the message says which file, why, and what to do."""


def open_file(path: Path, create: bool) -> sqlite3.Connection:
    """Open the file of a score table; ``create`` makes one where there is none.

    Transactions are the caller's (`writing`). Raises ScoreTableError for a missing, damaged or
    foreign file, and for one of another layout.
    """
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.is_file():
        raise ScoreTableError(f"{path}: no such file; score tables are RUNS_DIR/PROFILE/scores/*")
    with explained(path):
        connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        try:
            # Two processes that make one file at a time would find each other's locks.
            lock = locked(path.with_name(f".{path.name}.lock"), wait=True)
            with lock if create else contextlib.nullcontext():
                _prepare(connection, path, create)
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of what is written in the block, or nothing."""
    # The lock is taken at the start: one that is only reading when another writes would have to
    # give up.
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about a file into ScoreTableError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        for prefixes, remedy in _REMEDIES.items():
            if name.startswith(prefixes):
                raise ScoreTableError(f"{path}: {error}: {remedy}") from error
        raise


def damaged(path: Path, what: str) -> ScoreTableError:
    """The error for a file that SQLite can open but whose content is broken."""
    return ScoreTableError(f"{path}: {what}; {_REMAKE}")


def _prepare(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if not tables and create:
        # The write-ahead log lets others read while one writes.
        connection.execute("PRAGMA journal_mode = WAL")
        with writing(connection):
            _make(connection)
    else:
        _check(connection, path, tables)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")


def _make(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
    columns = ", ".join(f"{column} INTEGER NOT NULL" for column in KEY)
    for kind in KINDS:
        connection.execute(
            f"CREATE TABLE {kind} ({columns}, value BLOB NOT NULL, "
            f"PRIMARY KEY ({', '.join(KEY)})) WITHOUT ROWID"
        )
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {_LAYOUT}")


def _check(connection: sqlite3.Connection, path: Path, tables: set[str]) -> None:
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    log = path.with_name(f"{path.name}-wal")
    if path.stat().st_size % size and not (log.exists() and log.stat().st_size):
        # SQLite itself would read zeros where half a page is missing.
        raise damaged(path, "the file was cut off in the middle of a page")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    layout = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and layout == 0 and tables & {*KINDS}:
        raise ScoreTableError(f"{path}: this score table has a former layout; {_REMAKE}")
    if application != _APPLICATION:
        raise ScoreTableError(f"{path}: not a score table; choose another path")
    if layout != _LAYOUT:
        raise ScoreTableError(
            f"{path}: layout {layout}, this version of jomed reads {_LAYOUT}; update jomed, or "
            f"{_REMAKE}"
        )
