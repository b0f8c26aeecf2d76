"""IVF search through faiss for laptops: fewer products per query, its recall measured."""

from pathlib import Path

import numpy as np

from jomed.retrieval.encoders import FloatArray
from jomed.retrieval.exact import ExactSearch, Exclude, check_search, order_rows
from jomed.retrieval.shards import IndexError_, IntArray, Shards

_TRAINING_VECTORS_PER_CELL = 64
_RECALL_QUERIES = 256


def build_ivf(shards: Shards, head: str, cells: int, probes: int, path: Path) -> None:
    """Write a faiss IVF index of one head (fp16 vectors, inner product) to `path`."""
    import faiss  # comes with an extra: only this kind of search needs it

    if cells > shards.count:
        raise IndexError_(
            f"index.ivf_cells is {cells} but there are {shards.count} records: lower it "
            "(about 4 times the square root of the number of records)"
        )
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(shards.dim),
        shards.dim,
        cells,
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.train(shards.vectors(head, _spread(shards, cells * _TRAINING_VECTORS_PER_CELL)))
    for _, vectors in shards.chunks(head):
        index.add(vectors.astype(np.float32))
    index.nprobe = min(probes, cells)
    faiss.write_index(index, str(path))


class IvfSearch:
    """Searches a saved IVF index (memory-mapped); scores are those of the exact search."""

    def __init__(self, shards: Shards, head: str, path: Path) -> None:
        import faiss

        self._shards, self._head = shards, head
        self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)

    def probed(self, queries: FloatArray, k: int) -> IntArray:
        """Best k rows of the probed cells (B, k), in faiss's order; -1 where none is left."""
        rows: IntArray = self._index.search(np.ascontiguousarray(queries, np.float32), k)[1]
        return rows

    def search(
        self, queries: FloatArray, k: int, exclude: Exclude = None
    ) -> tuple[FloatArray, IntArray]:
        """Best k rows found: scores (B, k), rows (B, k), ties to the lower row.

        Raises IndexError_ where the probed cells hold fewer than k records for a query.
        """
        check_search(self._shards, queries, k, exclude)
        banned = [set(rows) for rows in exclude] if exclude is not None else [set()] * len(queries)
        wide = min(k + max((len(rows) for rows in banned), default=0), self._shards.count)
        kept = [
            [r for r in row if r >= 0 and r not in out]
            for row, out in zip(self.probed(queries, wide), banned, strict=True)
        ]
        short = min((len(row) for row in kept), default=k)
        if short < k:
            raise IndexError_(
                f"the probed cells hold only {short} of {k} candidates for a query: "
                "raise index.ivf_probes or use index.kind=exact"
            )
        rows = np.array([row[:k] for row in kept], dtype=np.int64).reshape(len(queries), k)
        return self._rescored(queries, rows)

    def _rescored(self, queries: FloatArray, rows: IntArray) -> tuple[FloatArray, IntArray]:
        vectors = self._shards.vectors(self._head, rows).astype(np.float64)
        products = np.einsum("bd,bkd->bk", queries.astype(np.float64), vectors)
        scores = products.astype(np.float32)
        order = np.stack([order_rows(s, r) for s, r in zip(scores, rows, strict=True)])
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def recall_at(approximate: IntArray, exact: IntArray) -> float:
    """Recall@k: mean share of each query's exact k rows that the approximate k rows hold."""
    shares = [
        len(set(left.tolist()) & set(right.tolist())) / len(right)
        for left, right in zip(approximate, exact, strict=True)
    ]
    return float(np.mean(shares))


def measured_recall(shards: Shards, head: str, path: Path, k: int) -> float:
    """Recall@k of a new IVF index against exact search; queries = spread image vectors."""
    queries = shards.vectors("image", _spread(shards, _RECALL_QUERIES))
    exact = ExactSearch(shards).search(queries, head, k)[1]
    return recall_at(IvfSearch(shards, head, path).probed(queries, k), exact)


def _spread(shards: Shards, most: int) -> IntArray:
    count = min(shards.count, most)
    return np.linspace(0, shards.count - 1, count).round().astype(np.int64)
