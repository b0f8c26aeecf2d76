"""Candidates of the head in training and the frozen reader's likelihoods for them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from jomed.records import Skipped
from jomed.retrieval.encoders import Encoder, FloatArray
from jomed.retrieval.head import QueryHead
from jomed.retrieval.index import Index, exclusions
from jomed.retrieval.shards import IntArray
from jomed.retrieval.streaming import ImageItem, stream_pixels
from jomed.training.errors import TrainingError
from jomed.training.losses import closed_log_likelihood, released_gold

Pair = tuple[str, str]
Scorer = Callable[[Sequence[Pair]], Sequence[FloatArray]]
"""Reader scores of (sample_id, record_id) pairs: for each pair log p(c | z, x, q), shape (C,)."""

_CACHE_BYTES = 2 * 1024**3
_KEPT_PAIRS = 40_000_000  # half a gigabyte
_KEPT = np.dtype([("row", "u4"), ("gold", "f4"), ("squashed", "f4"), ("right", "?")])


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidates of n samples: rows of the index and likelihoods, all of shape (n, K).

    `gold` is log p^C of the gold answer, `squashed` the released code's double softmax of it,
    `right` whether the reader's best answer under that record is the gold one.
    """

    rows: IntArray
    gold: FloatArray
    squashed: FloatArray
    right: NDArray[np.bool_]

    def take(self, places: IntArray) -> "Candidates":
        """The candidates of some of the samples, by place 0..n-1."""
        return Candidates(
            self.rows[places], self.gold[places], self.squashed[places], self.right[places]
        )


class Queries:
    """Query images of the samples: frozen features f(x), computed once, and pixels on demand.

    Samples whose image cannot be opened are left out and reported in `skipped`. Preprocessed
    pixels are kept in memory up to 2 GiB, the rest is read again when needed.
    """

    def __init__(
        self,
        samples: pd.DataFrame,
        encoder: Encoder,
        root: Path,
        records: pd.DataFrame,
        index: Index,
        same_groups: Collection[str] = (),
    ) -> None:
        self._encoder, self._root = encoder, root
        self._cache: dict[int, Tensor] = {}
        self.skipped: list[Skipped] = []
        features: list[FloatArray] = []
        kept: list[int] = []
        for batch in stream_pixels(_items(samples), root, encoder, encoder.batch_size):
            self.skipped += batch.skipped
            if batch.positions:
                features.append(encoder.encode_pixels(batch.pixels))
                self._remember(range(len(kept), len(kept) + len(batch.positions)), batch.pixels)
                kept += batch.positions
        self.samples = samples.iloc[kept].reset_index(drop=True)
        self.ids: list[str] = self.samples["sample_id"].tolist()
        self.features = np.concatenate(features) if features else np.empty((0, encoder.dim))
        self.exclude = exclusions(self.samples, records, index.row_of, same_groups)

    def pixels(self, positions: IntArray) -> Tensor:
        """Preprocessed pixels (n, 3, H, W) of the samples at `positions`, on the CPU."""
        absent = [int(p) for p in positions if int(p) not in self._cache]
        read = self._read(absent) if absent else {}
        return torch.stack([read[p] if p in read else self._cache[p] for p in map(int, positions)])

    def embed(self, head: QueryHead, positions: IntArray) -> Tensor:
        """e(x) of the samples at `positions`, (n, d), with gradient through the trained tower."""
        device = self._encoder.device
        frozen = torch.from_numpy(self.features[positions]).to(device)
        embedded: Tensor = head(self.pixels(positions).to(device), frozen)
        return embedded

    def _read(self, positions: list[int]) -> dict[int, Tensor]:
        items = _items(self.samples.iloc[positions])
        read: dict[int, Tensor] = {}
        for batch in stream_pixels(items, self._root, self._encoder, self._encoder.batch_size):
            if batch.skipped:
                raise TrainingError(f"an image vanished during training: {batch.skipped[0].detail}")
            read |= {positions[p]: t for p, t in zip(batch.positions, batch.pixels, strict=True)}
        return read

    def _remember(self, positions: range, pixels: Tensor) -> None:
        held = sum(tensor.nbytes for tensor in self._cache.values())
        for position, tensor in zip(positions, pixels, strict=True):
            if held + tensor.nbytes > _CACHE_BYTES:
                return
            self._cache[position] = tensor.clone()
            held += tensor.nbytes


