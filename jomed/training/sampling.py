"""Order of training samples and the shuffled control: functions of (seed, epoch or step) alone.

Nothing here keeps a running random state, so an evaluation in between cannot disturb the order
and a resumed run continues it exactly.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from jomed.retrieval.encoders import FloatArray
from jomed.retrieval.shards import IntArray


class SampleStream:
    """Endless sequence of sample positions 0..count-1, cut into batches by step number.

    With `classes` (one class per sample) every epoch takes as many samples of each class as the
    smallest class has, freshly drawn, in a fixed rotation of the sorted classes; without, every
    epoch is a plain permutation.
    """

    def __init__(self, count: int, seed: int, classes: Sequence[str] | None = None) -> None:
        if count < 1:
            raise ValueError("a sample stream needs at least one sample")
        labels = None if classes is None else np.asarray(classes, dtype=object)
        if labels is not None and len(labels) != count:
            raise ValueError(f"{len(labels)} classes for {count} samples")
        self._members = (
            [np.arange(count)]
            if labels is None
            else [np.flatnonzero(labels == label) for label in sorted(set(labels))]
        )
        self._smallest = min(len(members) for members in self._members)
        self._seed = seed
        self._last: tuple[int, IntArray] | None = None

    @property
    def epoch_size(self) -> int:
        """Samples per epoch: smallest class size times number of classes."""
        return self._smallest * len(self._members)

    def epoch(self, number: int) -> IntArray:
        """Sample positions of one epoch, in order."""
        if self._last is None or self._last[0] != number:
            generator = np.random.default_rng([self._seed, number])
            drawn = [generator.permutation(m)[: self._smallest] for m in self._members]
            self._last = (number, np.stack(drawn, axis=1).reshape(-1))
        return self._last[1]

    def batch(self, step: int, size: int) -> IntArray:
        """The `size` positions of step 0, 1, ...; batches run on across the ends of epochs."""
        places = range(step * size, (step + 1) * size)
        return np.array([self.epoch(p // self.epoch_size)[p % self.epoch_size] for p in places])


def shuffled_likelihoods(
    gold: FloatArray, sample_ids: Sequence[str], seed: int, step: int
) -> FloatArray:
    """The control: every sample's likelihoods (B, K) permuted across its own candidates.

    Each row keeps its values, so the targets are as peaked as the true ones but point nowhere.
    """
    rows = [
        np.random.default_rng([seed, step, zlib.crc32(sample_id.encode())]).permutation(values)
        for sample_id, values in zip(sample_ids, gold, strict=True)
    ]
    return np.stack(rows)
