"""Looking into the file of a score table: what it holds, what in it is broken, and mending it."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jomed.reading.score_files import KEY, KINDS, damaged, explained, open_file, writing

Row = tuple[int, int, int, int]
"""Numbers of a row's reader, sample, record and variant."""

_BLOCK = 8192
_MESSAGES = 5


@dataclass(frozen=True, slots=True)
class TableFacts:
    """How many different readers, samples, records and variants the pairs of one kind have."""

    kind: str
    pairs: int
    readers: int
    samples: int
    records: int
    variants: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that cannot be used: where it stands, which pair it is, and what is wrong."""

    kind: str
    row: Row
    pair: str
    reason: str


def table_facts(path: Path) -> list[TableFacts]:
    """Count what a file holds, one entry per kind of values that it has. Raises ScoreTableError."""
    counts = ", ".join(f"COUNT(DISTINCT {column})" for column in KEY)
    with closing(open_file(path, create=False)) as connection, explained(path):
        rows = [
            (kind, *connection.execute(f"SELECT COUNT(*), {counts} FROM {kind}").fetchone())
            for kind in KINDS
        ]
    return [TableFacts(*row) for row in rows if row[1]]


def file_bytes(path: Path) -> int:
    """Bytes on disk, the write-ahead log included."""
    parts = (path, path.with_name(f"{path.name}-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def find_faults(path: Path) -> list[Fault]:
    """Return the rows of a file that cannot be used; nothing is changed.

    Every value's length has to be that of most values of its variant (an answer set has one
    number of answers), scores have to be finite and at most 0, generations to be UTF-8, and the
    numbers of a row to have a name. Raises ScoreTableError for a file that is damaged as a whole.
    """
    with closing(open_file(path, create=False)) as connection, explained(path):
        # Names may be broken as well; they are shown, not used.
        connection.text_factory = lambda text: text.decode(errors="replace")
        found = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_MESSAGES})")]
        if found != ["ok"]:
            raise damaged(path, "; ".join(line for text in found for line in text.splitlines()))
        rows: list[tuple[str, Row, str]] = []
        for kind in KINDS:
            rows += ((kind, *fault) for fault in _nameless(connection, kind))
            rows += ((kind, *fault) for fault in _broken_values(connection, kind))
        return [Fault(kind, row, _pair(connection, row), reason) for kind, row, reason in rows]


def remove(path: Path, faults: Sequence[Fault]) -> None:
    """Delete rows, so that their pairs are scored again. Raises ScoreTableError."""
    where = " AND ".join(f"{column} = ?" for column in KEY)
    with closing(open_file(path, create=False)) as connection, explained(path), writing(connection):
        for fault in faults:
            connection.execute(f"DELETE FROM {fault.kind} WHERE {where}", fault.row)


def _nameless(connection: sqlite3.Connection, kind: str) -> Iterator[tuple[Row, str]]:
    unknown = " OR ".join(f"{column} NOT IN (SELECT id FROM names)" for column in KEY)
    query = f"SELECT {', '.join(KEY)} FROM {kind} WHERE {unknown}"
    for row in connection.execute(query):
        yield row, "a number of the row has no name"


def _broken_values(connection: sqlite3.Connection, kind: str) -> Iterator[tuple[Row, str]]:
    usual = _usual_lengths(connection) if kind == "scores" else {}
    cursor = connection.execute(f"SELECT {', '.join(KEY)}, value FROM {kind}")
    while block := cursor.fetchmany(_BLOCK):
        rows, values = [row[:4] for row in block], [row[4] for row in block]
        if kind == "scores":
            reasons = _score_faults(values, [usual.get(row[3]) for row in rows])
        else:
            reasons = [_text_fault(value) for value in values]
        yield from ((row, why) for row, why in zip(rows, reasons, strict=True) if why)


def _usual_lengths(connection: sqlite3.Connection) -> dict[int, int]:
    """Bytes of most values of each variant; none where no length is that of more than half."""
    counts: dict[int, dict[int, int]] = {}
    query = "SELECT variant, length(value), COUNT(*) FROM scores GROUP BY 1, 2"
    for variant, length, count in connection.execute(query):
        counts.setdefault(variant, {})[length] = count
    return {
        variant: length
        for variant, of_length in counts.items()
        for length, count in of_length.items()
        if length and length % 4 == 0 and 2 * count > sum(of_length.values())
    }


def _score_faults(values: Sequence[object], usual: Sequence[int | None]) -> list[str]:
    """What is wrong with each of some score values, "" for nothing."""
    reasons = [_length_fault(value, length) for value, length in zip(values, usual, strict=True)]
    whole = [value for value, why in zip(values, reasons, strict=True) if not why]
    blobs = [value for value in whole if isinstance(value, bytes)]
    numbers = np.frombuffer(b"".join(blobs), "<f4")
    wrong = ~(np.isfinite(numbers) & (numbers <= 0))
    starts = np.cumsum([0, *(len(blob) // 4 for blob in blobs[:-1])])
    bad = iter(np.logical_or.reduceat(wrong, starts) if blobs else ())
    return [why or ("not log-probabilities" if next(bad) else "") for why in reasons]


def _length_fault(value: object, usual: int | None) -> str:
    if not isinstance(value, bytes):
        return "not a value of this table"
    if usual is None:
        return f"{len(value)} bytes, and the values of its variant have no common length"
    return "" if len(value) == usual else f"{len(value)} bytes, the others of its variant {usual}"


def _text_fault(value: object) -> str:
    if not isinstance(value, bytes):
        return "not a value of this table"
    try:
        value.decode()
    except UnicodeDecodeError:
        return "not a text"
    return ""


def _pair(connection: sqlite3.Connection, row: Row) -> str:
    """Sample, record, variant and reader of a row as text."""
    named: Mapping[str, str] = {
        column: (found[0] if found else f"number {number}")
        for column, number in zip(KEY, row, strict=True)
        for found in [
            connection.execute("SELECT name FROM names WHERE id = ?", (number,)).fetchone()
        ]
    }
    return ", ".join(f"{column} {named[column]!r}" for column in (*KEY[1:], KEY[0]))
