"""The score table: what a frozen reader said about pairs, kept on disk and safe against a kill.

The reader is frozen and scoring is deterministic, so the log-likelihoods of a (sample, record)
pair never change: they are computed once and shared by epochs, seeds, heads, losses and
evaluation.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np

from jomed.reading.packing import ReaderError
from jomed.reading.score_files import ScoreTableError, explained, open_file, writing

__all__ = ["GenerationTable", "PairKey", "PairTable", "ScoreTable", "ScoreTableError"]

PairKey = tuple[str, str, str]
"""Sample id, record id ("" for closed book), and the answer set's key or the token limit."""

Value = TypeVar("Value")
_ID = "(SELECT id FROM names WHERE name = ?)"


class PairTable(ABC, Generic[Value]):
    """Values by pair for one reader, in an SQLite file that other readers' tables may share.

    Several processes may read and write the same file. What is put at once is one transaction:
    after a kill it is there as a whole or not at all. Every method raises ScoreTableError where
    the file is damaged, of another layout, held by another process or cannot be written.
    """

    name: ClassVar[str]

    def __init__(self, path: Path, reader_key: str):
        self.path = path
        self.reader_key = reader_key
        self._connection = open_file(path, create=True)
        self._connection.execute("CREATE TEMP TABLE wanted (s TEXT, r TEXT, v TEXT)")

    @abstractmethod
    def _encode(self, key: PairKey, value: Value) -> bytes: ...

    @abstractmethod
    def _decode(self, key: PairKey, blob: bytes) -> Value: ...

    def get(self, keys: Iterable[PairKey]) -> dict[PairKey, Value]:
        """Return what is known of the given pairs, thousands at a time."""
        return {key: self._decode(key, blob) for key, blob in self._find(set(keys))}

    def missing(self, keys: Iterable[PairKey]) -> list[PairKey]:
        """Return the pairs that are not in the table, each once, in the order given."""
        distinct = list(dict.fromkeys(keys))
        known = {key for key, _ in self._find(distinct)}
        return [key for key in distinct if key not in known]

    def put(self, keys: Sequence[PairKey], values: Sequence[Value]) -> None:
        """Write a block in one transaction; a pair that is there already keeps its value."""
        pairs = zip(keys, values, strict=True)
        rows = [(*key, self._encode(key, value)) for key, value in pairs]
        names = dict.fromkeys([self.reader_key, *(name for key in keys for name in key)])
        with explained(self.path), writing(self._connection):
            self._connection.executemany(
                "INSERT OR IGNORE INTO names (name) VALUES (?)", ((name,) for name in names)
            )
            reader = self._connection.execute(f"SELECT {_ID}", (self.reader_key,)).fetchone()[0]
            self._connection.executemany(
                f"INSERT OR IGNORE INTO {self.name} VALUES ({reader}, {_ID}, {_ID}, {_ID}, ?)", rows
            )

    def __len__(self) -> int:
        query = f"SELECT COUNT(*) FROM {self.name} WHERE reader = {_ID}"
        with explained(self.path):
            return int(self._connection.execute(query, (self.reader_key,)).fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _find(self, keys: Iterable[PairKey]) -> list[tuple[PairKey, bytes]]:
        # One snapshot of the file; nothing stays in the list of wanted pairs.
        with explained(self.path):
            self._connection.execute("BEGIN")
            try:
                self._connection.executemany("INSERT INTO wanted VALUES (?, ?, ?)", keys)
                rows = self._connection.execute(
                    "SELECT s, r, v, value FROM wanted CROSS JOIN names a ON a.name = s "
                    "CROSS JOIN names b ON b.name = r CROSS JOIN names c ON c.name = v "
                    f"CROSS JOIN {self.name} ON reader = {_ID} "
                    "AND sample = a.id AND record = b.id AND variant = c.id",
                    (self.reader_key,),
                )
                return [((s, r, v), blob) for s, r, v, blob in rows]
            finally:
                self._connection.execute("ROLLBACK")

    def _unreadable(self, key: PairKey, blob: bytes) -> ScoreTableError:
        return ScoreTableError(
            f"{self.path}: the value of sample {key[0]!r} with record {key[1]!r} is broken "
            f"({len(blob)} bytes); remove it and its like with `python -m jomed scores verify "
            "--repair PATH`, and they are scored again"
        )


class ScoreTable(PairTable[np.ndarray]):
    """Log-likelihoods log p(c | record, sample), float32, in the order of the answer set.

    Values that are not finite are refused with a ReaderError, and their whole block with them.
    """

    name = "scores"

    def _encode(self, key: PairKey, value: np.ndarray) -> bytes:
        if not value.size or not np.isfinite(value).all():
            raise ReaderError(
                f"the reader's log-probabilities of sample {key[0]!r} with record {key[1]!r} are "
                f"not finite ({value.tolist()}): nothing of their block is written, all blocks "
                "before it are kept. Look at the texts and images of both; where the reader is "
                "at fault, train it anew with a lower stage1.learning_rate, or set "
                "backbone.dtype to float32"
            )
        return value.astype("<f4").tobytes()

    def _decode(self, key: PairKey, blob: bytes) -> np.ndarray:
        if not blob or len(blob) % 4:
            raise self._unreadable(key, blob)
        return np.frombuffer(blob, "<f4").astype(np.float32)


class GenerationTable(PairTable[str]):
    """Greedy generations of a reader."""

    name = "generations"

    def _encode(self, key: PairKey, value: str) -> bytes:
        return value.encode()

    def _decode(self, key: PairKey, blob: bytes) -> str:
        try:
            return blob.decode()
        except UnicodeDecodeError:
            raise self._unreadable(key, blob) from None