class Likelihoods:
    """Gold likelihoods of (sample, record) pairs, kept in 13 bytes a pair.

    Every pair is asked of the scorer once, until more are known than `_KEPT_PAIRS`: then all are
    forgotten and asked again where they are needed, so that memory does not grow with the epochs.
    A scorer that keeps what it said, as the score table does, computes none of them twice.
    """

    def __init__(self, score: Scorer, gold: Mapping[str, int], record_ids: Sequence[str]) -> None:
        self._score, self._gold, self._record_ids = score, gold, record_ids
        self._known: dict[str, NDArray[np.void]] = {}

    def candidates(self, sample_ids: Sequence[str], rows: IntArray) -> Candidates:
        """Likelihoods of every sample's rows (n, K), the unknown ones scored in one call."""
        if sum(map(len, self._known.values())) > _KEPT_PAIRS:
            self._known.clear()
        unknown = {
            (sample_id, row): None
            for sample_id, line in zip(sample_ids, rows, strict=True)
            for row in line[~np.isin(line, self._rows(sample_id))].tolist()
        }
        self._fetch(list(unknown))
        found = np.stack([self._read(s, line) for s, line in zip(sample_ids, rows, strict=True)])
        gold, squashed, right = (
            np.ascontiguousarray(found[name]) for name in ("gold", "squashed", "right")
        )
        return Candidates(rows, gold, squashed, right)

    def _rows(self, sample_id: str) -> IntArray:
        """The rows of the index that are known for a sample, in ascending order."""
        known = self._known.get(sample_id)
        return np.empty(0, np.int64) if known is None else known["row"]

    def _read(self, sample_id: str, line: IntArray) -> NDArray[np.void]:
        return self._known[sample_id][np.searchsorted(self._rows(sample_id), line)]

    def _fetch(self, keys: list[tuple[str, int]]) -> None:
        if not keys:
            return
        pairs = [(sample_id, self._record_ids[row]) for sample_id, row in keys]
        scores = self._score(pairs)
        if len(scores) != len(pairs):
            raise TrainingError(f"the scorer gave {len(scores)} results for {len(pairs)} pairs")
        for pair, values in zip(pairs, scores, strict=True):
            if not np.isfinite(values).all():
                raise TrainingError(
                    f"the reader's log-probabilities of sample {pair[0]!r} with record {pair[1]!r} "
                    f"are not finite ({np.asarray(values).tolist()}): check the reader"
                )
        new: dict[str, list[int]] = {}
        for place, (sample_id, _) in enumerate(keys):
            new.setdefault(sample_id, []).append(place)
        for sample_id, places in new.items():
            logprobs = np.stack([np.asarray(scores[place], np.float64) for place in places])
            fresh = _summary(logprobs, self._gold[sample_id])
            fresh["row"] = [keys[place][1] for place in places]
            known = self._known.get(sample_id)
            joined = fresh if known is None else np.concatenate([known, fresh])
            self._known[sample_id] = joined[np.argsort(joined["row"])]


def mine(
    head: QueryHead,
    queries: Queries,
    positions: IntArray,
    index: Index,
    likelihoods: Likelihoods,
    k: int,
    batch_size: int,
) -> tuple[FloatArray, Candidates]:
    """Top-K candidates of the samples at `positions` under the head as it is now.

    Returns the scores s_k (n, K) of that head and the candidates. Self-matches are excluded.
    """
    with torch.no_grad():
        parts = [
            queries.embed(head, positions[start : start + batch_size]).cpu().numpy()
            for start in range(0, len(positions), batch_size)
        ]
    exclude = [queries.exclude[int(p)] for p in positions]
    scores, rows = index.search(np.concatenate(parts), head.head, k, exclude)
    return scores, likelihoods.candidates([queries.ids[int(p)] for p in positions], rows)


def _summary(values: NDArray[np.float64], gold: int) -> NDArray[np.void]:
    """What is kept of a sample's log-probabilities (n, C) under n records; `row` is left open."""
    logprobs, answer = torch.from_numpy(values), torch.full((len(values),), gold)
    summary = np.empty(len(values), _KEPT)
    summary["gold"] = closed_log_likelihood(logprobs, answer)
    summary["squashed"] = released_gold(logprobs, answer)
    summary["right"] = logprobs.argmax(dim=1).numpy() == gold
    return summary


def _items(samples: pd.DataFrame) -> list[ImageItem]:
    columns = samples[["sample_id", "benchmark", "image"]]
    return [ImageItem(*map(str, row)) for row in columns.itertuples(index=False, name=None)]
