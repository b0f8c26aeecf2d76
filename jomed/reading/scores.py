"""The score table: what a frozen reader said about pairs, kept on disk and safe against a kill.

The reader is frozen and scoring is deterministic, so the log-likelihoods of a (sample, record)
pair never change: they are computed once and shared by epochs, seeds, heads, losses and
evaluation.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np

PairKey = tuple[str, str, str]
"""Sample id, record id ("" for closed book), and the answer set's key or the token limit."""

Value = TypeVar("Value")
_KEY = "reader_key, sample_id, record_id, variant"
_WAIT_SECONDS = 120.0


class PairTable(ABC, Generic[Value]):
    """One SQLite table of values by pair, for one reader.

    Several processes may read and write the same file. A batch is one transaction: after a kill
    it is there as a whole or not at all.
    """

    name: ClassVar[str]

    def __init__(self, path: Path, reader_key: str):
        self.path = path
        self.reader_key = reader_key
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=_WAIT_SECONDS)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        with self._connection:
            self._connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self.name} (reader_key TEXT NOT NULL, "
                "sample_id TEXT NOT NULL, record_id TEXT NOT NULL, variant TEXT NOT NULL, "
                f"value BLOB NOT NULL, PRIMARY KEY ({_KEY})) WITHOUT ROWID"
            )

    @abstractmethod
    def _encode(self, value: Value) -> bytes: ...

    @abstractmethod
    def _decode(self, blob: bytes) -> Value: ...

    def get(self, keys: Iterable[PairKey]) -> dict[PairKey, Value]:
        """Return what is known of the given pairs, thousands at a time."""
        self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (s TEXT, r TEXT, v TEXT)")
        try:
            self._connection.executemany("INSERT INTO wanted VALUES (?, ?, ?)", set(keys))
            rows = self._connection.execute(
                f"SELECT s, r, v, value FROM wanted CROSS JOIN {self.name} ON reader_key = ? "
                "AND sample_id = s AND record_id = r AND variant = v",
                (self.reader_key,),
            )
            return {(s, r, v): self._decode(blob) for s, r, v, blob in rows}
        finally:
            self._connection.rollback()

    def missing(self, keys: Iterable[PairKey]) -> list[PairKey]:
        """Return the pairs that are not in the table, each once, in the order given."""
        distinct = list(dict.fromkeys(keys))
        known = self.get(distinct)
        return [key for key in distinct if key not in known]

    def put(self, keys: Sequence[PairKey], values: Sequence[Value]) -> None:
        """Write one batch in one transaction; a pair that is there already keeps its value."""
        rows = [
            (self.reader_key, *key, self._encode(value))
            for key, value in zip(keys, values, strict=True)
        ]
        with self._connection:
            self._connection.executemany(
                f"INSERT OR IGNORE INTO {self.name} VALUES (?, ?, ?, ?, ?)", rows
            )

    def __len__(self) -> int:
        query = f"SELECT COUNT(*) FROM {self.name} WHERE reader_key = ?"
        return int(self._connection.execute(query, (self.reader_key,)).fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class ScoreTable(PairTable[np.ndarray]):
    """Log-likelihoods log p(c | record, sample), float32, in the order of the answer set."""

    name = "scores"

    def _encode(self, value: np.ndarray) -> bytes:
        return value.astype("<f4").tobytes()

    def _decode(self, blob: bytes) -> np.ndarray:
        return np.frombuffer(blob, "<f4").astype(np.float32)


class GenerationTable(PairTable[str]):
    """Greedy generations of a reader."""

    name = "generations"

    def _encode(self, value: str) -> bytes:
        return value.encode()

    def _decode(self, blob: bytes) -> str:
        return blob.decode()
