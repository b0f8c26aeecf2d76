"""The search index of records: `build_index` makes it, `Index` reads and searches it."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Self

from jomed.retrieval.approximate import IvfSearch, recall_at
from jomed.retrieval.build import build_index
from jomed.retrieval.encoders import Encoder, FloatArray
from jomed.retrieval.exact import ExactSearch, Exclude
from jomed.retrieval.exclusion import exclusions
from jomed.retrieval.shards import MANIFEST_FILE, IndexError_, IntArray, Shards
from jomed.settings import HeadName

__all__ = ["Index", "IndexError_", "build_index", "exclusions"]


class Index:
    """A complete index: caption vectors (head text) and image vectors (head image) of records."""

    def __init__(self, shards: Shards, device: str = "cpu") -> None:
        self._shards = shards
        self._exact = ExactSearch(shards, device)
        self.record_ids = shards.record_ids()
        self.size, self.dim = shards.count, shards.dim
        self.kind: str = shards.manifest["kind"]
        self.encoder_key: str = shards.manifest["encoder_key"]
        self._ivf = {
            head: IvfSearch(shards, head, shards.checked(entry["file"], entry["sha256"]))
            for head, entry in shards.manifest.get("ivf", {}).items()
        }

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> Self:
        """Open a finished index after checking every file. Raises IndexError_."""
        return cls(Shards.open(folder), device)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Index row of every record id."""
        return {record_id: row for row, record_id in enumerate(self.record_ids)}

    @cached_property
    def key(self) -> str:
        """Hash of the manifest: equal for equal vectors, ids and kind of search."""
        content = (self._shards.folder / MANIFEST_FILE).read_bytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def require_encoder(self, encoder: Encoder) -> None:
        """Raise IndexError_ unless `encoder` is the one whose vectors are indexed."""
        if encoder.key != self.encoder_key:
            raise IndexError_(
                f"the index {self._shards.folder} holds vectors of encoder key "
                f"{self.encoder_key}, not of {encoder.name!r} (key {encoder.key}): "
                "build the index with this encoder (notebook 03)"
            )

    def search(
        self, queries: FloatArray, head: HeadName, k: int, exclude: Exclude = None
    ) -> tuple[FloatArray, IntArray]:
        """Best k records per query (B, d): scores (B, k) float32 descending, rows (B, k) int64.

        `exclude` gives one collection of rows per query that are passed over; k results come
        back all the same. Ties go to the lower row. Raises IndexError_ where k cannot be filled.
        """
        if self._ivf:
            return self._ivf[head].search(queries, k, exclude)
        return self._exact.search(queries, head, k, exclude)

    def recall(self, queries: FloatArray, head: HeadName, k: int) -> float:
        """Recall@k of this index's search against exact search, on the given queries."""
        if not self._ivf:
            return 1.0
        exact = self._exact.search(queries, head, k)[1]
        return recall_at(self._ivf[head].probed(queries, k), exact)

    def vectors(self, head: HeadName, rows: IntArray) -> FloatArray:
        """Stored vectors of rows (...) as float32 (..., d)."""
        return self._shards.vectors(head, rows)
