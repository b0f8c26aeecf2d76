"""Exact inner-product search over memory-mapped shards, with exclusions and fixed tie-breaks."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from jomed.retrieval.encoders import FloatArray
from jomed.retrieval.shards import IndexError_, IntArray, Shards

Exclude = Sequence[Collection[int]] | None
_QUERY_BLOCK = 1024
_ROW_MASK = 0xFFFFFFFF


class ExactSearch:
    """Brute-force search; on a GPU the fp16 vectors of a head stay resident after first use.

    Products are summed in float64 and rounded once to float32, so that a score depends neither
    on the batch nor on the position of a record: equal vectors tie exactly, and ties go to the
    lower row.
    """

    def __init__(self, shards: Shards, device: str = "cpu") -> None:
        self._shards, self._device = shards, torch.device(device)
        self._resident: dict[str, list[tuple[int, Tensor]]] = {}

    def search(
        self, queries: FloatArray, head: str, k: int, exclude: Exclude = None
    ) -> tuple[FloatArray, IntArray]:
        """Best k rows per query: scores (B, k) float32 descending, rows (B, k)."""
        check_search(self._shards, queries, k, exclude)
        scores = np.empty((len(queries), k), np.float32)
        rows = np.empty((len(queries), k), np.int64)
        for start in range(0, len(queries), _QUERY_BLOCK):
            block = slice(start, start + _QUERY_BLOCK)
            excluded = None if exclude is None else exclude[block]
            scores[block], rows[block] = self._search_block(queries[block], head, k, excluded)
        return scores, rows

    def _search_block(
        self, queries: FloatArray, head: str, k: int, exclude: Exclude
    ) -> tuple[FloatArray, IntArray]:
        wide = torch.from_numpy(queries.astype(np.float64)).to(self._device)
        who, what = _flatten(exclude, self._device)
        best = torch.empty((len(queries), 0), dtype=torch.int64, device=self._device)
        for first, vectors in self._chunks(head):
            scores = (wide @ vectors.double().T).float()
            low, high = torch.searchsorted(
                what, torch.tensor([first, first + len(vectors)]).to(what)
            )
            scores[who[low:high], what[low:high] - first] = -torch.inf
            keys = torch.cat([best, _sort_keys(scores, first)], dim=1)
            best = torch.topk(keys, min(k, keys.shape[1]), dim=1).values
        return _decode(best.cpu().numpy())

    def _chunks(self, head: str) -> Iterable[tuple[int, Tensor]]:
        def tensor(chunk: tuple[int, np.ndarray]) -> tuple[int, Tensor]:
            return chunk[0], torch.from_numpy(chunk[1].copy()).to(self._device)

        if self._device.type == "cpu":
            return map(tensor, self._shards.chunks(head))
        if head not in self._resident:
            self._resident[head] = [tensor(chunk) for chunk in self._shards.chunks(head)]
        return self._resident[head]


def check_search(shards: Shards, queries: FloatArray, k: int, exclude: Exclude) -> None:
    """Refuse queries of the wrong shape or value, and a k that the index cannot fill."""
    if queries.ndim != 2 or queries.shape[1] != shards.dim:
        raise IndexError_(
            f"queries have shape {queries.shape}, the index holds vectors of length {shards.dim}: "
            "use the encoder that built the index"
        )
    if not np.isfinite(queries).all():
        raise IndexError_("a query vector holds NaN or infinity; check the query tower")
    if exclude is not None and len(exclude) != len(queries):
        raise IndexError_(f"{len(exclude)} exclusion sets for {len(queries)} queries")
    most = max((len(set(rows)) for rows in exclude), default=0) if exclude is not None else 0
    if not 0 < k <= shards.count - most:
        raise IndexError_(
            f"asked for {k} candidates, but the index holds {shards.count} records (up to {most} "
            "of them excluded as self-matches): ask for fewer candidates or index more records"
        )


def order_rows(scores: FloatArray, rows: IntArray) -> IntArray:
    """Positions that sort one query's candidates: score descending, then row ascending."""
    return np.lexsort((rows, -scores))


def _sort_keys(scores: Tensor, first_row: int) -> Tensor:
    """Pack float32 score and row into one int64 that sorts by score, then by lower row."""
    bits = (scores + 0.0).view(torch.int32).long()  # + 0.0 turns -0.0 into 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    rows = torch.arange(first_row, first_row + scores.shape[1], device=scores.device)
    return (ordered << 32) | (_ROW_MASK - rows)


def _decode(keys: IntArray) -> tuple[FloatArray, IntArray]:
    rows = _ROW_MASK - (keys & _ROW_MASK)
    ordered = keys >> 32
    bits = np.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).astype(np.int32)
    return bits.view(np.float32), rows


def _flatten(exclude: Exclude, device: torch.device) -> tuple[Tensor, Tensor]:
    """Excluded (query, row) pairs sorted by row, so that a chunk finds its own by bisection."""
    pairs = sorted((row, q) for q, rows in enumerate(exclude or []) for row in set(rows))
    table = torch.tensor(pairs, dtype=torch.int64, device=device).reshape(-1, 2)
    return table[:, 1].contiguous(), table[:, 0].contiguous()
